//! The list of bans in force: asked at the door, shown by the API, found again by a restart.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::RwLock;

use super::bans::{Ban, BanError, BanSubject, OPERATOR_BANS, Owner};
use super::gcra::Nanos;
use super::ranges::Lengths;
use super::wall::{later, unix, unix_of};
use crate::address::Cidr;
use crate::identity::Method;

#[derive(Default)]
pub(super) struct Bans {
    list: RwLock<List>,
    generation: AtomicU64,
}

#[derive(Default)]
struct List {
    entries: HashMap<Key, Entry>,
    lockouts: Automatic,
    flapping: Automatic,
    lengths: Lengths,
    placed: u64,
}

/// Bans of one kind that no operator placed, by their end: when there are too many the first to end goes. Each kind has a bound of
/// its own, so that a flood of one lifts no ban of the other.
#[derive(Default)]
struct Automatic {
    by_end: BTreeMap<(Nanos, u64), Key>,
    /// Of their names.
    bytes: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    subject: BanSubject,
    scope: Scope,
}

/// What of its subject a ban keeps out.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Scope {
    Everything,
    Logins(Method),
    ClientOf(Owner),
}

/// A ban that something other than an operator places.
pub(super) struct Placed {
    pub(super) reason: String,
    pub(super) until: Nanos,
    /// By the wall clock.
    pub(super) since: u64,
}

struct Entry {
    reason: String,
    by: Option<String>,
    since: u64,
    /// Counted by the monotonic clock, so that setting the wall clock neither lifts nor prolongs a ban (LIM-7).
    until: Option<Nanos>,
    number: u64,
}

