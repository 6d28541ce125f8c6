//! What the clients of a round share: the model, where the broker is, and what is to be done now.

use super::cast::Cast;
use super::model::Model;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::sleep;

pub struct World {
    pub model: RefCell<Model>,
    pub cast: Cast,
    pub phase: Cell<Phase>,
    pub address: Cell<Option<SocketAddr>>,
    /// No more than these messages before the next crash.
    pub sent_max: Cell<usize>,
    /// How long what must come about may take.
    pub patience: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everybody follows his habits.
    Traffic,
    /// The broker is gone, or about to be.
    Down,
    /// Everybody connects, finishes what he has begun, and takes what there is.
    Drain,
    Over,
}

impl World {
    pub fn new(model: Model, cast: Cast, patience: Duration) -> Rc<Self> {
        Rc::new(Self {
            model: RefCell::new(model),
            cast,
            phase: Cell::new(Phase::Down),
            address: Cell::new(None),
            sent_max: Cell::new(0),
            patience,
        })
    }

    pub fn is_up(&self) -> bool {
        matches!(self.phase.get(), Phase::Traffic | Phase::Drain)
    }

    pub fn drains(&self) -> bool {
        self.phase.get() == Phase::Drain
    }

    pub fn violation(&self, what: String) {
        self.model.borrow_mut().violation(what);
    }

    /// Until the phase that was in force is over, or that time.
    pub async fn pause(&self, milliseconds: u64) {
        let phase = self.phase.get();
        for _ in 0..milliseconds.div_ceil(4) {
            if self.phase.get() != phase {
                return;
            }
            sleep(Duration::from_millis(4)).await;
        }
    }
}
