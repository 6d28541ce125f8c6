//! What a limit costs where it is asked: each message, each connection, each refusal. `cargo bench --bench limits`
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use wardgate::identity::Method;
use wardgate::limits::{Attempt, BanSubject, Client, Limits, MessageLimit};

const CLIENT: Client<'static> = Client {
    namespace: "password",
    username: "alice",
    client_id: "a",
};

fn main() {
    messages();
    connections();
}

fn messages() {
    let all = "{ messages: { per_client: { rate: 100000000/s, burst: 100000000 }, per_user: { rate: 100000000/s, burst: 100000000 } },
                 bytes: { per_client: { rate: 100GiB/s } } }";
    let policy: MessageLimit =
        serde_saphyr::from_str("{ rate: 100000000/s, burst: 100000000 }").unwrap();
    let rows = [
        ("message, no limits", "{}", None),
        (
            "message, per_client",
            "messages: { per_client: { rate: 100000000/s } }",
            None,
        ),
        ("message, every bucket and a policy's", all, Some(policy)),
    ];
    for (name, yaml, policy) in rows {
        let limits = limits(yaml);
        let mut buckets = limits.client_buckets(&CLIENT, policy);
        let now = Instant::now();
        let mut n = 0u64;
        measure(name, 20_000_000, || {
            n += 1;
            // `now` is read once for a batch, as the connection does.
            let _ = black_box(buckets.charge(1, 100, now + Duration::from_nanos(n * 100)));
        });
    }
}

fn connections() {
    let admit = "connections: { global: { rate: off, max: off }, per_ip: { rate: 1000000/s, burst: 1000000 } }";
    let limits = limits(admit);
    let methods = [Method::PASSWORD, Method::CERTIFICATE];
    let (start, mut n) = (Instant::now(), 0u32);
    let mut screen = |name: &str, addresses: u32| {
        measure(name, 1_000_000, || {
            n = n.wrapping_add(1);
            let address = IpAddr::from((0x0a00_0000 + n % addresses).to_be_bytes());
            let now = start + Duration::from_micros(u64::from(n));
            let _ = black_box(limits.screen(address, &methods, now));
        });
    };
    screen("connection admitted, 1,000 addresses", 1000);
    screen("connection admitted, 1,000,000 addresses", 1_000_000);
    for third in 0..250u8 {
        let subject: BanSubject = format!("ip:10.0.{third}.0/24").parse().unwrap();
        let reason = ("bench".into(), "bench".into());
        limits
            .ban(subject, None, reason, start, SystemTime::now())
            .unwrap();
    }
    screen("connection refused by a ban, 1,000 addresses", 1000);
    let attempt = Attempt {
        ip: IpAddr::from([192, 0, 2, 1]),
        method: Method::PASSWORD,
        username: Some("alice"),
    };
    measure("failed login", 1_000_000, || {
        let _ = black_box(limits.failed(&attempt, start, SystemTime::UNIX_EPOCH));
    });
    measure("login refused for its address", 1_000_000, || {
        let _ = black_box(limits.attempt(&attempt, start));
    });
    measure("handshake begun in a full house", 1_000_000, {
        let mut held = std::collections::VecDeque::new();
        let limits = &limits;
        let mut n = 0u32;
        move || {
            n = n.wrapping_add(1);
            let address = IpAddr::from((0x0a00_0000 + n % 997).to_be_bytes());
            held.push_back(limits.begin_handshake(address, false, start).unwrap());
            if held.len() > 1000 {
                held.pop_front();
            }
        }
    });
}

fn limits(yaml: &str) -> Limits {
    let config = serde_saphyr::from_str(yaml).unwrap();
    Limits::new(config, [1, 2, 3, 4], Instant::now())
}

fn measure(name: &str, times: u32, mut work: impl FnMut()) {
    for _ in 0..times / 10 {
        work();
    }
    let start = Instant::now();
    for _ in 0..times {
        work();
    }
    println!(
        "{name:48} {:8.1} ns",
        start.elapsed().as_secs_f64() * 1e9 / f64::from(times)
    );
}
