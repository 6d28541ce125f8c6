//! Bytes for the peer, gathered so that they leave in one write: small packets are copied together, large payloads are shared.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Payloads from this size on are written from where they lie.
const SHARED_FROM: usize = 8 * 1024;

/// An outgoing byte queue; whoever fills it keeps it under a bound by [`Output::len`].
#[derive(Debug, Default)]
pub struct Output {
    /// Whole pieces, oldest first; they go before `tail`.
    segments: VecDeque<Bytes>,
    segments_length: usize,
    tail: BytesMut,
    packets: u64,
}

impl Output {
    pub fn len(&self) -> usize {
        self.segments_length + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.tail.is_empty()
    }

    /// One more packet was added.
    pub fn count_packet(&mut self) {
        self.packets += 1;
    }

    /// Packets added since it was last asked.
    pub fn take_packets(&mut self) -> u64 {
        std::mem::take(&mut self.packets)
    }

    /// Where small things are written.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Adds a payload after what was written so far.
    pub fn append(&mut self, payload: &Bytes) {
        if payload.len() < SHARED_FROM {
            self.tail.extend_from_slice(payload);
            return;
        }
        let head = self.tail.split().freeze();
        self.segments_length += head.len() + payload.len();
        if !head.is_empty() {
            self.segments.push_back(head);
        }
        self.segments.push_back(payload.clone());
    }

    /// Fills `slices` with the next pieces, and tells how many.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self
            .segments
            .iter()
            .map(Bytes::as_ref)
            .chain((!self.tail.is_empty()).then_some(self.tail.as_ref()));
        let mut filled = 0;
        for (slot, piece) in slices.iter_mut().zip(pieces) {
            *slot = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// The next piece alone.
    pub fn first(&self) -> &[u8] {
        self.segments
            .front()
            .map_or(self.tail.as_ref(), Bytes::as_ref)
    }

    pub fn is_one_piece(&self) -> bool {
        self.segments.is_empty()
    }

    /// Forgets `count` bytes that were written.
    pub fn advance(&mut self, mut count: usize) {
        while let Some(segment) = self.segments.front_mut() {
            let step = count.min(segment.len());
            segment.advance(step);
            self.segments_length -= step;
            count -= step;
            if !segment.is_empty() {
                return;
            }
            self.segments.pop_front();
        }
        self.tail.advance(count.min(self.tail.len()));
        if self.tail.is_empty() {
            self.tail.clear();
        }
    }

    /// Lends the memory of an idle connection to the next one, and takes it from the last.
    pub fn swap_buffer(&mut self, other: &mut BytesMut) {
        if self.tail.is_empty() {
            std::mem::swap(&mut self.tail, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_pieces_leave_in_the_order_they_came_however_they_are_written() {
        for step in [1, 7, 4096, usize::MAX] {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for length in [3, SHARED_FROM, 0, 5, SHARED_FROM + 1, 9] {
                let payload = Bytes::from(vec![u8::try_from(length % 251).unwrap_or(0); length]);
                output.buffer().extend_from_slice(b"head");
                output.append(&payload);
                expected.extend_from_slice(b"head");
                expected.extend_from_slice(&payload);
            }
            assert_eq!(output.len(), expected.len());
            let mut written = Vec::new();
            while !output.is_empty() {
                let first = output.first();
                let count = first.len().min(step);
                written.extend_from_slice(first.get(..count).unwrap_or_default());
                output.advance(count);
            }
            assert!(written == expected, "step {step}");
            assert_eq!(output.len(), 0);
        }
    }
}
