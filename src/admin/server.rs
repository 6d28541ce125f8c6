//! The listener: TLS, bounds on everything a stranger sends, and one route for each request.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method as HttpMethod, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::answer::{self, Answer, Outcome};
use super::call::{Call, Query, Visit};
use super::config::AdminConfig;
use super::est;
use super::node::Node;
use super::problem::Problem;
use super::route::{Demand, Handler, Route};
use super::routes::ROUTES;
use super::tokens::Tokens;
use crate::audit::{Event, Kind, Outcome as Audited};
use crate::identity::io::logins::Logins;
use crate::identity::{Credentials, Identity, Method, PresentedCertificate, Repute};
use crate::limits::Attempt;
use crate::mqtt::Text;
use crate::net::{PeerTls, ServerTls};

/// The admin listener of a node.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

pub(super) struct Shared {
    pub(super) node: Arc<dyn Node>,
    pub(super) config: Arc<ArcSwap<AdminConfig>>,
    pub(super) tokens: Tokens,
    pub(super) logins: Arc<Logins>,
    /// How many read the audit trail at once: it may be long.
    pub(super) readers: Semaphore,
    /// One export of the store at a time.
    pub(super) exports: Arc<Semaphore>,
    /// One certificate at a time is signed and written down.
    pub(super) signing: Arc<Semaphore>,
    /// Paths of the configuration are relative to it.
    pub(super) base: PathBuf,
    tls: Arc<ArcSwap<ServerTls>>,
    connections: Arc<Semaphore>,
}

/// The peer of one connection.
struct Peer {
    ip: IpAddr,
    tls: PeerTls,
    /// Whom its certificate names.
    identity: Option<Identity>,
}

impl Server {
    /// `config` and `tls` may be replaced while serving: new connections take the new one, and certificates of old ones are judged by it.
    pub fn new(
        node: Arc<dyn Node>,
        config: Arc<ArcSwap<AdminConfig>>,
        tokens: Tokens,
        logins: Arc<Logins>,
        tls: Arc<ArcSwap<ServerTls>>,
        base: PathBuf,
    ) -> Self {
        Self(Arc::new(Shared {
            node,
            config,
            tokens,
            logins,
            readers: Semaphore::new(READERS),
            exports: Arc::new(Semaphore::new(1)),
            signing: Arc::new(Semaphore::new(1)),
            base,
            tls,
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        }))
    }

    /// Serves until dropped.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            let (stream, peer) = accept(&listener).await;
            let ip = peer.ip().to_canonical();
            let shared = Arc::clone(&self.0);
            // Lists and bans are asked; the rates of clients are not, so that a storm of them does not shut the operator out.
            if shared
                .node
                .limits()
                .judge_address(ip, Instant::now())
                .is_err()
            {
                continue;
            }
            let Ok(slot) = Arc::clone(&shared.connections).try_acquire_owned() else {
                continue;
            };
            tokio::spawn(async move {
                shared.converse(stream, ip).await;
                drop(slot);
            });
        }
    }

    /// `/metrics` alone, without TLS and credentials, on a bind of its own.
    pub async fn serve_metrics(self, listener: TcpListener) {
        loop {
            let (stream, _) = accept(&listener).await;
            let shared = Arc::clone(&self.0);
            let Ok(slot) = Arc::clone(&shared.connections).try_acquire_owned() else {
                continue;
            };
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let answer = match (request.method(), request.uri().path()) {
                        (&HttpMethod::GET, "/metrics") => {
                            answer::document(StatusCode::OK, METRICS, shared.node.metrics())
                        }
                        (_, _) => Problem::NotFound("only /metrics is here").into(),
                    };
                    async move { Ok::<_, Infallible>(answer) }
                });
                let _ = http().serve_connection(TokioIo::new(stream), service).await;
                drop(slot);
            });
        }
    }
}

impl Shared {
    async fn converse(self: &Arc<Self>, stream: TcpStream, ip: IpAddr) {
        let tls = self.tls.load_full();
        let reason = match timeout(PATIENCE, tls.accept(stream)).await {
            Ok(Ok((stream, tls))) => return self.serve(stream, tls, ip).await,
            Ok(Err(error)) => format!("TLS: {error}"),
            Err(_) => "the TLS handshake took too long".to_owned(),
        };
        // Scanners end here, and certificates that are not believed: not believed anyway, whether or not it could be written down.
        let _ = self.node.record(Event {
            kind: Kind::Screen,
            outcome: Audited::Refused,
            ip: Some(ip),
            listener: Some("admin".into()),
            reason,
            ..Event::default()
        });
    }

