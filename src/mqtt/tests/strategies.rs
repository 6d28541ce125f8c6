//! Every packet that a version can say, at random.

use crate::mqtt::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet,
    PacketIdentifier, PacketType, ProtocolVersion, Publish, PublishProperties, QoS, ReasonCode,
    ReasonProperties, RetainHandling, SubAck, Subscribe, SubscribeFilter, Subscription,
    SubscriptionOptions, Text, TopicLimits, TopicName, UnsubAck, Unsubscribe, UserProperties, Will,
};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::num::{NonZeroU16, NonZeroU32};

pub(super) fn version() -> impl Strategy<Value = ProtocolVersion> {
    prop::sample::select(super::VERSIONS.to_vec())
}

/// A packet of each type in turn, with its version.
pub(super) fn packet_of_any_version() -> impl Strategy<Value = (ProtocolVersion, Packet)> {
    version().prop_flat_map(|version| (Just(version), packet(version)))
}

pub(super) fn packet(version: ProtocolVersion) -> BoxedStrategy<Packet> {
    let v5 = version.is_v5();
    let ack = |packet_type| ack(packet_type, v5);
    let common = prop_oneof![
        connect(version).prop_map(|connect| Packet::Connect(Box::new(connect))),
        connack(version).prop_map(|connack| Packet::ConnAck(Box::new(connack))),
        publish(v5).prop_map(Packet::Publish),
        ack(PacketType::PubAck).prop_map(Packet::PubAck),
        ack(PacketType::PubRec).prop_map(Packet::PubRec),
        ack(PacketType::PubRel).prop_map(Packet::PubRel),
        ack(PacketType::PubComp).prop_map(Packet::PubComp),
        subscribe(v5).prop_map(Packet::Subscribe),
        suback(v5).prop_map(Packet::SubAck),
        unsubscribe(v5).prop_map(Packet::Unsubscribe),
        unsuback(v5).prop_map(Packet::UnsubAck),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        disconnect(v5).prop_map(Packet::Disconnect),
    ];
    if v5 {
        prop_oneof![14 => common, 1 => auth().prop_map(Packet::Auth)].boxed()
    } else {
        common.boxed()
    }
}

/// Some of what text may be: ASCII, two to four bytes a character, blanks, and what means something in a topic.
pub(super) fn text() -> impl Strategy<Value = Text> {
    characters("ab$ /+#é中😀\u{feff}\"", 0..12)
}

fn characters(
    palette: &'static str,
    length: std::ops::Range<usize>,
) -> impl Strategy<Value = Text> {
    vec(
        prop::sample::select(palette.chars().collect::<Vec<_>>()),
        length,
    )
    .prop_map(|characters| {
        Text::new(Bytes::from(characters.into_iter().collect::<String>())).unwrap()
    })
}

pub(super) fn topic_name() -> impl Strategy<Value = TopicName> {
    characters("ab$/é😀 ", 1..10)
        .prop_map(|text| TopicName::new(text, TopicLimits::default()).unwrap())
}

pub(super) fn subscription() -> impl Strategy<Value = Subscription> {
    let level = prop::sample::select(vec!["", "a", "b", "$x", "+", "é"]);
    let share = prop::sample::select(vec!["", "", "$share/g/", "$share/é $/"]);
    (share, vec(level, 1..5), any::<bool>())
        .prop_map(|(share, levels, many)| {
            let tail = if many { "/#" } else { "" };
            format!("{share}{}{tail}", levels.join("/"))
        })
        .prop_filter_map("not a filter", |text| {
            Subscription::new(
                Text::try_from(text.as_str()).unwrap(),
                TopicLimits::default(),
            )
            .ok()
        })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn identifier() -> impl Strategy<Value = PacketIdentifier> {
    (1..=u16::MAX).prop_map(|value| PacketIdentifier::new(value).unwrap())
}

fn positive_u16() -> impl Strategy<Value = NonZeroU16> {
    identifier()
}

fn positive_u32() -> impl Strategy<Value = NonZeroU32> {
    (1..=u32::MAX).prop_map(|value| NonZeroU32::new(value).unwrap())
}

fn subscription_identifier() -> impl Strategy<Value = NonZeroU32> {
    (0..28u32, any::<u32>()).prop_map(|(shift, value)| {
        NonZeroU32::new((value & 0x0fff_ffff) >> shift).unwrap_or(NonZeroU32::MIN)
    })
}

fn user_properties() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..4)
}

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn reason_code(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    let codes: Vec<_> = ReasonCode::ALL
        .iter()
        .copied()
        .filter(|code| code.may_stand_in(packet))
        .collect();
    prop::sample::select(codes)
}

