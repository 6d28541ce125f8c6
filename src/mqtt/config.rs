//! `mqtt` in the configuration: what the broker grants its clients. Contract section 3.

use super::{Connect, ProtocolVersion, QoS, TopicLimits};
use crate::units::{ByteSize, Period};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU16;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttConfig {
    /// Protocol versions spoken, of `3.1`, `3.1.1` and `5.0`.
    pub versions: Vec<Version>,
    pub keep_alive: KeepAlive,
    /// Unacknowledged QoS 1 and 2 publishes a client may have towards us. 1 to 65,535.
    pub receive_maximum: NonZeroU16,
    /// The same towards a client that names no Receive Maximum of its own.
    pub max_inflight: NonZeroU16,
    /// Topic aliases a client may use; 0 turns them off.
    pub topic_alias_maximum: u16,
    pub session_expiry: SessionExpiry,
    /// 0, 1 or 2.
    pub max_qos: MaximumQoS,
    pub retain_available: bool,
    pub shared_subscriptions: bool,
    pub max_subscriptions_per_client: usize,
    pub max_topic_levels: usize,
    /// In bytes.
    pub max_topic_length: usize,
    /// In bytes, at most 65,535.
    pub max_client_id_length: usize,
    /// Filters in one SUBSCRIBE or UNSUBSCRIBE (LIM-3).
    pub max_filters_per_packet: usize,
    /// In one packet, and in the will (LIM-3).
    pub max_user_properties: usize,
    pub queue: QueueConfig,
    pub retained: RetainedConfig,
    /// How often `$SYS/broker/…` is published; 0 turns it off.
    pub sys_interval: Period,
    /// Adds the decision id to the v5 reason string of a refusal.
    pub reveal_decision_id: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Version {
    #[serde(rename = "3.1")]
    V3_1,
    #[serde(rename = "3.1.1")]
    V3_1_1,
    #[serde(rename = "5.0")]
    V5_0,
}

/// `mqtt.keep_alive`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepAlive {
    pub max: Period,
}

/// `mqtt.session_expiry`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionExpiry {
    pub max: Period,
}

/// `mqtt.queue`: for each offline or slow session.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    pub messages: usize,
    pub bytes: ByteSize,
    pub when_full: WhenFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    DropOldest,
    DropNewest,
}

/// `mqtt.retained`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetainedConfig {
    /// Deliver a retained message only while its author may still publish it.
    pub check_author: bool,
}

/// 0, 1 or 2 in the file.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct MaximumQoS(pub QoS);

impl From<MaximumQoS> for u8 {
    fn from(MaximumQoS(qos): MaximumQoS) -> Self {
        qos as Self
    }
}

impl TryFrom<u8> for MaximumQoS {
    type Error = String;

    fn try_from(bits: u8) -> Result<Self, String> {
        QoS::from_bits(bits)
            .map(Self)
            .ok_or_else(|| format!("max_qos is 0, 1 or 2, not {bits}"))
    }
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            versions: vec![Version::V3_1, Version::V3_1_1, Version::V5_0],
            keep_alive: KeepAlive::default(),
            receive_maximum: NonZeroU16::MIN.saturating_add(63),
            max_inflight: NonZeroU16::MIN.saturating_add(63),
            topic_alias_maximum: 32,
            session_expiry: SessionExpiry::default(),
            max_qos: MaximumQoS(QoS::ExactlyOnce),
            retain_available: true,
            shared_subscriptions: true,
            max_subscriptions_per_client: 1000,
            max_topic_levels: 64,
            max_topic_length: 1024,
            max_client_id_length: 256,
            max_filters_per_packet: 64,
            max_user_properties: 64,
            queue: QueueConfig::default(),
            retained: RetainedConfig::default(),
            sys_interval: Period::from_secs(10),
            reveal_decision_id: false,
        }
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            max: Period::from_hours(1),
        }
    }
}

impl Default for SessionExpiry {
    fn default() -> Self {
        Self {
            max: Period::from_days(7),
        }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            messages: 10_000,
            bytes: ByteSize::bytes(64 << 20),
            when_full: WhenFull::DropOldest,
        }
    }
}

impl Default for RetainedConfig {
    fn default() -> Self {
        Self { check_author: true }
    }
}

impl MqttConfig {
    pub fn topic_limits(&self) -> TopicLimits {
        TopicLimits {
            levels: self.max_topic_levels,
            length: self.max_topic_length,
        }
    }

    pub fn speaks(&self, version: ProtocolVersion) -> bool {
        self.versions.contains(&match version {
            ProtocolVersion::V3_1 => Version::V3_1,
            ProtocolVersion::V3_1_1 => Version::V3_1_1,
            ProtocolVersion::V5_0 => Version::V5_0,
        })
    }

    /// What a CONNECT asks for, no longer than the maximum, in seconds; 0: the session ends with its connection. MQTT 3 has only a clean session, which does, and
    /// one that lives as long as the server keeps any. MQTT 5.0 section 3.1.2.11.2
    pub fn session_expiry(&self, connect: &Connect) -> u32 {
        let asked = match (connect.protocol_version.is_v5(), connect.clean_start) {
            (true, _) => connect.properties.session_expiry_interval.unwrap_or(0),
            (false, true) => 0,
            (false, false) => u32::MAX,
        };
        asked.min(self.session_expiry_max())
    }

    /// The longest session expiry granted, in whole seconds.
    pub fn session_expiry_max(&self) -> u32 {
        u32::try_from(self.session_expiry.max.get().as_secs()).unwrap_or(u32::MAX)
    }
}
