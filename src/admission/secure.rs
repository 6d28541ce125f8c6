//! TLS and WebSocket end here: what follows reads plain MQTT bytes, from a peer whose certificate, if any, is good.

use super::door::{Door, Rules};
use super::refusal::Refused;
use super::screen::{Places, Screened};
use crate::identity::PresentedCertificate;
use crate::net::websocket::{self, OwnOrigin, WebSocketStream};
use crate::net::{PeerTls, Stream, TlsError, Transport};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream whose outer layers end here.
pub struct Secured {
    pub(super) door: Arc<Door>,
    pub(super) rules: Arc<Rules>,
    pub(super) stream: Stream,
    pub(super) ip: IpAddr,
    pub(super) peer_tls: Option<Box<PeerTls>>,
    pub(super) places: Places,
}

impl Screened {
    pub async fn secure(self) -> Result<Secured, Box<Refused>> {
        let Self {
            door,
            rules,
            stream,
            ip,
            places,
        } = self;
        let refused = |error: TlsError| Refused::stranger(error, &door, ip);
        let is_websocket = door.transport == Transport::Websocket;
        let (mut stream, peer_tls) = match (&rules.tls, is_websocket) {
            (None, false) => (Stream::from(stream), None),
            (Some(tls), false) => {
                let (stream, peer) = tls.accept(stream).await.map_err(refused)?;
                (Stream::from(stream), Some(peer))
            }
            (None, true) => {
                let stream = upgrade(stream, &door, &rules, ip).await?;
                (Stream::from(stream), None)
            }
            (Some(tls), true) => {
                let (stream, peer) = tls.accept(stream).await.map_err(refused)?;
                let stream = upgrade(stream, &door, &rules, ip).await?;
                (Stream::from(stream), Some(peer))
            }
        };
        stream.set_message_limit(rules.unauthenticated_packet_size);
        let peer_tls = peer_tls
            .filter(|peer| !peer.certificates.is_empty())
            .map(Box::new);
        Ok(Secured {
            stream,
            ip,
            peer_tls,
            places,
            rules,
            door,
        })
    }
}

impl Secured {
    /// What a login may look at.
    pub(super) fn presented(&self) -> Option<Arc<PresentedCertificate>> {
        let peer = self.peer_tls.as_ref()?;
        Some(Arc::new(PresentedCertificate {
            chain: peer.certificates.to_vec(),
        }))
    }
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    door: &Door,
    rules: &Rules,
    ip: IpAddr,
) -> Result<WebSocketStream<S>, Box<Refused>> {
    let own = OwnOrigin {
        secure: rules.tls.is_some(),
        ports: &rules.web_ports,
    };
    websocket::upgrade(stream, &rules.websocket, own)
        .await
        .map(|(stream, _request)| stream)
        .map_err(|error| Refused::stranger(error, door, ip))
}
