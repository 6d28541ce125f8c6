//! Version 1: one line of text, such as `PROXY TCP4 192.0.2.1 198.51.100.7 56324 8883`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Addresses, Header, Progress, ProxyError};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// `PROXY UNKNOWN\r\n`
const SHORTEST: usize = 15;
/// The longest line that the specification allows, with its end.
const LONGEST: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Progress, ProxyError> {
    let Some(end) = bytes.iter().take(LONGEST).position(|&byte| byte == b'\n') else {
        if bytes.len() >= LONGEST {
            return Err(ProxyError::TooLong(bytes.len()));
        }
        let to_the_end = if bytes.ends_with(b"\r") { 1 } else { 2 };
        let need = SHORTEST.saturating_sub(bytes.len()).max(to_the_end);
        return Ok(Progress::Incomplete {
            need: need.min(LONGEST.saturating_sub(bytes.len())),
        });
    };
    let length = end.saturating_add(1);
    let line = bytes
        .get(SIGNATURE.len()..end)
        .and_then(|rest| rest.strip_suffix(b"\r"))
        .ok_or(ProxyError::Malformed("the line does not end with CR LF"))?;
    let header = Header {
        addresses: addresses(line)?,
    };
    Ok(Progress::Complete { header, length })
}

/// What follows `PROXY `.
fn addresses(line: &[u8]) -> Result<Option<Addresses>, ProxyError> {
    let line = std::str::from_utf8(line)
        .ok()
        .filter(|line| line.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
        .ok_or(ProxyError::Malformed("the line is not printable ASCII"))?;
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    match family {
        // Whatever else the line says is to be ignored.
        "UNKNOWN" => Ok(None),
        "TCP4" => endpoints(rest, |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)).map(Some),
        "TCP6" => endpoints(rest, |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)).map(Some),
        _ => Err(ProxyError::Malformed("unknown family")),
    }
}

fn endpoints(rest: &str, ip: impl Fn(&str) -> Option<IpAddr>) -> Result<Addresses, ProxyError> {
    let mut fields = rest.split(' ');
    let mut field = || {
        fields
            .next()
            .ok_or(ProxyError::Malformed("a field is missing"))
    };
    let address = |text| ip(text).ok_or(ProxyError::Malformed("bad address"));
    let source = address(field()?)?;
    let destination = address(field()?)?;
    let source_port = port(field()?)?;
    let destination_port = port(field()?)?;
    if fields.next().is_some() {
        return Err(ProxyError::Malformed("more fields than there should be"));
    }
    Ok(Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

/// Decimal digits without a sign or leading zeros.
fn port(text: &str) -> Result<u16, ProxyError> {
    let canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse()
        .ok()
        .filter(|_| canonical)
        .ok_or(ProxyError::Malformed("bad port"))
}
