//! MQTT 3.1, 3.1.1 and 5.0 as types and bytes: packets, topic names and filters, reason codes. Knows no sockets and no clocks.

mod config;
mod decode;
mod encode;
mod error;
mod filter;
mod frame;
mod packet;
mod packet_type;
mod property;
mod qos;
mod reason_code;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]
mod tests;
mod text;
mod topic;
mod variable_byte_integer;
mod version;

pub use self::config::{MaximumQoS, MqttConfig, QueueConfig, RetainedConfig, WhenFull};
pub use self::decode::{DecodeLimits, answering_version, decode, decode_again, decode_short};
pub use self::encode::{PublishHead, encode, encode_message_properties, encode_within};
pub use self::error::DecodeError;
pub use self::frame::{first_frame_length, frame_length};
pub use self::packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet, Publish,
    PublishProperties, ReasonProperties, RetainHandling, SubAck, Subscribe, SubscribeFilter,
    SubscriptionIdentifier, SubscriptionOptions, UnsubAck, Unsubscribe, UserProperties, Will,
};
pub use self::packet_type::PacketType;
pub use self::qos::QoS;
pub use self::reason_code::ReasonCode;
pub use self::text::{InvalidText, Text};
pub use self::topic::{InvalidTopic, ShareName, Subscription, TopicFilter, TopicLimits, TopicName};
pub use self::version::ProtocolVersion;

/// A non-zero Two Byte Integer that names a packet in flight. MQTT 5.0 section 2.2.1
pub type PacketIdentifier = std::num::NonZeroU16;
