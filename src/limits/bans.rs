//! Who is kept out, by whom, why, and until when: the list that the API shows and a restart finds again.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::gcra::Nanos;
use super::ranges::Lengths;
use super::wall::{later, unix, unix_of};
use crate::address::Cidr;
use crate::identity::Method;

/// Written `ip:192.0.2.7`, `ip:203.0.113.0/24`, `username:alice`, `client_id:pump-7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BanSubject {
    Ip(Cidr),
    Username(String),
    ClientId(String),
}

/// As files and the API write it; times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Ban {
    #[serde(flatten)]
    pub subject: BanSubject,
    /// Only logins by this method; absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    pub reason: String,
    /// Who placed it; absent: too many failed logins did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub since: u64,
    /// Absent: until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    #[error("the list holds {OPERATOR_BANS} bans: lift one, or ban a range")]
    Full,
    #[error("a name to ban has 1 to {MAX_NAME} bytes")]
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write ip:ADDRESS, ip:RANGE, username:NAME or client_id:NAME")]
pub struct NotABanSubject;

#[derive(Default)]
pub(super) struct Bans {
    list: RwLock<List>,
    generation: AtomicU64,
}

#[derive(Default)]
struct List {
    entries: HashMap<Key, Entry>,
    /// Those that failed logins placed, by their end: when there are too many the first to end goes.
    automatic: BTreeMap<(Nanos, u64), Key>,
    lengths: Lengths,
    placed: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    subject: BanSubject,
    method: Option<Method>,
}

struct Entry {
    reason: String,
    by: Option<String>,
    since: u64,
    /// Counted by the monotonic clock, so that setting the wall clock neither lifts nor prolongs a ban (LIM-7).
    until: Option<Nanos>,
    number: u64,
}

impl BanSubject {
    /// Whether a client is meant: it is then disconnected.
    pub fn concerns(&self, ip: IpAddr, username: &str, client_id: &str) -> bool {
        match self {
            Self::Ip(range) => range.contains(ip),
            Self::Username(name) => name == username,
            Self::ClientId(name) => name == client_id,
        }
    }

    fn range(&self) -> Option<&Cidr> {
        match self {
            Self::Ip(range) => Some(range),
            Self::Username(_) | Self::ClientId(_) => None,
        }
    }

    fn is_named(&self) -> bool {
        match self {
            Self::Ip(_) => true,
            Self::Username(name) | Self::ClientId(name) => (1..=MAX_NAME).contains(&name.len()),
        }
    }
}

impl Bans {
    /// A ban by an operator, or an end and a reason for one that is there.
    pub(super) fn place(&self, ban: Ban, now: Nanos, wall: SystemTime) -> Result<(), BanError> {
        if !ban.subject.is_named() {
            return Err(BanError::Name);
        }
        let until = ban
            .until
            .map(|until| later(now, until.saturating_sub(unix(wall))));
        let method = ban.method.as_deref().and_then(method_named);
        let mut list = self.list.write();
        if list.of_operators() >= OPERATOR_BANS {
            list.sweep_all(now);
        }
        let key = Key {
            subject: ban.subject,
            method,
        };
        if list.of_operators() >= OPERATOR_BANS && !list.entries.contains_key(&key) {
            return Err(BanError::Full);
        }
        let by = Some(ban.by.unwrap_or_default());
        list.insert(
            key,
            Entry {
                reason: shortened(ban.reason),
                by,
                since: ban.since,
                until,
                number: 0,
            },
        );
        drop(list);
        self.changed();
        Ok(())
    }

    /// The ban of an address for a method after too many failed logins.
    pub(super) fn place_automatic(
        &self,
        address: Cidr,
        method: Method,
        reason: String,
        until: Nanos,
        now: Nanos,
        since: u64,
    ) {
        let mut list = self.list.write();
        list.sweep(now);
        while list.automatic.len() >= AUTOMATIC_BANS {
            list.drop_first_to_end();
        }
        let key = Key {
            subject: BanSubject::Ip(address),
            method: Some(method),
        };
        list.insert(
            key,
            Entry {
                reason,
                by: None,
                since,
                until: Some(until),
                number: 0,
            },
        );
        drop(list);
        self.changed();
    }

