//! A bounded queue that serves addresses in turn, so that one that asks a thousand times waits for itself.
//!
//! Each repute has a lane, and the lanes take turns as well: guesses from any number of addresses take a third of the turns
//! at most while somebody else waits, and nobody starves (IDN-12).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::identity::{Credentials, Repute};

/// An IPv4 address or an IPv6 /64: who has one address of a /64 has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin(u128);

impl From<IpAddr> for Origin {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(ip.to_ipv6_mapped().to_bits()),
            IpAddr::V6(ip) => Self(ip.to_bits() >> 64 << 64),
        }
    }
}

/// Who waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) origin: Origin,
    pub(super) repute: Repute,
}

impl From<&Credentials> for Asker {
    fn from(credentials: &Credentials) -> Self {
        Self {
            origin: credentials.ip.into(),
            repute: credentials.repute,
        }
    }
}

pub(super) struct FairQueue<T> {
    known: Lane<T>,
    strangers: Lane<T>,
    suspects: Lane<T>,
    /// Whose turn it is, should anybody wait there.
    turn: Repute,
    capacity: usize,
    capacity_per_origin: usize,
}

struct Lane<T> {
    waiting: HashMap<Origin, VecDeque<T>, ahash::RandomState>,
    /// Every origin that waits, once; the front is served next.
    turns: VecDeque<Origin>,
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueFull {
    All,
    Origin,
}

impl<T> FairQueue<T> {
    /// `capacity_per_origin` holds for each lane: whoever guesses at names takes no place of one that is known at the same address.
    pub(super) fn new(capacity: usize, capacity_per_origin: usize) -> Self {
        Self {
            known: Lane::default(),
            strangers: Lane::default(),
            suspects: Lane::default(),
            turn: Repute::Known,
            capacity,
            capacity_per_origin,
        }
    }

    pub(super) fn push(&mut self, asker: Asker, item: T) -> Result<(), QueueFull> {
        let open_to_all = self.capacity.saturating_sub(self.capacity / KEPT_SHARE);
        let capacity = match asker.repute {
            Repute::Known => self.capacity,
            Repute::Stranger | Repute::Suspect => open_to_all.max(1),
        };
        let guesses =
            asker.repute == Repute::Suspect && self.suspects.length >= open_to_all.div_ceil(2);
        if self.len() >= capacity || guesses {
            return Err(QueueFull::All);
        }
        let per_origin = self.capacity_per_origin;
        self.lane(asker.repute).push(asker.origin, item, per_origin)
    }

    /// What comes next, left where it is.
    pub(super) fn peek(&mut self) -> Option<&T> {
        let next = self.next()?;
        self.lane(next).peek()
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let next = self.next()?;
        self.turn = after(next);
        self.lane(next).pop()
    }

    pub(super) fn len(&self) -> usize {
        self.known
            .length
            .saturating_add(self.strangers.length)
            .saturating_add(self.suspects.length)
    }

    /// The first lane from the one whose turn it is in which somebody waits.
    fn next(&mut self) -> Option<Repute> {
        let (first, second) = (self.turn, after(self.turn));
        [first, second, after(second)]
            .into_iter()
            .find(|repute| self.lane(*repute).length > 0)
    }

    fn lane(&mut self, repute: Repute) -> &mut Lane<T> {
        match repute {
            Repute::Known => &mut self.known,
            Repute::Stranger => &mut self.strangers,
            Repute::Suspect => &mut self.suspects,
        }
    }
}

impl<T> Lane<T> {
    fn push(&mut self, origin: Origin, item: T, most: usize) -> Result<(), QueueFull> {
        match self.waiting.get_mut(&origin) {
            Some(own) if own.len() >= most => return Err(QueueFull::Origin),
            Some(own) => own.push_back(item),
            None => {
                self.waiting.insert(origin, VecDeque::from([item]));
                self.turns.push_back(origin);
            }
        }
        self.length = self.length.saturating_add(1);
        Ok(())
    }

    fn peek(&self) -> Option<&T> {
        self.waiting.get(self.turns.front()?)?.front()
    }

    fn pop(&mut self) -> Option<T> {
        let origin = self.turns.pop_front()?;
        let own = self.waiting.get_mut(&origin)?;
        let item = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&origin);
        } else {
            self.turns.push_back(origin);
        }
        self.length = self.length.saturating_sub(1);
        item
    }
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            waiting: HashMap::default(),
            turns: VecDeque::new(),
            length: 0,
        }
    }
}

