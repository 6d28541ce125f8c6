//! One connection of the generator: reads what is there, writes once for all that was said.

use super::template::{Seen, see, split};
use crate::client::io::{Connection, Stream};
use crate::mqtt::ProtocolVersion;
use bytes::{Buf, BytesMut};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One read buffer for all connections: they share a thread.
pub(super) type Scratch = Rc<RefCell<Vec<u8>>>;

/// Room for a read beyond the longest packet.
const READ_ROOM: usize = 64 * 1024;

pub(super) struct Link {
    stream: Stream,
    version: ProtocolVersion,
    scratch: Scratch,
    /// The beginning of a packet whose end has not come.
    partial: Vec<u8>,
    pub(super) out: BytesMut,
    is_flushed: bool,
}

pub(super) fn scratch(longest_packet: usize) -> Scratch {
    Rc::new(RefCell::new(vec![0; longest_packet + READ_ROOM]))
}

impl Link {
    pub(super) fn new(connection: Connection, version: ProtocolVersion, scratch: Scratch) -> Self {
        let (stream, rest) = connection.into_stream();
        Self {
            stream,
            version,
            scratch,
            partial: rest.to_vec(),
            out: BytesMut::new(),
            is_flushed: true,
        }
    }

    /// Hands over every packet that is there; returns when there is nothing more, with a waker set.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut on_packet: impl FnMut(Seen, &mut BytesMut) -> io::Result<()>,
    ) -> io::Result<()> {
        let scratch = Rc::clone(&self.scratch);
        let mut scratch = scratch.borrow_mut();
        loop {
            let kept = self.partial.len();
            let Some((front, room)) = scratch.split_at_mut_checked(kept) else {
                return Err(invalid("a packet longer than any that was sent"));
            };
            let mut room = ReadBuf::new(room);
            match Pin::new(&mut self.stream).poll_read(cx, &mut room) {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
            let read = room.filled().len();
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            front.copy_from_slice(&self.partial);
            let mut bytes = scratch.get(..kept + read).unwrap_or_default();
            while let Some(frame) = split(&mut bytes) {
                let seen = see(frame, self.version).ok_or_else(|| invalid("a strange packet"))?;
                on_packet(seen, &mut self.out)?;
            }
            self.partial.clear();
            self.partial.extend_from_slice(bytes);
        }
    }

    /// Writes what is in `out` as far as the socket takes it.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.out.has_remaining() {
            self.is_flushed = false;
            match Pin::new(&mut self.stream).poll_write(cx, &self.out) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => self.out.advance(written?),
            }
        }
        if !self.is_flushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            flushed?;
            self.is_flushed = true;
        }
        Ok(())
    }
}

pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
