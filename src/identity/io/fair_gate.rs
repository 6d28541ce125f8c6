//! A number of turns, given out fairly between addresses; who waits too long or stands behind too many is sent away.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::fair_queue::{Asker, FairQueue, QueueFull};

pub(super) struct FairGate {
    state: Mutex<State>,
}

struct State {
    free: usize,
    waiting: FairQueue<oneshot::Sender<Turn>>,
}

/// Given back when dropped, whatever became of its holder.
pub(super) struct Turn(Arc<FairGate>);

impl FairGate {
    pub(super) fn new(turns: usize, queue: usize, queue_per_origin: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: turns,
                waiting: FairQueue::new(queue, queue_per_origin),
            }),
        })
    }

    pub(super) async fn enter(self: &Arc<Self>, asker: Asker) -> Result<Turn, QueueFull> {
        let turn = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free = state.free.saturating_sub(1);
                return Ok(Turn(self.clone()));
            }
            let (sender, turn) = oneshot::channel();
            state.waiting.push(asker, sender)?;
            turn
        };
        // The gate outlives every waiter, for the waiter holds it.
        turn.await.map_err(|_| QueueFull::All)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        while let Some(next) = state.waiting.pop() {
            if !next.is_closed() {
                // Handed over outside the lock: a receiver that went away meanwhile drops the turn, which comes here again.
                drop(state);
                let _ = next.send(Turn(self.0.clone()));
                return;
            }
        }
        state.free = state.free.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker() -> Asker {
        Asker {
            origin: std::net::IpAddr::from([192, 0, 2, 1]).into(),
            repute: crate::identity::Repute::Stranger,
        }
    }

    #[tokio::test]
    async fn turns_are_bounded_and_come_back() {
        let gate = FairGate::new(1, 2, 2);
        let first = gate.enter(asker()).await;
        assert!(first.is_ok());
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let gate = gate.clone();
                tokio::spawn(async move { gate.enter(asker()).await.map(drop) })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(gate.enter(asker()).await.err(), Some(QueueFull::All));
        let gone = waiters.len();
        drop(first);
        for waiter in waiters {
            assert!(matches!(waiter.await, Ok(Ok(()))), "{gone}");
        }
        assert_eq!(gate.state.lock().free, 1);
    }

    #[tokio::test]
    async fn a_waiter_that_went_away_takes_no_turn() {
        let gate = FairGate::new(1, 2, 2);
        let first = gate.enter(asker()).await;
        let waiter = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter(asker()).await.map(drop) }
        });
        tokio::task::yield_now().await;
        waiter.abort();
        assert!(waiter.await.is_err());
        drop(first);
        assert_eq!(gate.state.lock().free, 1);
    }
}