    async fn serve(self: &Arc<Self>, stream: TlsStream<TcpStream>, tls: PeerTls, ip: IpAddr) {
        let identity = match self.tls.load().judge(&tls, SystemTime::now()) {
            Ok(()) => self.identify_certificate(&tls, ip).await,
            // A device, let in for its enrolment: here it is nobody.
            Err(_) => None,
        };
        let peer = Arc::new(Peer { ip, tls, identity });
        let service = service_fn(|request| {
            let (shared, peer) = (Arc::clone(self), Arc::clone(&peer));
            async move {
                let answer = shared.answer(request, &peer).await;
                Ok::<_, Infallible>(answer.unwrap_or_else(Answer::from))
            }
        });
        // A peer that breaks off is nobody's trouble.
        let _ = http().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn identify_certificate(&self, tls: &PeerTls, ip: IpAddr) -> Option<Identity> {
        if tls.certificates.is_empty() {
            return None;
        }
        let certificate = PresentedCertificate {
            chain: tls.certificates.to_vec(),
        };
        let credentials = Credentials {
            certificate: Some(Arc::new(certificate)),
            username: None,
            password: None,
            cookie: None,
            authorization: None,
            scram: None,
            demanded: None,
            client_id: Text::default(),
            ip,
            repute: Repute::default(),
            listener: "admin".into(),
            protocol: "http",
            now: SystemTime::now(),
        };
        let attempt = |username| Attempt {
            ip,
            method: Method::CERTIFICATE,
            username,
        };
        let limits = self.node.limits();
        match self.node.identify(credentials).await {
            Ok(identity) => {
                limits.succeeded(&attempt(Some(&identity.username)), Instant::now());
                Some(identity)
            }
            Err(rejection) => {
                let (now, wall) = (Instant::now(), SystemTime::now());
                self.record_rejection(&attempt(None), &rejection, now, wall);
                None
            }
        }
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>, peer: &Peer) -> Outcome {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let mut visit = Visit {
            shared: Arc::clone(self),
            ip: peer.ip,
            headers: head.headers,
            body: Bytes::new(),
            now: Instant::now(),
            wall: SystemTime::now(),
        };
        let has_est = self.config.load().est.is_some();
        let found = find(&head.method, &path, has_est);
        // Nothing of the body is read for somebody who may not.
        match found {
            Ok((
                Route {
                    demand: Demand::Nothing(handler),
                    ..
                },
                _,
            )) => {
                visit.body = read(body, STRANGERS_BODY_MAX).await?;
                handler(visit).await
            }
            Ok((
                Route {
                    demand: Demand::Device(verb),
                    ..
                },
                _,
            )) => {
                let applicant = est::identify(&visit, *verb, self.device(peer)).await?;
                visit.body = read(body, BODY_MAX).await?;
                est::answer(visit, *verb, applicant).await
            }
            Ok((
                Route {
                    demand: Demand::Role { role, by, handler },
                    takes,
                    ..
                },
                values,
            )) => {
                let caller = visit.permit(&head.method, *role, *by, self.certificate(peer))?;
                let query = Query::parse(head.uri.query())?;
                if head.method == HttpMethod::GET {
                    query.allow_only(takes)?;
                }
                visit.body = read(body, BODY_MAX).await?;
                let call = Call {
                    visit,
                    caller,
                    path: values,
                    query,
                };
                match handler {
                    Handler::Now(handler) => handler(&call),
                    Handler::Later(handler) => handler(call).await,
                }
            }
            Err(problem) => {
                // What exists here is told to nobody without a role (ADM-5).
                visit.permit(
                    &head.method,
                    crate::identity::Role::Viewer,
                    super::route::By::Any,
                    self.certificate(peer),
                )?;
                Err(problem)
            }
        }
    }

    /// Whom the certificate names, as long as the lists in force now would let it in.
    fn certificate<'a>(&self, peer: &'a Peer) -> Option<&'a Identity> {
        let identity = peer.identity.as_ref()?;
        let now = SystemTime::now();
        let in_time = identity.valid_until.is_none_or(|end| end > now);
        (in_time && self.tls.load().judge(&peer.tls, now).is_ok()).then_some(identity)
    }

    /// The certificate of a device, as long as the device CA and its list would let it in.
    fn device<'a>(&self, peer: &'a Peer) -> Option<&'a CertificateDer<'static>> {
        let judged = self.tls.load().judge_device(&peer.tls, SystemTime::now());
        peer.tls.certificates.first().filter(|_| judged.is_ok())
    }
}

fn find(
    method: &HttpMethod,
    path: &str,
    has_est: bool,
) -> Result<(&'static Route, Vec<String>), Problem> {
    let mut on_path = ROUTES
        .iter()
        .filter(|route| has_est || !route.is_for_devices())
        .filter_map(|route| Some((route, route.matches(path)?)))
        .peekable();
    if on_path.peek().is_none() {
        return Err(Problem::NotFound("there is nothing at this path"));
    }
    on_path
        .find(|(route, _)| route.method == *method)
        .ok_or(Problem::MethodNotAllowed)
}

/// Counted while it comes, whatever its head says (ADM-4).
async fn read(body: Incoming, most: usize) -> Result<Bytes, Problem> {
    let collected = timeout(PATIENCE, Limited::new(body, most).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::TooLarge),
        Ok(Err(_)) | Err(_) => Err(Problem::BadRequest("the body did not arrive".into())),
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX);
    http
}

/// A connection that failed before it was one is not the listener's trouble.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

pub(super) const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// For a handshake, a head, and a body: each.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
const CONNECTIONS: usize = 256;
const READERS: usize = 2;
/// Contract section 10.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
const BODY_MAX: usize = 1024 * 1024;
/// From whom nothing is known yet: a name and a password.
const STRANGERS_BODY_MAX: usize = 16 * 1024;
