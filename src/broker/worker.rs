//! Buffers that belong to a thread, not to a connection: an idle connection holds none.

use crate::mqtt::QoS;
use crate::router::Wakes;
use crate::session::{Delivery, Output};
use crate::telemetry::Metrics;
use bytes::BytesMut;
use std::cell::RefCell;

/// Lent to one connection for one turn.
pub struct Worker {
    /// What is read lands here and is decoded in place.
    pub scratch: Vec<u8>,
    pub deliveries: Vec<Delivery>,
    pub wakes: Wakes,
    /// Counted here first: a message costs no shared memory for its metrics.
    pub tally: Tally,
    output: BytesMut,
}

/// What one turn did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub packets_received: u64,
    pub packets_sent: u64,
    /// By QoS.
    pub publish_received: [u64; 3],
    pub publish_sent: [u64; 3],
    /// Payloads alone.
    pub published_bytes_received: u64,
    pub published_bytes_sent: u64,
}

impl Tally {
    fn settle(&mut self, metrics: &Metrics) {
        let done = std::mem::take(self);
        metrics.bytes_received.add(done.bytes_received);
        metrics.bytes_sent.add(done.bytes_sent);
        metrics.packets_received.add(done.packets_received);
        metrics.packets_sent.add(done.packets_sent);
        metrics
            .published_bytes_received
            .add(done.published_bytes_received);
        metrics.published_bytes_sent.add(done.published_bytes_sent);
        for (counter, count) in metrics.publish_received.iter().zip(done.publish_received) {
            counter.add(count);
        }
        for (counter, count) in metrics.publish_sent.iter().zip(done.publish_sent) {
            counter.add(count);
        }
    }
}

/// One more of this QoS.
pub fn count(by_qos: &mut [u64; 3], qos: QoS) {
    if let Some(count) = by_qos.get_mut(usize::from(qos.bits())) {
        *count += 1;
    }
}

const SCRATCH: usize = 64 * 1024;

thread_local! {
    pub static WORKER: RefCell<Worker> = RefCell::new(Worker { scratch: vec![0; SCRATCH], deliveries: Vec::new(), wakes: Wakes::default(), tally: Tally::default(), output: BytesMut::new() });
}

impl Worker {
    /// Gives an output without memory the thread's.
    pub fn lend(&mut self, output: &mut Output) {
        // Left or lost by a turn that panicked, if at all.
        self.deliveries.clear();
        self.scratch.resize(SCRATCH, 0);
        if output.is_empty() {
            output.swap_buffer(&mut self.output);
        }
    }

    pub fn take_back(&mut self, output: &mut Output, metrics: &Metrics) {
        self.tally.packets_sent += output.take_packets();
        self.tally.settle(metrics);
        if output.is_empty() {
            output.swap_buffer(&mut self.output);
        }
    }
}
