//! Every MQTT control packet as a type; MQTT 3 packets are the same types without properties.

use super::{
    PacketIdentifier, PacketType, ProtocolVersion, QoS, ReasonCode, Subscription, Text, TopicName,
};
use bytes::Bytes;
use std::num::{NonZeroU16, NonZeroU32};

/// Name and value pairs in the order they came. [MQTT-3.3.2-18]
pub type UserProperties = Vec<(Text, Text)>;

/// 1 to 268,435,455. MQTT 5.0 section 3.8.2.1.2
pub type SubscriptionIdentifier = NonZeroU32;

/// MQTT 5.0 section 2.1.2
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    Connect(Box<Connect>),
    ConnAck(Box<ConnAck>),
    Publish(Publish),
    PubAck(Ack),
    PubRec(Ack),
    PubRel(Ack),
    PubComp(Ack),
    Subscribe(Subscribe),
    SubAck(SubAck),
    Unsubscribe(Unsubscribe),
    UnsubAck(UnsubAck),
    PingReq,
    PingResp,
    Disconnect(Disconnect),
    Auth(Auth),
}

impl Packet {
    pub fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// MQTT 5.0 section 3.1
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    pub protocol_version: ProtocolVersion,
    /// Set by a bridge that asks for retain-as-published the way Mosquitto's bridges do (the top bit of an MQTT 3 protocol level).
    pub bridge: bool,
    /// Clean Session in MQTT 3.
    pub clean_start: bool,
    /// In seconds; 0 turns the mechanism off.
    pub keep_alive: u16,
    /// Empty when the server is to choose.
    pub client_identifier: Text,
    pub will: Option<Will>,
    pub username: Option<Text>,
    pub password: Option<Bytes>,
    pub properties: ConnectProperties,
}

/// MQTT 5.0 section 3.1.2.11
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectProperties {
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub topic_alias_maximum: Option<u16>,
    pub request_response_information: Option<bool>,
    pub request_problem_information: Option<bool>,
    pub authentication_method: Option<Text>,
    pub authentication_data: Option<Bytes>,
    pub user_properties: UserProperties,
}

/// MQTT 5.0 section 3.1.3.2; the message's own properties stand in `properties` (no topic alias, no subscription identifier).
#[derive(Clone, Debug, PartialEq)]
pub struct Will {
    pub qos: QoS,
    pub retain: bool,
    pub topic: TopicName,
    pub payload: Bytes,
    /// In seconds.
    pub will_delay_interval: Option<u32>,
    pub properties: Option<Box<PublishProperties>>,
}

/// MQTT 5.0 section 3.2
#[derive(Clone, Debug, PartialEq)]
pub struct ConnAck {
    pub session_present: bool,
    /// For MQTT 3 written as [`ReasonCode::connack_return_code`]; read back as the reason code nearest to the return code.
    pub reason_code: ReasonCode,
    pub properties: ConnAckProperties,
}

/// MQTT 5.0 section 3.2.2.3
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnAckProperties {
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    /// 0 or 1, when not 2.
    pub maximum_qos: Option<QoS>,
    pub retain_available: Option<bool>,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub assigned_client_identifier: Option<Text>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<Text>,
    pub user_properties: UserProperties,
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_identifiers_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    pub server_keep_alive: Option<u16>,
    pub response_information: Option<Text>,
    pub server_reference: Option<Text>,
    pub authentication_method: Option<Text>,
    pub authentication_data: Option<Bytes>,
}

/// MQTT 5.0 section 3.3
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    pub dup: bool,
    pub qos: QoS,
    pub retain: bool,
    /// `None`: zero length on the wire, a topic alias stands for it.
    pub topic: Option<TopicName>,
    /// `Some` exactly when `qos` is above 0.
    pub packet_identifier: Option<PacketIdentifier>,
    /// `None` when there are none: the common case costs nothing.
    pub properties: Option<Box<PublishProperties>>,
    pub payload: Bytes,
}

/// MQTT 5.0 section 3.3.2.3
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishProperties {
    /// `Some(true)`: the payload says it is UTF-8.
    pub payload_format_indicator: Option<bool>,
    /// In seconds.
    pub message_expiry_interval: Option<u32>,
    pub topic_alias: Option<NonZeroU16>,
    pub response_topic: Option<TopicName>,
    pub correlation_data: Option<Bytes>,
    pub user_properties: UserProperties,
    /// Only from a server to a client.
    pub subscription_identifiers: Vec<SubscriptionIdentifier>,
    pub content_type: Option<Text>,
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP: MQTT 5.0 sections 3.4 to 3.7.
#[derive(Clone, Debug, PartialEq)]
pub struct Ack {
    pub packet_identifier: PacketIdentifier,
    pub reason_code: ReasonCode,
    pub properties: ReasonProperties,
}

/// Reason String and User Property, where a packet carries just these; boxed because hardly any does.
pub type ReasonProperties = Option<Box<(Option<Text>, UserProperties)>>;

/// MQTT 5.0 section 3.8
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe {
    pub packet_identifier: PacketIdentifier,
    pub subscription_identifier: Option<SubscriptionIdentifier>,
    pub user_properties: UserProperties,
    /// At least one.
    pub filters: Vec<SubscribeFilter>,
}

/// One filter of a SUBSCRIBE. A filter that is well-formed text but no valid filter is answered in the SUBACK with 0x8F, so it is a value here.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscribeFilter {
    pub subscription: Result<Subscription, super::InvalidTopic>,
    pub options: SubscriptionOptions,
}

/// MQTT 5.0 section 3.8.3.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    pub maximum_qos: QoS,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetainHandling {
    #[default]
    SendAtSubscribe = 0,
    SendIfNew = 1,
    DoNotSend = 2,
}

/// MQTT 5.0 section 3.9; for MQTT 3 errors are written as 0x80.
#[derive(Clone, Debug, PartialEq)]
pub struct SubAck {
    pub packet_identifier: PacketIdentifier,
    pub reason_codes: Vec<ReasonCode>,
    pub properties: ReasonProperties,
}

/// MQTT 5.0 section 3.10
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe {
    pub packet_identifier: PacketIdentifier,
    pub user_properties: UserProperties,
    pub filters: Vec<Result<Subscription, super::InvalidTopic>>,
}

/// MQTT 5.0 section 3.11; MQTT 3 has no payload.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsubAck {
    pub packet_identifier: PacketIdentifier,
    pub reason_codes: Vec<ReasonCode>,
    pub properties: ReasonProperties,
}

/// MQTT 5.0 section 3.14
#[derive(Clone, Debug, PartialEq)]
pub struct Disconnect {
    pub reason_code: ReasonCode,
    pub session_expiry_interval: Option<u32>,
    pub reason_string: Option<Text>,
    pub user_properties: UserProperties,
    pub server_reference: Option<Text>,
}

/// MQTT 5.0 section 3.15
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    pub reason_code: ReasonCode,
    pub authentication_method: Option<Text>,
    pub authentication_data: Option<Bytes>,
    pub reason_string: Option<Text>,
    pub user_properties: UserProperties,
}
