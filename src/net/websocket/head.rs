//! The head of an upgrade request: bounded, parsed once it is whole, and every field that steers us exactly once. RFC 6455 section 4.2.1; TRN-11.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::origin::host_and_port;
use crate::secret::Secret;

/// Request line and fields together.
pub const HEAD_MAX: usize = 16 * 1024;
pub const FIELDS_MAX: usize = 64;

/// An upgrade request of the right form, for whichever path and from whichever page.
#[derive(Debug)]
pub struct Head {
    pub path: String,
    /// May hold an access token.
    pub query: Option<Secret>,
    pub host: String,
    pub origin: Option<String>,
    pub cookie: Option<Secret>,
    pub authorization: Option<Secret>,
    /// Of ours, the one that was offered.
    pub subprotocol: &'static str,
    /// `Sec-WebSocket-Key`
    pub key: String,
}

/// Why an upgrade is refused; also what `upgrade` judges of path and Origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("request head is malformed")]
    Malformed,
    #[error("request head of more than {HEAD_MAX} bytes or {FIELDS_MAX} fields")]
    TooLarge,
    #[error("HTTP version is not 1.1")]
    Version,
    #[error("no such path")]
    Path,
    #[error("method is not GET")]
    Method,
    #[error("not a WebSocket upgrade")]
    NotAnUpgrade,
    #[error("a header field is missing, repeated or wrong: {0}")]
    Field(&'static str),
    #[error("subprotocol mqtt was not offered")]
    Subprotocol,
    #[error("origin is neither ours nor allowed")]
    Origin,
}

/// In the order of MQTT 5.0 section 6 and what came before it.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// Where the head ends, if `bytes` hold all of it. Bytes before `scanned` were looked at by an earlier call.
pub fn end(bytes: &[u8], scanned: usize) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let from = scanned.saturating_sub(END.len() - 1);
    let at = bytes
        .get(from..)?
        .windows(END.len())
        .position(|four| four == END)?;
    Some(from.saturating_add(at).saturating_add(END.len()))
}

impl Head {
    /// `bytes` are exactly the head, up to its empty line. Pure: a fuzz target.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        if bytes.len() > HEAD_MAX {
            return Err(HeadError::TooLarge);
        }
        let mut storage = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut storage);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            // Ends before our end: bare line feeds, which others would read differently.
            Ok(httparse::Status::Complete(_) | httparse::Status::Partial) => {
                return Err(HeadError::Malformed);
            }
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
            Err(httparse::Error::Version) => return Err(HeadError::Version),
            Err(_) => return Err(HeadError::Malformed),
        }
        if request.version != Some(1) {
            return Err(HeadError::Version);
        }
        let (path, query) = target(request.path.ok_or(HeadError::Malformed)?);
        let fields = Fields(request.headers);
        Self::judge_fields(&fields, request.method.unwrap_or_default(), path, query)
    }

    fn judge_fields(
        fields: &Fields<'_>,
        method: &str,
        path: &str,
        query: Option<&str>,
    ) -> Result<Self, HeadError> {
        if method != "GET" {
            return Err(HeadError::Method);
        }
        // A body would be read as frames.
        for name in ["content-length", "transfer-encoding"] {
            if fields.all(name).next().is_some() {
                return Err(HeadError::Field(name));
            }
        }
        let upgrades =
            fields.has_token("connection", "upgrade") && fields.has_token("upgrade", "websocket");
        if !upgrades || fields.one("sec-websocket-version")? != Some("13") {
            return Err(HeadError::NotAnUpgrade);
        }
        let key = fields
            .one("sec-websocket-key")?
            .filter(|key| {
                BASE64_STANDARD
                    .decode(key)
                    .is_ok_and(|nonce| nonce.len() == 16)
            })
            .ok_or(HeadError::Field("sec-websocket-key"))?;
        // A host, and perhaps a port: anything else, an empty one too, is answered with 400. RFC 9112 section 3.2
        let host = fields
            .one("host")?
            .filter(|host| host_and_port(host).is_some())
            .ok_or(HeadError::Field("host"))?;
        // [MQTT-6.0.0-3]
        let subprotocol = SUBPROTOCOLS
            .into_iter()
            .find(|ours| {
                fields
                    .tokens("sec-websocket-protocol")
                    .any(|token| token == *ours)
            })
            .ok_or(HeadError::Subprotocol)?;
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        Ok(Self {
            path: path.to_owned(),
            query: query.map(secret),
            host: host.to_owned(),
            origin: fields.one("origin")?.map(str::to_owned),
            cookie: fields.one("cookie")?.map(secret),
            authorization: fields.one("authorization")?.map(secret),
            subprotocol,
            key: key.to_owned(),
        })
    }
}

/// The path that a head asks for, if one can be read at all: other paths get the same answer whatever else the request says.
pub fn requested_path(bytes: &[u8]) -> Option<&str> {
    let line = bytes.split(|&byte| byte == b'\r').next()?;
    let target_text = std::str::from_utf8(line).ok()?.split(' ').nth(1)?;
    Some(target(target_text).0)
}

fn target(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// Printable ASCII, at most once: of two different values, two readers may take different ones.
    fn one(&self, name: &'static str) -> Result<Option<&'a str>, HeadError> {
        let mut values = self.all(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let text = std::str::from_utf8(value)
            .ok()
            .filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
            .filter(|_| values.next().is_none())
            .ok_or(HeadError::Field(name))?;
        Ok(Some(text))
    }

    /// The comma-separated values of all fields of that name.
    fn tokens(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim_ascii)
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name)
            .any(|given| given.eq_ignore_ascii_case(token))
    }
}

#[cfg(test)]
mod tests;
