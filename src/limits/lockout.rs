//! What failed logins lead to: an address is banned for a method, a user under attack is slowed, and neither becomes a weapon.
//!
//! Whoever logged in well from an address is never banned there, only slowed; a certificate is not asked for at all (IDN-13).

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::Refusal;
use super::ban_list::{Bans, Placed};
use super::bans::{Ban, BanSubject};
use super::config::{Count, FailuresConfig};
use super::gcra::{Epoch, Nanos, Quota, nanos};
use super::keys::Keys;
use super::recent::{Recent, Window};
use super::records::{KEY_LENGTH, Records};
use super::strikes::Strikes;
use super::table::Table;
use super::wall::unix;
use crate::address::Cidr;
use crate::identity::{Method, Repute};

/// A login that is about to be judged or was.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub ip: IpAddr,
    pub method: Method,
    /// The name that is claimed, where one is.
    pub username: Option<&'a str>,
}

/// An address that was banned for its failed logins: for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lockout {
    pub address: Cidr,
    pub method: Method,
    pub failures: u32,
    pub duration: Duration,
}

pub(super) struct Failures {
    addresses: Table<Recent>,
    users: Table<Recent>,
    /// Each user at each address.
    pairs: Table<Recent>,
    strikes: Strikes,
    records: Records,
}

impl Failures {
    /// `key` is of the memory of good logins.
    pub(super) fn new(key: &[u8; KEY_LENGTH]) -> Self {
        Self {
            addresses: Table::new(CAPACITY),
            users: Table::new(CAPACITY),
            pairs: Table::new(CAPACITY),
            strikes: Strikes::new(),
            records: Records::new(key),
        }
    }

    /// Whether a login may be judged at all, and among whom it waits for that. Asked before any hashing or directory.
    pub(super) fn attempt(
        &self,
        (config, bans, keys): (&FailuresConfig, &Bans, &Keys),
        attempt: &Attempt<'_>,
        (epoch, now): (Epoch, Nanos),
    ) -> Result<Repute, Refusal> {
        let has_record = self.has_record(attempt, now);
        let slow = |table: &Table<Recent>, key| slowed(table, key, config, epoch, now);
        if let Some((_, until)) = bans.of_address(attempt.ip, Some(attempt.method), now)
            && !self.passes_bans(attempt, now)
        {
            let name = attempt.username.filter(|_| has_record);
            return match name.map(|name| keys.name_at(attempt.ip, name)) {
                Some(pair) => slow(&self.pairs, pair).map(|()| Repute::Known),
                None => Err(Refusal::AddressLockedOut {
                    until: until.map(|until| epoch.instant(until)),
                }),
            };
        }
        if has_record {
            return Ok(Repute::Known);
        }
        let address = keys.address_by(attempt.ip, attempt.method.0);
        let repute = match self.of_address(config, address, now) {
            0 => Repute::Stranger,
            _ => Repute::Suspect,
        };
        let user = attempt.username.filter(|_| is_guessable(attempt.method));
        let Some(user) = user.map(|name| keys.name(&[name])) else {
            return Ok(repute);
        };
        if self.of_user(config, user, now) >= config.per_user.bound() {
            slow(&self.users, user)?;
        }
        Ok(repute)
    }

    /// A certificate has been proved when this is asked, and a token is let try where anybody is known: neither can be guessed, so
    /// neither is kept out for what a neighbour failed.
    fn passes_bans(&self, attempt: &Attempt<'_>, now: Nanos) -> bool {
        match attempt.method {
            Method::CERTIFICATE => true,
            Method::JWT => self.records.knows_address(attempt.ip, now),
            _ => false,
        }
    }

