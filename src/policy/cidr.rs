//! Blocks of addresses in `ip` conditions.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address and how many of its leading bits count. An IPv4-mapped IPv6 address is the IPv4 address it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Cidr {
    network: IpAddr,
    prefix: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidCidr {
    #[error("not an address or a block such as 192.0.2.0/24")]
    Syntax,
    #[error("the address has bits set behind the prefix: write the block's first address")]
    HostBits,
}

impl Cidr {
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        match (self.network, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                keep_v4(u32::from(ip), self.prefix) == u32::from(network)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                keep_v6(u128::from(ip), self.prefix) == u128::from(network)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.network)
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| InvalidCidr::Syntax)?;
        if network != network.to_canonical() {
            return Err(InvalidCidr::Syntax);
        }
        let widest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| InvalidCidr::Syntax)?
            }
            Some(_) => return Err(InvalidCidr::Syntax),
            None => widest,
        };
        if prefix > widest {
            return Err(InvalidCidr::Syntax);
        }
        let block = Self { network, prefix };
        if block.contains(network) {
            Ok(block)
        } else {
            Err(InvalidCidr::HostBits)
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn keep_v4(bits: u32, prefix: u8) -> u32 {
    bits & u32::MAX
        .checked_shl(32_u32.saturating_sub(u32::from(prefix)))
        .unwrap_or(0)
}

fn keep_v6(bits: u128, prefix: u8) -> u128 {
    bits & u128::MAX
        .checked_shl(128_u32.saturating_sub(u32::from(prefix)))
        .unwrap_or(0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_block_contains_its_addresses() {
        let rows = [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
            ("::/0", "192.0.2.1", false),
        ];
        for (block, ip, expected) in rows {
            let block: Cidr = block.parse().unwrap();
            assert_eq!(
                block.contains(ip.parse().unwrap()),
                expected,
                "{block} {ip}"
            );
        }
    }

    #[test]
    fn a_malformed_block_is_refused() {
        let rows = [
            ("", InvalidCidr::Syntax),
            ("192.0.2", InvalidCidr::Syntax),
            ("192.0.2.0/33", InvalidCidr::Syntax),
            ("192.0.2.0/+8", InvalidCidr::Syntax),
            ("192.0.2.0/", InvalidCidr::Syntax),
            ("192.0.2.1/24", InvalidCidr::HostBits),
            ("2001:db8::/129", InvalidCidr::Syntax),
            ("::ffff:192.0.2.0/120", InvalidCidr::Syntax),
            ("*", InvalidCidr::Syntax),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<Cidr>(), Err(expected), "{text:?}");
        }
    }
}
