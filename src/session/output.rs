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
