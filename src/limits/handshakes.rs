//! Work in progress between accept and CONNACK: a bounded number of slots that a crowd of stalled peers cannot hold.
//!
//! When all are taken the oldest unfinished handshake of the busiest address gives way: an honest one is done long before it
//! is the oldest. Addresses without a recent good login never get the last eighth, and neither side pushes the other below half.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;

use super::Refusal;
use super::config::HandshakesConfig;

#[derive(Default)]
pub(super) struct Handshakes {
    under_way: Arc<Mutex<UnderWay>>,
}

/// The right to go on with a handshake, until it is dropped (at CONNACK or at the end) or must give way.
pub struct Handshake {
    under_way: Arc<Mutex<UnderWay>>,
    place: Place,
    known: bool,
    eviction: Arc<Eviction>,
    deadline: Instant,
}

/// Resolves when the handshake must give way; the connection is then closed.
pub struct Evicted(Arc<Eviction>);

#[derive(Default)]
struct Eviction {
    due: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

#[derive(Default)]
struct UnderWay {
    next: u64,
    known: Crowd,
    unknown: Crowd,
}

/// The handshakes of one kind of address, by address and age.
#[derive(Default)]
struct Crowd {
    members: BTreeMap<Place, Arc<Eviction>>,
    counts: HashMap<u64, usize>,
    busiest: BTreeSet<(usize, u64)>,
}

/// Whose and which: the address by its key, then by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    address: u64,
    number: u64,
}

impl Handshakes {
    pub(super) fn begin(
        &self,
        config: &HandshakesConfig,
        address: u64,
        known: bool,
        now: Instant,
    ) -> Result<Handshake, Refusal> {
        let capacity = usize::try_from(config.concurrent.get()).unwrap_or(usize::MAX);
        let eviction = Arc::new(Eviction::default());
        let (place, evicted) = {
            let mut under_way = self.under_way.lock();
            let evicted = under_way.make_room(capacity, known)?;
            (
                under_way.enter(address, known, Arc::clone(&eviction)),
                evicted,
            )
        };
        // Waking runs code of others: after the lock.
        if let Some(evicted) = evicted {
            evicted.give_way();
        }
        let deadline = now.checked_add(config.timeout.get()).unwrap_or(now);
        Ok(Handshake {
            under_way: Arc::clone(&self.under_way),
            place,
            known,
            eviction,
            deadline,
        })
    }

    pub(super) fn count(&self) -> usize {
        let under_way = self.under_way.lock();
        under_way
            .known
            .len()
            .saturating_add(under_way.unknown.len())
    }
}

impl Handshake {
    pub fn evicted(&self) -> Evicted {
        Evicted(Arc::clone(&self.eviction))
    }

    pub fn is_evicted(&self) -> bool {
        self.eviction.due.load(Ordering::Acquire)
    }

    /// When CONNACK must have been sent.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        let place = self.place;
        under_way.crowd(self.known).leave(place);
    }
}

