//! The limits as a whole, on the way of a connection.

use super::*;

fn limits(yaml: &str) -> (Limits, Instant) {
    let config = serde_saphyr::from_str(yaml).unwrap();
    let start = Instant::now();
    (
        Limits::new(config, [1, 2, 3, 4], start),
        start + Duration::from_secs(1000),
    )
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const ALICE: Client<'static> = Client {
    namespace: "password",
    username: "alice",
    client_id: "a",
};
const WALL: SystemTime = SystemTime::UNIX_EPOCH;

#[test]
fn a_ban_keeps_out_whom_it_names_where_he_is_first_known() {
    let (limits, mut now) = limits("{}");
    let rows = [
        ("ip:192.0.2.0/24", false, true),
        ("username:alice", true, false),
        ("client_id:a", true, false),
        ("username:a", true, true),
    ];
    for (subject, screened, entered) in rows {
        let subject: BanSubject = subject.parse().unwrap();
        let placed = limits.ban(
            subject.clone(),
            Some(Duration::from_secs(60)),
            ("x".into(), "root".into()),
            now,
            WALL,
        );
        assert!(placed.is_ok(), "{subject}");
        assert_eq!(
            limits.screen(ip("192.0.2.9"), &[], now).is_ok(),
            screened,
            "{subject}"
        );
        assert_eq!(
            limits.enter_user(&ALICE, now, WALL).is_ok(),
            entered,
            "{subject}"
        );
        assert_eq!(limits.bans(now, WALL).len(), 1);
        let later = now + Duration::from_secs(60);
        assert!(
            limits.screen(ip("192.0.2.9"), &[], later).is_ok()
                && limits.enter_user(&ALICE, later, WALL).is_ok()
        );
        assert!(limits.unban(&subject));
        now = later;
    }
}

#[test]
fn an_address_locked_out_of_every_method_is_refused_before_any_byte() {
    let (limits, now) = limits("{}");
    let attempt = |ip, method| Attempt {
        ip,
        method,
        username: Some("x"),
    };
    let [bad, good] = ["192.0.2.1", "192.0.2.2"].map(ip);
    limits.succeeded(&attempt(good, Method::PASSWORD), now);
    for address in [bad, good] {
        for n in 0..10 {
            let lockout = limits.failed(&attempt(address, Method::PASSWORD), now, WALL);
            assert_eq!(lockout.is_some(), n == 9);
        }
    }
    let rows: [(IpAddr, &[Method], bool); 5] = [
        (bad, &[Method::PASSWORD], false),
        (bad, &[Method::PASSWORD, Method::CERTIFICATE], true),
        (bad, &[Method::ANONYMOUS], true),
        (bad, &[], true),
        (good, &[Method::PASSWORD], true),
    ];
    for (address, methods, expected) in rows {
        let screened = limits.screen(address, methods, now);
        assert_eq!(
            screened.is_ok(),
            expected,
            "{address} {methods:?}: {screened:?}"
        );
    }
}

#[test]
fn a_user_holds_as_many_connections_as_it_may() {
    let (limits, now) = limits("connections: { per_user: { max: 2 } }");
    let held = [
        limits.enter_user(&ALICE, now, WALL),
        limits.enter_user(&ALICE, now, WALL),
    ];
    assert!(held.iter().all(Result::is_ok));
    assert_eq!(
        limits.enter_user(&ALICE, now, WALL).err(),
        Some(Refusal::UserConnections)
    );
    let other = Client {
        namespace: "certificate",
        ..ALICE
    };
    assert!(
        limits.enter_user(&other, now, WALL).is_ok(),
        "the alice of another name space"
    );
    drop(held);
    assert!(limits.enter_user(&ALICE, now, WALL).is_ok());
}

#[test]
fn a_client_that_flaps_is_kept_out_for_longer_each_time() {
    let yaml = "flapping: { connections: 3, window: 1m, ban: 5m }";
    let (limits, now) = limits(yaml);
    let at = |seconds| now + Duration::from_secs(seconds);
    let rows = [
        (0, true),
        (10, true),
        (20, true),
        (30, false),
        (300, false),
        (329, false),
        (331, true),
        (332, true),
        (333, true),
        (334, false),
        (334 + 599, false),
        (334 + 601, true),
    ];
    for (seconds, expected) in rows {
        assert_eq!(
            limits.enter_user(&ALICE, at(seconds), WALL).is_ok(),
            expected,
            "{seconds} s"
        );
    }
    let other = Client {
        username: "mallory",
        ..ALICE
    };
    for _ in 0..5 {
        let _ = limits.enter_user(&other, at(2000), WALL);
    }
    assert!(
        limits.enter_user(&ALICE, at(2001), WALL).is_ok(),
        "with another's client identifier"
    );
}

