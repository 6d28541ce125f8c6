//! What must survive, as a trait of verbs; the engines are in `crate::store`.

use crate::session::{Message, Position, SessionId};
use std::sync::Arc;

/// Writes are ordered by [`Position`]: when a position is committed, so is everything written before it. No verb waits.
pub trait Store: Send + Sync {
    /// The sessions must get the message: it is queued for each of them.
    fn enqueue(&self, message: &Arc<Message>, sessions: &[SessionId]) -> Position;

    /// The topic's retained message is this one, or none when its payload is empty.
    fn retain(&self, message: &Arc<Message>) -> Position;

    /// Up to where everything is as safe as `store.durability` says.
    fn committed(&self) -> Position;
}
