//! Version 2: binary, with a length, an address block and type-length-value fields.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Addresses, HEADER_MAX, Header, Progress, ProxyError, crc32c};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const PREFIX: usize = 16;

const PP2_TYPE_ALPN: u8 = 0x01;
const PP2_TYPE_AUTHORITY: u8 = 0x02;
const PP2_TYPE_CRC32C: u8 = 0x03;
const PP2_TYPE_UNIQUE_ID: u8 = 0x05;
const PP2_TYPE_SSL: u8 = 0x20;

pub(super) fn parse(bytes: &[u8]) -> Result<Progress, ProxyError> {
    // A wrong version or command is refused as soon as it is there.
    let command = match bytes.get(12) {
        Some(0x20) => Some(Command::Local),
        Some(0x21) => Some(Command::Proxy),
        Some(byte) if byte >> 4 != 2 => {
            return Err(ProxyError::Malformed("unknown version"));
        }
        Some(_) => return Err(ProxyError::Malformed("unknown command")),
        None => None,
    };
    let (Some(command), Some((prefix, rest))) = (command, bytes.split_first_chunk::<PREFIX>())
    else {
        return Ok(Progress::Incomplete {
            need: PREFIX.saturating_sub(bytes.len()),
        });
    };
    let [.., family, high, low] = *prefix;
    let announced = usize::from(u16::from_be_bytes([high, low]));
    let length = announced.saturating_add(PREFIX);
    if length > HEADER_MAX {
        return Err(ProxyError::TooLong(length));
    }
    let Some(body) = rest.get(..announced) else {
        return Ok(Progress::Incomplete {
            need: length.saturating_sub(bytes.len()),
        });
    };
    let addresses = match command {
        // The proxy's own connection, such as a health check: the rest is to be discarded, whatever it says.
        Command::Local => None,
        Command::Proxy => {
            let (addresses, tlvs) = addresses(family, body)?;
            let whole = bytes.get(..length).unwrap_or_default();
            check_tlvs(tlvs, whole)?;
            addresses
        }
    };
    Ok(Progress::Complete {
        header: Header { addresses },
        length,
    })
}

#[derive(Clone, Copy)]
enum Command {
    Local,
    Proxy,
}

/// The address block, and what follows it.
fn addresses(family: u8, body: &[u8]) -> Result<(Option<Addresses>, &[u8]), ProxyError> {
    const SHORT: ProxyError = ProxyError::Malformed("the address block is cut short");
    match family {
        // UNSPEC: no address is told, the socket's counts.
        0x00 => Ok((None, body)),
        // TCP over IPv4
        0x11 => {
            let (source, rest) = body.split_first_chunk::<4>().ok_or(SHORT)?;
            let (destination, rest) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
            let (ports, rest) = ports(rest).ok_or(SHORT)?;
            let addresses = Addresses {
                source: SocketAddr::new(Ipv4Addr::from(*source).into(), ports.0),
                destination: SocketAddr::new(Ipv4Addr::from(*destination).into(), ports.1),
            };
            Ok((Some(addresses), rest))
        }
        // TCP over IPv6
        0x21 => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or(SHORT)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let (ports, rest) = ports(rest).ok_or(SHORT)?;
            let addresses = Addresses {
                source: SocketAddr::new(Ipv6Addr::from(*source).into(), ports.0),
                destination: SocketAddr::new(Ipv6Addr::from(*destination).into(), ports.1),
            };
            Ok((Some(addresses), rest))
        }
        // Datagrams and UNIX sockets do not reach a TCP listener; a client without an address cannot be limited.
        0x12 | 0x22 | 0x31 | 0x32 => Err(ProxyError::Malformed("not a TCP connection")),
        _ => Err(ProxyError::Malformed("unknown family")),
    }
}

fn ports(bytes: &[u8]) -> Option<((u16, u16), &[u8])> {
    let (ports, rest) = bytes.split_first_chunk::<4>()?;
    let [a, b, c, d] = *ports;
    Some((
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
        rest,
    ))
}

/// Every field must fill its place exactly, known ones must have their form, a checksum must be right.
fn check_tlvs(mut tlvs: &[u8], whole: &[u8]) -> Result<(), ProxyError> {
    let mut checksums = 0;
    while !tlvs.is_empty() {
        let (kind, value, rest) = tlv(tlvs)?;
        match kind {
            PP2_TYPE_CRC32C => {
                let given = value
                    .first_chunk::<4>()
                    .filter(|_| value.len() == 4 && checksums == 0)
                    .ok_or(ProxyError::Malformed("not one checksum of four bytes"))?;
                checksums += 1;
                // The checksum counts as zero while it is computed.
                let at = whole.len().saturating_sub(rest.len()).saturating_sub(4);
                let (before, from) = whole.split_at_checked(at).unwrap_or_default();
                let after = from.get(4..).unwrap_or_default();
                if crc32c::of([before, &[0; 4], after]) != u32::from_be_bytes(*given) {
                    return Err(ProxyError::Checksum);
                }
            }
            PP2_TYPE_SSL => check_ssl(value)?,
            PP2_TYPE_ALPN | PP2_TYPE_AUTHORITY if value.is_empty() || value.len() > 255 => {
                return Err(ProxyError::Malformed("ALPN or authority of a wrong length"));
            }
            PP2_TYPE_UNIQUE_ID if value.len() > 128 => {
                return Err(ProxyError::Malformed("unique id of more than 128 bytes"));
            }
            _ => {}
        }
        tlvs = rest;
    }
    Ok(())
}

/// One byte of flags and a Four Byte verification result, then fields of their own.
fn check_ssl(value: &[u8]) -> Result<(), ProxyError> {
    let mut fields = value
        .get(5..)
        .ok_or(ProxyError::Malformed("the SSL field is cut short"))?;
    while !fields.is_empty() {
        (_, _, fields) = tlv(fields)?;
    }
    Ok(())
}

/// The first field: its type, its value, what follows it.
fn tlv(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), ProxyError> {
    const OVERRUN: ProxyError = ProxyError::Malformed("a field reaches past its end");
    let (&[kind, high, low], rest) = bytes.split_first_chunk::<3>().ok_or(OVERRUN)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (value, rest) = rest.split_at_checked(length).ok_or(OVERRUN)?;
    Ok((kind, value, rest))
}
