//! Ranges of addresses, written as CIDRs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A range of addresses: `203.0.113.0/24`, `2001:db8::/32`, or one address alone. An IPv4-mapped IPv6 address is its IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    network: IpAddr,
    length: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    #[error("{0:?} is neither an address nor a range such as 203.0.113.0/24")]
    NotACidr(String),
    /// A slip of one bit would widen or shift the range, so it is not rounded.
    #[error("{given} has bits set after its prefix: write {network}")]
    HostBits { given: String, network: Cidr },
}

impl Cidr {
    /// The range of this length that holds the address. Lengths beyond the address are the address alone.
    pub fn around(address: IpAddr, length: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let length = length.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Self {
                    network: Ipv4Addr::from_bits(v4.to_bits() & mask).into(),
                    length,
                }
            }
            IpAddr::V6(v6) => {
                let length = length.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Self {
                    network: Ipv6Addr::from_bits(v6.to_bits() & mask).into(),
                    length,
                }
            }
        }
    }

    /// One address alone.
    pub fn of(address: IpAddr) -> Self {
        Self::around(address, u8::MAX)
    }

    /// What one household or machine can hold: an IPv4 address, an IPv6 /64. Limits count by it.
    pub fn household(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of(v4.into()),
            IpAddr::V6(v6) => Self::around(v6.into(), 64),
        }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4() && Self::around(address, self.length) == *self
    }

    pub fn network(&self) -> IpAddr {
        self.network
    }

    pub fn length(&self) -> u8 {
        self.length
    }

    fn is_single(&self) -> bool {
        self.length == if self.network.is_ipv4() { 32 } else { 128 }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let wrong = || CidrError::NotACidr(text.to_owned());
        let Some((address, length)) = text.split_once('/') else {
            return text.parse().map(Self::of).map_err(|_| wrong());
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        // `::ffff:0:0/96` would otherwise silently mean another range than it says.
        if address != address.to_canonical() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let length: u8 = length.parse().map_err(|_| wrong())?;
        if length > if address.is_ipv4() { 32 } else { 128 } {
            return Err(wrong());
        }
        let network = Self::around(address, length);
        if network.network != address {
            return Err(CidrError::HostBits {
                given: text.to_owned(),
                network,
            });
        }
        Ok(network)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            return self.network.fmt(f);
        }
        write!(f, "{}/{}", self.network, self.length)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Cidr;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address or a range such as 203.0.113.0/24")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Cidr, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_ranges() {
        let rows = [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("192.0.2.7", Some("192.0.2.7")),
            ("192.0.2.7/32", Some("192.0.2.7")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("::/0", Some("::/0")),
            ("::1", Some("::1")),
            ("::ffff:192.0.2.7", Some("192.0.2.7")),
            ("10.0.0.1/8", None),
            ("2001:db8::1/64", None),
            ("10.0.0.0/33", None),
            ("::/129", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/-1", None),
            ("10.0.0/8", None),
            ("::ffff:0:0/96", None),
            ("localhost", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let read = text.parse::<Cidr>().ok().map(|cidr| cidr.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn contains_its_addresses_and_the_nearest_outside_is_out() {
        let rows = [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "192.0.2.1", false),
            ("2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::/64", "2001:db8:0:1::", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
        ];
        for (range, address, expected) in rows {
            let range: Cidr = range.parse().unwrap();
            assert_eq!(
                range.contains(address.parse().unwrap()),
                expected,
                "{range} {address}"
            );
        }
    }

    #[test]
    fn a_household_is_an_ipv4_address_or_an_ipv6_64() {
        let rows = [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ];
        for (address, expected) in rows {
            assert_eq!(
                Cidr::household(address.parse().unwrap()).to_string(),
                expected
            );
        }
    }
}
