//! A bounded queue that serves addresses in turn, so that one that asks a thousand times waits for itself.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

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

pub(super) struct FairQueue<T> {
    waiting: HashMap<Origin, VecDeque<T>, ahash::RandomState>,
    /// Every origin that waits, once; the front is served next.
    turns: VecDeque<Origin>,
    length: usize,
    capacity: usize,
    capacity_per_origin: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueFull {
    All,
    Origin,
}

impl<T> FairQueue<T> {
    pub(super) fn new(capacity: usize, capacity_per_origin: usize) -> Self {
        Self {
            waiting: HashMap::default(),
            turns: VecDeque::new(),
            length: 0,
            capacity,
            capacity_per_origin,
        }
    }

    pub(super) fn push(&mut self, origin: Origin, item: T) -> Result<(), QueueFull> {
        if self.length >= self.capacity {
            return Err(QueueFull::All);
        }
        match self.waiting.get_mut(&origin) {
            Some(own) if own.len() >= self.capacity_per_origin => return Err(QueueFull::Origin),
            Some(own) => own.push_back(item),
            None => {
                self.waiting.insert(origin, VecDeque::from([item]));
                self.turns.push_back(origin);
            }
        }
        self.length = self.length.saturating_add(1);
        Ok(())
    }

    /// What comes next, left where it is.
    pub(super) fn peek(&self) -> Option<&T> {
        self.waiting.get(self.turns.front()?)?.front()
    }

    pub(super) fn pop(&mut self) -> Option<T> {
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

    pub(super) fn len(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn origin(ip: &str) -> Origin {
        Origin::from(ip.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn idn_12_addresses_take_turns() {
        let (flood, other) = (origin("192.0.2.1"), origin("192.0.2.2"));
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
        assert!(queue.waiting.is_empty() && queue.turns.is_empty());
    }

    #[test]
    fn the_whole_is_bounded() {
        let mut queue = FairQueue::new(2, 2);
        assert_eq!(queue.push(origin("192.0.2.1"), ()), Ok(()));
        assert_eq!(queue.push(origin("192.0.2.2"), ()), Ok(()));
        assert_eq!(queue.push(origin("192.0.2.3"), ()), Err(QueueFull::All));
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
            assert_eq!(origin(one) == origin(two), same, "{one} {two}");
        }
    }
}
