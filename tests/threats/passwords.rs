//! Passwords guessed at in masses: the guesser learns no name, and holds up nobody who is known. IDN-12

use super::support::broker::wardgate;
use super::support::{Broker, Wire, bytes};
use super::{ADMIN, as_many, ctl, is_full, with_users};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Whose addresses are what a proxy on this machine says.
const PROXIED: &str = "
listeners:
  proxied: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password], allow_insecure: true, proxy_protocol: { trusted: [127.0.0.0/8] } }
";
const HER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const HER_LOGIN: (&str, &str) = ("alice", "right");

fn broker() -> Broker {
    let setup = with_users(&format!("{PROXIED}{ADMIN}"));
    let disabled = wardgate()
        .args(["user", "disable", "--file"])
        .arg(setup.path().join("users.yaml"))
        .arg("bob")
        .status()
        .unwrap();
    assert!(disabled.success());
    setup.start()
}

fn dial(broker: &Broker, address: Ipv4Addr) -> Wire {
    let mut wire = broker.dial_as_named("proxied");
    let header = format!("PROXY TCP4 {address} 192.0.2.254 4000 1883\r\n");
    wire.send_bytes(header.as_bytes());
    wire
}

/// All that the client is told, up to the end of the connection or a good CONNACK.
fn told(wire: &mut Wire, version: u8, (name, password): (&str, &str)) -> Vec<u8> {
    let properties = if version == 5 { "00" } else { "" };
    let connect = format!(
        "10 .. s'MQTT' {version:02x} c2 0000 {properties} s'{name}' s'{name}' s'{password}'"
    );
    // The broker may have closed: the answer tells.
    let _ = wire.try_send(&bytes(&connect));
    wire.receive().unwrap_or_default()
}

fn is_good(connack: &[u8]) -> bool {
    connack.get(3) == Some(&0)
}

/// Of all series with this name.
fn total(broker: &Broker, name: &str) -> u64 {
    let stats = ctl(broker, &["stats"]);
    let lines = stats.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    let mut values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    let first = values.next();
    first.unwrap_or_else(|| panic!("{name} in {stats}")) + values.sum::<u64>()
}

fn checks(broker: &Broker) -> u64 {
    total(broker, "wardgate_password_checks_total")
}

#[test]
fn idn_12_a_name_costs_what_any_name_costs_and_is_answered_in_the_same_bytes() {
    let broker = broker();
    let long = "x".repeat(1025);
    // A name that nobody has, a wrong password, a disabled user with the right one and with a wrong one: one check each.
    let guesses = [
        ("mallory", "wrong", 1),
        ("alice", "wrong", 1),
        ("bob", "right", 1),
        ("bob", "wrong", 1),
        ("mallory", &*long, 0),
        ("alice", &*long, 0),
        ("mallory", "", 0),
        ("alice", "", 0),
    ];
    for version in [5, 4] {
        let mut seen = Vec::new();
        for (name, password, cost) in guesses {
            let before = checks(&broker);
            let mut wire = dial(&broker, HER_ADDRESS);
            wire.name = format!("{name} by version {version}");
            let answer = told(&mut wire, version, (name, password));
            wire.expect_end();
            assert_eq!(checks(&broker) - before, cost, "{name} {}", password.len());
            seen.push(answer);
        }
        assert!(!seen[0].is_empty() && !is_good(&seen[0]), "{seen:?}");
        assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:?}");
    }
    if is_full() {
        cannot_be_told_apart_by_time(&broker);
    }
}

/// 10,000 timings of three kinds of guesses, taken in turn: their medians lie together as those of two halves of one kind do.
fn cannot_be_told_apart_by_time(broker: &Broker) {
    let kinds = [("mallory", "wrong"), ("alice", "wrong"), ("bob", "wrong")];
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..10_000 / kinds.len() {
        for (guess, times) in kinds.iter().zip(&mut times) {
            let mut wire = dial(broker, HER_ADDRESS);
            let start = Instant::now();
            told(&mut wire, 5, *guess);
            times.push(start.elapsed());
        }
    }
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    assert!(*most - *least < *least / 50, "{medians:?}");
}

#[test]
fn idn_12_wrong_passwords_from_many_addresses_hold_up_nobody_who_is_known() {
    const ADDRESSES: u8 = 50;
    // 200 a second for half a minute, or four from each address as fast as they are taken.
    let each = as_many(120, 4);
    let broker = broker();
    let mut connected = dial(&broker, HER_ADDRESS);
    assert!(is_good(&told(&mut connected, 5, HER_LOGIN)));
    let unanswered = AtomicU64::new(0);
    let running = AtomicU64::new(ADDRESSES.into());
    let mut good = 1;
    let (mut pings, mut logins) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        for number in 0..ADDRESSES {
            let (broker, unanswered, running) = (&broker, &unanswered, &running);
            scope.spawn(move || {
                for _ in 0..each {
                    let start = Instant::now();
                    let address = Ipv4Addr::new(198, 51, 100, number);
                    let answer = told(&mut dial(broker, address), 5, ("alice", "wrong"));
                    assert!(!is_good(&answer), "{address} came in");
                    // Past the deadline of its handshake.
                    unanswered.fetch_add(answer.is_empty().into(), Ordering::SeqCst);
                    if is_full() {
                        let pace = Duration::from_millis(250);
                        std::thread::sleep(pace.saturating_sub(start.elapsed()));
                    }
                }
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
        // As long as they guess, and three times in any case.
        while running.load(Ordering::SeqCst) > 0 || good < 4 {
            let start = Instant::now();
            connected.send("c0 00");
            connected.expect("d0 00");
            pings.push(start.elapsed());
            let start = Instant::now();
            let mut again = dial(&broker, HER_ADDRESS);
            let connack = told(&mut again, 5, ("alice", "right"));
            assert!(is_good(&connack), "{connack:?} after {good} logins");
            logins.push(start.elapsed());
            good += 1;
            // Her client identifier is taken over each time.
            connected = again;
        }
    });
    let wrong = u64::from(ADDRESSES) * u64::try_from(each).unwrap();
    let refused = total(&broker, "wardgate_password_checks_refused_total");
    let checked = checks(&broker);
    // Nobody costs more than one check, and whoever got none was refused for a stated reason or had gone.
    assert!(checked <= wrong + good, "{checked} of {wrong} and {good}");
    let gone = unanswered.load(Ordering::SeqCst);
    assert!(
        checked + refused + gone >= wrong + good,
        "{checked} checked, {refused} refused, {gone} without an answer, of {wrong} and {good}"
    );
    assert!(checked > good, "guesses are checked too: {checked}");
    if is_full() {
        let worst = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            times[times.len() * 99 / 100]
        };
        let (ping, login) = (worst(&mut pings), worst(&mut logins));
        assert!(ping < Duration::from_millis(100), "{ping:?}");
        assert!(login < Duration::from_secs(2), "{login:?}");
    }
}
