//! The `limits:` section of the configuration, with its defaults. Contract section 6.
//!
//! What bounds strangers (connections, handshakes, failures, state) is on by default; what bounds admitted clients
//! (`messages`, `bytes`) is on as soon as it is written, for nobody but the operator knows how fast his devices speak.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::address::Cidr;
use crate::units::{ByteRate, ByteSize, Period, Rate};

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    pub connections: ConnectionsConfig,
    pub messages: MessagesConfig,
    pub bytes: BytesConfig,
    pub unauthenticated: UnauthenticatedConfig,
    pub failures: FailuresConfig,
    pub flapping: FlappingConfig,
    pub state: StateConfig,
    /// Refused before any byte is read.
    pub deny: Vec<Cidr>,
    /// When not empty: only these.
    pub allow: Vec<Cidr>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionsConfig {
    pub global: GlobalConnectionsConfig,
    pub per_ip: PerIpConfig,
    pub per_user: PerUserConfig,
    pub handshakes: HandshakesConfig,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GlobalConnectionsConfig {
    pub rate: Limit<Rate>,
    pub burst: Count,
    pub max: Limit<Count>,
}

/// By IPv4 address or IPv6 /64.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerIpConfig {
    pub rate: Limit<Rate>,
    pub burst: Count,
    pub max: Limit<Count>,
    /// Addresses behind which many clients live, such as a proxy without the PROXY protocol. Loopback where `per_ip` is not
    /// written at all; nobody unless named where it is.
    #[serde(default)]
    pub exempt: Vec<Cidr>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerUserConfig {
    pub max: Limit<Count>,
}

/// Work in progress between accept and CONNACK.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HandshakesConfig {
    pub concurrent: Count,
    pub timeout: Period,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessagesConfig {
    #[serde(deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub per_client: Option<MessageLimit>,
    #[serde(deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub per_user: Option<MessageLimit>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BytesConfig {
    #[serde(deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub per_client: Option<ByteLimit>,
    #[serde(deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub per_user: Option<ByteLimit>,
}

/// Also a policy's `limits: {messages: …}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MessageLimit {
    pub rate: Rate,
    /// Absent: twice the amount of `rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<Count>,
    #[serde(default)]
    pub when_exceeded: WhenExceeded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ByteLimit {
    pub rate: ByteRate,
    /// Absent: twice the amount of `rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<ByteSize>,
    #[serde(default)]
    pub when_exceeded: WhenExceeded,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenExceeded {
    /// Stop reading the socket: back pressure.
    #[default]
    Pause,
    Drop,
    Disconnect,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnauthenticatedConfig {
    pub max_packet_size: ByteSize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FailuresConfig {
    pub per_ip: Limit<Count>,
    pub per_user: Limit<Count>,
    pub window: Period,
    /// The first ban; each further one within a day lasts twice as long, up to a day.
    pub ban: Period,
}

/// Clients that come and go. Off by default: a client that reconnects often may only have a bad line.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlappingConfig {
    pub connections: Limit<Count>,
    pub window: Period,
    /// The first ban; each further one within a day lasts twice as long, up to a day.
    pub ban: Period,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    pub sessions: Limit<Count>,
    pub sessions_per_user: Limit<Count>,
    pub retained: RetainedConfig,
    /// Above this much resident memory load is shed. 0: none stated.
    pub memory: ByteSize,
    /// So is it while tasks that are ready wait longer than this for a processor. 0: none stated.
    pub lag: Period,
    /// Below this much free disk QoS 1, QoS 2 and retained messages are refused.
    pub store_free: ByteSize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetainedConfig {
    pub messages: Limit<Count>,
    pub bytes: Limit<ByteSize>,
    pub per_user: Limit<Count>,
}

/// How many: 1 to 1,000,000,000 (LIM-7). Zero would lock everybody out, and some read it as "no limit"; that is written `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(u32);

/// A bound, or the word `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<T> {
    Off,
    At(T),
}

impl Count {
    /// Brought into range.
    pub const fn new(count: u32) -> Self {
        match count {
            0 => Self(1),
            1..=MAX_COUNT => Self(count),
            _ => Self(MAX_COUNT),
        }
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<T: Copy> Limit<T> {
    pub fn get(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::At(bound) => Some(bound),
        }
    }
}

impl Limit<Count> {
    pub fn bound(self) -> u32 {
        self.get().map_or(u32::MAX, Count::get)
    }
}

impl Default for GlobalConnectionsConfig {
    fn default() -> Self {
        Self {
            rate: Limit::At(Rate::per_second(500)),
            burst: Count::new(1000),
            max: Limit::At(Count::new(100_000)),
        }
    }
}

impl Default for PerIpConfig {
    fn default() -> Self {
        Self {
            rate: Limit::At(Rate::per_second(10)),
            burst: Count::new(50),
            max: Limit::At(Count::new(200)),
            exempt: vec![
                Cidr::around(IpAddr::V4(Ipv4Addr::LOCALHOST), 8),
                Cidr::of(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ],
        }
    }
}

impl Default for PerUserConfig {
    fn default() -> Self {
        Self {
            max: Limit::At(Count::new(1000)),
        }
    }
}

impl Default for HandshakesConfig {
    fn default() -> Self {
        Self {
            concurrent: Count::new(256),
            timeout: Period::from_secs(10),
        }
    }
}

impl Default for UnauthenticatedConfig {
    fn default() -> Self {
        Self {
            max_packet_size: ByteSize::kib(16),
        }
    }
}

impl Default for FailuresConfig {
    fn default() -> Self {
        Self {
            per_ip: Limit::At(Count::new(10)),
            per_user: Limit::At(Count::new(20)),
            window: Period::from_minutes(1),
            ban: Period::from_minutes(15),
        }
    }
}

impl Default for FlappingConfig {
    fn default() -> Self {
        Self {
            connections: Limit::Off,
            window: Period::from_minutes(1),
            ban: Period::from_minutes(5),
        }
    }
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            sessions: Limit::At(Count::new(1_000_000)),
            sessions_per_user: Limit::At(Count::new(1000)),
            retained: RetainedConfig::default(),
            memory: ByteSize::bytes(0),
            lag: Period::ZERO,
            store_free: ByteSize::mib(256),
        }
    }
}

impl Default for RetainedConfig {
    fn default() -> Self {
        Self {
            messages: Limit::At(Count::new(1_000_000)),
            bytes: Limit::At(ByteSize::gib(1)),
            per_user: Limit::At(Count::new(10_000)),
        }
    }
}

/// A key that is there has a value: `per_client:` with nothing after it is a mistake, not "no limit".
fn written<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar::<Self>(std::marker::PhantomData))
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de, T: Bound> Deserialize<'de> for Limit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar::<Self>(std::marker::PhantomData))
    }
}

