//! What is promised of logins, as tables.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::identity::Method;

const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn identity(name: &str) -> Identity {
    Identity {
        groups: vec!["staff".into()],
        ..Identity::new(Method::PASSWORD, "password".into(), name.into())
    }
}

fn config(ttl: u64, max_age: u64) -> CookieConfig {
    let text = format!("{{ttl: {ttl}s, max_age: {max_age}s}}");
    serde_saphyr::from_str(&text).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn cookie(logins: &Logins, name: &str, seconds: u64) -> String {
    logins
        .begin(identity(name), IP, at(seconds))
        .unwrap()
        .cookie
}

#[test]
fn a_login_lasts_while_used_and_ends_at_its_age() {
    let logins = Logins::in_memory();
    logins.reconfigure(&config(60, 150));
    let alice = cookie(&logins, "alice", 0);
    let rows = [
        (50, true),
        (100, true),
        (149, true),
        (150, false),
        (151, false),
    ];
    for (seconds, expected) in rows {
        let found = logins.find(alice.as_bytes(), at(seconds));
        assert_eq!(found.is_some(), expected, "{seconds} s");
    }
    let alice = cookie(&logins, "alice", 0);
    assert!(logins.find(alice.as_bytes(), at(60)).is_none(), "unused");
    assert!(logins.find(b"", at(0)).is_none());
    // Looking on does not count as use.
    let login = logins
        .find(cookie(&logins, "bob", 0).as_bytes(), at(0))
        .unwrap();
    assert!(logins.named(&login.name, at(59)).is_some());
    assert!(logins.named(&login.name, at(60)).is_none());
}

#[test]
fn idn_14_what_has_ended_is_told_once_and_stays_ended_over_a_restart() {
    let folder = std::env::temp_dir().join(format!("wardgate-logins-{:x}", rand::random::<u64>()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("logins.json");
    let logins = Logins::open(&path).unwrap();
    let now = SystemTime::now();
    let begin = |logins: &Logins, name| logins.begin(identity(name), IP, now).unwrap();
    let (alice, bob) = (begin(&logins, "alice"), begin(&logins, "bob"));
    let name = logins.find(alice.cookie.as_bytes(), now).unwrap().name;
    assert!(logins.take_ended(now).is_empty());
    assert_eq!(logins.end(|login| login.name == name).unwrap(), 1);
    assert_eq!(logins.take_ended(now), [name]);
    assert!(logins.take_ended(now).is_empty());
    // As after kill -9: nothing but the file is left.
    let logins = Logins::open(&path).unwrap();
    assert!(logins.find(alice.cookie.as_bytes(), now).is_none());
    let found = logins.find(bob.cookie.as_bytes(), now).unwrap();
    assert_eq!(
        (&*found.identity.username, found.csrf_token),
        ("bob", bob.csrf_token)
    );
    assert_eq!(found.identity.groups, [Arc::from("staff")]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&bob.cookie), "no cookie is written down");
    std::fs::write(&path, "{").unwrap();
    assert!(Logins::open(&path).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn logins_are_bounded_for_each_user_and_those_that_give_way_are_told() {
    let logins = Logins::in_memory();
    let other = cookie(&logins, "bob", 0);
    let begun: Vec<_> = (0..60).map(|n| cookie(&logins, "alice", n)).collect();
    let lasts = |cookie: &String| logins.find(cookie.as_bytes(), at(60)).is_some();
    assert_eq!(
        begun.iter().filter(|cookie| lasts(cookie)).count(),
        PER_USER
    );
    assert!(lasts(&other));
    assert_eq!(logins.take_ended(at(60)).len(), 10);
    assert_eq!(logins.list(at(60)).len(), PER_USER + 1);
}

#[test]
fn new_groups_are_written_down_once_and_for_nobody_else_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("wardgate-logins-{:x}", rand::random::<u64>()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("logins.json");
    let logins = Logins::open(&path).unwrap();
    let now = SystemTime::now();
    logins.begin(identity("alice"), IP, now).unwrap();
    let bob = logins.begin(identity("bob"), IP, now).unwrap();
    logins.write(now).unwrap();
    let written = || std::fs::metadata(&path).unwrap().modified().unwrap();
    let private = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660)).unwrap();
    let before = written();
    let alice = |login: &Login| &*login.identity.username == "alice";
    let staff = [Arc::from("staff")];
    logins.regroup(alice, &staff);
    logins.write(now).unwrap();
    assert_eq!(
        (written(), private()),
        (before, 0o660),
        "nothing has changed"
    );
    logins.regroup(alice, &[Arc::from("visitors")]);
    logins.write(now).unwrap();
    assert_eq!(private(), 0o600);
    let again = Logins::open(&path).unwrap();
    let groups = |login: &Login| login.identity.groups.clone();
    let of_bob = again.find(bob.cookie.as_bytes(), now).unwrap();
    assert_eq!(groups(&of_bob), staff);
    let of_alice = again.list(now).into_iter().find(alice).unwrap();
    assert_eq!(groups(&of_alice), [Arc::from("visitors")]);
    std::fs::remove_dir_all(&folder).unwrap();
}
