//! Who logged in well from where lately, kept under hashes whose key outlives the process: so does what they say.
//!
//! The hashes are HMAC-SHA256, cut short: the same in every process that has the key, and without it the file tells neither
//! names nor addresses. The key seals the file too; one that was touched or half written is not believed.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;

use super::gcra::{Nanos, nanos};
use super::table::{Table, Weighed};
use super::wall::{later, unix, unix_of};
use crate::address::Cidr;

pub(super) struct Records {
    key: hmac::Key,
    addresses: Table<Good>,
    /// Each user at each address.
    pairs: Table<Good>,
    generation: AtomicU64,
}

/// A file of good logins that says nothing to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableRecords {
    #[error("it is not a file of good logins")]
    Unknown,
    #[error("it is damaged, or was written under another key")]
    Seal,
}

/// In favour of its address until then.
#[derive(Clone, Copy)]
struct Good(Nanos);

impl Weighed for Good {
    fn weight(&self, _: Nanos) -> u64 {
        self.0
    }
}

impl Records {
    pub(super) fn new(key: &[u8; KEY_LENGTH]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            addresses: Table::new(CAPACITY),
            pairs: Table::new(CAPACITY),
            generation: AtomicU64::new(0),
        }
    }

    /// Somebody logged in well, by this name where there is one.
    pub(super) fn good(&self, address: IpAddr, name: Option<&str>, now: Nanos) {
        let until = now.saturating_add(nanos(GOOD_FOR));
        self.remember(&self.addresses, self.hash(address, None), until, now);
        if name.is_some() {
            self.remember(&self.pairs, self.hash(address, name), until, now);
        }
    }

    /// Whether anybody did, from this address.
    pub(super) fn knows_address(&self, address: IpAddr, now: Nanos) -> bool {
        holds(&self.addresses, self.hash(address, None), now)
    }

    /// Whether this name did.
    pub(super) fn knows(&self, address: IpAddr, name: &str, now: Nanos) -> bool {
        holds(&self.pairs, self.hash(address, Some(name)), now)
    }

    /// Changes when there is something new to write down: a day's logins by the same people are not.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// All of it, for a file.
    pub(super) fn sealed(&self, now: Nanos, wall: SystemTime) -> Vec<u8> {
        let mut bytes = HEADING.to_vec();
        for table in [&self.addresses, &self.pairs] {
            let held = table.all().into_iter().filter(|(_, Good(at))| *at > now);
            let entries: Vec<_> = held.collect();
            let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&count.to_be_bytes());
            for (key, Good(at)) in entries {
                bytes.extend_from_slice(&key.to_be_bytes());
                bytes.extend_from_slice(&unix_of(at, now, wall).to_be_bytes());
            }
        }
        let seal = hmac::sign(&self.key, &bytes);
        bytes.extend_from_slice(seal.as_ref());
        bytes
    }

    /// Takes up what a file kept, and gives how many entries that is. Nothing is good for longer than a login now would be.
    pub(super) fn unseal(
        &self,
        bytes: &[u8],
        now: Nanos,
        wall: SystemTime,
    ) -> Result<usize, UnreadableRecords> {
        let rest = bytes
            .strip_prefix(HEADING)
            .ok_or(UnreadableRecords::Unknown)?;
        let (entries, seal) = rest
            .split_last_chunk::<SEAL_LENGTH>()
            .ok_or(UnreadableRecords::Seal)?;
        let sealed = bytes.strip_suffix(seal).unwrap_or_default();
        hmac::verify(&self.key, sealed, seal).map_err(|_| UnreadableRecords::Seal)?;
        let (mut rest, mut taken) = (entries, 0usize);
        for table in [&self.addresses, &self.pairs] {
            let count = take(&mut rest).map(u32::from_be_bytes);
            for _ in 0..count.ok_or(UnreadableRecords::Unknown)? {
                let pair = take(&mut rest).zip(take(&mut rest));
                let (key, at) = pair.ok_or(UnreadableRecords::Unknown)?;
                let left = u64::from_be_bytes(at)
                    .saturating_sub(unix(wall))
                    .min(GOOD_FOR.as_secs());
                if left > 0 {
                    let until = later(now, left);
                    table.update(
                        u64::from_be_bytes(key),
                        now,
                        |_| Good(until),
                        |good| good.0 = good.0.max(until),
                    );
                    taken = taken.saturating_add(1);
                }
            }
        }
        Ok(taken)
    }

    fn remember(&self, table: &Table<Good>, key: u64, until: Nanos, now: Nanos) {
        let before = table.update(
            key,
            now,
            |_| Good(0),
            |good| std::mem::replace(&mut good.0, until),
        );
        if before.saturating_add(nanos(TOLD_ANEW)) <= until {
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn hash(&self, address: IpAddr, name: Option<&str>) -> u64 {
        let mut context = hmac::Context::with_key(&self.key);
        // Each part has one length, the last takes the rest: no two questions are the same bytes.
        match Cidr::household(address).network() {
            IpAddr::V4(v4) => {
                context.update(&[4, u8::from(name.is_some())]);
                context.update(&v4.octets());
            }
            IpAddr::V6(v6) => {
                context.update(&[6, u8::from(name.is_some())]);
                context.update(&v6.octets());
            }
        }
        context.update(name.unwrap_or_default().as_bytes());
        let tag = context.sign();
        tag.as_ref()
            .first_chunk()
            .map_or(0, |first| u64::from_be_bytes(*first))
    }
}

fn holds(table: &Table<Good>, key: u64, now: Nanos) -> bool {
    table.find(key).is_some_and(|Good(until)| until > now)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

/// Of the key, in bytes.
pub const KEY_LENGTH: usize = 32;
/// Entries of each table.
const CAPACITY: usize = 65_536;
/// How long a good login is remembered in favour of its address.
const GOOD_FOR: Duration = Duration::from_secs(7 * 86_400);
/// A login again is worth a new file when the last is older than this.
const TOLD_ANEW: Duration = Duration::from_secs(3600);
const HEADING: &[u8] = b"wardgate good logins 1\n";
const SEAL_LENGTH: usize = 32;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;
    const DAY: u64 = 86_400;

    fn at(day: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(day * DAY)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn idn_13_a_good_record_outlives_the_process_until_its_week_is_over() {
        let before = Records::new(&[7; KEY_LENGTH]);
        let now = 50 * SECOND;
        before.good(ip("192.0.2.1"), Some("alice"), now);
        before.good(ip("2001:db8::1"), Some("bob"), now);
        before.good(ip("192.0.2.9"), None, now);
        let file = before.sealed(now, at(100));
        // The next process begins to count at 0 again, three days later.
        let rows = [
            ("192.0.2.1", Some("alice"), true),
            ("192.0.2.1", None, true),
            ("192.0.2.1", Some("bob"), false),
            ("192.0.2.2", Some("alice"), false),
            ("2001:db8::ffff", Some("bob"), true),
            ("2001:db8:0:1::1", Some("bob"), false),
            ("192.0.2.9", None, true),
            ("192.0.2.9", Some(""), false),
        ];
        let knows = |records: &Records, address: &str, name: Option<&str>, now| match name {
            Some(name) => records.knows(ip(address), name, now),
            None => records.knows_address(ip(address), now),
        };
        let after = Records::new(&[7; KEY_LENGTH]);
        assert_eq!(after.unseal(&file, 0, at(103)), Ok(5));
        for (address, name, expected) in rows {
            assert_eq!(
                knows(&after, address, name, 0),
                expected,
                "{address} {name:?}"
            );
            let over = 4 * DAY * SECOND;
            assert!(!knows(&after, address, name, over), "{address} {name:?}");
        }
        let late = Records::new(&[7; KEY_LENGTH]);
        assert_eq!(late.unseal(&file, 0, at(107)), Ok(0), "the week is over");
        let early = Records::new(&[7; KEY_LENGTH]);
        assert_eq!(
            early.unseal(&file, 0, at(50)),
            Ok(5),
            "the clock was set back"
        );
        assert!(!early.knows(ip("192.0.2.1"), "alice", 7 * DAY * SECOND));
    }

    #[test]
    fn a_file_that_was_touched_or_cut_or_is_of_another_key_gives_nothing() {
        let records = Records::new(&[7; KEY_LENGTH]);
        records.good(ip("192.0.2.1"), Some("alice"), 0);
        let file = records.sealed(0, at(1));
        let other = Records::new(&[8; KEY_LENGTH]);
        assert_eq!(
            other.unseal(&file, 0, at(1)),
            Err(UnreadableRecords::Seal),
            "another key"
        );
        for position in 0..file.len() {
            let mut touched = file.clone();
            *touched.get_mut(position).unwrap() ^= 1;
            let cut = file.get(..position).unwrap();
            for bytes in [touched.as_slice(), cut] {
                let fresh = Records::new(&[7; KEY_LENGTH]);
                assert!(fresh.unseal(bytes, 0, at(1)).is_err(), "{position}");
                assert!(!fresh.knows_address(ip("192.0.2.1"), 0), "{position}");
            }
        }
    }

    #[test]
    fn only_what_is_new_asks_for_a_new_file() {
        let records = Records::new(&[7; KEY_LENGTH]);
        let mut told = records.generation();
        let rows = [
            ("192.0.2.1", "alice", 0, true),
            ("192.0.2.1", "alice", 10, false),
            ("192.0.2.1", "bob", 20, true),
            ("192.0.2.2", "bob", 30, true),
            ("192.0.2.2", "bob", 3700, true),
        ];
        for (address, name, second, expected) in rows {
            records.good(ip(address), Some(name), second * SECOND);
            let now = records.generation();
            assert_eq!(now != told, expected, "{address} {name} {second}");
            told = now;
        }
    }

    #[test]
    fn lim_06_a_flood_of_good_logins_neither_grows_it_nor_its_file() {
        let records = Records::new(&[7; KEY_LENGTH]);
        for n in 0..100_000u32 {
            let address = IpAddr::from((0x2000_0000 + n).to_be_bytes());
            records.good(address, Some("alice"), SECOND + u64::from(n));
        }
        let file = records.sealed(2 * SECOND, at(1));
        assert!(file.len() <= 2 * CAPACITY * 16 + 128, "{}", file.len());
        assert!(records.knows(
            IpAddr::from((0x2000_0000u32 + 99_999).to_be_bytes()),
            "alice",
            2 * SECOND
        ));
    }
}