fn reason_properties(v5: bool) -> impl Strategy<Value = ReasonProperties> {
    (of(text()), user_properties()).prop_map(move |properties| {
        let empty = properties.0.is_none() && properties.1.is_empty();
        (v5 && !empty).then(|| Box::new(properties))
    })
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Connect> {
    let v5 = version.is_v5();
    (
        (any::<bool>(), any::<bool>(), any::<u16>(), text()),
        (of(will(v5)), of(text()), of(bytes())),
        connect_properties(),
    )
        .prop_map(move |(head, (will, username, password), properties)| {
            let (bridge, clean_start, keep_alive, name) = head;
            let named = v5 || (version == ProtocolVersion::V3_1_1 && clean_start);
            let client_identifier = match name.is_empty() && !named {
                true => Text::try_from("c").unwrap(),
                false => name,
            };
            Connect {
                protocol_version: version,
                bridge: bridge && !v5,
                clean_start,
                keep_alive,
                client_identifier,
                will,
                password: password.filter(|_| v5 || username.is_some()),
                username,
                properties: if v5 {
                    properties
                } else {
                    ConnectProperties::default()
                },
            }
        })
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties> {
    (
        (
            of(any::<u32>()),
            of(positive_u16()),
            of(positive_u32()),
            of(any::<u16>()),
        ),
        (of(any::<bool>()), of(any::<bool>())),
        (of((text(), of(bytes()))), user_properties()),
    )
        .prop_map(|(numbers, requests, (authentication, user_properties))| {
            let (authentication_method, authentication_data) =
                authentication.map_or((None, None), |(method, data)| (Some(method), data));
            ConnectProperties {
                session_expiry_interval: numbers.0,
                receive_maximum: numbers.1,
                maximum_packet_size: numbers.2,
                topic_alias_maximum: numbers.3,
                request_response_information: requests.0,
                request_problem_information: requests.1,
                authentication_method,
                authentication_data,
                user_properties,
            }
        })
}

fn will(v5: bool) -> impl Strategy<Value = Will> {
    (
        qos(),
        any::<bool>(),
        topic_name(),
        bytes(),
        of(any::<u32>()),
        message_properties(),
    )
        .prop_map(
            move |(qos, retain, topic, payload, delay, properties)| Will {
                qos,
                retain,
                topic,
                payload: payload_for(&properties, payload),
                will_delay_interval: delay.filter(|_| v5),
                properties: properties.filter(|_| v5),
            },
        )
}

/// Properties of a message without those of one delivery; `None` when there are none.
fn message_properties() -> impl Strategy<Value = Option<Box<PublishProperties>>> {
    (
        (of(any::<bool>()), of(any::<u32>()), of(topic_name())),
        (of(bytes()), user_properties(), of(text())),
    )
        .prop_map(|(first, second)| {
            let properties = PublishProperties {
                payload_format_indicator: first.0,
                message_expiry_interval: first.1,
                topic_alias: None,
                response_topic: first.2,
                correlation_data: second.0,
                user_properties: second.1,
                subscription_identifiers: Vec::new(),
                content_type: second.2,
            };
            (properties != PublishProperties::default()).then(|| Box::new(properties))
        })
}

/// Bytes that are what the properties say they are.
fn payload_for(properties: &Option<Box<PublishProperties>>, payload: Bytes) -> Bytes {
    let is_text = properties
        .as_ref()
        .is_some_and(|properties| properties.payload_format_indicator == Some(true));
    match is_text {
        true => payload.iter().map(|byte| byte & 0x7f).collect(),
        false => payload,
    }
}

fn connack(version: ProtocolVersion) -> impl Strategy<Value = ConnAck> {
    let codes = if version.is_v5() {
        reason_code(PacketType::ConnAck).boxed()
    } else {
        let codes = vec![
            ReasonCode::Success,
            ReasonCode::UnsupportedProtocolVersion,
            ReasonCode::ClientIdentifierNotValid,
            ReasonCode::ServerUnavailable,
            ReasonCode::BadUserNameOrPassword,
            ReasonCode::NotAuthorized,
        ];
        prop::sample::select(codes).boxed()
    };
    (any::<bool>(), codes, connack_properties()).prop_map(
        move |(present, reason_code, properties)| ConnAck {
            session_present: present
                && reason_code == ReasonCode::Success
                && version != ProtocolVersion::V3_1,
            reason_code,
            properties: match version.is_v5() {
                true => properties,
                false => ConnAckProperties::default(),
            },
        },
    )
}

fn connack_properties() -> impl Strategy<Value = ConnAckProperties> {
    let maximum_qos = prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce]);
    (
        (
            of(any::<u32>()),
            of(positive_u16()),
            of(maximum_qos),
            of(positive_u32()),
        ),
        (
            of(any::<bool>()),
            of(any::<bool>()),
            of(any::<bool>()),
            of(any::<bool>()),
        ),
        (of(text()), of(text()), of(text()), of(text())),
        (of(any::<u16>()), of(any::<u16>()), user_properties()),
        of((text(), of(bytes()))),
    )
        .prop_map(|(numbers, flags, texts, others, authentication)| {
            let (authentication_method, authentication_data) =
                authentication.map_or((None, None), |(method, data)| (Some(method), data));
            ConnAckProperties {
                session_expiry_interval: numbers.0,
                receive_maximum: numbers.1,
                maximum_qos: numbers.2,
                retain_available: flags.0,
                maximum_packet_size: numbers.3,
                assigned_client_identifier: texts.0,
                topic_alias_maximum: others.0,
                reason_string: texts.1,
                user_properties: others.2,
                wildcard_subscription_available: flags.1,
                subscription_identifiers_available: flags.2,
                shared_subscription_available: flags.3,
                server_keep_alive: others.1,
                response_information: texts.2,
                server_reference: texts.3,
                authentication_method,
                authentication_data,
            }
        })
}

