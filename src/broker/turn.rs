//! One turn of a connection: read what is there, decode and act on every packet in it, then write once.

use super::connection::{Connection, Ending};
use super::worker::{Worker, count};
use crate::mqtt::{self, DecodeError, Packet};
use crate::router::Room;
use crate::session::{Delivery, Output, Position, Resent, Sent};
use bytes::{Bytes, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads in a turn before others get theirs.
const READS: usize = 4;
/// Bytes waiting for the peer over which no more messages are taken from the outbox.
const WRITE_BATCH: usize = 64 * 1024;
/// Bytes waiting for the peer over which it is not read any more: its acknowledgements would only add to them (TRN-14).
const OUTPUT_CAP: usize = 256 * 1024;
/// Deliveries taken under one lock.
const DELIVERIES: usize = 1024;

impl Connection {
    /// Goes on until the stream has nothing more and takes nothing more.
    pub(super) fn turn(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        now: Instant,
    ) -> Result<(), Ending> {
        if let Some(early) = self.early.take() {
            self.take_in(&early, worker, now)?;
        }
        for _ in 0..READS {
            let unread = self.output.len() >= OUTPUT_CAP;
            let read = self.read(cx, worker, now)?;
            let sent = self.drain(cx, worker, now)?;
            let room_was_short = self.output.len() >= WRITE_BATCH;
            self.flush(cx, now)
                .map_err(|error| Ending::Lost(Some(error)))?;
            let more_to_send =
                sent && (room_was_short || !self.replays.is_empty()) && self.output.is_empty();
            // Not read for its full output's sake, and there is room now: nothing else would wake us for what waits in the socket.
            let read_again = unread && self.output.len() < OUTPUT_CAP;
            if !read && !more_to_send && !read_again {
                return Ok(());
            }
        }
        // Its turn is over, its work is not.
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Reads once; whether anything came.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        now: Instant,
    ) -> Result<bool, Ending> {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        if self.output.len() >= OUTPUT_CAP
            || self.paused_until.is_some()
            || self.session.is_congested()
        {
            // What we leave unread is no silence: nobody can be blamed for it, and no timer is due for it. [MQTT-3.1.2-22]
            self.last_received = now;
            return Ok(false);
        }
        let mut scratch = std::mem::take(&mut worker.scratch);
        let mut buffer = ReadBuf::new(&mut scratch);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        let read = match polled {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(Ending::Lost(Some(error))),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Err(Ending::Lost(None)),
            Poll::Ready(Ok(())) => {
                self.last_received = now;
                worker.tally.bytes_received += u64::try_from(buffer.filled().len()).unwrap_or(0);
                self.take_in(buffer.filled(), worker, now).map(|()| true)
            }
        };
        worker.scratch = scratch;
        read
    }

    /// Acts on every whole packet; keeps the rest.
    fn take_in(
        &mut self,
        mut received: &[u8],
        worker: &mut Worker,
        now: Instant,
    ) -> Result<(), Ending> {
        while !self.partial.is_empty() && !received.is_empty() {
            match self.complete(&mut received)? {
                Some(frame) => self.on_frame(frame, worker, now)?,
                None => return Ok(()),
            }
        }
        while let Some(length) = self.frame_length(received)? {
            let Some((frame, rest)) = received.split_at_checked(length) else {
                break;
            };
            received = rest;
            let version = self.session.version();
            if let Some(packet) = mqtt::decode_short(frame) {
                self.on_packet(packet, worker, now)?;
            } else if let Some(publish) =
                mqtt::decode_again(frame, version, |name| self.rights.expected_topic(name))
            {
                self.on_packet(Packet::Publish(publish), worker, now)?;
            } else {
                // A copy of this packet alone: a small message that is kept must not keep the whole read alive.
                self.on_frame(Bytes::copy_from_slice(frame), worker, now)?;
            }
        }
        self.partial.extend_from_slice(received);
        Ok(())
    }

    /// Moves into the partial packet what is still missing of it, and no more.
    fn complete(&mut self, received: &mut &[u8]) -> Result<Option<Bytes>, Ending> {
        loop {
            let missing = match self.frame_length(&self.partial)? {
                Some(length) if length <= self.partial.len() => {
                    let frame = self.partial.split_to(length).freeze();
                    if self.partial.is_empty() {
                        self.partial = BytesMut::new();
                    }
                    return Ok(Some(frame));
                }
                Some(length) => length - self.partial.len(),
                None => 1,
            };
            let Some((part, rest)) = received.split_at_checked(missing.min(received.len())) else {
                return Ok(None);
            };
            if part.is_empty() {
                return Ok(None);
            }
            // Grows with what has come, never with what was announced (TRN-1).
            self.partial.extend_from_slice(part);
            *received = rest;
        }
    }

    fn frame_length(&self, bytes: &[u8]) -> Result<Option<usize>, Ending> {
        mqtt::frame_length(bytes, self.rules.maximum_packet_size).map_err(misbehaved)
    }

    fn on_frame(&mut self, frame: Bytes, worker: &mut Worker, now: Instant) -> Result<(), Ending> {
        let version = Some(self.session.version());
        let packet = mqtt::decode(frame, version, &self.rules.decode_limits).map_err(misbehaved)?;
        self.on_packet(packet, worker, now)
    }

    fn on_packet(
        &mut self,
        packet: Packet,
        worker: &mut Worker,
        now: Instant,
    ) -> Result<(), Ending> {
        worker.tally.packets_received += 1;
        let action = self
            .session
            .receive(packet, &mut self.output)
            .map_err(Ending::Misbehaved)?;
        self.act(action, worker, now)
    }

    /// Fills the output: released acknowledgements, what is sent again, retained messages, then what waits in the outbox. Whether anything was added.
    fn drain(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        now: Instant,
    ) -> Result<bool, Ending> {
        let before = self.output.len();
        let was_congested = self.session.is_congested();
        let committed = self.node.router.store().committed();
        if self.session.awaited().is_some() {
            self.session.release(committed, &mut self.output);
        }
        let is_behind = self.resend(worker, now)?;
        if !is_behind {
            self.replay(cx, worker, now);
        }
        let limit = if is_behind { 0 } else { DELIVERIES };
        let awaited = loop {
            let room = Room {
                window: self.session.window(),
                bytes: WRITE_BATCH.saturating_sub(self.output.len()),
                reach: self.session.reach(),
                committed,
            };
            worker.deliveries.clear();
            let taken = self
                .handle
                .outbox()
                .take(room, limit, &mut worker.deliveries, cx.waker());
            if let Some(wanted) = taken.wanted {
                self.node.router.fetch(&self.handle, wanted);
            }
            if let Some(end) = taken.end {
                return Err(Ending::Asked(end));
            }
            if taken.rejudge {
                self.rejudge()?;
                continue;
            }
            let all_sent = self.send_all(worker, now);
            // What was dropped left its room in the window to others that wait.
            if is_behind || (!taken.more && all_sent) || self.output.len() >= WRITE_BATCH {
                break taken.awaits;
            }
        };
        self.tell_sent();
        self.await_commit(cx, awaited, committed);
        // Not read for its answers' sake, and there is room now: nothing else would wake us for what waits in the socket.
        if was_congested && !self.session.is_congested() {
            cx.waker().wake_by_ref();
        }
        Ok(self.output.len() > before)
    }

    /// What an earlier connection sent and nobody acknowledged goes before anything new, judged by the rights of now (POL-3). Whether some of it is left.
    fn resend(&mut self, worker: &mut Worker, now: Instant) -> Result<bool, Ending> {
        while self.session.is_behind() && self.output.len() < WRITE_BATCH {
            let router = &self.node.router;
            let permits = |delivery: &Delivery| router.still_permits(&self.handle, delivery);
            match self.session.resend(permits, now, &mut self.output) {
                None => break,
                Some(Resent::Yes) => {}
                Some(Resent::Withheld(action)) => self.act(action, worker, now)?,
                Some(Resent::TooLarge(action)) => {
                    self.node.counters().too_large.add(1);
                    self.act(action, worker, now)?;
                }
            }
        }
        Ok(self.session.is_behind())
    }

    /// What was handed over is in flight after a crash too; the store learns it once a turn.
    pub(super) fn tell_sent(&mut self) {
        let sent = std::mem::take(&mut self.sent);
        if sent > 0 {
            self.node.router.store().sent(self.handle.id(), sent);
        }
    }

    /// Has the store wake us when the next thing that waits for the disk may go on.
    fn await_commit(&mut self, cx: &Context<'_>, delivery: Option<Position>, committed: Position) {
        let answers = self.session.awaited();
        let Some(position) = delivery.into_iter().chain(answers).min() else {
            return;
        };
        // Asked for before, and not yet come.
        if self
            .waits_for
            .is_some_and(|asked| asked <= position && asked > committed)
        {
            return;
        }
        self.waits_for = Some(position);
        if self.node.router.store().wait(position, cx.waker()) {
            cx.waker().wake_by_ref();
        }
    }

    /// Whether nothing was dropped on the way.
    fn send_all(&mut self, worker: &mut Worker, now: Instant) -> bool {
        let mut all_sent = true;
        let Worker {
            deliveries, tally, ..
        } = worker;
        for delivery in deliveries.drain(..) {
            let (qos, sequence) = (delivery.qos, delivery.sequence);
            let ticket = delivery.ticket.clone();
            let bytes = delivery.message.payload().len();
            match self.session.deliver(delivery, now, &mut self.output) {
                Sent::Yes => {
                    count(&mut tally.publish_sent, qos);
                    tally.published_bytes_sent += u64::try_from(bytes).unwrap_or(u64::MAX);
                    if ticket.is_some() {
                        self.sent = self.sent.max(sequence);
                    }
                    continue;
                }
                Sent::Expired => self.node.counters().expired_messages.add(1),
                Sent::TooLarge => self.node.counters().too_large.add(1),
                Sent::Unidentified => {
                    tracing::error!(sequence, "no packet identifier was free for a message");
                    continue;
                }
            }
            all_sent = false;
            if let Some(ticket) = ticket {
                self.node.router.store().settle(&ticket);
            }
        }
        all_sent
    }

    /// Retained messages for new subscriptions, as far as output and window have room.
    fn replay(&mut self, cx: &Context<'_>, worker: &mut Worker, now: Instant) {
        const STEP: usize = 64;
        while self.output.len() < WRITE_BATCH
            && let Some(replay) = self.replays.first_mut()
        {
            worker.deliveries.clear();
            // What a durable session has been given goes through its queue: not more than the window takes.
            let waiting = self.handle.outbox().load().0;
            let room = self.session.window().saturating_sub(waiting).min(STEP);
            let router = &self.node.router;
            let space = (room, self.session.reach());
            let goes_on = router.replay(&self.handle, replay, space, now, &mut worker.deliveries);
            let found = !worker.deliveries.is_empty();
            // What was dropped left its room: the next round uses it.
            let _all_sent = self.send_all(worker, now);
            if !goes_on {
                self.replays.remove(0);
            } else if !found {
                // Without room an acknowledgement wakes us; with room the search only paused, to let others have their turn.
                if room > 0 {
                    cx.waker().wake_by_ref();
                }
                return;
            }
        }
    }

    /// Writes until the output is empty or the peer takes no more.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<()> {
        while !self.output.is_empty() {
            match write(Pin::new(&mut self.stream), cx, &self.output) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.output.advance(written);
                    self.write_stalled_since = None;
                    self.node
                        .metrics
                        .bytes_sent
                        .add(u64::try_from(written).unwrap_or(0));
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.write_stalled_since.get_or_insert(now);
                    return Ok(());
                }
            }
        }
        // TLS and WebSocket keep bytes of their own.
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => {
                self.write_stalled_since = None;
                flushed
            }
            Poll::Pending => {
                self.write_stalled_since.get_or_insert(now);
                Ok(())
            }
        }
    }
}

fn write(
    stream: Pin<&mut crate::net::Stream>,
    cx: &mut Context<'_>,
    output: &Output,
) -> Poll<io::Result<usize>> {
    if output.is_one_piece() {
        return stream.poll_write(cx, output.first());
    }
    let mut slices = [IoSlice::new(&[]); 16];
    let filled = output.slices(&mut slices);
    stream.poll_write_vectored(cx, slices.get(..filled).unwrap_or_default())
}

fn misbehaved(error: DecodeError) -> Ending {
    Ending::Misbehaved(error.into())
}
