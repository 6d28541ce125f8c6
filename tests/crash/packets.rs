//! The packets that test clients send.

use super::cast::Role;
use super::model::{Sent, Subscribed};
use bytes::Bytes;
use std::num::{NonZeroU16, NonZeroU32};
use wardgate::mqtt::{
    Ack, Connect, ConnectProperties, Disconnect, Packet, ProtocolVersion, Publish, QoS, ReasonCode,
    RetainHandling, Subscribe, SubscribeFilter, Subscription, SubscriptionOptions, Text,
    TopicLimits, TopicName, Unsubscribe, Will,
};

/// In seconds: longer than any round.
const EXPIRY: u32 = 3600;

/// Of a session that outlives its connection; `clean` begins a new one.
pub fn connect(role: &Role, clean: bool, will: Option<Will>) -> Connect {
    let version_5 = role.version.is_v5();
    Connect {
        protocol_version: role.version,
        bridge: false,
        clean_start: clean,
        keep_alive: 60,
        client_identifier: text(&role.name),
        will,
        username: None,
        password: None,
        properties: if version_5 {
            ConnectProperties {
                session_expiry_interval: Some(EXPIRY),
                receive_maximum: role.receive_maximum.and_then(NonZeroU16::new),
                ..ConnectProperties::default()
            }
        } else {
            ConnectProperties::default()
        },
    }
}

/// Of a client that comes for a moment.
pub fn passing(name: &str, version: ProtocolVersion, will: Option<Will>) -> Connect {
    Connect {
        protocol_version: version,
        bridge: false,
        clean_start: true,
        keep_alive: 60,
        client_identifier: text(name),
        will,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

pub fn will(sent: &Sent, delay: Option<u32>) -> Will {
    Will {
        qos: QoS::from_bits(sent.qos).unwrap(),
        retain: false,
        topic: topic(&sent.topic),
        payload: Bytes::from(sent.payload.clone()),
        will_delay_interval: delay,
        properties: None,
    }
}

pub fn publish(sent: &Sent, identifier: Option<u16>, dup: bool) -> Packet {
    Packet::Publish(Publish {
        dup,
        qos: QoS::from_bits(sent.qos).unwrap(),
        retain: sent.is_retained(),
        topic: Some(topic(&sent.topic)),
        packet_identifier: identifier.and_then(NonZeroU16::new),
        properties: None,
        payload: Bytes::from(sent.payload.clone()),
    })
}

pub fn ack(identifier: u16) -> Ack {
    Ack {
        packet_identifier: NonZeroU16::new(identifier).unwrap(),
        reason_code: ReasonCode::Success,
        properties: None,
    }
}

pub fn subscribe(held: &Subscribed, identifier: u16) -> Packet {
    Packet::Subscribe(Subscribe {
        packet_identifier: NonZeroU16::new(identifier).unwrap(),
        subscription_identifier: held.identifier.and_then(NonZeroU32::new),
        user_properties: Vec::new(),
        filters: vec![SubscribeFilter {
            subscription: Ok(subscription(held)),
            options: SubscriptionOptions {
                maximum_qos: QoS::from_bits(held.maximum_qos).unwrap(),
                // What is retained is judged apart; on this filter it would look like a second delivery.
                retain_handling: if held.filter == "#" {
                    RetainHandling::DoNotSend
                } else {
                    RetainHandling::SendAtSubscribe
                },
                ..SubscriptionOptions::default()
            },
        }],
    })
}

pub fn unsubscribe(held: &Subscribed, identifier: u16) -> Packet {
    Packet::Unsubscribe(Unsubscribe {
        packet_identifier: NonZeroU16::new(identifier).unwrap(),
        user_properties: Vec::new(),
        filters: vec![Ok(subscription(held))],
    })
}

pub fn disconnect() -> Packet {
    Packet::Disconnect(Disconnect {
        reason_code: ReasonCode::Success,
        session_expiry_interval: None,
        reason_string: None,
        user_properties: Vec::new(),
        server_reference: None,
    })
}

fn subscription(held: &Subscribed) -> Subscription {
    let whole = match &held.share {
        Some(share) => format!("$share/{share}/{}", held.filter),
        None => held.filter.clone(),
    };
    Subscription::new(text(&whole), TopicLimits::default()).unwrap()
}

fn topic(name: &str) -> TopicName {
    TopicName::new(text(name), TopicLimits::default()).unwrap()
}

fn text(text: &str) -> Text {
    Text::try_from(text).unwrap()
}
