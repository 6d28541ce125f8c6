//! The PROXY protocol, versions 1 and 2: whom a trusted proxy speaks for. Contract section 10; TRN-12.

mod crc32c;
mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::config::ProxyProtocolConfig;
use super::listener::canonical;

/// The whole of a version 2 header, its address block and TLVs. Proxies send some hundred bytes; a client certificate in a TLV some thousand.
pub const HEADER_MAX: usize = 4096;

/// What a header says about the connection it precedes. TLVs are checked for form and forgotten: they never give an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// `None` for LOCAL and UNKNOWN: the socket's own addresses count.
    pub addresses: Option<Addresses>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// How far the bytes so far go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// At least `need` further bytes belong to the header, so that many may be read without touching what follows it.
    Incomplete { need: usize },
    /// The header took the first `length` bytes.
    Complete { header: Header, length: usize },
}

#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the trusted proxy sent no PROXY header")]
    NotAHeader,
    #[error("the connection ended inside the PROXY header")]
    Truncated,
    #[error("PROXY header: {0}")]
    Malformed(&'static str),
    #[error("PROXY header of {0} bytes is too long")]
    TooLong(usize),
    #[error("PROXY header: checksum does not match")]
    Checksum,
    #[error("reading the PROXY header: {0}")]
    Io(#[from] std::io::Error),
}

impl ProxyProtocolConfig {
    /// Judged by the socket's address alone, before any byte is read.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|block| block.contains(ip))
    }
}

/// The address that limits, bans and policies see: from the header that a trusted `peer` must send, or `peer` itself.
///
/// Reads nothing from a peer that is not trusted, and never past the header's end.
pub async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    config: &ProxyProtocolConfig,
    peer: SocketAddr,
) -> Result<SocketAddr, ProxyError> {
    if !config.trusts(peer.ip()) {
        return Ok(peer);
    }
    let header = read_header(stream).await?;
    Ok(header
        .addresses
        .map_or(peer, |addresses| canonical(addresses.source)))
}

async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Header, ProxyError> {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes)? {
            Progress::Complete { header, .. } => return Ok(header),
            Progress::Incomplete { need } => {
                // `take` keeps us out of what follows; the buffer grows with what has arrived, not with what was announced (TRN-1).
                let read = (&mut *stream)
                    .take(need as u64)
                    .read_buf(&mut bytes)
                    .await?;
                if read == 0 {
                    return Err(ProxyError::Truncated);
                }
            }
        }
    }
}

/// The header at the beginning of `bytes`, refused at the first byte that cannot be one. Pure: a fuzz target.
pub fn parse(bytes: &[u8]) -> Result<Progress, ProxyError> {
    let begins_as = |signature: &[u8]| {
        let shorter = bytes.len().min(signature.len());
        bytes.get(..shorter) == signature.get(..shorter)
    };
    if begins_as(v2::SIGNATURE) && !bytes.is_empty() {
        v2::parse(bytes)
    } else if begins_as(v1::SIGNATURE) {
        v1::parse(bytes)
    } else {
        Err(ProxyError::NotAHeader)
    }
}

#[cfg(test)]
mod tests;
