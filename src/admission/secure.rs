//! TLS and WebSocket end here: what follows reads plain MQTT bytes, from a peer whose certificate, if any, is good.

use super::door::{Door, Rules};
use super::refusal::Refused;
use super::screen::{Places, Screened};
use crate::identity::{Method, PresentedCertificate, cookie};
use crate::limits::Attempt;
use crate::net::websocket::{self, OwnOrigin, UpgradeRequest, WebSocketStream};
use crate::net::{PeerTls, Stream, TlsError, Transport};
use crate::secret::Secret;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream whose outer layers end here.
pub struct Secured {
    pub(super) door: Arc<Door>,
    pub(super) rules: Arc<Rules>,
    pub(super) stream: Stream,
    pub(super) ip: IpAddr,
    pub(super) peer_tls: Option<Box<PeerTls>>,
    pub(super) places: Places,
    /// The value of our cookie, from a page of an allowed origin (IDN-14).
    pub(super) cookie: Option<Arc<Secret>>,
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
        let refused = |error: TlsError| shaken(error, &door, ip);
        let is_websocket = rules.transport == Transport::Websocket;
        let mut cookie = None;
        let (mut stream, peer_tls) = match (&rules.tls, is_websocket) {
            (None, false) => (Stream::from(stream), None),
            (Some(tls), false) => {
                let (stream, peer) = tls.accept(stream).await.map_err(refused)?;
                (Stream::from(stream), Some(peer))
            }
            (None, true) => {
                // `__Host-`: never without TLS.
                let (stream, _) = upgrade(stream, &door, &rules, ip).await?;
                (Stream::from(stream), None)
            }
            (Some(tls), true) => {
                let (stream, peer) = tls.accept(stream).await.map_err(refused)?;
                let (stream, request) = upgrade(stream, &door, &rules, ip).await?;
                cookie = ours(request);
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
            cookie,
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

/// A certificate that is not believed is a failed login: its address is counted, and banned for certificates in the end.
fn shaken(error: TlsError, door: &Door, ip: IpAddr) -> Box<Refused> {
    let attempt = Attempt {
        ip,
        method: Method::CERTIFICATE,
        username: None,
    };
    let lockout = match &error {
        TlsError::Certificate(refused) if refused.is_failure_of_client() => {
            door.limits
                .failed(&attempt, Instant::now(), SystemTime::now())
        }
        TlsError::Certificate(_)
        | TlsError::Ended(_)
        | TlsError::NoCertificate
        | TlsError::Handshake(_) => None,
    };
    let mut refused = Refused::stranger(error, door, ip);
    refused.lockout = lockout;
    refused
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    door: &Door,
    rules: &Rules,
    ip: IpAddr,
) -> Result<(WebSocketStream<S>, UpgradeRequest), Box<Refused>> {
    let own = OwnOrigin {
        secure: rules.tls.is_some(),
        ports: &rules.web_ports,
    };
    websocket::upgrade(stream, &rules.websocket, own)
        .await
        .map_err(|error| Refused::stranger(error, door, ip))
}

fn ours(request: UpgradeRequest) -> Option<Arc<Secret>> {
    let field = request.cookie?;
    let value = cookie::value(field.expose())?;
    Some(Arc::new(Secret::new(value.to_vec())))
}
