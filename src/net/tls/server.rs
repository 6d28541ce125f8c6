//! One listener's TLS, and what it learns of a peer.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Acceptor, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_certificates::{AnyOf, ClientCertificates};
use super::revocation::{RevocationList, unix};
use super::server_names::ServerNames;
use super::{CertificateRefused, TlsError, suites, tickets};
use crate::net::config::{TlsConfig, TlsVersion, Transport};
use crate::problem::Problem;

/// One listener, one generation: certificate, client CA, revocation lists and ticket keys as they were when it was built. A reload builds
/// another and leaves nothing of this one, so no ticket outlives the trust that it was given under (TRN-5).
pub struct ServerTls {
    /// One configuration but for whose order of suites stands.
    by_our_order: Arc<ServerConfig>,
    by_client_order: Arc<ServerConfig>,
    /// What the handshake asks, and a resumption again.
    certificates: Option<Arc<AnyOf>>,
    clients: Option<Arc<ClientCertificates>>,
    /// Let in by the handshake like those of `clients`, and told apart from them ever after.
    devices: Option<Arc<ClientCertificates>>,
}

/// What a handshake told about the peer.
#[derive(Clone, Debug)]
pub struct PeerTls {
    /// As the client sent it, leaf first; empty without a certificate. It was verified.
    pub certificates: Arc<[CertificateDer<'static>]>,
    pub resumed: bool,
    pub alpn: Option<Vec<u8>>,
    /// The host name that the client asked for.
    pub sni: Option<String>,
    pub version: TlsVersion,
    /// As the IANA writes it.
    pub suite: &'static str,
}

impl ServerTls {
    /// Every problem of every file at once; relative paths are relative to `base`.
    pub fn build(
        config: &TlsConfig,
        base: &Path,
        transport: Transport,
    ) -> Result<Self, Vec<Problem>> {
        Self::build_with_devices(config, None, base, transport)
    }

    /// Lets those in too whom `devices` would let in. They pass [`Self::judge_device`]; for [`Self::judge`] they are strangers, unless `config` believes them as well.
    pub fn build_with_devices(
        config: &TlsConfig,
        devices: Option<&TlsConfig>,
        base: &Path,
        transport: Transport,
    ) -> Result<Self, Vec<Problem>> {
        let provider = Arc::new(suites::provider());
        let names = ServerNames::load(config, base, &provider);
        let load = |config| {
            ClientCertificates::load(config, base, provider.signature_verification_algorithms)
        };
        let clients = load(config);
        let devices = devices.map_or(Ok(None), load);
        let mut problems = Vec::new();
        let lifetime = config.resumption.lifetime.get();
        if !(tickets::LIFETIME_MIN..=tickets::LIFETIME_MAX).contains(&lifetime) {
            problems.push(Problem::whole(
                base,
                "tls.resumption.lifetime must be from 1m to 12h; tickets: false switches resumption off",
            ));
        }
        let (names, clients, devices) = match (names, clients, devices) {
            (Ok(names), Ok(clients), Ok(devices)) if problems.is_empty() => {
                (names, clients.map(Arc::new), devices.map(Arc::new))
            }
            (names, clients, devices) => {
                let found = [names.err(), clients.err(), devices.err()];
                problems.extend(found.into_iter().flatten().flatten());
                return Err(problems);
            }
        };
        let all = clients.iter().chain(&devices).map(Arc::clone).collect();
        let certificates =
            AnyOf::new(all, provider.signature_verification_algorithms).map(Arc::new);
        let verifier = match &certificates {
            Some(certificates) => Arc::clone(certificates) as Arc<dyn ClientCertVerifier>,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let versions: &[&rustls::SupportedProtocolVersion] = match config.min_version {
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let failed = |error| vec![Problem::whole(base, format!("TLS: {error}"))];
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(failed)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(names));
        // A client that offers protocols and not ours is refused, as RFC 7301 section 3.2 says: it keeps a browser that was sent to the
        // wrong port from speaking HTTP to an MQTT listener. One that offers none is served.
        server.alpn_protocols = match transport {
            Transport::Tcp => vec![b"mqtt".to_vec()],
            Transport::Websocket => vec![b"http/1.1".to_vec()],
        };
        // Tickets hold the session themselves: no table of ours for strangers to fill.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        if config.resumption.tickets {
            server.ticketer = tickets::ticketer(lifetime).map_err(failed)?;
            // A device opens one connection at a time; each further ticket costs bytes and time.
            server.send_tls13_tickets = 1;
        } else {
            server.send_tls13_tickets = 0;
        }
        // 0-RTT data can be replayed by anybody who saw it.
        server.max_early_data_size = 0;
        let by_client_order = Arc::new(server.clone());
        server.ignore_client_order = true;
        Ok(Self {
            by_our_order: Arc::new(server),
            by_client_order,
            certificates,
            clients,
            devices,
        })
    }

    /// The handshake. A resumed session's certificates are judged again, as those of a new one were during the handshake.
    pub async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, PeerTls), TlsError> {
        let stream = self.handshake(stream).await?;
        let peer = PeerTls::of(stream.get_ref().1);
        if peer.resumed {
            self.judge_resumed(&peer, SystemTime::now())?;
        }
        Ok((stream, peer))
    }

    async fn handshake(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = match suites::by_client_order(start.client_hello().cipher_suites()) {
            true => &self.by_client_order,
            false => &self.by_our_order,
        };
        start.into_stream(Arc::clone(config)).await
    }

    /// As the handshake judged it.
    pub(super) fn judge_resumed(&self, peer: &PeerTls, now: SystemTime) -> Result<(), TlsError> {
        match (&self.certificates, peer.certificates.split_first()) {
            (Some(any), Some((leaf, rest))) => Ok(any.judge(leaf, rest, unix(now))?),
            (Some(any), None) if any.is_required() => Err(TlsError::NoCertificate),
            (None, Some(_)) => Err(CertificateRefused::NotAskedFor.into()),
            (_, None) => Ok(()),
        }
    }

    /// Whether the peer shows the certificate of a device, to those that were built to ask for one.
    pub fn judge_device(&self, peer: &PeerTls, now: SystemTime) -> Result<(), TlsError> {
        match (&self.devices, peer.certificates.split_first()) {
            (Some(devices), Some((leaf, rest))) => Ok(devices.judge(leaf, rest, unix(now))?),
            (_, None) => Err(TlsError::NoCertificate),
            (None, Some(_)) => Err(CertificateRefused::NotAskedFor.into()),
        }
    }

    /// Whether the peer would still be let in, with the certificates that it once showed: for live sessions when CA or revocation list change.
    pub fn judge(&self, peer: &PeerTls, now: SystemTime) -> Result<(), TlsError> {
        match (&self.clients, peer.certificates.split_first()) {
            (Some(clients), Some((leaf, rest))) => Ok(clients.judge(leaf, rest, unix(now))?),
            (Some(clients), None) if clients.is_required() => Err(TlsError::NoCertificate),
            (None, Some(_)) => Err(CertificateRefused::NotAskedFor.into()),
            (_, None) => Ok(()),
        }
    }

    /// The lists in force: their age is for the operator to watch.
    pub fn revocation_lists(&self) -> Vec<RevocationList> {
        self.clients
            .iter()
            .chain(&self.devices)
            .flat_map(|clients| clients.revocation_lists())
            .cloned()
            .collect()
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl PeerTls {
    fn of(connection: &ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        };
        Self {
            certificates: connection
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            sni: connection.server_name().map(str::to_owned),
            version,
            suite: connection
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("unknown"),
        }
    }
}