fn publish(v5: bool) -> impl Strategy<Value = Publish> {
    (
        (any::<bool>(), qos(), any::<bool>(), identifier()),
        (topic_name(), any::<bool>(), bytes()),
        (
            message_properties(),
            of(positive_u16()),
            vec(subscription_identifier(), 0..4),
        ),
    )
        .prop_map(
            move |((dup, qos, retain, identifier), (topic, hide, payload), properties)| {
                let (mut message, topic_alias, subscription_identifiers) = properties;
                if topic_alias.is_some() || !subscription_identifiers.is_empty() {
                    let properties = message.get_or_insert_with(Box::default);
                    properties.topic_alias = topic_alias;
                    properties.subscription_identifiers = subscription_identifiers;
                }
                Publish {
                    dup: dup && qos != QoS::AtMostOnce,
                    qos,
                    retain,
                    topic: (!(v5 && hide && topic_alias.is_some())).then_some(topic),
                    packet_identifier: (qos != QoS::AtMostOnce).then_some(identifier),
                    payload: payload_for(&message, payload),
                    properties: message.filter(|_| v5),
                }
            },
        )
}

fn ack(packet: PacketType, v5: bool) -> impl Strategy<Value = Ack> {
    (identifier(), reason_code(packet), reason_properties(v5)).prop_map(
        move |(packet_identifier, reason_code, properties)| Ack {
            packet_identifier,
            reason_code: if v5 { reason_code } else { ReasonCode::Success },
            properties,
        },
    )
}

