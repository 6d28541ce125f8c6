//! One request to a node's admin API, over HTTPS.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::client::io::{TlsFiles, TlsSetupError};

/// What proves who asks, and what proves the node.
#[derive(Debug, Args)]
pub(in crate::cli) struct Access {
    /// A file that holds an API token (see `ctl token new`)
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Who may have signed the node's certificate, PEM; without it, whom the system trusts
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Own certificate chain, PEM, in place of a token
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, global = true, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl Access {
    pub(in crate::cli) fn api(&self, url: Uri) -> Api {
        Api {
            url,
            tls: TlsFiles {
                ca: self.ca.clone(),
                certificate: self.cert.clone(),
                private_key: self.key.clone(),
            },
            token_file: self.token_file.clone(),
        }
    }
}

/// The node, and who asks.
pub(in crate::cli) struct Api {
    url: Uri,
    tls: TlsFiles,
    token_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ApiError {
    #[error("{0} is not the URL of an admin listener: write https://HOST:PORT")]
    Url(Uri),
    #[error("{}: {source}", file.display())]
    Token {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}: not a token", .0.display())]
    NotAToken(PathBuf),
    #[error("{0}")]
    Tls(#[from] TlsSetupError),
    #[error("{authority} cannot be reached: {source}")]
    Unreachable {
        authority: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} did not answer in time")]
    Late(String),
    #[error("the answer broke off: {0}")]
    BrokeOff(String),
    #[error("the answer cannot be written down: {0}")]
    Output(#[source] std::io::Error),
    /// RFC 9457
    #[error("{detail} (HTTP {status}){}", problems.iter().map(|problem| format!("\n{problem}")).collect::<String>())]
    Refused {
        status: u16,
        detail: String,
        problems: Vec<String>,
    },
}

impl Api {
    /// The answer's JSON; `Null` where there is none.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let authority = self.authority()?;
        let asked = timeout(PATIENCE, self.exchange(&authority, method, path, body)).await;
        let bytes = asked.map_err(|_| ApiError::Late(authority))??;
        match bytes.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_slice(&bytes)
                .map_err(|error| ApiError::BrokeOff(error.to_string())),
        }
    }

    /// The answer as it is.
    pub(super) async fn ask_text(&self, path: &str) -> Result<String, ApiError> {
        let authority = self.authority()?;
        let asked = timeout(PATIENCE, self.exchange(&authority, Method::GET, path, None)).await;
        let bytes = asked.map_err(|_| ApiError::Late(authority))??;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes the answer down as it comes, however long it is; each part of it must come in time.
    pub(in crate::cli) async fn download(
        &self,
        path: &str,
        out: &mut impl Write,
    ) -> Result<(), ApiError> {
        let authority = self.authority()?;
        let late = || ApiError::Late(authority.clone());
        let (answer, _connection) =
            timeout(PATIENCE, self.open(&authority, Method::GET, path, None))
                .await
                .map_err(|_| late())??;
        let status = answer.status();
        let mut body = answer.into_body();
        if !status.is_success() {
            let bytes = timeout(PATIENCE, bytes(body)).await.map_err(|_| late())??;
            return Err(refused(status, &bytes));
        }
        while let Some(frame) = timeout(PATIENCE, body.frame()).await.map_err(|_| late())? {
            if let Ok(bytes) = frame.map_err(broke_off)?.into_data() {
                out.write_all(&bytes).map_err(ApiError::Output)?;
            }
        }
        Ok(())
    }

    fn authority(&self) -> Result<String, ApiError> {
        let authority = self.url.authority().map(ToString::to_string);
        authority.ok_or_else(|| ApiError::Url(self.url.clone()))
    }

    async fn exchange(
        &self,
        authority: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Bytes, ApiError> {
        let (answer, _connection) = self.open(authority, method, path, body).await?;
        let status = answer.status();
        let bytes = bytes(answer.into_body()).await?;
        match status.is_success() {
            true => Ok(bytes),
            false => Err(refused(status, &bytes)),
        }
    }

    /// Sends the request; its connection ends when it is dropped.
    async fn open(
        &self,
        authority: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Response<Incoming>, Connection), ApiError> {
        let stream = self.connect(authority).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broke_off)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let request = self.request(authority, method, path, body)?;
        let answer = sender.send_request(request).await.map_err(broke_off)?;
        Ok((answer, tasks))
    }

    async fn connect(
        &self,
        authority: &str,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ApiError> {
        let wrong = || ApiError::Url(self.url.clone());
        if self.url.scheme_str() != Some("https") {
            return Err(wrong());
        }
        let host = self
            .url
            .host()
            .ok_or_else(wrong)?
            .trim_matches(['[', ']'])
            .to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
        let unreachable = |source| ApiError::Unreachable {
            authority: authority.to_owned(),
            source,
        };
        let stream = TcpStream::connect((host, self.url.port_u16().unwrap_or(18083)))
            .await
            .map_err(unreachable)?;
        let tls = Arc::clone(&self.tls.build()?);
        TlsConnector::from(tls)
            .connect(name, stream)
            .await
            .map_err(unreachable)
    }

    fn request(
        &self,
        authority: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, ApiError> {
        let bytes = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::new(Full::new(Bytes::from(bytes)));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| ApiError::Url(self.url.clone()))?;
        let headers = request.headers_mut();
        headers.insert(
            HOST,
            HeaderValue::from_str(authority).map_err(|_| ApiError::Url(self.url.clone()))?,
        );
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(file) = &self.token_file {
            let token = std::fs::read_to_string(file).map_err(|source| ApiError::Token {
                file: file.clone(),
                source,
            })?;
            // `token new` prints a sentence whose last word is the token: what it wrote may be passed as it is.
            let token = token.split_whitespace().last().unwrap_or_default();
            let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| ApiError::NotAToken(file.clone()))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(request)
    }
}

type Connection = JoinSet<Result<(), hyper::Error>>;

fn broke_off(error: hyper::Error) -> ApiError {
    ApiError::BrokeOff(error.to_string())
}

fn refused(status: StatusCode, document: &[u8]) -> ApiError {
    let value: Value = serde_json::from_slice(document).unwrap_or_default();
    let detail = value
        .get("detail")
        .and_then(Value::as_str)
        .unwrap_or("the node refused");
    let problems = value
        .get("problems")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    ApiError::Refused {
        status: status.as_u16(),
        detail: detail.to_owned(),
        problems: problems
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    }
}

async fn bytes(body: impl Body<Data = Bytes, Error = hyper::Error>) -> Result<Bytes, ApiError> {
    let collected = Limited::new(body, ANSWER_MAX).collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| ApiError::BrokeOff(error.to_string()))
}

/// Percent-encodes whatever a client may have chosen as one segment or value. RFC 3986 section 2.1
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

const PATIENCE: Duration = Duration::from_secs(30);
/// A thousand clients with their names at their longest.
const ANSWER_MAX: usize = 256 * 1024 * 1024;