impl<T: Serialize> Serialize for Limit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str(OFF),
            Self::At(bound) => bound.serialize(serializer),
        }
    }
}

/// What can be read from the text of one scalar.
trait Bound: Sized {
    const EXPECTING: &'static str;
    fn read(text: &str) -> Result<Self, String>;
}

impl Bound for Count {
    const EXPECTING: &'static str = "a whole number from 1 to 1000000000";

    fn read(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(count @ 1..=MAX_COUNT) if !text.starts_with('+') => Ok(Self(count)),
            Ok(_) | Err(_) => Err(format!("{text:?} is not {}", Self::EXPECTING)),
        }
    }
}

impl Bound for Rate {
    const EXPECTING: &'static str = "a rate such as 50/s";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}"))
    }
}

impl Bound for ByteSize {
    const EXPECTING: &'static str = "a size such as 64MiB";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}"))
    }
}

impl<T: Bound> Bound for Limit<T> {
    const EXPECTING: &'static str = T::EXPECTING;

    fn read(text: &str) -> Result<Self, String> {
        if text == OFF {
            return Ok(Self::Off);
        }
        match T::read(text) {
            Ok(bound) => Ok(Self::At(bound)),
            Err(error) => Err(format!("{error}, or `{OFF}`")),
        }
    }
}

struct Scalar<T>(std::marker::PhantomData<T>);

