//! The upgrade: read the head, judge path and Origin, answer. RFC 6455 section 4.2.2.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::head::{self, HEAD_MAX, Head, HeadError};
use super::{OwnOrigin, Page, WebSocketStream};
use crate::net::config::WebSocketConfig;
use crate::net::linger::finish;
use crate::secret::Secret;

/// How long a refused peer may take to read its answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// Most heads fit at once; the buffer is gone when the upgrade is done.
const HEAD_USUAL: usize = 1024;

/// What the request said, as far as a login may use it.
#[derive(Debug)]
pub struct UpgradeRequest {
    /// When there is one, it was judged and allowed. Programs send none.
    pub origin: Option<String>,
    pub host: String,
    pub path: String,
    /// What follows the `?`, undecoded.
    pub query: Option<Secret>,
    /// The Authorization field, undecoded.
    pub authorization: Option<Secret>,
    pub subprotocol: &'static str,
    /// The Cookie field, if the page that the request comes from is ours or an allowed one.
    pub cookie: Option<Secret>,
}

#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("WebSocket upgrade refused: {0}")]
    Refused(HeadError),
    #[error("the connection ended inside the request head")]
    Truncated,
    #[error("the connection ended during the upgrade: {0}")]
    Io(#[from] io::Error),
}

/// Reads one request and answers it: 101 and the stream, or an error that tells nothing, and the connection is closed.
pub async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    config: &WebSocketConfig,
    own: OwnOrigin<'_>,
) -> Result<(WebSocketStream<S>, UpgradeRequest), UpgradeError> {
    let mut bytes = Vec::with_capacity(HEAD_USUAL);
    let judged = match read_head(&mut stream, &mut bytes).await? {
        Some(length) => {
            let (head, _) = bytes.split_at_checked(length).unwrap_or_default();
            judge(head, config, own)
        }
        None => Err(HeadError::TooLarge),
    };
    let (request, key) = match judged {
        Ok(judged) => judged,
        Err(error) => {
            stream.write_all(refusal(error).as_bytes()).await?;
            finish(&mut stream, FAREWELL).await;
            return Err(UpgradeError::Refused(error));
        }
    };
    // Extensions are not mentioned: an offer of permessage-deflate is declined. [MQTT-6.0.0-4]
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
        derive_accept_key(key.as_bytes()),
        request.subprotocol,
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await?;
    // A client may have sent its first frames without waiting.
    let length = head::end(&bytes, 0).unwrap_or(bytes.len());
    let early = bytes.split_off(length.min(bytes.len()));
    Ok((WebSocketStream::new(stream, early), request))
}

/// The length of the head once it is whole, `None` when it is larger than it may be.
async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes: &mut Vec<u8>,
) -> Result<Option<usize>, UpgradeError> {
    let mut scanned = 0;
    loop {
        if let Some(length) = head::end(bytes, scanned) {
            return Ok(Some(length));
        }
        scanned = bytes.len();
        let room = HEAD_MAX.saturating_sub(bytes.len());
        if room == 0 {
            return Ok(None);
        }
        if (&mut *stream).take(room as u64).read_buf(bytes).await? == 0 {
            return Err(UpgradeError::Truncated);
        }
    }
}

/// The request, and the key to answer it with. Pure: a fuzz target.
pub fn judge(
    head: &[u8],
    config: &WebSocketConfig,
    own: OwnOrigin<'_>,
) -> Result<(UpgradeRequest, String), HeadError> {
    // First, and byte for byte: whatever else is asked of another path, it is not here.
    if head::requested_path(head).is_some_and(|path| path != config.path) {
        return Err(HeadError::Path);
    }
    let head = Head::parse(head)?;
    if head.path != config.path {
        return Err(HeadError::Path);
    }
    let page = match &head.origin {
        Some(origin) if config.allowed_origins.contains(origin) => Some(Page::Same),
        Some(origin) => Some(own.judge(origin, &head.host)),
        None => None,
    };
    let cookie = match page {
        Some(Page::Other) => return Err(HeadError::Origin),
        // A request without an Origin does not say which page sends the browser's cookie. Contract section 4
        Some(Page::SameButForTls) | None => None,
        Some(Page::Same) => head.cookie,
    };
    let request = UpgradeRequest {
        origin: head.origin,
        host: head.host,
        path: head.path,
        query: head.query,
        authorization: head.authorization,
        subprotocol: head.subprotocol,
        cookie,
    };
    Ok((request, head.key))
}

/// What the peer learns: a status, and what RFC 9110 makes mandatory with it.
fn refusal(error: HeadError) -> String {
    let (status, field) = match error {
        HeadError::Malformed | HeadError::Field(_) | HeadError::Subprotocol => {
            ("400 Bad Request", "")
        }
        HeadError::TooLarge => ("431 Request Header Fields Too Large", ""),
        HeadError::Version => ("505 HTTP Version Not Supported", ""),
        HeadError::Path => ("404 Not Found", ""),
        HeadError::Method => ("405 Method Not Allowed", "Allow: GET\r\n"),
        HeadError::NotAnUpgrade => (
            "426 Upgrade Required",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        ),
        HeadError::Origin => ("403 Forbidden", ""),
    };
    // 426 names Upgrade as an option of this connection. RFC 9110 section 15.5.22
    let connection = if error == HeadError::NotAnUpgrade {
        "close, Upgrade"
    } else {
        "close"
    };
    format!("HTTP/1.1 {status}\r\n{field}Connection: {connection}\r\nContent-Length: 0\r\n\r\n")
}
