//! What policy withheld on its way out, for those who ask why: the first of each session between two looks; all of them are counted.

use super::Router;
use super::handle::SessionHandle;
use crate::identity::Subject;
use crate::mqtt::{QoS, TopicName};
use crate::policy::Denial;
use crate::session::Message;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A refusal that nobody was told of when it was made.
#[derive(Debug)]
pub struct Withheld {
    /// Whose rights did not suffice: of a will its author's, of a delivery the subscriber's.
    pub subject: Arc<Subject>,
    pub of: Kind,
    pub topic: TopicName,
    pub qos: QoS,
    pub retain: bool,
    pub denial: Denial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A will, when it fell due.
    Will,
    /// A message, when it was to be delivered.
    Delivery,
}

/// Those since the last look.
#[derive(Debug)]
pub(super) struct List {
    /// Counts the looks, from 1: a session remembers the last one that it gave something to.
    look: AtomicU64,
    waiting: Mutex<Vec<Withheld>>,
}

impl Default for List {
    fn default() -> Self {
        Self {
            look: AtomicU64::new(1),
            waiting: Mutex::default(),
        }
    }
}

/// More between two looks are only counted.
const MOST: usize = 256;

impl Router {
    /// Everything that was withheld since it was last asked, as far as it is told.
    pub fn take_withheld(&self) -> Vec<Withheld> {
        self.withheld.look.fetch_add(1, Ordering::Relaxed);
        std::mem::take(&mut *self.withheld.waiting.lock())
    }

    pub(super) fn note_withheld(
        &self,
        handle: &SessionHandle,
        make: impl FnOnce() -> Option<Withheld>,
    ) {
        self.counters.withheld.add(1);
        let look = self.withheld.look.load(Ordering::Relaxed);
        if handle.told_withheld(look) {
            return;
        }
        let Some(withheld) = make() else {
            return;
        };
        let mut waiting = self.withheld.waiting.lock();
        if waiting.len() < MOST {
            waiting.push(withheld);
        }
    }

    /// The same for a message that `handle` may not have.
    pub(super) fn withhold_delivery(
        &self,
        handle: &SessionHandle,
        message: &Message,
        (qos, retain): (QoS, bool),
        share: Option<&str>,
    ) {
        self.note_withheld(handle, || {
            let rights = handle.rights();
            Some(Withheld {
                subject: Arc::clone(rights.subject()),
                of: Kind::Delivery,
                topic: message.topic().detached(),
                qos,
                retain,
                denial: rights.why_not_delivered(message.topic(), qos, retain, share)?,
            })
        });
    }
}