fn subscribe(v5: bool) -> impl Strategy<Value = Subscribe> {
    let handling = prop::sample::select(vec![
        RetainHandling::SendAtSubscribe,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    let options = (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(maximum_qos, no_local, retain_as_published, retain_handling)| SubscriptionOptions {
            maximum_qos,
            no_local: no_local && v5,
            retain_as_published: retain_as_published && v5,
            retain_handling: if v5 {
                retain_handling
            } else {
                RetainHandling::default()
            },
        },
    );
    let filter = (subscription(), options).prop_map(|(subscription, mut options)| {
        options.no_local &= subscription.share.is_none();
        SubscribeFilter {
            subscription: Ok(subscription),
            options,
        }
    });
    (
        identifier(),
        of(subscription_identifier()),
        user_properties(),
        vec(filter, 1..5),
    )
        .prop_map(
            move |(packet_identifier, subscription_identifier, user_properties, filters)| {
                Subscribe {
                    packet_identifier,
                    subscription_identifier: subscription_identifier.filter(|_| v5),
                    user_properties: if v5 { user_properties } else { Vec::new() },
                    filters,
                }
            },
        )
}

fn suback(v5: bool) -> impl Strategy<Value = SubAck> {
    let code = reason_code(PacketType::SubAck).prop_map(move |code| match v5 || !code.is_error() {
        true => code,
        false => ReasonCode::UnspecifiedError,
    });
    (identifier(), vec(code, 1..5), reason_properties(v5)).prop_map(
        |(packet_identifier, reason_codes, properties)| SubAck {
            packet_identifier,
            reason_codes,
            properties,
        },
    )
}

fn unsubscribe(v5: bool) -> impl Strategy<Value = Unsubscribe> {
    (
        identifier(),
        user_properties(),
        vec(subscription().prop_map(Ok), 1..5),
    )
        .prop_map(
            move |(packet_identifier, user_properties, filters)| Unsubscribe {
                packet_identifier,
                user_properties: if v5 { user_properties } else { Vec::new() },
                filters,
            },
        )
}

fn unsuback(v5: bool) -> impl Strategy<Value = UnsubAck> {
    let codes = vec(reason_code(PacketType::UnsubAck), 1..5);
    (identifier(), codes, reason_properties(v5)).prop_map(
        move |(packet_identifier, reason_codes, properties)| UnsubAck {
            packet_identifier,
            reason_codes: if v5 { reason_codes } else { Vec::new() },
            properties,
        },
    )
}

fn disconnect(v5: bool) -> impl Strategy<Value = Disconnect> {
    (
        reason_code(PacketType::Disconnect),
        of(any::<u32>()),
        (of(text()), of(text())),
        user_properties(),
    )
        .prop_map(
            move |(reason_code, expiry, texts, user_properties)| match v5 {
                true => Disconnect {
                    reason_code,
                    session_expiry_interval: expiry,
                    reason_string: texts.0,
                    user_properties,
                    server_reference: texts.1,
                },
                false => Disconnect {
                    reason_code: ReasonCode::Success,
                    session_expiry_interval: None,
                    reason_string: None,
                    user_properties: Vec::new(),
                    server_reference: None,
                },
            },
        )
}

fn auth() -> impl Strategy<Value = Auth> {
    (
        reason_code(PacketType::Auth),
        text(),
        of(bytes()),
        of(text()),
        user_properties(),
    )
        .prop_map(
            |(reason_code, method, authentication_data, reason_string, user_properties)| Auth {
                reason_code,
                authentication_method: Some(method),
                authentication_data,
                reason_string,
                user_properties,
            },
        )
}