impl<T: Bound> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTING)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    // YAML 1.1 reads the bare word `off` as false.
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        self.visit_str(if value { "on" } else { OFF })
    }
}

const OFF: &str = "off";
const MAX_COUNT: u32 = 1_000_000_000;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<LimitsConfig, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_the_section_of_the_contract() {
        let config = read(
            "connections:
  global:      { rate: 500/s, burst: 1000, max: 100000 }
  per_ip:      { rate: 10/s, burst: 50, max: 200 }
  per_user:    { max: 1000 }
  handshakes:  { concurrent: 256, timeout: 10s }
messages:
  per_client:  { rate: 1000/s, burst: 2000, when_exceeded: pause }
  per_user:    { rate: 10000/s, burst: 20000 }
bytes:
  per_client:  { rate: 1MiB/s, burst: 4MiB }
unauthenticated: { max_packet_size: 16KiB }
failures:      { per_ip: 10, per_user: 20, window: 1m, ban: 15m }
state:         { sessions: 1000000, sessions_per_user: 1000, retained: { messages: 1000000, bytes: 1GiB, per_user: 10000 }, memory: 0, store_free: 256MiB }
deny: [203.0.113.0/24]
allow: []",
        )
        .unwrap();
        let defaults = serde_json::to_value(LimitsConfig::default()).unwrap();
        let mut written = serde_json::to_value(&config).unwrap();
        assert_eq!(written.pointer("/deny/0").unwrap(), "203.0.113.0/24");
        assert_eq!(written.pointer("/messages/per_client/burst").unwrap(), 2000);
        // What the contract writes is what holds unsaid, but for the parts that only hold when written.
        for (pointer, unsaid) in [
            ("/deny", "/deny"),
            ("/messages", "/messages"),
            ("/bytes", "/bytes"),
            ("/connections/per_ip/exempt", "/connections/per_ip/exempt"),
        ] {
            *written.pointer_mut(pointer).unwrap() = defaults.pointer(unsaid).unwrap().clone();
        }
        assert_eq!(written, defaults);
    }

    #[test]
    fn lim_07_every_number_has_a_range() {
        let rows = [
            ("connections: { per_ip: { max: 1 } }", true),
            ("connections: { per_ip: { max: 0 } }", false),
            ("connections: { per_ip: { max: -1 } }", false),
            ("connections: { per_ip: { max: 1000000001 } }", false),
            (
                "connections: { per_ip: { max: 18446744073709551616 } }",
                false,
            ),
            ("connections: { per_ip: { max: off } }", true),
            ("connections: { per_ip: { max: } }", false),
            ("connections: { per_ip: { max: \"7\" } }", true),
            ("connections: { per_ip: { rate: 0/s } }", false),
            ("connections: { per_ip: { rate: off } }", true),
            ("connections: { handshakes: { concurrent: 0 } }", false),
            ("connections: { handshakes: { timeout: -1s } }", false),
            ("messages: { per_client: { rate: 5/s } }", true),
            ("messages: { per_client: { burst: 5 } }", false),
            ("messages: { per_client: }", false),
            (
                "messages: { per_client: { rate: 5/s, when_exceeded: shout } }",
                false,
            ),
            ("bytes: { per_client: { rate: 1MiB/s } }", true),
            ("failures: { per_ip: off }", true),
            ("state: { retained: { bytes: off } }", true),
            ("deny: [10.0.0.1/8]", false),
            ("surprise: 1", false),
        ];
        for (yaml, expected) in rows {
            let read = read(yaml);
            assert_eq!(read.is_ok(), expected, "{yaml}: {read:?}");
        }
    }

    #[test]
    fn loopback_is_exempt_only_where_nothing_is_said_of_addresses() {
        let rows = [
            ("{}", 2),
            ("connections: { global: { max: 5 } }", 2),
            ("connections: { per_ip: { max: 5 } }", 0),
            ("connections: { per_ip: { exempt: [10.0.0.1] } }", 1),
        ];
        for (yaml, expected) in rows {
            assert_eq!(
                read(yaml).unwrap().connections.per_ip.exempt.len(),
                expected,
                "{yaml}"
            );
        }
    }
}