    /// Lifts every ban of a subject, by whatever method. False: there was none.
    pub(super) fn lift(&self, subject: &BanSubject) -> bool {
        let mut list = self.list.write();
        let keys: Vec<Key> = list
            .entries
            .keys()
            .filter(|key| key.subject == *subject)
            .cloned()
            .collect();
        keys.iter().for_each(|key| list.remove(key));
        drop(list);
        if !keys.is_empty() {
            self.changed();
        }
        !keys.is_empty()
    }

    /// Why an address is banned: for all methods, or for one.
    pub(super) fn of_address(
        &self,
        address: IpAddr,
        method: Option<Method>,
        now: Nanos,
    ) -> Option<(String, Option<Nanos>)> {
        let list = self.list.read();
        list.lengths.around(address).find_map(|range| {
            list.standing(
                &Key {
                    subject: BanSubject::Ip(range),
                    method,
                },
                now,
            )
        })
    }

    pub(super) fn of_name(
        &self,
        subject: BanSubject,
        now: Nanos,
    ) -> Option<(String, Option<Nanos>)> {
        self.list.read().standing(
            &Key {
                subject,
                method: None,
            },
            now,
        )
    }

    /// What a file or the API shows, the newest first.
    pub(super) fn all(&self, now: Nanos, wall: SystemTime) -> Vec<Ban> {
        let list = self.list.read();
        let mut bans: Vec<(u64, Ban)> = list
            .entries
            .iter()
            .filter(|(_, entry)| entry.holds(now))
            .map(|(key, entry)| (entry.number, shown(key, entry, now, wall)))
            .collect();
        bans.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        bans.into_iter().map(|(_, ban)| ban).collect()
    }