impl Bans {
    /// A ban by an operator, or an end and a reason for one that is there.
    pub(super) fn place(&self, ban: Ban, now: Nanos, wall: SystemTime) -> Result<(), BanError> {
        if !ban.subject.may_be_placed() {
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
            scope: method.map_or(Scope::Everything, Scope::Logins),
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

    /// An address is kept from a method of logging in.
    pub(super) fn lock_out(&self, address: Cidr, method: Method, placed: Placed, now: Nanos) {
        let key = Key {
            subject: BanSubject::Ip(address),
            scope: Scope::Logins(method),
        };
        self.place_automatic(key, placed, now);
    }

    /// One owner's client is kept out.
    pub(super) fn keep_out(&self, client_id: &str, owner: Owner, placed: Placed, now: Nanos) {
        let key = Key {
            subject: BanSubject::ClientId(client_id.to_owned()),
            scope: Scope::ClientOf(owner),
        };
        self.place_automatic(key, placed, now);
    }

    fn place_automatic(&self, key: Key, placed: Placed, now: Nanos) {
        let mut list = self.list.write();
        list.make_room(&key, now);
        let entry = Entry {
            reason: placed.reason,
            by: None,
            since: placed.since,
            until: Some(placed.until),
            number: 0,
        };
        list.insert(key, entry);
        drop(list);
        self.changed();
    }

    /// Lifts every ban of a subject, for whatever method and owner. False: there was none.
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
        let scope = method.map_or(Scope::Everything, Scope::Logins);
        list.lengths.around(address).find_map(|range| {
            let key = Key {
                subject: BanSubject::Ip(range),
                scope: scope.clone(),
            };
            list.standing(&key, now)
        })
    }

    pub(super) fn of_name(
        &self,
        subject: BanSubject,
        now: Nanos,
    ) -> Option<(String, Option<Nanos>)> {
        let key = Key {
            subject,
            scope: Scope::Everything,
        };
        self.list.read().standing(&key, now)
    }

    /// Until when one owner's client is kept out for flapping.
    pub(super) fn of_client(
        &self,
        client_id: &str,
        (namespace, username): (&str, &str),
        now: Nanos,
    ) -> Option<(String, Option<Nanos>)> {
        let list = self.list.read();
        if list.flapping.by_end.is_empty() {
            return None;
        }
        let owner = Owner {
            namespace: namespace.to_owned(),
            username: username.to_owned(),
        };
        let key = Key {
            subject: BanSubject::ClientId(client_id.to_owned()),
            scope: Scope::ClientOf(owner),
        };
        list.standing(&key, now)
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
        let most = OPERATOR_BANS
            .saturating_add(LOCKOUTS)
            .saturating_add(FLAPPING);
        for ban in bans.into_iter().rev().take(most) {
            if ban.until.is_some_and(|until| until <= unix(wall)) {
                continue;
            }
            let method = ban.method.as_deref().map(method_named);
            if ban.by.is_some() {
                if method != Some(None) && ban.owner.is_none() {
                    // A full list keeps its newest.
                    let _ = self.place(ban, now, wall);
                }
                continue;
            }
            // What no operator placed always has an end.
            let Some(until) = ban.until else { continue };
            let placed = Placed {
                reason: shortened(ban.reason),
                until: later(now, until.saturating_sub(unix(wall))),
                since: ban.since,
            };
            match (ban.subject, method.flatten(), ban.owner) {
                (BanSubject::Ip(range), Some(method), None) => {
                    self.lock_out(range, method, placed, now);
                }
                (BanSubject::ClientId(client_id), None, Some(owner)) => {
                    self.keep_out(&client_id, owner, placed, now);
                }
                (_, _, _) => {}
            }
        }
    }

    pub(super) fn count(&self, now: Nanos) -> usize {
        let list = self.list.read();
        let entries = list.entries.values();
        entries.filter(|entry| entry.holds(now)).count()
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

impl Key {
    /// Of the names in it.
    fn length(&self) -> usize {
        match (&self.subject, &self.scope) {
            (BanSubject::ClientId(name), Scope::ClientOf(owner)) => name
                .len()
                .saturating_add(owner.namespace.len())
                .saturating_add(owner.username.len()),
            (_, _) => 0,
        }
    }
}

impl Automatic {
    fn add(&mut self, at: (Nanos, u64), key: &Key) {
        self.bytes = self.bytes.saturating_add(key.length());
        self.by_end.insert(at, key.clone());
    }

    fn remove(&mut self, at: (Nanos, u64)) {
        if let Some(key) = self.by_end.remove(&at) {
            self.bytes = self.bytes.saturating_sub(key.length());
        }
    }

    /// The one that has to go before another comes.
    fn surplus(&self, most: usize, now: Nanos) -> Option<&Key> {
        let ((until, _), key) = self.by_end.first_key_value()?;
        let is_full = self.by_end.len() >= most || self.bytes >= NAMES;
        (is_full || *until <= now).then_some(key)
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
            self.kind_of(&key).0.add((until, entry.number), &key);
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
        if let (None, Some(until)) = (&entry.by, entry.until) {
            self.kind_of(key).0.remove((until, entry.number));
        }
        if let Some(range) = key.subject.range() {
            self.lengths.remove(range);
        }
    }

    /// Those of its kind that no operator placed, and how many there may be.
    fn kind_of(&mut self, key: &Key) -> (&mut Automatic, usize) {
        match &key.scope {
            Scope::ClientOf(_) => (&mut self.flapping, FLAPPING),
            Scope::Everything | Scope::Logins(_) => (&mut self.lockouts, LOCKOUTS),
        }
    }

    fn make_room(&mut self, newcomer: &Key, now: Nanos) {
        loop {
            let (kind, most) = self.kind_of(newcomer);
            let Some(key) = kind.surplus(most, now).cloned() else {
                return;
            };
            self.remove(&key);
        }
    }

    /// Only when a place is wanted: it looks at all of them.
    fn sweep_all(&mut self, now: Nanos) {
        let ended = self.entries.iter().filter(|(_, entry)| !entry.holds(now));
        let ended: Vec<Key> = ended.map(|(key, _)| key.clone()).collect();
        ended.iter().for_each(|key| self.remove(key));
    }

    fn of_operators(&self) -> usize {
        let automatic = self.lockouts.by_end.len() + self.flapping.by_end.len();
        self.entries.len().saturating_sub(automatic)
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
        method: match &key.scope {
            Scope::Logins(Method(name)) => Some((*name).to_owned()),
            Scope::Everything | Scope::ClientOf(_) => None,
        },
        owner: match &key.scope {
            Scope::ClientOf(owner) => Some(owner.clone()),
            Scope::Everything | Scope::Logins(_) => None,
        },
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

const LOCKOUTS: usize = 65_536;
const FLAPPING: usize = 16_384;
/// Bytes of the names of those.
const NAMES: usize = 8 * 1024 * 1024;
const MAX_REASON: usize = 256;

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
            owner: None,
            reason: "rude".into(),
            by: Some("root".into()),
            since: 1000,
            until,
        }
    }

    fn placed(until: Nanos) -> Placed {
        Placed {
            reason: "too often".into(),
            until,
            since: 1000,
        }
    }

    fn owner(username: &str) -> Owner {
        Owner {
            namespace: "password".into(),
            username: username.into(),
        }
    }

    fn is_kept_out(bans: &Bans, client_id: &str, username: &str, now: Nanos) -> bool {
        bans.of_client(client_id, ("password", username), now)
            .is_some()
    }

    #[test]
    fn a_client_is_kept_out_under_one_name_over_a_restart_until_it_is_over_or_lifted() {
        let bans = Bans::default();
        bans.keep_out("a", owner("alice"), placed(61 * SECOND), SECOND);
        let text = serde_json::to_string(&bans.all(SECOND, wall(1000))).unwrap();
        let restored = Bans::default();
        restored.restore(serde_json::from_str(&text).unwrap(), SECOND, wall(1000));
        let rows = [
            ("a", "alice", 60, true),
            ("a", "alice", 61, false),
            ("a", "mallory", 2, false),
            ("b", "alice", 2, false),
        ];
        for bans in [&bans, &restored] {
            for (client_id, username, second, expected) in rows {
                let is_out = is_kept_out(bans, client_id, username, second * SECOND);
                assert_eq!(is_out, expected, "{client_id} {username} at {second} s");
            }
            assert_eq!((bans.count(2 * SECOND), bans.count(61 * SECOND)), (1, 0));
            let subject: BanSubject = "client_id:a".parse().unwrap();
            assert!(bans.of_name(subject.clone(), SECOND).is_none(), "others'");
            assert!(bans.lift(&subject) && !bans.lift(&subject));
            assert!(!is_kept_out(bans, "a", "alice", SECOND));
            assert!(bans.list.read().flapping.by_end.is_empty());
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
        bans.lock_out(range, Method::PASSWORD, placed(901 * SECOND), SECOND);
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
        assert_eq!(much_later.count(SECOND), 0);
    }

    #[test]
    fn lim_06_every_kind_of_bans_is_bounded() {
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
            bans.lock_out(address, Method::PASSWORD, placed(until), SECOND);
        }
        assert_eq!(bans.count(SECOND), OPERATOR_BANS + LOCKOUTS);
        assert!(
            bans.of_address(5u32.to_be_bytes().into(), Some(Method::PASSWORD), SECOND)
                .is_none(),
            "the first to end went"
        );
        for n in 0..20_000u64 {
            bans.keep_out(
                &n.to_string(),
                owner("alice"),
                placed(9_000 * SECOND + n),
                SECOND,
            );
        }
        assert_eq!(bans.count(SECOND), OPERATOR_BANS + LOCKOUTS + FLAPPING);
        assert!(is_kept_out(&bans, "19999", "alice", SECOND));
        assert!(!is_kept_out(&bans, "0", "alice", SECOND));
        let long = "x".repeat(60_000);
        for n in 0..1000u64 {
            let name = format!("{long}{n}");
            bans.keep_out(&name, owner("alice"), placed(9_500 * SECOND + n), SECOND);
        }
        assert!(bans.list.read().flapping.bytes < NAMES + 65_535);
        assert!(is_kept_out(&bans, &format!("{long}999"), "alice", SECOND));
        assert_eq!(
            bans.place(ban("username:more", None), 2000 * SECOND, wall(3000)),
            Ok(()),
            "ended ones make room"
        );
    }
}