fn after(repute: Repute) -> Repute {
    match repute {
        Repute::Known => Repute::Stranger,
        Repute::Stranger => Repute::Suspect,
        Repute::Suspect => Repute::Known,
    }
}

/// One place in this many is kept for those who are known; of the others, those who failed lately get no more than half.
const KEPT_SHARE: usize = 8;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn asker(ip: &str, repute: Repute) -> Asker {
        Asker {
            origin: Origin::from(ip.parse::<IpAddr>().unwrap()),
            repute,
        }
    }

    fn stranger(ip: &str) -> Asker {
        asker(ip, Repute::Stranger)
    }

    #[test]
    fn idn_12_addresses_take_turns() {
        let (flood, other) = (stranger("192.0.2.1"), stranger("192.0.2.2"));
        let mut queue = FairQueue::new(10, 3);
        for n in 1..=3 {
            assert_eq!(queue.push(flood, n), Ok(()));
        }
        assert_eq!(queue.push(flood, 4), Err(QueueFull::Origin));
        assert_eq!(queue.push(other, 10), Ok(()));
        assert_eq!(queue.len(), 4);
        let served: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(served, [1, 10, 2, 3]);
        assert_eq!(queue.len(), 0);
        assert!(queue.strangers.waiting.is_empty() && queue.strangers.turns.is_empty());
    }

    #[test]
    fn idn_12_guesses_from_many_addresses_take_every_third_turn_while_others_wait() {
        let mut queue = FairQueue::new(1000, 10);
        for n in 0..50 {
            let guess = asker(&format!("203.0.113.{n}"), Repute::Suspect);
            assert_eq!(queue.push(guess, "guess"), Ok(()));
        }
        for _ in 0..2 {
            let known = asker("198.51.100.1", Repute::Known);
            assert_eq!(queue.push(known, "known"), Ok(()));
            assert_eq!(queue.push(stranger("192.0.2.1"), "stranger"), Ok(()));
        }
        let served: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(
            served.get(..7).unwrap(),
            [
                "known", "stranger", "guess", "known", "stranger", "guess", "guess"
            ]
        );
        assert_eq!(served.len(), 54);
    }

    #[test]
    fn what_is_looked_at_is_what_comes() {
        let mut queue = FairQueue::new(100, 100);
        for n in 0..30 {
            let repute = [Repute::Suspect, Repute::Known, Repute::Stranger]
                .get(n % 7 % 3)
                .copied()
                .unwrap();
            queue.push(asker("192.0.2.1", repute), n).unwrap();
        }
        while let Some(seen) = queue.peek().copied() {
            assert_eq!(queue.pop(), Some(seen));
        }
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn the_whole_is_bounded_and_a_share_is_kept_for_the_known() {
        let suspect = asker("192.0.2.9", Repute::Suspect);
        let mut queue = FairQueue::new(8, 8);
        let guesses = [(); 8].map(|()| queue.push(suspect, ()).is_ok());
        assert_eq!(guesses.iter().filter(|taken| **taken).count(), 4, "half");
        assert_eq!(queue.push(stranger("192.0.2.9"), ()), Ok(()));
        let mut queue = FairQueue::new(8, 8);
        for n in 0..7 {
            assert_eq!(queue.push(stranger(&format!("192.0.2.{n}")), ()), Ok(()));
        }
        let known = asker("198.51.100.1", Repute::Known);
        let rows = [
            (stranger("192.0.2.9"), Err(QueueFull::All)),
            (suspect, Err(QueueFull::All)),
            (known, Ok(())),
            (known, Err(QueueFull::All)),
        ];
        for (asker, expected) in rows {
            assert_eq!(queue.push(asker, ()), expected, "{asker:?}");
        }
        assert_eq!(FairQueue::new(1, 1).push(stranger("192.0.2.1"), ()), Ok(()));
    }

    #[test]
    fn a_64_is_one_origin() {
        let rows = [
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::1", false),
        ];
        for (one, two, same) in rows {
            let (one, two) = (stranger(one), stranger(two));
            assert_eq!(one.origin == two.origin, same, "{one:?} {two:?}");
        }
    }
}