    /// Takes up what a file kept. What has ended meanwhile, and methods that no longer exist, are left out.
    pub(super) fn restore(&self, bans: Vec<Ban>, now: Nanos, wall: SystemTime) {
        for ban in bans
            .into_iter()
            .rev()
            .take(OPERATOR_BANS.saturating_add(AUTOMATIC_BANS))
        {
            if ban.until.is_some_and(|until| until <= unix(wall)) {
                continue;
            }
            let method = ban.method.as_deref().map(method_named);
            match (&ban.subject, ban.by.is_some(), method, ban.until) {
                (BanSubject::Ip(range), false, Some(Some(method)), Some(until)) => {
                    let until = later(now, until.saturating_sub(unix(wall)));
                    let reason = shortened(ban.reason);
                    self.place_automatic(*range, method, reason, until, now, ban.since);
                }
                (_, true, None | Some(Some(_)), _) => {
                    // A full list keeps its newest.
                    let _ = self.place(ban, now, wall);
                }
                (_, _, _, _) => {}
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.list.read().entries.len()
    }

    /// Changes when the list does: the sign to write it down.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn changed(&self) {
        // Whoever sees this number finds what it counts in the list.
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl List {
    fn insert(&mut self, key: Key, entry: Entry) {
        self.remove(&key);
        self.placed = self.placed.wrapping_add(1);
        let entry = Entry {
            number: self.placed,
            ..entry
        };
        if let (None, Some(until)) = (&entry.by, entry.until) {
            self.automatic.insert((until, entry.number), key.clone());
        }
        if let Some(range) = key.subject.range() {
            self.lengths.add(range);
        }
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        if let Some(until) = entry.until {
            self.automatic.remove(&(until, entry.number));
        }
        if let Some(range) = key.subject.range() {
            self.lengths.remove(range);
        }
    }

    fn drop_first_to_end(&mut self) {
        if let Some((_, key)) = self.automatic.pop_first() {
            self.remove(&key);
        }
    }

    fn sweep(&mut self, now: Nanos) {
        while self
            .automatic
            .first_key_value()
            .is_some_and(|((until, _), _)| *until <= now)
        {
            self.drop_first_to_end();
        }
    }

    /// Only when a place is wanted: it looks at all of them.
    fn sweep_all(&mut self, now: Nanos) {
        let ended = self.entries.iter().filter(|(_, entry)| !entry.holds(now));
        let ended: Vec<Key> = ended.map(|(key, _)| key.clone()).collect();
        ended.iter().for_each(|key| self.remove(key));
    }

    fn of_operators(&self) -> usize {
        self.entries.len().saturating_sub(self.automatic.len())
    }

    fn standing(&self, key: &Key, now: Nanos) -> Option<(String, Option<Nanos>)> {
        let entry = self.entries.get(key).filter(|entry| entry.holds(now))?;
        Some((entry.reason.clone(), entry.until))
    }
}

impl Entry {
    fn holds(&self, now: Nanos) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

fn shown(key: &Key, entry: &Entry, now: Nanos, wall: SystemTime) -> Ban {
    Ban {
        subject: key.subject.clone(),
        method: key.method.map(|Method(name)| name.to_owned()),
        reason: entry.reason.clone(),
        by: entry.by.clone(),
        since: entry.since,
        until: entry.until.map(|until| unix_of(until, now, wall)),
    }
}

fn shortened(reason: String) -> String {
    reason.chars().take(MAX_REASON).collect()
}

fn method_named(name: &str) -> Option<Method> {
    let known = [
        Method::CERTIFICATE,
        Method::PASSWORD,
        Method::LDAP,
        Method::JWT,
        Method::COOKIE,
        Method::SCRAM,
        Method::TOKEN,
        Method::ENROLMENT,
    ];
    known.into_iter().find(|Method(known)| *known == name)
}

impl fmt::Display for BanSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(range) => write!(f, "ip:{range}"),
            Self::Username(name) => write!(f, "username:{name}"),
            Self::ClientId(name) => write!(f, "client_id:{name}"),
        }
    }
}

impl FromStr for BanSubject {
    type Err = NotABanSubject;

