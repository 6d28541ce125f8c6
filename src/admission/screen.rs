//! Before any byte is read: deny list, bans, rates and numbers of connections, by address.

use super::door::{Door, Rules};
use super::refusal::Refused;
use crate::limits::{ConnectionSlot, Handshake};
use crate::net::listener::Slot;
use crate::net::{Accepted, proxy_protocol};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;

/// A peer whose address may connect.
pub struct Screened {
    pub(super) door: Arc<Door>,
    pub(super) rules: Arc<Rules>,
    pub(super) stream: TcpStream,
    pub(super) ip: IpAddr,
    pub(super) places: Places,
}

/// What a connection occupies in the counts, from accept to its end.
pub struct Places {
    _descriptor: Slot,
    _connection: ConnectionSlot,
    _listener: crate::limits::Slot,
}

/// A connection through a proxy that has yet to say for whom.
pub struct Proxied(Accepted);

impl Screened {
    /// Judges the address of the socket. The handshake's place is taken here too: from now on the peer is under the deadline.
    pub fn new(accepted: Accepted, door: &Arc<Door>) -> Result<(Self, Handshake), Box<Refused>> {
        let Accepted { stream, peer, slot } = accepted;
        Self::judge(stream, slot, peer, door)
    }

    fn judge(
        stream: TcpStream,
        slot: Slot,
        peer: SocketAddr,
        door: &Arc<Door>,
    ) -> Result<(Self, Handshake), Box<Refused>> {
        let ip = peer.ip().to_canonical();
        let now = Instant::now();
        let refused = |refusal| Refused::stranger(refusal, door, ip);
        let rules = door.rules.load_full();
        let admission = door
            .limits
            .screen(ip, &rules.methods, now)
            .map_err(refused)?;
        let listener = door
            .connections
            .claim(rules.maximum_connections)
            .ok_or_else(|| refused(crate::limits::Refusal::ListenerConnections))?;
        let handshake = door
            .limits
            .begin_handshake(ip, admission.is_known, now)
            .map_err(refused)?;
        let places = Places {
            _descriptor: slot,
            _connection: admission.slot,
            _listener: listener,
        };
        Ok((
            Self {
                door: Arc::clone(door),
                rules,
                stream,
                ip,
                places,
            },
            handshake,
        ))
    }

    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }
}

impl Proxied {
    /// Takes a handshake's place in the proxy's name until the header has come. Whoever can connect here could be the proxy: until
    /// then nobody is known, and the share of those who are stays theirs.
    pub fn new(accepted: Accepted, door: &Arc<Door>) -> Result<(Self, Handshake), Box<Refused>> {
        let ip = accepted.peer.ip().to_canonical();
        let handshake = door
            .limits
            .begin_handshake(ip, false, Instant::now())
            .map_err(|refusal| Refused::stranger(refusal, door, ip))?;
        Ok((Self(accepted), handshake))
    }

    /// Of the socket.
    pub fn ip(&self) -> IpAddr {
        self.0.peer.ip().to_canonical()
    }

    /// Reads the header that a trusted proxy must send; policy and limits see the peer behind it (TRN-12, TRN-13).
    pub async fn screen(self, door: &Arc<Door>) -> Result<(Screened, Handshake), Box<Refused>> {
        let ip = self.ip();
        let Accepted {
            mut stream,
            mut peer,
            slot,
        } = self.0;
        if let Some(proxy) = &door.rules.load_full().proxy_protocol {
            peer = proxy_protocol::read(&mut stream, proxy, peer)
                .await
                .map_err(|error| Refused::stranger(error, door, ip))?;
        }
        Screened::judge(stream, slot, peer, door)
    }
}