#[test]
fn a_ban_for_flapping_is_listed_lifted_and_taken_up_by_the_next_process() {
    const YAML: &str = "flapping: { connections: 1, window: 1m, ban: 5m }";
    let (limits, now) = limits(YAML);
    let wall = WALL + Duration::from_secs(1000);
    let _first = limits.enter_user(&ALICE, now, wall);
    let refusals = [(); 2].map(|()| limits.enter_user(&ALICE, now, wall).err().unwrap());
    let is_new = |refusal: &Refusal| {
        matches!(
            refusal,
            Refusal::Flapping {
                banned_now: Some(_),
                ..
            }
        )
    };
    assert_eq!(refusals.each_ref().map(is_new), [true, false]);
    let bans = limits.bans(now, wall);
    let text = serde_json::to_string(&bans).unwrap();
    assert_eq!(
        text,
        r#"[{"client_id":"a","owner":{"namespace":"password","username":"alice"},"reason":"more than 1 connections within 60s, banned for 300s","since":1000,"until":1300}]"#
    );
    let (next, now) = self::limits(YAML);
    next.restore_bans(bans, now, wall + Duration::from_secs(100));
    let at = |seconds| now + Duration::from_secs(seconds);
    assert!(next.judge_again(ip("192.0.2.1"), &ALICE, at(199)).is_err());
    assert!(next.judge_again(ip("192.0.2.1"), &ALICE, at(200)).is_ok());
    assert_eq!(next.standing(at(199)).bans, 1);
    assert!(next.unban(&"client_id:a".parse().unwrap()));
    assert!(next.enter_user(&ALICE, at(1), wall).is_ok());
    assert!(next.enter_user(&ALICE, at(1), wall).is_err());
    let again = next.bans(at(1), wall).first().unwrap().reason.clone();
    assert!(again.ends_with("banned for 600s"), "{again}");
}

#[test]
fn a_reload_changes_the_limits_and_forgets_nothing() {
    let (limits, now) = limits("{}");
    let mut buckets = limits.client_buckets(&ALICE, None);
    assert!(!buckets.are_any());
    let held = limits.screen(ip("192.0.2.1"), &[], now);
    let config = serde_saphyr::from_str(
        "{ connections: { per_ip: { max: 1 } }, messages: { per_client: { rate: 1/s, burst: 1, when_exceeded: drop } }, deny: [192.0.2.9] }",
    );
    limits.reconfigure(config.unwrap());
    limits.refresh(&mut buckets, &ALICE, None);
    assert_eq!(
        limits.screen(ip("192.0.2.1"), &[], now).err(),
        Some(Refusal::AddressConnections)
    );
    assert_eq!(
        limits.screen(ip("192.0.2.9"), &[], now).err(),
        Some(Refusal::AddressDenied)
    );
    assert_eq!(buckets.charge(1, 0, now), Charge::Granted);
    assert_eq!(
        buckets.charge(1, 0, now),
        Charge::Drop(Limiter::ClientMessages)
    );
    drop(held);
}

#[test]
fn a_full_house_still_takes_up_what_the_store_has() {
    let (limits, now) =
        limits("state: { sessions: 1, sessions_per_user: 1, retained: { messages: 1 } }");
    let claims: Vec<_> = (0..5)
        .map(|_| limits.adopt_session("password", "alice"))
        .collect();
    assert!(claims.iter().all(Option::is_some));
    assert_eq!(
        limits.claim_session("password", "bob").err(),
        Some(Refusal::Sessions)
    );
    assert_eq!(limits.standing(now).sessions, 5);
    let kept = [
        limits.adopt_retained("password", "alice", 10),
        limits.adopt_retained("password", "alice", 20),
    ];
    assert_eq!(
        (
            limits.standing(now).retained_messages,
            limits.standing(now).retained_bytes
        ),
        (2, 30)
    );
    drop((claims, kept));
    assert_eq!(limits.standing(now), Standing::default());
}