    fn from_str(text: &str) -> Result<Self, NotABanSubject> {
        let subject = match text.split_once(':').ok_or(NotABanSubject)? {
            ("ip", range) => Self::Ip(range.parse().map_err(|_| NotABanSubject)?),
            ("username", name) => Self::Username(name.to_owned()),
            ("client_id", name) => Self::ClientId(name.to_owned()),
            (_, _) => return Err(NotABanSubject),
        };
        subject.is_named().then_some(subject).ok_or(NotABanSubject)
    }
}

const OPERATOR_BANS: usize = 10_000;
const AUTOMATIC_BANS: usize = 65_536;
const MAX_REASON: usize = 256;
const MAX_NAME: usize = 1024;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn wall(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn ban(subject: &str, until: Option<u64>) -> Ban {
        Ban {
            subject: subject.parse().unwrap(),
            method: None,
            reason: "rude".into(),
            by: Some("root".into()),
            since: 1000,
            until,
        }
    }

    #[test]
    fn subjects_are_written_as_they_are_read() {
        let rows = [
            ("ip:192.0.2.7", true),
            ("ip:203.0.113.0/24", true),
            ("ip:2001:db8::/64", true),
            ("username:alice", true),
            ("client_id:a:b/c", true),
            ("username:", false),
            ("ip:", false),
            ("ip:10.0.0.1/8", false),
            ("host:x", false),
            ("", false),
        ];
        for (text, expected) in rows {
            let read = text.parse::<BanSubject>();
            assert_eq!(read.is_ok(), expected, "{text}");
            if let Ok(subject) = read {
                assert_eq!(subject.to_string(), text);
            }
        }
    }

    #[test]
    fn a_ban_holds_for_whom_it_names_until_it_ends_or_is_lifted() {
        let bans = Bans::default();
        bans.place(ban("ip:203.0.113.0/24", Some(1060)), SECOND, wall(1000))
            .unwrap();
        bans.place(ban("username:alice", None), SECOND, wall(1000))
            .unwrap();
        let address = |text: &str, now| bans.of_address(text.parse().unwrap(), None, now).is_some();
        let rows = [
            ("203.0.113.9", 2, true),
            ("203.0.113.9", 60, true),
            ("203.0.113.9", 61, false),
            ("203.0.114.1", 2, false),
        ];
        for (text, second, expected) in rows {
            assert_eq!(
                address(text, second * SECOND),
                expected,
                "{text} at {second} s"
            );
        }
        let alice: BanSubject = "username:alice".parse().unwrap();
        assert!(bans.of_name(alice.clone(), 1_000_000 * SECOND).is_some());
        assert!(
            bans.of_name("client_id:alice".parse().unwrap(), SECOND)
                .is_none()
        );
        assert!(bans.lift(&alice) && !bans.lift(&alice));
        assert!(bans.of_name(alice, SECOND).is_none());
        assert_eq!(bans.generation(), 3);
    }

    #[test]
    fn bans_survive_a_restart_and_a_clock_that_is_set() {
        let bans = Bans::default();
        let range: Cidr = "192.0.2.7".parse().unwrap();
        bans.place(ban("username:alice", Some(2000)), SECOND, wall(1000))
            .unwrap();
        bans.place_automatic(
            range,
            Method::PASSWORD,
            "20 failed logins".into(),
            901 * SECOND,
            SECOND,
            1000,
        );
        // A day back: no ban lasts a day longer.
        assert!(
            bans.of_address(range.network(), Some(Method::PASSWORD), 902 * SECOND)
                .is_none()
        );
        let text = serde_json::to_string(&bans.all(SECOND, wall(1000))).unwrap();
        let later = Bans::default();
        later.restore(serde_json::from_str(&text).unwrap(), 5 * SECOND, wall(1600));
        assert!(
            later
                .of_address(range.network(), Some(Method::PASSWORD), 5 * SECOND)
                .is_some()
        );
        assert!(
            later
                .of_address(range.network(), Some(Method::PASSWORD), 306 * SECOND)
                .is_none(),
            "the rest of 15 minutes"
        );
        assert!(
            later
                .of_address(range.network(), Some(Method::LDAP), 5 * SECOND)
                .is_none()
        );
        assert!(
            later
                .of_address(range.network(), None, 5 * SECOND)
                .is_none()
        );
        let much_later = Bans::default();
        much_later.restore(serde_json::from_str(&text).unwrap(), SECOND, wall(9000));
        assert_eq!(much_later.count(), 0);
    }

    #[test]
    fn lim_06_both_kinds_of_bans_are_bounded() {
        let bans = Bans::default();
        for n in 0..OPERATOR_BANS {
            bans.place(
                ban(&format!("username:{n}"), Some(2000)),
                SECOND,
                wall(1000),
            )
            .unwrap();
        }
        assert_eq!(
            bans.place(ban("username:more", None), SECOND, wall(1000)),
            Err(BanError::Full)
        );
        assert_eq!(
            bans.place(ban("username:7", None), SECOND, wall(1000)),
            Ok(()),
            "one that is there may change"
        );
        for n in 0..100_000u32 {
            let address = Cidr::of(n.to_be_bytes().into());
            let until = (10_000 - u64::from(n == 5)) * SECOND + u64::from(n);
            bans.place_automatic(
                address,
                Method::PASSWORD,
                String::new(),
                until,
                SECOND,
                1000,
            );
        }
        assert_eq!(bans.count(), OPERATOR_BANS + AUTOMATIC_BANS);
        assert!(
            bans.of_address(5u32.to_be_bytes().into(), Some(Method::PASSWORD), SECOND)
                .is_none(),
            "the first to end went"
        );
        assert_eq!(
            bans.place(ban("username:more", None), 2000 * SECOND, wall(3000)),
            Ok(()),
            "ended ones make room"
        );
    }
}
