//! A WebSocket connection as a stream of bytes: frames are gone on reading and made on writing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::deframe::{Deframer, End, Feedback};

/// Every write becomes one binary frame, so a writer gathers what belongs together before it writes. What a write has begun must go on:
/// bytes of a write that was not finished are given again before others, as `write_all` and `write_all_buf` do.
///
/// A frame that breaks the rules ends reading with an error of kind `InvalidData` that holds a `FrameError`; the peer's Close ends it like
/// the end of a TCP stream.
#[derive(Debug)]
pub struct WebSocketStream<S> {
    io: S,
    deframer: Deframer,
    /// What came in one read with the upgrade request.
    early: Vec<u8>,
    outgoing: Outgoing,
    /// The writer was told to wait: its task is the one to be woken when the socket takes bytes again.
    writer_waits: bool,
    end: Option<End>,
}

/// What is on its way out besides the payload, which stays with the writer.
#[derive(Debug, Default)]
struct Outgoing {
    /// What is left of the header of the data frame begun.
    header: SmallVec<[u8; 10]>,
    /// Payload of the data frame begun that was not given yet.
    payload_left: u64,
    /// What is left of a control frame begun.
    control: Vec<u8>,
    ping: Option<Vec<u8>>,
    close: Close,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Close {
    #[default]
    Open,
    Due(u16),
    Sent,
}

impl<S> WebSocketStream<S> {
    pub(super) fn new(io: S, early: Vec<u8>) -> Self {
        Self {
            io,
            deframer: Deframer::default(),
            early,
            outgoing: Outgoing::default(),
            writer_waits: false,
            end: None,
        }
    }

    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// See `Stream::set_message_limit`.
    pub fn set_message_limit(&mut self, bytes: usize) {
        self.deframer.set_message_limit(bytes);
    }

    fn heed(&mut self, feedback: Feedback) {
        if feedback.ping.is_some() {
            self.outgoing.ping = feedback.ping;
        }
        let Some(end) = feedback.end else { return };
        self.end = Some(end);
        if self.outgoing.close == Close::Open {
            self.outgoing.close = Close::Due(match end {
                End::Closed(code) => code,
                End::Failed(error) => error.close_code(),
            });
        }
    }
}

impl Outgoing {
    fn is_between_frames(&self) -> bool {
        self.header.is_empty() && self.payload_left == 0
    }

    fn has_control(&self) -> bool {
        !self.control.is_empty() || self.ping.is_some() || matches!(self.close, Close::Due(_))
    }

    /// Makes the next control frame, Pong before Close.
    fn next_control(&mut self) {
        if let Some(payload) = self.ping.take() {
            self.control = frame(OpCode::Control(Control::Pong), &payload);
        } else if let Close::Due(code) = self.close {
            self.control = frame(OpCode::Control(Control::Close), &code.to_be_bytes());
            self.close = Close::Sent;
        }
    }

    fn begin_frame(&mut self, length: u64) {
        self.header = header(OpCode::Data(Data::Binary), length);
        self.payload_left = length;
    }

    /// `written` bytes of header and payload are out: how many of them were payload.
    fn advance(&mut self, written: usize) -> usize {
        let of_header = written.min(self.header.len());
        self.header.drain(..of_header);
        let of_payload = written.saturating_sub(of_header);
        self.payload_left = self.payload_left.saturating_sub(of_payload as u64);
        of_payload
    }
}

fn header(opcode: OpCode, length: u64) -> SmallVec<[u8; 10]> {
    let header = FrameHeader {
        opcode,
        ..FrameHeader::default()
    };
    let mut bytes = [0; 10];
    // Without a mask ten bytes are enough for any length.
    let _ = header.format(length, &mut bytes.as_mut_slice());
    SmallVec::from_slice(bytes.get(..header.len(length)).unwrap_or_default())
}

fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(opcode, payload.len() as u64).into_vec();
    bytes.extend_from_slice(payload);
    bytes
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// Sends Pong and Close, which may stand between two data frames only.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.outgoing.is_between_frames() {
            return Poll::Ready(Ok(()));
        }
        while self.outgoing.has_control() {
            if self.outgoing.control.is_empty() {
                self.outgoing.next_control();
            }
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.outgoing.control))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing
                .control
                .drain(..written.min(self.outgoing.control.len()));
        }
        // An idle connection keeps no buffer.
        self.outgoing.control = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// Answers from the reading side, as far as the socket takes it at once. A waiting writer does it when it is woken, and must stay the
    /// one to be woken.
    fn answer_from_reader(&mut self, cx: &mut Context<'_>) {
        if self.writer_waits || !self.outgoing.has_control() {
            return;
        }
        if let Poll::Ready(Ok(())) = self.poll_control(cx) {
            // An error here shows at the next write.
            let _ = Pin::new(&mut self.io).poll_flush(cx);
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = bufs
            .iter()
            .fold(0_u64, |sum, buf| sum.saturating_add(buf.len() as u64));
        if total == 0 {
            return Poll::Ready(Ok(0));
        }
        if self.outgoing.is_between_frames() {
            ready!(self.poll_control(cx))?;
            if self.outgoing.close != Close::Open {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.outgoing.begin_frame(total);
        }
        loop {
            let written = {
                let mut slices: SmallVec<[IoSlice<'_>; 16]> = SmallVec::new();
                slices.push(IoSlice::new(&self.outgoing.header));
                let mut left = usize::try_from(self.outgoing.payload_left).unwrap_or(usize::MAX);
                for buf in bufs {
                    let part = buf.get(..left.min(buf.len())).unwrap_or_default();
                    left = left.saturating_sub(part.len());
                    slices.push(IoSlice::new(part));
                }
                slices.retain(|slice| !slice.is_empty());
                ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let payload = self.outgoing.advance(written);
            if payload > 0 {
                return Poll::Ready(Ok(payload));
            }
        }
    }

    fn noting_wait<T>(&mut self, poll: Poll<T>) -> Poll<T> {
        self.writer_waits = poll.is_pending();
        poll
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match this.end {
                Some(End::Closed(_)) => return Poll::Ready(Ok(())),
                Some(End::Failed(error)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
                None => {}
            }
            // Frames are read to where their payload is wanted and unmasked there.
            let before = buf.filled().len();
            if this.early.is_empty() {
                ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
                if buf.filled().len() == before {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let taken = this.early.len().min(buf.remaining());
                let rest = this.early.split_off(taken);
                buf.put_slice(&this.early);
                this.early = rest;
            }
            let frames = buf.filled_mut().get_mut(before..).unwrap_or_default();
            let feedback = this.deframer.advance(frames, Instant::now());
            let payload = feedback.payload;
            buf.set_filled(before.saturating_add(payload));
            this.heed(feedback);
            this.answer_from_reader(cx);
            if payload > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = this.poll_frame(cx, bufs);
        this.noting_wait(poll)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut poll = this.poll_control(cx);
        if let Poll::Ready(Ok(())) = poll {
            poll = Pin::new(&mut this.io).poll_flush(cx);
        }
        this.noting_wait(poll)
    }

    /// Close, then the end of the stream below. The peer's own Close is not waited for: `net::finish` reads it away.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.outgoing.close == Close::Open {
            this.outgoing.close = Close::Due(1000);
        }
        let mut poll = this.poll_control(cx);
        if let Poll::Ready(Ok(())) = poll {
            poll = Pin::new(&mut this.io).poll_flush(cx);
        }
        if let Poll::Ready(Ok(())) = poll {
            poll = Pin::new(&mut this.io).poll_shutdown(cx);
        }
        this.noting_wait(poll)
    }
}

#[cfg(test)]
mod tests;