    pub(super) fn failed(
        &self,
        (config, bans, keys): (&FailuresConfig, &Bans, &Keys),
        attempt: &Attempt<'_>,
        now: Nanos,
        wall: SystemTime,
    ) -> Option<Lockout> {
        let window = Window::new(config.window.get());
        let add = |table: &Table<Recent>, key| {
            table.update(
                key,
                now,
                |_| Recent::default(),
                |recent| recent.add(window, now),
            )
        };
        if let Some(name) = attempt.username.filter(|_| is_guessable(attempt.method)) {
            add(&self.users, keys.name(&[name]));
            add(&self.pairs, keys.name_at(attempt.ip, name));
        }
        let address = keys.address_by(attempt.ip, attempt.method.0);
        let failures = add(&self.addresses, address);
        if failures < config.per_ip.get().map(Count::get)? {
            return None;
        }
        self.addresses.remove(address);
        let duration = self.strikes.strike(address, config.ban.get(), now);
        let lockout = Lockout {
            address: Cidr::household(attempt.ip),
            method: attempt.method,
            failures,
            duration,
        };
        let until = now.saturating_add(nanos(duration));
        let placed = Placed {
            reason: lockout.to_string(),
            until,
            since: unix(wall),
        };
        bans.lock_out(lockout.address, lockout.method, placed, now);
        Some(lockout)
    }

    /// Clears what that user failed at that address, and no more: an account of one's own must not clear the way for guessing
    /// at others.
    pub(super) fn succeeded(
        &self,
        config: &FailuresConfig,
        keys: &Keys,
        attempt: &Attempt<'_>,
        now: Nanos,
    ) {
        if attempt.method == Method::ANONYMOUS {
            return;
        }
        self.records.good(attempt.ip, attempt.username, now);
        let Some(name) = attempt.username else { return };
        let Some(failed) = self.pairs.remove(keys.name_at(attempt.ip, name)) else {
            return;
        };
        let failed = failed.count(Window::new(config.window.get()), now);
        for (table, key) in [
            (
                &self.addresses,
                keys.address_by(attempt.ip, attempt.method.0),
            ),
            (&self.users, keys.name(&[name])),
        ] {
            if failed > 0 && table.find(key).is_some() {
                table.update(
                    key,
                    now,
                    |_| Recent::default(),
                    |recent| recent.forgive(failed),
                );
            }
        }
    }

    /// Who logged in well from where lately.
    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// Whether this name logged in well from this address lately.
    pub(super) fn has_record(&self, attempt: &Attempt<'_>, now: Nanos) -> bool {
        attempt
            .username
            .is_some_and(|name| self.records.knows(attempt.ip, name, now))
    }

    /// A ban that an earlier process placed: the next is longer.
    pub(super) fn recall(
        &self,
        (config, keys): (&FailuresConfig, &Keys),
        ban: &Ban,
        now: Nanos,
        wall: SystemTime,
    ) {
        if let (BanSubject::Ip(range), Some(method)) = (&ban.subject, &ban.method) {
            let key = keys.address_by(range.network(), method);
            self.strikes.recall(key, config.ban.get(), ban, (now, wall));
        }
    }

    /// Failures of a user within the window.
    pub(super) fn of_user(&self, config: &FailuresConfig, user: u64, now: Nanos) -> u32 {
        self.users.find(user).map_or(0, |recent| {
            recent.count(Window::new(config.window.get()), now)
        })
    }

    /// Failures of an address by a method within the window.
    pub(super) fn of_address(&self, config: &FailuresConfig, address: u64, now: Nanos) -> u32 {
        self.addresses.find(address).map_or(0, |recent| {
            recent.count(Window::new(config.window.get()), now)
        })
    }
}

/// Nobody comes nearer to a signature by trying: to slow its user would only be a weapon (IDN-13).
fn is_guessable(method: Method) -> bool {
    method != Method::CERTIFICATE && method != Method::JWT
}

