//! A connection that receives, acknowledges, and gives the publishers room again.

use super::clock::Clock;
use super::flow::Flow;
use super::histogram::Histogram;
use super::link::{Link, invalid};
use super::template::{Seen, Stamp};
use bytes::BufMut;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What all subscribers count together.
pub(super) struct Tally {
    pub(super) flows: Vec<Rc<Flow>>,
    /// A message before one of the same publisher that was sent earlier, or twice.
    pub(super) disordered: Cell<u64>,
    pub(super) latencies: RefCell<Histogram>,
    pub(super) is_timed: Cell<bool>,
    pub(super) clock: Clock,
}

/// A future that ends only when its connection breaks.
pub(super) struct Subscriber {
    link: Link,
    tally: Rc<Tally>,
    /// The last sequence number of each publisher.
    last: Vec<u32>,
    /// Publishers to wake after this batch.
    touched: Vec<usize>,
}

impl Subscriber {
    pub(super) fn new(link: Link, tally: Rc<Tally>) -> Self {
        Self {
            link,
            last: vec![0; tally.flows.len()],
            tally,
            touched: Vec::new(),
        }
    }
}

impl Future for Subscriber {
    type Output = io::Error;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Self {
            link,
            tally,
            last,
            touched,
        } = self.get_mut();
        let mut batch = Batch {
            tally,
            last,
            touched,
        };
        let outcome = link
            .poll_read(cx, |seen, out| match seen {
                Seen::Publish {
                    qos,
                    identifier,
                    stamp,
                } => {
                    // PUBACK or PUBREC
                    if qos > 0 {
                        let first = if qos == 1 { 0x40 } else { 0x50 };
                        let [high, low] = identifier;
                        out.put_slice(&[first, 2, high, low]);
                    }
                    batch.deliver(stamp)
                }
                Seen::Ack {
                    first: 0x62,
                    identifier: [high, low],
                    ..
                } => {
                    out.put_slice(&[0x70, 2, high, low]);
                    Ok(())
                }
                Seen::Ack { .. } | Seen::Other(_) => Err(invalid("not what a subscriber gets")),
            })
            .and_then(|()| link.poll_write(cx));
        for index in touched.drain(..) {
            if let Some(flow) = tally.flows.get(index) {
                flow.wake();
            }
        }
        match outcome {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }
}

struct Batch<'a> {
    tally: &'a Tally,
    last: &'a mut [u32],
    touched: &'a mut Vec<usize>,
}

impl Batch<'_> {
    fn deliver(&mut self, stamp: Stamp) -> io::Result<()> {
        let index = stamp.publisher as usize;
        let (Some(flow), Some(last)) = (self.tally.flows.get(index), self.last.get_mut(index))
        else {
            return Err(invalid("a message of somebody else"));
        };
        if stamp.sequence <= *last {
            self.tally.disordered.set(self.tally.disordered.get() + 1);
        }
        *last = stamp.sequence;
        if flow.deliver() {
            self.touched.push(index);
        }
        if self.tally.is_timed.get() {
            let latency = self
                .tally
                .clock
                .nanoseconds()
                .saturating_sub(stamp.nanoseconds);
            self.tally.latencies.borrow_mut().record(latency);
        }
        Ok(())
    }
}
