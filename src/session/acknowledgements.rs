//! Acknowledgements that wait for their commit, and leave in the order the messages came. [MQTT-4.6.0-2] [MQTT-4.6.0-3]

use crate::mqtt::Packet;
use std::collections::VecDeque;

/// A place in the store's order of commits: what was written by then is on disk. 0 is always committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// At most Receive Maximum PUBACK and PUBREC, oldest first. Most clients never have one that waits: the list is made for the first.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "two of these are in every idle connection"
)]
pub struct Acknowledgements(Option<Box<VecDeque<(Position, Packet)>>>);

impl Acknowledgements {
    /// The packet, if it may leave at once: nothing older waits and its commit is done.
    pub fn push(
        &mut self,
        packet: Packet,
        position: Position,
        committed: Position,
    ) -> Option<Packet> {
        if self.len() == 0 && position <= committed {
            return Some(packet);
        }
        self.0.get_or_insert_default().push_back((position, packet));
        None
    }

    /// The next one whose commit is done.
    pub fn pop(&mut self, committed: Position) -> Option<Packet> {
        self.awaited().filter(|position| *position <= committed)?;
        let (_, packet) = self.0.as_mut()?.pop_front()?;
        Some(packet)
    }

    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// What the oldest one waits for.
    pub fn awaited(&self) -> Option<Position> {
        let (position, _) = self.0.as_ref()?.front()?;
        Some(*position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leave_in_order_and_only_once_committed() {
        let mut waiting = Acknowledgements::default();
        assert_eq!(
            waiting.push(Packet::PingReq, Position(0), Position(0)),
            Some(Packet::PingReq),
            "nothing to wait for"
        );
        assert_eq!(
            waiting.push(Packet::PingReq, Position(2), Position(1)),
            None
        );
        // Its own commit is done, but an older one waits. [MQTT-4.6.0-2]
        assert_eq!(
            waiting.push(Packet::PingResp, Position(1), Position(1)),
            None
        );
        assert_eq!(waiting.awaited(), Some(Position(2)));
        assert_eq!(waiting.pop(Position(1)), None);
        assert_eq!(waiting.pop(Position(2)), Some(Packet::PingReq));
        assert_eq!(waiting.pop(Position(2)), Some(Packet::PingResp));
        assert_eq!(waiting.pop(Position(9)), None);
    }
}
