//! What is promised of hashing, as tables.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::identity::password_hash::hash;
use crate::units::Period;

fn stored() -> StoredHash {
    StoredHash::parse(&hash(b"secret", &[7; 16]).unwrap()).unwrap()
}

fn secret(text: &str) -> Arc<Secret> {
    Arc::new(Secret::new(text.into()))
}

const IP: &str = "192.0.2.1";

fn asker(ip: &str) -> Asker {
    Asker {
        origin: ip.parse::<std::net::IpAddr>().unwrap().into(),
        repute: crate::identity::Repute::Stranger,
    }
}

#[tokio::test]
async fn a_verdict_comes_back() {
    let pool = Hashing::start(&HashingConfig::default()).unwrap();
    assert_eq!(
        pool.verify(stored(), secret("secret"), asker(IP)).await,
        Ok(true)
    );
    assert_eq!(
        pool.verify(stored(), secret("Secret"), asker(IP)).await,
        Ok(false)
    );
    let counters = pool.counters();
    assert_eq!((counters.checked, counters.waiting), (2, 0));
}

#[tokio::test]
async fn idn_12_a_check_that_waits_past_its_deadline_is_refused_and_counted() {
    let config = HashingConfig {
        timeout: Period::ZERO,
        ..HashingConfig::default()
    };
    let pool = Hashing::start(&config).unwrap();
    assert_eq!(
        pool.verify(stored(), secret("secret"), asker(IP)).await,
        Err(HashingError::Late)
    );
    assert_eq!(pool.counters().refused_late, 1);
}

#[tokio::test]
async fn idn_12_a_full_queue_refuses_and_another_address_gets_its_turn() {
    let config = HashingConfig {
        concurrent: 1,
        queue: 8,
        queue_per_ip: 2,
        ..HashingConfig::default()
    };
    let pool = Arc::new(Hashing::start(&config).unwrap());
    let mut flood = tokio::task::JoinSet::new();
    let hash = stored();
    for _ in 0..50 {
        let (pool, hash) = (pool.clone(), hash.clone());
        flood.spawn(async move { pool.verify(hash, secret("wrong"), asker(IP)).await });
    }
    let good = pool
        .verify(stored(), secret("secret"), asker("192.0.2.2"))
        .await;
    assert_eq!(good, Ok(true));
    let answers = flood.join_all().await;
    assert!(
        answers.contains(&Err(HashingError::AddressFull)),
        "{answers:?}"
    );
    assert!(answers.contains(&Ok(false)));
    assert!(pool.counters().refused_address_full > 0);
}

#[tokio::test]
async fn idn_12_checks_that_run_together_stay_within_the_memory() {
    let config = HashingConfig {
        concurrent: 4,
        memory: crate::units::ByteSize::kib(20 * 1024),
        ..HashingConfig::default()
    };
    let pool = Arc::new(Hashing::start(&config).unwrap());
    let mut checks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let pool = pool.clone();
        checks.spawn(async move { pool.verify(stored(), secret("secret"), asker(IP)).await });
    }
    while let Some(verdict) = checks.join_next().await {
        assert_eq!(verdict.unwrap(), Ok(true));
        assert!(pool.shared.state.lock().kib_in_use <= 20 * 1024);
    }
    // The verdict is sent before the memory is counted back only if the order in `work` changes.
    assert_eq!(pool.shared.state.lock().kib_in_use, 0);
}
