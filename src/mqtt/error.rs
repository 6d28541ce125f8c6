//! Why bytes are no packet, what the operator reads about it, and what the peer is told.

use super::{
    ConnAck, ConnAckProperties, Disconnect, InvalidText, InvalidTopic, PacketType, ProtocolVersion,
    ReasonCode,
};

/// What is wrong with a packet. `Display` is for the operator and cites the clause; [`reason_code`](Self::reason_code) is for the peer. MQTT 5.0 section 4.13
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("packet type 0 is reserved, MQTT 5.0 section 2.1.2")]
    ReservedPacketType,
    #[error("AUTH in MQTT 3, MQTT 3.1.1 section 2.2.1")]
    AuthInMqtt3,
    #[error("wrong flags of {0} [MQTT-2.1.3-1]")]
    Flags(PacketType),
    #[error("QoS 3 [MQTT-3.3.1-4]")]
    QoS3,
    #[error("DUP with QoS 0 [MQTT-3.3.1-2]")]
    DupAtQoS0,
    #[error("a variable byte integer of more than four bytes, MQTT 5.0 section 1.5.5")]
    LongInteger,
    #[error("a variable byte integer in more bytes than it needs [MQTT-1.5.5-1]")]
    OverlongInteger,
    #[error("a packet of {length} bytes where {maximum} are taken [MQTT-3.1.2-24] [MQTT-3.2.2-15]")]
    TooLarge { length: usize, maximum: usize },
    #[error("{0} passes the end, MQTT 5.0 section 4.13.1")]
    Truncated(&'static str),
    #[error("bytes after the end of {0}, MQTT 5.0 section 4.13.1")]
    Trailing(PacketType),
    #[error("{field}: {cause} [MQTT-1.5.4-1] [MQTT-1.5.4-2]")]
    Text {
        field: &'static str,
        cause: InvalidText,
    },
    #[error("packet identifier 0 [MQTT-2.2.1-3] [MQTT-2.2.1-4]")]
    PacketIdentifierZero,
    #[error("the first packet is {0}, not CONNECT [MQTT-3.1.0-1]")]
    NotConnect(PacketType),
    #[error("a second CONNECT [MQTT-3.1.0-2]")]
    SecondConnect,
    #[error("unknown protocol name or level {level} [MQTT-3.1.2-1] [MQTT-3.1.2-2]")]
    ProtocolVersion { level: u8 },
    #[error("reserved connect flag [MQTT-3.1.2-3]")]
    ReservedConnectFlag,
    #[error("will QoS 3 [MQTT-3.1.2-12]")]
    WillQoS3,
    #[error("will QoS or will retain without a will [MQTT-3.1.2-11] [MQTT-3.1.2-13]")]
    WillFlagsWithoutWill,
    #[error("password without a username [MQTT3-3.1.2-22]")]
    PasswordWithoutUsername,
    #[error("an empty client identifier that asks for a stored session [MQTT3-3.1.3-8]")]
    EmptyClientIdentifier,
    #[error("client identifier of {length} bytes where {maximum} are taken [MQTT-3.1.3-8]")]
    ClientIdentifierTooLong { length: usize, maximum: usize },
    #[error("reserved CONNACK flags [MQTT-3.2.2-1]")]
    ReservedConnAckFlags,
    #[error("session present in a refusal [MQTT-3.2.2-6]")]
    SessionPresentInRefusal,
    #[error("topic name: {0} [MQTT-3.3.2-2] [MQTT-4.7.3-1]")]
    TopicName(InvalidTopic),
    #[error("response topic: {0} [MQTT-3.3.2-14]")]
    ResponseTopic(InvalidTopic),
    #[error("neither topic name nor topic alias, MQTT 5.0 section 3.3.2.1")]
    NoTopic,
    #[error("topic alias 0 [MQTT-3.3.2-8]")]
    TopicAliasZero,
    #[error("the payload is not the UTF-8 it says it is, MQTT 5.0 section 3.3.2.3.2")]
    PayloadFormat,
    #[error("more subscription identifiers than {0} [MQTT-3.3.4-6]")]
    SubscriptionIdentifiers(usize),
    #[error("no topic filter in {0} [MQTT-3.8.3-2] [MQTT-3.10.3-2]")]
    NoFilter(PacketType),
    #[error("more topic filters than {0}")]
    TooManyFilters(usize),
    #[error(
        "a topic filter that is empty or has a misplaced wildcard [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-4.7.3-1]"
    )]
    TopicFilter,
    #[error(
        "a shared subscription without a share name or without a filter [MQTT-4.8.2-1] [MQTT-4.8.2-2]"
    )]
    ShareName,
    #[error("reserved bits in the subscription options [MQTT-3.8.3-5]")]
    ReservedSubscriptionOptions,
    #[error("subscription asks for QoS 3, MQTT 5.0 section 3.8.3.1")]
    SubscriptionQoS3,
    #[error("retain handling 3, MQTT 5.0 section 3.8.3.1")]
    RetainHandling3,
    #[error("no local on a shared subscription [MQTT-3.8.3-4]")]
    NoLocalOnShared,
    #[error("no reason code in {0}, MQTT 5.0 sections 3.9.3, 3.11.3")]
    NoReasonCode(PacketType),
    #[error("reason code 0x{code:02x} in {packet}, MQTT 5.0 section 2.4")]
    ReasonCode { packet: PacketType, code: u8 },
    #[error("property 0x{property:02x} in {packet}, MQTT 5.0 section 2.2.2.2")]
    Property { packet: PacketType, property: u32 },
    #[error("property 0x{property:02x} twice in {packet}, MQTT 5.0 section 2.2.2.2")]
    DuplicateProperty { packet: PacketType, property: u32 },
    #[error("property 0x{property:02x} of {packet} has a value that it cannot have")]
    PropertyValue { packet: PacketType, property: u32 },
    #[error("more user properties than {0}")]
    TooManyUserProperties(usize),
    #[error("authentication data without a method, MQTT 5.0 section 3.1.2.11.10")]
    DataWithoutMethod,
    #[error("AUTH without an authentication method, MQTT 5.0 section 3.15.2.2.2")]
    AuthWithoutMethod,
}

