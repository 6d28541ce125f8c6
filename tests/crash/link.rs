//! One connection of a test client: packets by the crate's codec over a socket, nothing of a session.

use bytes::BytesMut;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wardgate::mqtt::{
    ConnAck, Connect, DecodeLimits, Packet, ProtocolVersion, decode, encode, frame_length,
};

pub struct Link {
    stream: TcpStream,
    version: ProtocolVersion,
    inbound: BytesMut,
    outbound: BytesMut,
}

const PATIENCE: Duration = Duration::from_secs(60);
const PACKET_MAX: usize = 1 << 20;

impl Link {
    pub async fn open(address: SocketAddr, connect: Connect) -> io::Result<(Self, ConnAck)> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut link = Self {
            stream,
            version: connect.protocol_version,
            inbound: BytesMut::new(),
            outbound: BytesMut::new(),
        };
        link.put(&Packet::Connect(Box::new(connect)));
        link.flush().await?;
        let answer = timeout(PATIENCE, link.next())
            .await
            .map_err(io::Error::other)??;
        let Packet::ConnAck(connack) = answer else {
            return Err(io::Error::other(format!("not a CONNACK: {answer:?}")));
        };
        if connack.reason_code.is_error() {
            return Err(io::Error::other(format!("refused: {connack:?}")));
        }
        Ok((link, *connack))
    }

    pub fn put(&mut self, packet: &Packet) {
        assert!(
            encode(packet, self.version, &mut self.outbound),
            "{packet:?}"
        );
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        if self.outbound.is_empty() {
            return Ok(());
        }
        timeout(PATIENCE, self.stream.write_all_buf(&mut self.outbound))
            .await
            .map_err(io::Error::other)?
    }

    /// Only the first part of what was put: the connection is about to end in the middle of a packet.
    pub async fn flush_half(&mut self) {
        let half = self.outbound.split_to(self.outbound.len() / 2);
        let _ = self.stream.write_all(&half).await;
    }

    /// A packet that has arrived whole.
    pub fn buffered(&mut self) -> io::Result<Option<Packet>> {
        let Some(length) =
            frame_length(&self.inbound, PACKET_MAX).map_err(|error| bad(error, &self.inbound))?
        else {
            return Ok(None);
        };
        if self.inbound.len() < length {
            return Ok(None);
        }
        let frame = self.inbound.split_to(length).freeze();
        let packet = decode(
            frame.clone(),
            Some(self.version),
            &DecodeLimits::of_client(),
        );
        packet.map(Some).map_err(|error| bad(error, &frame))
    }

    /// Waits for bytes; what arrived is kept when this is dropped.
    pub async fn fill(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.inbound).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    pub async fn next(&mut self) -> io::Result<Packet> {
        loop {
            if let Some(packet) = self.buffered()? {
                return Ok(packet);
            }
            self.fill().await?;
        }
    }

    /// Until the other side closes.
    pub async fn until_closed(mut self, patience: Duration) -> io::Result<()> {
        let closed = timeout(patience, async { while self.next().await.is_ok() {} }).await;
        closed.map_err(io::Error::other)
    }

    /// The next packet, when one comes in that time.
    pub async fn next_within(&mut self, patience: Duration) -> io::Result<Option<Packet>> {
        match timeout(patience, self.next()).await {
            Ok(packet) => packet.map(Some),
            Err(_) => Ok(None),
        }
    }
}

fn bad(error: wardgate::mqtt::DecodeError, bytes: &[u8]) -> io::Error {
    let start = bytes.get(..bytes.len().min(64)).unwrap_or_default();
    io::Error::new(ErrorKind::InvalidData, format!("{error}: {start:02x?}"))
}
