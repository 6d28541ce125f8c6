//! What the machine says to what a server says, as tables.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

use super::{Client, Event, Options, ProtocolError, PublishError};
use crate::mqtt::{
    Ack, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet,
    PacketIdentifier, ProtocolVersion, Publish, PublishProperties, QoS, ReasonCode, SubAck,
    SubscribeFilter, Subscription, SubscriptionOptions, Text, TopicLimits, TopicName, decode,
    encode, frame_length,
};
use bytes::{Bytes, BytesMut};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

const V5: ProtocolVersion = ProtocolVersion::V5_0;
const V3: ProtocolVersion = ProtocolVersion::V3_1_1;

pub(super) fn connect(protocol_version: ProtocolVersion) -> Connect {
    Connect {
        protocol_version,
        bridge: false,
        clean_start: true,
        keep_alive: 60,
        client_identifier: Text::try_from("c").unwrap(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties {
            topic_alias_maximum: Some(2),
            receive_maximum: NonZeroU16::new(3),
            ..ConnectProperties::default()
        },
    }
}

pub(super) fn connack(session_present: bool, receive_maximum: u16) -> Packet {
    Packet::ConnAck(Box::new(ConnAck {
        session_present,
        reason_code: ReasonCode::Success,
        properties: ConnAckProperties {
            receive_maximum: NonZeroU16::new(receive_maximum),
            topic_alias_maximum: Some(1),
            ..ConnAckProperties::default()
        },
    }))
}

pub(super) fn publish(topic: &str, qos: QoS, payload: &str) -> Publish {
    let topic = Text::try_from(topic).unwrap();
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(TopicName::new(topic, TopicLimits::default()).unwrap()),
        packet_identifier: None,
        properties: None,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub(super) fn wire(packet: &Packet, version: ProtocolVersion) -> BytesMut {
    let mut bytes = BytesMut::new();
    assert!(encode(packet, version, &mut bytes));
    bytes
}

fn identifier(number: u16) -> PacketIdentifier {
    PacketIdentifier::new(number).unwrap()
}

fn ack(number: u16, reason_code: ReasonCode) -> Ack {
    Ack {
        packet_identifier: identifier(number),
        reason_code,
        properties: None,
    }
}

/// A message of the server.
fn inbound(qos: QoS, number: u16) -> Packet {
    let packet_identifier = PacketIdentifier::new(number);
    Packet::Publish(Publish {
        packet_identifier,
        ..publish("t", qos, "m")
    })
}

fn aliased(topic: Option<&str>, alias: u16) -> Packet {
    let mut aliased = publish(topic.unwrap_or("x"), QoS::AtMostOnce, "m");
    aliased.topic = aliased.topic.filter(|_| topic.is_some());
    aliased.properties = Some(Box::new(PublishProperties {
        topic_alias: NonZeroU16::new(alias),
        ..PublishProperties::default()
    }));
    Packet::Publish(aliased)
}

/// A machine with its connection, in words that rows can use.
struct Conversation {
    client: Client,
    now: Instant,
}

impl Conversation {
    fn new(connect: Connect, options: Options) -> Self {
        let now = Instant::now();
        let client = Client::new(connect, options, now);
        Self { client, now }
    }

    /// CONNECT and CONNACK are behind it.
    fn connected(version: ProtocolVersion) -> Self {
        let mut conversation = Self::new(connect(version), Options::default());
        conversation.reconnect(&connack(false, 2));
        conversation
    }

    fn reconnect(&mut self, answer: &Packet) {
        self.client.connect(self.now);
        self.said();
        self.hear(answer).unwrap();
        assert!(matches!(
            self.client.poll_event(),
            Some(Event::Connected(_))
        ));
    }

    fn hear(&mut self, packet: &Packet) -> Result<(), ProtocolError> {
        self.client
            .read(&mut wire(packet, self.client.version()), self.now)
    }

    /// Everything the machine has to say.
    fn said(&mut self) -> Vec<Packet> {
        let mut bytes = BytesMut::new();
        while self.client.poll_transmit(&mut bytes, self.now) {}
        let mut packets = Vec::new();
        while let Some(length) = frame_length(&bytes, usize::MAX).unwrap() {
            let frame = bytes.split_to(length).freeze();
            let limits = crate::mqtt::DecodeLimits::of_client();
            let is_connect = frame.first() == Some(&0x10);
            let version = Some(self.client.version()).filter(|_| !is_connect);
            packets.push(decode(frame, version, &limits).unwrap());
        }
        packets
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }
}

/// [MQTT-3.1.0-1]
#[test]
fn connect_is_the_first_thing_said() {
    let mut conversation = Conversation::new(connect(V5), Options::default());
    let early = conversation
        .client
        .publish(publish("t", QoS::AtMostOnce, "m"));
    assert_eq!(early, Err(PublishError::NotConnected));
    conversation.client.connect(conversation.now);
    let said = conversation.said();
    assert!(matches!(said.as_slice(), [Packet::Connect(_)]), "{said:?}");
}

#[test]
fn a_refusal_is_an_event_and_the_end() {
    for reason_code in [ReasonCode::NotAuthorized, ReasonCode::BadUserNameOrPassword] {
        for version in [V3, V5] {
            let mut conversation = Conversation::new(connect(version), Options::default());
            conversation.client.connect(conversation.now);
            let refusal = Packet::ConnAck(Box::new(ConnAck {
                session_present: false,
                reason_code,
                properties: ConnAckProperties::default(),
            }));
            conversation.hear(&refusal).unwrap();
            match conversation.events().as_slice() {
                [Event::Refused(connack)] => assert_eq!(connack.reason_code, reason_code),
                other => unreachable!("{version:?} {other:?}"),
            }
            assert!(!conversation.client.is_connected());
        }
    }
}

/// What a server must not send, and what it is told. MQTT 5.0 section 4.13
#[test]
fn a_server_that_breaks_the_protocol_is_told_why() {
    let suback = |number| {
        Packet::SubAck(SubAck {
            packet_identifier: identifier(number),
            reason_codes: vec![ReasonCode::Success],
            properties: None,
        })
    };
    let rows: [(&str, Vec<Packet>, ReasonCode); 9] = [
        (
            "second CONNACK",
            vec![connack(false, 2)],
            ReasonCode::ProtocolError,
        ),
        ("PINGREQ", vec![Packet::PingReq], ReasonCode::ProtocolError),
        (
            "CONNECT",
            vec![Packet::Connect(Box::new(connect(V5)))],
            ReasonCode::ProtocolError,
        ),
        ("SUBACK unasked", vec![suback(9)], ReasonCode::ProtocolError),
        (
            "alias above the maximum",
            vec![aliased(Some("a"), 3)],
            ReasonCode::TopicAliasInvalid,
        ),
        (
            "alias never set",
            vec![aliased(None, 1)],
            ReasonCode::TopicAliasInvalid,
        ),
        (
            "more than the Receive Maximum",
            (1..=4)
                .map(|number| inbound(QoS::AtLeastOnce, number))
                .collect(),
            ReasonCode::ReceiveMaximumExceeded,
        ),
        (
            "more than the Receive Maximum at QoS 2",
            (1..=4)
                .map(|number| inbound(QoS::ExactlyOnce, number))
                .collect(),
            ReasonCode::ReceiveMaximumExceeded,
        ),
        ("SUBSCRIBE", vec![subscribe()], ReasonCode::ProtocolError),
    ];
    for (name, packets, reason_code) in rows {
        let mut conversation = Conversation::connected(V5);
        let heard: Result<Vec<()>, _> = packets
            .iter()
            .map(|packet| conversation.hear(packet))
            .collect();
        assert_eq!(heard.unwrap_err().reason_code(), reason_code, "{name}");
        match conversation.said().as_slice() {
            [Packet::Disconnect(said)] => assert_eq!(said.reason_code, reason_code, "{name}"),
            other => unreachable!("{name}: {other:?}"),
        }
    }
}

fn subscribe() -> Packet {
    Packet::Subscribe(crate::mqtt::Subscribe {
        packet_identifier: identifier(1),
        subscription_identifier: None,
        user_properties: Vec::new(),
        filters: vec![filter("a/#")],
    })
}

fn filter(filter: &str) -> SubscribeFilter {
    SubscribeFilter {
        subscription: Subscription::new(Text::try_from(filter).unwrap(), TopicLimits::default()),
        options: SubscriptionOptions::default(),
    }
}

/// [MQTT-3.2.2-2]
#[test]
fn a_clean_start_has_no_session() {
    let mut conversation = Conversation::new(connect(V5), Options::default());
    conversation.client.connect(conversation.now);
    assert!(conversation.hear(&connack(true, 2)).is_err());
}

/// [MQTT-4.3.2-1] [MQTT-4.3.3-2] [MQTT-4.3.3-4] [MQTT-4.9.0-2]
#[test]
fn a_message_keeps_its_place_in_the_window_until_settled() {
    let rows: [(&str, QoS, Vec<Packet>); 4] = [
        (
            "PUBACK",
            QoS::AtLeastOnce,
            vec![Packet::PubAck(ack(1, ReasonCode::Success))],
        ),
        (
            "PUBACK that refuses",
            QoS::AtLeastOnce,
            vec![Packet::PubAck(ack(1, ReasonCode::NotAuthorized))],
        ),
        (
            "PUBREC that refuses",
            QoS::ExactlyOnce,
            vec![Packet::PubRec(ack(1, ReasonCode::QuotaExceeded))],
        ),
        (
            "PUBREC, PUBCOMP",
            QoS::ExactlyOnce,
            vec![
                Packet::PubRec(ack(1, ReasonCode::Success)),
                Packet::PubComp(ack(1, ReasonCode::Success)),
            ],
        ),
    ];
    for (name, qos, answers) in rows {
        let mut conversation = Conversation::connected(V5);
        for number in 1..=2 {
            let taken = conversation.client.publish(publish("t", qos, "m"));
            assert_eq!(taken, Ok(Some(identifier(number))), "{name}");
        }
        let third = conversation.client.publish(publish("t", qos, "m"));
        assert_eq!(third, Err(PublishError::WindowFull), "{name}");
        assert_eq!(conversation.said().len(), 2, "{name}");
        for answer in &answers {
            assert!(
                conversation.client.publish(publish("t", qos, "m")).is_err(),
                "{name}"
            );
            conversation.hear(answer).unwrap();
        }
        assert!(
            matches!(conversation.events().as_slice(), [Event::Published(_)]),
            "{name}"
        );
        let third = conversation.client.publish(publish("t", qos, "m"));
        assert_eq!(third, Ok(Some(identifier(3))), "{name}");
    }
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_is_a_protocol_error() {
    let rows = [
        (
            QoS::AtLeastOnce,
            Packet::PubRec(ack(1, ReasonCode::Success)),
        ),
        (
            QoS::AtLeastOnce,
            Packet::PubComp(ack(1, ReasonCode::Success)),
        ),
        (
            QoS::ExactlyOnce,
            Packet::PubAck(ack(1, ReasonCode::Success)),
        ),
        (
            QoS::ExactlyOnce,
            Packet::PubComp(ack(1, ReasonCode::Success)),
        ),
    ];
    for (qos, answer) in rows {
        let mut conversation = Conversation::connected(V5);
        conversation.client.publish(publish("t", qos, "m")).unwrap();
        conversation.said();
        assert!(conversation.hear(&answer).is_err(), "{qos:?} {answer:?}");
    }
}

/// [MQTT-4.4.0-1] [MQTT-3.3.1-1]
#[test]
fn what_is_unsettled_goes_out_again_in_order() {
    for (session_present, dup) in [(true, true), (false, false)] {
        let mut options = connect(V5);
        options.clean_start = false;
        let mut conversation = Conversation::new(options, Options::default());
        conversation.reconnect(&connack(false, 9));
        for (payload, qos) in [
            ("1", QoS::ExactlyOnce),
            ("2", QoS::AtLeastOnce),
            ("3", QoS::ExactlyOnce),
        ] {
            conversation
                .client
                .publish(publish("t", qos, payload))
                .unwrap();
        }
        conversation.said();
        conversation
            .hear(&Packet::PubRec(ack(1, ReasonCode::Success)))
            .unwrap();
        conversation.client.connection_lost();
        conversation.reconnect(&connack(session_present, 9));
        let again: Vec<_> = conversation.said();
        let of = |packet: &Packet| match packet {
            Packet::Publish(publish) => (publish.packet_identifier, Some(publish.dup)),
            Packet::PubRel(ack) => (Some(ack.packet_identifier), None),
            other => unreachable!("{other:?}"),
        };
        let published = [
            (Some(identifier(2)), Some(dup)),
            (Some(identifier(3)), Some(dup)),
        ];
        // A server without the session has nothing to release.
        let mut expected = if session_present {
            vec![(Some(identifier(1)), None)]
        } else {
            Vec::new()
        };
        expected.extend(published);
        assert_eq!(
            again.iter().map(of).collect::<Vec<_>>(),
            expected,
            "{session_present}"
        );
    }
}

/// [MQTT-4.3.3-8] to [MQTT-4.3.3-12]
#[test]
fn qos_2_is_delivered_once_and_released_once() {
    let mut conversation = Conversation::connected(V5);
    conversation.hear(&inbound(QoS::ExactlyOnce, 7)).unwrap();
    conversation.hear(&inbound(QoS::ExactlyOnce, 7)).unwrap();
    let mut events = conversation.events();
    assert_eq!(events.len(), 1, "{events:?}");
    let Some(Event::Message(_, Some(acknowledgement))) = events.pop() else {
        unreachable!()
    };
    assert!(
        conversation.said().is_empty(),
        "nothing before the user acknowledges"
    );
    conversation.client.acknowledge(acknowledgement);
    assert_eq!(
        conversation.said(),
        [Packet::PubRec(ack(7, ReasonCode::Success))]
    );
    conversation.hear(&inbound(QoS::ExactlyOnce, 7)).unwrap();
    assert!(conversation.events().is_empty());
    assert_eq!(
        conversation.said(),
        [Packet::PubRec(ack(7, ReasonCode::Success))]
    );
    let released = Packet::PubRel(ack(7, ReasonCode::Success));
    conversation.hear(&released).unwrap();
    assert_eq!(
        conversation.said(),
        [Packet::PubComp(ack(7, ReasonCode::Success))]
    );
    conversation.hear(&released).unwrap();
    let unknown = ack(7, ReasonCode::PacketIdentifierNotFound);
    assert_eq!(conversation.said(), [Packet::PubComp(unknown)]);
}

#[test]
fn an_acknowledgement_does_not_reach_a_later_connection() {
    let mut conversation = Conversation::connected(V5);
    conversation.hear(&inbound(QoS::AtLeastOnce, 7)).unwrap();
    let Some(Event::Message(_, Some(acknowledgement))) = conversation.events().pop() else {
        unreachable!()
    };
    conversation.reconnect(&connack(false, 2));
    conversation.hear(&inbound(QoS::AtLeastOnce, 7)).unwrap();
    conversation.client.acknowledge(acknowledgement);
    assert!(conversation.said().is_empty());
}

/// [MQTT-3.2.2-11] [MQTT-3.2.2-14] [MQTT-3.2.2-15]
#[test]
fn what_the_server_does_not_take_is_not_sent() {
    let mut conversation = Conversation::new(connect(V5), Options::default());
    let mut answer = ConnAck {
        session_present: false,
        reason_code: ReasonCode::Success,
        properties: ConnAckProperties::default(),
    };
    answer.properties.maximum_qos = Some(QoS::AtLeastOnce);
    answer.properties.retain_available = Some(false);
    answer.properties.maximum_packet_size = std::num::NonZeroU32::new(20);
    conversation.reconnect(&Packet::ConnAck(Box::new(answer)));
    let retained = Publish {
        retain: true,
        ..publish("t", QoS::AtMostOnce, "m")
    };
    let no_topic = Publish {
        topic: None,
        ..publish("t", QoS::AtMostOnce, "m")
    };
    // Fixed header 2, topic 3, identifier 2, properties 1.
    let too_large = PublishError::PacketTooLarge {
        length: 21,
        maximum: 20,
    };
    let rows = [
        (
            publish("t", QoS::ExactlyOnce, "m"),
            Err(PublishError::QoSNotSupported(QoS::AtLeastOnce)),
        ),
        (retained, Err(PublishError::RetainNotSupported)),
        (no_topic, Err(PublishError::NoTopic)),
        (
            publish("t", QoS::AtLeastOnce, "0123456789abc"),
            Err(too_large),
        ),
        (
            publish("t", QoS::AtLeastOnce, "0123456789ab"),
            Ok(Some(identifier(1))),
        ),
        (publish("t", QoS::AtMostOnce, "0123456789abcd"), Ok(None)),
    ];
    for (message, expected) in rows {
        assert_eq!(
            conversation.client.publish(message.clone()),
            expected,
            "{message:?}"
        );
    }
}

/// [MQTT-3.3.2-9] [MQTT-3.3.2-12]
#[test]
fn aliases_shorten_outbound_and_lengthen_inbound() {
    let options = Options {
        topic_aliases: true,
        ..Options::default()
    };
    let mut conversation = Conversation::new(connect(V5), options);
    conversation.reconnect(&connack(false, 2));
    for topic in ["a", "a", "b"] {
        conversation
            .client
            .publish(publish(topic, QoS::AtMostOnce, "m"))
            .unwrap();
    }
    let said = conversation.said();
    let plain = Packet::Publish(publish("b", QoS::AtMostOnce, "m"));
    assert_eq!(said, [aliased(Some("a"), 1), aliased(None, 1), plain]);

    for packet in [
        aliased(Some("x"), 2),
        aliased(None, 2),
        aliased(Some("y"), 2),
        aliased(None, 2),
    ] {
        conversation.hear(&packet).unwrap();
    }
    let topics: Vec<_> = conversation
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Message(publish, None) => publish.topic.unwrap().as_str().to_owned(),
            other => unreachable!("{other:?}"),
        })
        .collect();
    assert_eq!(topics, ["x", "x", "y", "y"]);
}

/// [MQTT-3.1.2-20] [MQTT-3.1.2-21]
#[test]
fn silence_is_broken_by_pings_and_a_silent_server_is_given_up() {
    let mut conversation = Conversation::connected(V5);
    let start = conversation.now;
    assert_eq!(
        conversation.client.poll_timeout(),
        Some(start + Duration::from_secs(60))
    );
    conversation
        .client
        .handle_timeout(start + Duration::from_secs(59))
        .unwrap();
    assert!(conversation.said().is_empty());
    for _ in 0..2 {
        conversation.now = conversation.client.poll_timeout().unwrap();
        conversation
            .client
            .handle_timeout(conversation.now)
            .unwrap();
        assert_eq!(conversation.said(), [Packet::PingReq]);
        conversation.hear(&Packet::PingResp).unwrap();
    }
    conversation.now = conversation.client.poll_timeout().unwrap();
    conversation
        .client
        .handle_timeout(conversation.now)
        .unwrap();
    conversation.said();
    let due = conversation.client.poll_timeout().unwrap();
    assert_eq!(due, conversation.now + Duration::from_secs(10));
    let given_up = conversation.client.handle_timeout(due);
    assert!(matches!(given_up, Err(ProtocolError::KeepAliveTimeout)));
}

#[test]
fn a_server_that_does_not_answer_connect_is_given_up() {
    let mut conversation = Conversation::new(connect(V5), Options::default());
    conversation.client.connect(conversation.now);
    let deadline = conversation.client.poll_timeout().unwrap();
    let given_up = conversation.client.handle_timeout(deadline);
    assert!(matches!(given_up, Err(ProtocolError::ConnectTimeout)));
}

/// [MQTT-3.8.4-6]; MQTT 3 servers have no DISCONNECT. [MQTT3-3.14.4-1]
#[test]
fn answers_fit_their_requests() {
    let suback = |codes: usize| {
        Packet::SubAck(SubAck {
            packet_identifier: identifier(1),
            reason_codes: vec![ReasonCode::Success; codes],
            properties: None,
        })
    };
    for (codes, fits) in [(1, false), (2, true), (3, false)] {
        let mut conversation = Conversation::connected(V5);
        let filters = vec![filter("a/#"), filter("$share/g/b")];
        conversation
            .client
            .subscribe(filters, None, Vec::new())
            .unwrap();
        assert_eq!(conversation.hear(&suback(codes)).is_ok(), fits, "{codes}");
        assert_eq!(conversation.events().len(), usize::from(fits), "{codes}");
    }
}

#[test]
fn the_servers_goodbye_is_an_event() {
    let mut conversation = Conversation::connected(V5);
    let goodbye = Packet::Disconnect(Disconnect {
        reason_code: ReasonCode::ServerShuttingDown,
        session_expiry_interval: None,
        reason_string: None,
        user_properties: Vec::new(),
        server_reference: None,
    });
    conversation.hear(&goodbye).unwrap();
    assert!(matches!(
        conversation.events().as_slice(),
        [Event::Disconnected(_)]
    ));
    assert!(!conversation.client.is_connected());
}
