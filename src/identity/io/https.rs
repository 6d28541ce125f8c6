//! The outbound client: https to a configured URL, to an address that was looked at, for an answer of bounded size and time (GWY-4).

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::client_tls::client_config;
use crate::address::Cidr;
use crate::identity::jwt::JwksConfig;
use crate::problem::Problem;

pub(super) struct Fetcher {
    url: Uri,
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    allowed: Vec<Cidr>,
    timeout: Duration,
    length_max: usize,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the host name cannot be resolved: {0}")]
    Resolve(std::io::Error),
    #[error("the host has no address that may be asked: {0:?} is private or local")]
    Forbidden(Vec<IpAddr>),
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    #[error("no HTTP answer: {0}")]
    Http(#[from] hyper::Error),
    /// Redirects end here too: they are never followed.
    #[error("the answer's status is {0}")]
    Status(StatusCode),
    #[error("the answer is broken or longer than {0} bytes")]
    Body(usize),
    #[error("no answer in time")]
    Late,
    #[error("the request cannot be made")]
    Request,
}

impl Fetcher {
    pub(super) fn new(url: &str, config: &JwksConfig, base: &Path) -> Result<Self, Problem> {
        let refused =
            |reason: &str| Problem::whole(base, format!("authentication.jwt.jwks.url: {reason}"));
        let url: Uri = url.parse().map_err(|_| refused("not a URL"))?;
        if url.scheme_str() != Some("https") {
            return Err(refused("only https is asked"));
        }
        if url
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(refused("a URL holds no user"));
        }
        let host = url.host().ok_or_else(|| refused("no host"))?.to_owned();
        let name = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let server_name =
            ServerName::try_from(name.clone()).map_err(|_| refused("not a host name"))?;
        Ok(Self {
            port: url.port_u16().unwrap_or(443),
            url,
            host: name,
            server_name,
            tls: client_config(config.ca.as_deref(), base)?,
            allowed: config.allow_addresses.clone(),
            timeout: config.timeout.get(),
            length_max: config.max_size.as_usize(),
        })
    }

    /// The body of a 200; nothing else is an answer.
    pub(super) async fn get(&self) -> Result<Vec<u8>, FetchError> {
        match tokio::time::timeout(self.timeout, self.get_without_deadline()).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::Late),
        }
    }

    async fn get_without_deadline(&self) -> Result<Vec<u8>, FetchError> {
        let socket = self.connect().await?;
        let connector = TlsConnector::from(self.tls.clone());
        let stream = connector
            .connect(self.server_name.clone(), socket)
            .await
            .map_err(FetchError::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(16 << 10)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await?;
        // The connection lives as long as this future: both end together.
        let exchange = async {
            let request = Request::get(self.url.path_and_query().map_or("/", |path| path.as_str()))
                .header(
                    hyper::header::HOST,
                    self.url
                        .authority()
                        .map_or("", |authority| authority.as_str()),
                )
                .header(hyper::header::ACCEPT, "application/json")
                .body(Empty::new())
                .map_err(|_| FetchError::Request)?;
            let answer = sender.send_request(request).await?;
            if answer.status() != StatusCode::OK {
                return Err(FetchError::Status(answer.status()));
            }
            let body = Limited::new(answer.into_body(), self.length_max)
                .collect()
                .await;
            let body = body.map_err(|_| FetchError::Body(self.length_max))?;
            Ok(body.to_bytes().to_vec())
        };
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // A connection that the server closed may have delivered its answer.
            _ = connection => exchange.await,
        }
    }

    /// Connects to the very address that was looked at: a second lookup could answer otherwise.
    async fn connect(&self) -> Result<TcpStream, FetchError> {
        let found: Vec<SocketAddr> = lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(FetchError::Resolve)?
            .collect();
        let mut failure = None;
        for address in found.iter().filter(|address| self.may_ask(address.ip())) {
            match TcpStream::connect(address).await {
                Ok(socket) => return Ok(socket),
                Err(error) => failure = Some(FetchError::Connect(error)),
            }
        }
        Err(failure
            .unwrap_or_else(|| FetchError::Forbidden(found.iter().map(SocketAddr::ip).collect())))
    }

    fn may_ask(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.iter().any(|range| range.contains(address))
    }
}

/// Whether an address lies in the open: everything that a machine or its neighbours keep for themselves is not. RFC 6890
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let special = (a, b, c) == (192, 0, 0) || a == 198 && (18..20).contains(&b);
            !(a == 0
                || a >= 224
                || ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || shared
                || special)
        }
        IpAddr::V6(ip) => {
            let [first, second, ..] = ip.segments();
            // Only global unicast; of that not 6to4 (2002::/16) nor Teredo (2001::/32), which carry an IPv4 address inside.
            (0x2000..0x4000).contains(&first) && first != 0x2002 && (first, second) != (0x2001, 0)
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn gwy_04_private_and_local_addresses_are_not_asked() {
        let public = [
            "192.0.2.1",
            "8.8.8.8",
            "2a00::1",
            "100.63.0.1",
            "198.20.0.1",
        ];
        let private = [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
        ];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in private {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn gwy_04_only_https_without_a_user() {
        let rows = [
            ("https://id.example/keys", true),
            ("https://id.example:8443/keys?a=b", true),
            ("https://[2a00::1]/keys", true),
            ("http://id.example/keys", false),
            ("ftp://id.example/keys", false),
            ("file:///etc/passwd", false),
            ("https://user@id.example/keys", false),
            ("/keys", false),
            ("", false),
        ];
        for (url, good) in rows {
            let made = Fetcher::new(url, &JwksConfig::default(), Path::new("."));
            assert_eq!(made.is_ok(), good, "{url}");
        }
    }
}