impl Future for Evicted {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        *self.0.waiting.lock() = Some(context.waker().clone());
        if self.0.due.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Eviction {
    fn give_way(&self) {
        self.due.store(true, Ordering::Release);
        let waiting = self.waiting.lock().take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl UnderWay {
    /// Finds a place for a newcomer; whoever must give way for it is out already.
    fn make_room(
        &mut self,
        capacity: usize,
        known: bool,
    ) -> Result<Option<Arc<Eviction>>, Refusal> {
        let taken = self.known.len().saturating_add(self.unknown.len());
        let open_to_all = capacity.saturating_sub(capacity / KEPT_SHARE).max(1);
        let full = taken >= capacity || (!known && self.unknown.len() >= open_to_all);
        if !full {
            return Ok(None);
        }
        let known_gives_way = self.known.len() > capacity / 2 || self.unknown.is_empty();
        let evicted = if known_gives_way && (known || taken >= capacity) {
            self.known.evict()
        } else {
            self.unknown.evict()
        };
        evicted.map(Some).ok_or(Refusal::HandshakesFull)
    }

    fn enter(&mut self, address: u64, known: bool, eviction: Arc<Eviction>) -> Place {
        self.next = self.next.wrapping_add(1);
        let place = Place {
            address,
            number: self.next,
        };
        self.crowd(known).enter(place, eviction);
        place
    }

    fn crowd(&mut self, known: bool) -> &mut Crowd {
        if known {
            &mut self.known
        } else {
            &mut self.unknown
        }
    }
}

impl Crowd {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn enter(&mut self, place: Place, eviction: Arc<Eviction>) {
        self.members.insert(place, eviction);
        self.recount(place.address, 1);
    }

    fn leave(&mut self, place: Place) {
        // Whoever was evicted has left before.
        if self.members.remove(&place).is_some() {
            self.recount(place.address, -1);
        }
    }

    fn evict(&mut self) -> Option<Arc<Eviction>> {
        let (_, address) = *self.busiest.last()?;
        let youngest = Place {
            address,
            number: u64::MAX,
        };
        let oldest = *self
            .members
            .range(Place { address, number: 0 }..=youngest)
            .next()?
            .0;
        let eviction = self.members.remove(&oldest);
        self.recount(address, -1);
        eviction
    }

    fn recount(&mut self, address: u64, by: isize) {
        let before = self.counts.get(&address).copied().unwrap_or(0);
        let after = before.saturating_add_signed(by);
        self.busiest.remove(&(before, address));
        if after == 0 {
            self.counts.remove(&address);
        } else {
            self.counts.insert(address, after);
            self.busiest.insert((after, address));
        }
    }
}

/// One slot in this many is kept for addresses with a recent good login.
const KEPT_SHARE: usize = 8;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::config::Count;

    fn slots(concurrent: u32) -> HandshakesConfig {
        HandshakesConfig {
            concurrent: Count::new(concurrent),
            ..HandshakesConfig::default()
        }
    }

    fn begin(handshakes: &Handshakes, concurrent: u32, address: u64, known: bool) -> Handshake {
        handshakes
            .begin(&slots(concurrent), address, known, Instant::now())
            .unwrap()
    }

    #[test]
    fn the_oldest_of_the_busiest_address_gives_way() {
        let handshakes = Handshakes::default();
        let addresses = [1, 2, 2, 2, 3, 3, 1];
        let held: Vec<_> = addresses
            .iter()
            .map(|address| begin(&handshakes, 8, *address, false))
            .collect();
        let newcomer = begin(&handshakes, 8, 9, false);
        let evicted: Vec<bool> = held.iter().map(Handshake::is_evicted).collect();
        assert_eq!(evicted, [false, true, false, false, false, false, false]);
        assert!(!newcomer.is_evicted());
        assert_eq!(handshakes.count(), 7, "the eighth is kept for the known");
        drop((held, newcomer));
        assert_eq!(handshakes.count(), 0);
    }

    #[test]
    fn a_crowd_of_strangers_leaves_a_share_to_the_known_and_half_when_they_come() {
        let handshakes = Handshakes::default();
        let strangers: Vec<_> = (0..1000)
            .map(|n| begin(&handshakes, 64, n, false))
            .collect();
        assert_eq!(
            strangers
                .iter()
                .filter(|handshake| !handshake.is_evicted())
                .count(),
            56
        );
        let friends: Vec<_> = (0..8)
            .map(|n| begin(&handshakes, 64, 5000 + n, true))
            .collect();
        assert!(friends.iter().all(|friend| !friend.is_evicted()));
        assert_eq!(
            strangers
                .iter()
                .filter(|handshake| !handshake.is_evicted())
                .count(),
            56,
            "nobody gave way"
        );
        let crowd: Vec<_> = (0..1000)
            .map(|n| begin(&handshakes, 64, 6000 + n, true))
            .collect();
        assert!(
            strangers
                .iter()
                .filter(|handshake| !handshake.is_evicted())
                .count()
                >= 31
        );
        assert!(!crowd.last().unwrap().is_evicted());
        assert!(handshakes.count() <= 64);
        assert!(!begin(&handshakes, 64, 7, false).is_evicted());
    }

    #[test]
    fn one_slot_is_enough_for_one_after_another() {
        let handshakes = Handshakes::default();
        let first = begin(&handshakes, 1, 1, false);
        let second = begin(&handshakes, 1, 1, false);
        assert!(first.is_evicted() && !second.is_evicted());
    }

    #[test]
    fn eviction_wakes_who_waits() {
        struct Woken(AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let handshakes = Handshakes::default();
        let first = begin(&handshakes, 1, 1, false);
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut evicted = first.evicted();
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(&mut evicted).poll(&mut context).is_pending());
        let _second = begin(&handshakes, 1, 2, false);
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(Pin::new(&mut evicted).poll(&mut context).is_ready());
    }

    proptest! {
        #[test]
        fn lim_06_never_more_than_the_slots_and_the_newcomer_always_gets_one(
            capacity in 1u32..40, steps in proptest::collection::vec((0u64..6, any::<bool>(), any::<bool>()), 1..200),
        ) {
            let handshakes = Handshakes::default();
            let mut held: Vec<Handshake> = Vec::new();
            for (address, known, finish) in steps {
                if finish && !held.is_empty() {
                    held.remove(0);
                }
                held.push(begin(&handshakes, capacity, address, known));
                prop_assert!(!held.last().unwrap().is_evicted());
                let going_on = held.iter().filter(|handshake| !handshake.is_evicted()).count();
                prop_assert!(going_on <= capacity as usize);
                prop_assert_eq!(handshakes.count(), going_on);
            }
            drop(held);
            let under_way = handshakes.under_way.lock();
            prop_assert!(under_way.known.counts.is_empty() && under_way.unknown.busiest.is_empty());
        }
    }
}