/// Six tries a window, one after another.
fn slowed(
    table: &Table<Recent>,
    key: u64,
    config: &FailuresConfig,
    epoch: Epoch,
    now: Nanos,
) -> Result<(), Refusal> {
    let quota = Quota::new(SLOWED_TRIES, config.window.get(), 1);
    table.update(
        key,
        now,
        |_| Recent::default(),
        |recent| match quota.take(recent.full_at, 1, now) {
            Ok(next) => {
                recent.full_at = next;
                Ok(())
            }
            Err(until) => {
                // While somebody keeps trying, the pressure does not ease.
                recent.add(Window::new(config.window.get()), now);
                Err(Refusal::UserSlowed {
                    until: epoch.instant(until.0),
                })
            }
        },
    )
}

impl std::fmt::Display for Lockout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (failures, Method(method)) = (self.failures, self.method);
        write!(
            f,
            "{failures} failed logins by {method}, banned for {}s",
            self.duration.as_secs()
        )
    }
}

/// Entries of each table.
const CAPACITY: usize = 65_536;
const SLOWED_TRIES: u64 = 6;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Instant;

    use super::*;

    struct Door {
        config: FailuresConfig,
        bans: Bans,
        keys: Keys,
        failures: Failures,
        epoch: Epoch,
    }

    const SECOND: Nanos = 1_000_000_000;

    impl Door {
        fn new(yaml: &str) -> Self {
            Self {
                config: serde_saphyr::from_str(yaml).unwrap(),
                bans: Bans::default(),
                keys: Keys::new([1, 2, 3, 4]),
                failures: Failures::new(&[5; KEY_LENGTH]),
                epoch: Epoch::new(Instant::now()),
            }
        }

        /// A login as the chain does it: ask, judge, tell. `None`: it was not judged.
        fn login(
            &self,
            method: Method,
            ip: &str,
            name: &str,
            good: bool,
            second: u64,
        ) -> Option<Option<Lockout>> {
            let attempt = Attempt {
                ip: ip.parse().unwrap(),
                method,
                username: Some(name),
            };
            let now = second * SECOND;
            let with = (&self.config, &self.bans, &self.keys);
            self.failures
                .attempt(with, &attempt, (self.epoch, now))
                .ok()?;
            if good {
                self.failures
                    .succeeded(&self.config, &self.keys, &attempt, now);
                return Some(None);
            }
            Some(
                self.failures
                    .failed(with, &attempt, now, SystemTime::UNIX_EPOCH),
            )
        }

        fn password(&self, ip: &str, name: &str, good: bool, second: u64) -> bool {
            self.login(Method::PASSWORD, ip, name, good, second)
                .is_some()
        }
    }

    #[test]
    fn an_address_is_banned_for_its_method_and_longer_each_time() {
        let door = Door::new("{}");
        let mut second = 1000;
        for expected in [15, 30, 60, 120] {
            let lockouts: Vec<_> = (0..10)
                .filter_map(|_| {
                    door.login(Method::PASSWORD, "192.0.2.1", "a", false, second)
                        .unwrap()
                })
                .collect();
            assert_eq!(lockouts.len(), 1, "the tenth");
            assert_eq!(
                lockouts.first().unwrap().duration,
                Duration::from_secs(expected * 60)
            );
            assert!(
                !door.password("192.0.2.1", "b", true, second + expected * 60 - 1),
                "banned"
            );
            assert!(
                door.login(Method::LDAP, "192.0.2.1", "c", true, second)
                    .is_some(),
                "another method"
            );
            assert!(
                door.password("192.0.2.2", "b", true, second),
                "another address"
            );
            second += expected * 60 + 100;
        }
    }

    #[test]
    fn idn_13_wrong_signatures_ban_their_address_and_slow_nobody() {
        for method in [Method::CERTIFICATE, Method::JWT] {
            let door = Door::new("{}");
            assert!(
                door.login(method, "198.51.100.1", "pump", true, 1000)
                    .is_some()
            );
            for n in 0..100 {
                let address = format!("10.0.0.{n}");
                assert!(door.login(method, &address, "pump", false, 1001).is_some());
            }
            let by_password = door.password("203.0.113.1", "pump", true, 1002);
            assert!(by_password, "{method:?}: her password is as good as before");
            let banned = |address: &str| {
                let lockouts =
                    (0..10).filter_map(|_| door.login(method, address, "x", false, 1003)?);
                lockouts.count()
            };
            assert_eq!(
                (banned("192.0.2.1"), banned("198.51.100.1")),
                (1, 1),
                "{method:?}"
            );
            let rows = [
                // A certificate is proved before this is asked: strangers of that address are refused before TLS.
                ("192.0.2.1", "pump", method == Method::CERTIFICATE),
                ("198.51.100.1", "pump", true),
                ("198.51.100.1", "another", true),
                ("203.0.113.1", "pump", true),
            ];
            for (address, name, expected) in rows {
                let judged = door.login(method, address, name, true, 1004).is_some();
                assert_eq!(judged, expected, "{method:?} {name} from {address}");
            }
        }
    }

    #[test]
    fn bans_go_on_growing_after_a_restart() {
        let minutes = |door: &Door, second| {
            let fail = |_| door.login(Method::PASSWORD, "192.0.2.1", "a", false, second);
            let lockout = (0..10).filter_map(|n| fail(n).unwrap()).next().unwrap();
            lockout.duration.as_secs() / 60
        };
        let wall = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let (mut expected, mut second) = (15, 1000);
        let mut kept: Vec<Ban> = Vec::new();
        for _ in 0..5 {
            let door = Door::new("{}");
            for ban in &kept {
                let with = (&door.config, &door.keys);
                door.failures
                    .recall(with, ban, second * SECOND, wall(second));
            }
            // The ban itself has been lifted, or the tenth would not be judged.
            assert_eq!(minutes(&door, second), expected);
            kept = door.bans.all(second * SECOND, SystemTime::UNIX_EPOCH);
            for ban in &mut kept {
                (ban.since, ban.until) = (second, Some(second + expected * 60));
            }
            (expected, second) = (expected * 2, second + 10);
        }
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let door = Door::new("{}");
        for n in 0..10 {
            door.password(&format!("2001:db8::{n}"), &format!("user{n}"), false, 1000);
        }
        assert!(!door.password("2001:db8::ffff", "z", true, 1000));
        assert!(door.password("2001:db8:0:1::1", "z", true, 1000));
    }

    #[test]
    fn no_address_tries_more_than_ten_times_in_any_minute() {
        let door = Door::new("{}");
        let mut judged: Vec<u64> = Vec::new();
        for second in (1000..4000).filter(|second| second % 7 != 0) {
            if door.password("192.0.2.1", "a", false, second) {
                judged.push(second);
            }
        }
        for at in &judged {
            assert!(
                judged
                    .iter()
                    .filter(|other| **other >= *at && **other < at + 60)
                    .count()
                    <= 10,
                "{judged:?}"
            );
        }
    }

    #[test]
    fn a_good_login_clears_that_user_at_that_address_only() {
        let door = Door::new("{}");
        for round in 0..5 {
            for _ in 0..9 {
                assert!(
                    door.password("192.0.2.1", "alice", false, 1000 + round),
                    "her own slips"
                );
            }
            assert!(door.password("192.0.2.1", "alice", true, 1000 + round));
        }
        let door = Door::new("{}");
        let mut judged = 0;
        for n in 0..40 {
            judged += u32::from(door.password("192.0.2.1", &format!("victim{n}"), false, 1000));
            door.password("192.0.2.1", "mine", true, 1000);
        }
        assert_eq!(
            judged, 10,
            "an own account does not clear guesses at others"
        );
    }

    #[test]
    fn idn_13_a_user_under_attack_is_slowed_but_never_locked_out() {
        let door = Door::new("{}");
        assert!(door.password("198.51.100.1", "alice", true, 1000));
        let mut judged = 0;
        // A guess each second from 600 addresses, so that none is banned.
        for second in 0..600 {
            let address = format!("10.{}.{}.1", second / 250, second % 250);
            let was_judged = door.password(&address, "alice", false, 2000 + second);
            judged += u32::from(was_judged && second >= 60);
            if second % 50 == 0 {
                assert!(
                    door.password("198.51.100.1", "alice", true, 2000 + second),
                    "her usual address"
                );
                assert!(
                    door.login(Method::CERTIFICATE, &address, "alice", true, 2000 + second)
                        .is_some(),
                    "her certificate"
                );
                assert!(
                    door.password(&address, "bob", true, 2000 + second),
                    "others"
                );
            }
        }
        assert!(judged <= 60, "{judged} guesses in nine minutes");
    }

    #[test]
    fn idn_12_who_waits_for_a_hash_waits_among_his_like() {
        let door = Door::new("{ per_ip: off, per_user: off }");
        assert!(door.password("198.51.100.1", "alice", true, 1000));
        door.password("192.0.2.1", "alice", false, 1001);
        let rows = [
            (
                Method::PASSWORD,
                "198.51.100.1",
                "alice",
                1002,
                Repute::Known,
            ),
            (
                Method::PASSWORD,
                "198.51.100.1",
                "bob",
                1002,
                Repute::Stranger,
            ),
            (
                Method::PASSWORD,
                "203.0.113.1",
                "alice",
                1002,
                Repute::Stranger,
            ),
            (
                Method::PASSWORD,
                "192.0.2.1",
                "alice",
                1002,
                Repute::Suspect,
            ),
            (Method::PASSWORD, "192.0.2.1", "bob", 1002, Repute::Suspect),
            (Method::LDAP, "192.0.2.1", "alice", 1002, Repute::Stranger),
            (
                Method::PASSWORD,
                "192.0.2.1",
                "alice",
                1100,
                Repute::Stranger,
            ),
        ];
        for (method, ip, name, second, expected) in rows {
            let attempt = Attempt {
                ip: ip.parse().unwrap(),
                method,
                username: Some(name),
            };
            let with = (&door.config, &door.bans, &door.keys);
            let at = (door.epoch, second * SECOND);
            let repute = door.failures.attempt(with, &attempt, at);
            assert_eq!(repute, Ok(expected), "{name} from {ip} at {second} s");
        }
    }

    #[test]
    fn idn_13_a_neighbour_behind_the_same_address_does_not_lock_out_who_logged_in_well_there() {
        let door = Door::new("{}");
        assert!(door.password("198.51.100.1", "alice", true, 1000));
        for n in 0..100 {
            door.password("198.51.100.1", &format!("guess{n}"), false, 1001);
        }
        assert!(!door.password("198.51.100.1", "bob", true, 1001));
        assert!(door.password("198.51.100.1", "alice", true, 1002));
        let guesses = (0..60)
            .filter(|second| door.password("198.51.100.1", "alice", false, 1100 + second))
            .count();
        assert!(
            guesses <= 7,
            "{guesses}: a guess at alice from there is slow"
        );
    }

    #[test]
    fn lim_06_a_flood_of_names_and_addresses_does_not_reset_an_offender() {
        let door = Door::new("{}");
        for _ in 0..9 {
            door.password("192.0.2.1", "alice", false, 1000);
        }
        for n in 0..300_000u32 {
            let address = IpAddr::from((0x2000_0000 + n).to_be_bytes()).to_string();
            door.password(&address, &format!("name{n}"), false, 1001);
        }
        assert!(
            door.login(Method::PASSWORD, "192.0.2.1", "alice", false, 1002)
                .unwrap()
                .is_some(),
            "the tenth counts as the tenth"
        );
        assert!(door.failures.addresses.len() <= CAPACITY && door.failures.pairs.len() <= CAPACITY);
    }
}
