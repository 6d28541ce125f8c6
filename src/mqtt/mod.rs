//! MQTT 3.1, 3.1.1 and 5.0 as types and bytes: packets, topic names and filters, reason codes. Knows no sockets and no clocks.

mod packet;
mod qos;
mod reason_code;
mod text;
mod topic;
mod version;

pub use self::packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet, Publish,
    PublishProperties, ReasonProperties, RetainHandling, SubAck, Subscribe, SubscribeFilter,
    SubscriptionIdentifier, SubscriptionOptions, UnsubAck, Unsubscribe, UserProperties, Will,
};
pub use self::qos::QoS;
pub use self::reason_code::ReasonCode;
pub use self::text::{InvalidText, Text};
pub use self::topic::{InvalidTopic, ShareName, Subscription, TopicFilter, TopicLimits, TopicName};
pub use self::version::ProtocolVersion;

/// A non-zero Two Byte Integer that names a packet in flight. MQTT 5.0 section 2.2.1
pub type PacketIdentifier = std::num::NonZeroU16;