#[test]
fn lim_07_settings_at_their_ends_do_not_overflow() {
    let rows = [
        "connections: { global: { rate: 1000000000/s, burst: 1000000000, max: 1000000000 }, per_ip: { rate: 1/h, burst: 1000000000, max: 1 }, handshakes: { concurrent: 1, timeout: 3660d } }",
        "failures: { per_ip: 1, per_user: 1, window: 3660d, ban: 3660d }",
        "failures: { per_ip: 1, window: 0, ban: 0 }",
        "flapping: { connections: 1, window: 0, ban: 0 }",
        "messages: { per_client: { rate: 1/h, burst: 1000000000 } }",
        "bytes: { per_client: { rate: 1024TiB/s, burst: 1024TiB }, per_user: { rate: 1/h } }",
    ];
    for yaml in rows {
        let (limits, now) = limits(yaml);
        for _ in 0..3 {
            let admission = limits.screen(ip("192.0.2.1"), &[Method::PASSWORD], now);
            let handshake = limits.begin_handshake(ip("192.0.2.1"), false, now);
            let attempt = Attempt {
                ip: ip("192.0.2.1"),
                method: Method::PASSWORD,
                username: Some("alice"),
            };
            let _ = limits.attempt(&attempt, now);
            let _ = limits.failed(&attempt, now, WALL);
            let mut buckets = limits.client_buckets(&ALICE, None);
            let _ = buckets.charge(u64::MAX, u64::MAX, now);
            let _ = limits.enter_user(&ALICE, now, WALL);
            drop((admission, handshake));
        }
    }
}

#[test]
fn explain_tells_each_limit_and_charges_none() {
    let (limits, now) =
        limits("{ deny: [192.0.2.1], connections: { per_ip: { rate: 1/h, burst: 1 } } }");
    let attempt = Attempt {
        ip: ip("192.0.2.2"),
        method: Method::PASSWORD,
        username: Some("alice"),
    };
    for _ in 0..3 {
        assert!(
            limits
                .explain(&attempt, &ALICE, None, now)
                .iter()
                .all(|explained| explained.permits)
        );
    }
    let denied = Attempt {
        ip: ip("192.0.2.1"),
        ..attempt
    };
    assert!(
        !limits
            .explain(&denied, &ALICE, None, now)
            .iter()
            .all(|explained| explained.permits)
    );
}

#[test]
fn explain_tells_what_is_left_to_a_live_client() {
    let (limits, now) = limits(
        "{ connections: { per_user: { max: 5 } }, messages: { per_client: { rate: 1/h, burst: 10 }, per_user: { rate: 1/h, burst: 20 } }, bytes: { per_client: { rate: 10/h, burst: 100 } } }",
    );
    let policy: MessageLimit = serde_saphyr::from_str("{ rate: 1/h, burst: 3 }").unwrap();
    let attempt = Attempt {
        ip: ip("192.0.2.2"),
        method: Method::PASSWORD,
        username: Some("alice"),
    };
    let told = || -> Vec<String> {
        let all = limits.explain(&attempt, &ALICE, Some(policy), now);
        let own = all.iter().skip(7);
        own.map(|explained| format!("{} {}", explained.permits, explained.standing))
            .collect()
    };
    let fresh = told();
    let _slot = limits.enter_user(&ALICE, now, WALL).unwrap();
    let mut buckets = limits.client_buckets(&ALICE, Some(policy));
    let _ = buckets.charge(4, 60, now);
    let live = told();
    drop(buckets);
    let gone = told();
    assert_eq!(
        fresh,
        [
            "true 0 of 5 open",
            "true 1/h, burst 10, then pause: 10 left",
            "true 1/h, burst 20, then pause: 20 left",
            "true 10/h, burst 100, then pause: 100 left",
            "true none set",
            "true 1/h, burst 3, then pause: 3 left",
        ]
    );
    assert_eq!(
        live,
        [
            "true 1 of 5 open",
            "true 1/h, burst 10, then pause: 6 left",
            "true 1/h, burst 20, then pause: 16 left",
            "true 10/h, burst 100, then pause: 40 left",
            "true none set",
            "false 1/h, burst 3, then pause: nothing left for 3600000 ms",
        ]
    );
    assert_eq!(gone, live, "leaving fills no bucket");
}
