//! A connection that publishes as fast as the window, or the pacer, lets it.

use super::clock::Clock;
use super::flow::Flow;
use super::link::{Link, invalid};
use super::pacer::Pace;
use super::template::{Seen, Stamp, Template};
use crate::mqtt::QoS;
use bytes::BufMut;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Where each message goes.
#[derive(Debug)]
pub(super) enum Topics {
    One(Vec<u8>),
    /// `PREFIXnnnnnnSUFFIX`, the number drawn for each message.
    Drawn {
        prefix: String,
        suffix: String,
        below: u32,
        state: u64,
    },
}

/// Digits of a drawn number.
pub(super) const DIGITS: usize = 6;

/// A future that ends only when its connection breaks.
pub(super) struct Publisher {
    pub(super) link: Link,
    pub(super) index: u32,
    pub(super) flow: Rc<Flow>,
    pub(super) template: Template,
    pub(super) topics: Topics,
    pub(super) qos: QoS,
    /// How many may be unacknowledged: the server's Receive Maximum.
    pub(super) receive_maximum: u64,
    pub(super) acknowledged: u64,
    pub(super) identifier: u16,
    /// Messages that are due by the clock; without it the window alone counts.
    pub(super) pace: Option<Arc<Pace>>,
    pub(super) clock: Clock,
    pub(super) is_stopped: Rc<Cell<bool>>,
}

impl Future for Publisher {
    type Output = io::Error;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Error> {
        let this = self.get_mut();
        match this.read(cx).and_then(|()| this.write(cx)) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }
}

impl Publisher {
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let acknowledged = &mut self.acknowledged;
        self.link.poll_read(cx, |seen, out| match seen {
            Seen::Ack { failed: true, .. } => Err(invalid("a message was refused")),
            // PUBREC asks for PUBREL.
            Seen::Ack {
                first: 0x50,
                identifier: [high, low],
                ..
            } => {
                out.put_slice(&[0x62, 2, high, low]);
                Ok(())
            }
            // PUBACK, PUBCOMP
            Seen::Ack {
                first: 0x40 | 0x70, ..
            } => {
                *acknowledged += 1;
                Ok(())
            }
            Seen::Ack { .. } | Seen::Publish { .. } | Seen::Other(_) => {
                Err(invalid("not what a publisher gets"))
            }
        })
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.flow.wait(cx.waker());
        for _ in 0..self.room(cx) {
            self.identifier = self.identifier.checked_add(1).unwrap_or(1);
            let stamp = Stamp {
                publisher: self.index,
                // From 1 on, so that a subscriber can begin at 0.
                sequence: (self.flow.sent() as u32).wrapping_add(1),
                nanoseconds: if self.pace.is_some() {
                    self.clock.nanoseconds()
                } else {
                    0
                },
            };
            let topic = self.topics.next();
            self.template
                .write(&topic, self.identifier, stamp, &mut self.link.out);
            self.flow.send(1);
        }
        self.link.poll_write(cx)
    }

    fn room(&self, cx: &Context<'_>) -> u64 {
        if self.is_stopped.get() {
            return 0;
        }
        let sent = self.flow.sent();
        let mut room = match &self.pace {
            Some(pace) => pace.due(cx.waker()).saturating_sub(sent),
            None => self.flow.room(),
        };
        if self.qos != QoS::AtMostOnce {
            room = room.min(
                self.receive_maximum
                    .saturating_sub(sent - self.acknowledged),
            );
        }
        room
    }
}

impl Topics {
    pub(super) fn length(&self) -> usize {
        match self {
            Self::One(topic) => topic.len(),
            Self::Drawn { prefix, suffix, .. } => prefix.len() + DIGITS + suffix.len(),
        }
    }

    fn next(&mut self) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Self::One(topic) => topic.as_slice().into(),
            Self::Drawn {
                prefix,
                suffix,
                below,
                state,
            } => {
                // xorshift64: any spread will do, and the same one each time.
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                let number = *state % u64::from(*below);
                format!("{prefix}{number:0DIGITS$}{suffix}")
                    .into_bytes()
                    .into()
            }
        }
    }
}