impl DecodeError {
    /// What a version 5 peer learns. MQTT 5.0 section 4.13
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::ReservedPacketType
            | Self::AuthInMqtt3
            | Self::Flags(_)
            | Self::QoS3
            | Self::DupAtQoS0
            | Self::LongInteger
            | Self::OverlongInteger
            | Self::Truncated(_)
            | Self::Trailing(_)
            | Self::Text { .. }
            | Self::ReservedConnectFlag
            | Self::WillQoS3
            | Self::WillFlagsWithoutWill
            | Self::PasswordWithoutUsername
            | Self::ReservedConnAckFlags
            | Self::ReservedSubscriptionOptions
            | Self::Property { .. } => ReasonCode::MalformedPacket,
            Self::PacketIdentifierZero
            | Self::NotConnect(_)
            | Self::SecondConnect
            | Self::SessionPresentInRefusal
            | Self::NoTopic
            | Self::SubscriptionIdentifiers(_)
            | Self::NoFilter(_)
            | Self::ShareName
            | Self::TopicFilter
            | Self::SubscriptionQoS3
            | Self::RetainHandling3
            | Self::NoLocalOnShared
            | Self::NoReasonCode(_)
            | Self::ReasonCode { .. }
            | Self::DuplicateProperty { .. }
            | Self::PropertyValue { .. }
            | Self::DataWithoutMethod
            | Self::AuthWithoutMethod => ReasonCode::ProtocolError,
            Self::ProtocolVersion { .. } => ReasonCode::UnsupportedProtocolVersion,
            Self::EmptyClientIdentifier | Self::ClientIdentifierTooLong { .. } => {
                ReasonCode::ClientIdentifierNotValid
            }
            Self::TopicName(_) | Self::ResponseTopic(_) => ReasonCode::TopicNameInvalid,
            Self::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Self::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::TooManyFilters(_) | Self::TooManyUserProperties(_) => ReasonCode::QuotaExceeded,
            Self::PayloadFormat => ReasonCode::PayloadFormatInvalid,
        }
    }

    /// The answer to a CONNECT that cannot be read; `version` is what [`answering_version`](super::answering_version) makes of it. MQTT 3 has words for two of these
    /// mistakes and closes without one at the others. [MQTT-3.1.4-1] [MQTT3-3.1.2-2] [MQTT3-4.8.0-1]
    pub fn connack(&self, version: ProtocolVersion) -> Option<ConnAck> {
        let reason_code = self.reason_code();
        let has_word = version.is_v5()
            || reason_code == ReasonCode::UnsupportedProtocolVersion
            || reason_code == ReasonCode::ClientIdentifierNotValid;
        // A first packet that is no CONNECT is answered by closing alone. [MQTT-3.1.0-1]
        (has_word && !matches!(self, Self::NotConnect(_))).then(|| ConnAck {
            session_present: false,
            reason_code,
            properties: ConnAckProperties::default(),
        })
    }

    /// The last word to a client that is connected already; MQTT 3 servers have none. MQTT 5.0 section 4.13.1
    pub fn disconnect(&self, version: ProtocolVersion) -> Option<Disconnect> {
        version.is_v5().then(|| Disconnect {
            reason_code: self.reason_code(),
            session_expiry_interval: None,
            reason_string: None,
            user_properties: Vec::new(),
            server_reference: None,
        })
    }
}
