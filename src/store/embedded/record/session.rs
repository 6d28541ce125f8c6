//! A session and its subscriptions on disk.

use super::Unreadable;
use super::content::{properties, put_publish, take_publish};
use super::fields::{put_bytes, take_bytes, take_u8, take_u32, take_u64};
use super::row::{subscription, topic};
use super::subject::StoredSubject;
use crate::mqtt::{
    PublishHead, QoS, RetainHandling, Subscription, SubscriptionIdentifier, SubscriptionOptions,
    TopicName, Will, encode_message_properties,
};
use crate::router::{Replaying, SessionRecord, Subscribed};
use crate::session::SessionId;
use crate::store::embedded::clock::Clock;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A field that a later version adds is left out by this one.
#[derive(Serialize, Deserialize)]
struct StoredSession {
    subject: StoredSubject,
    session_expiry_interval: u32,
    connected: bool,
    /// Unix milliseconds, or 0.
    #[serde(default)]
    expires_at: u64,
    #[serde(default)]
    will_at: u64,
    /// Its message follows the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    will: Option<StoredWill>,
}

#[derive(Serialize, Deserialize)]
struct StoredWill {
    qos: u8,
    #[serde(default)]
    delay: Option<u32>,
}

pub(in crate::store::embedded) fn put_session(
    record: &SessionRecord,
    clock: Clock,
    out: &mut BytesMut,
) {
    let stored = StoredSession {
        subject: StoredSubject::of(&record.subject),
        session_expiry_interval: record.session_expiry_interval,
        connected: record.connected,
        expires_at: clock.to_disk(record.expires_at),
        will_at: clock.to_disk(record.will_at),
        will: record.will.as_ref().map(|will| StoredWill {
            qos: will.qos.bits(),
            delay: will.will_delay_interval,
        }),
    };
    // Strings and numbers: nothing that JSON could refuse.
    put_bytes(&serde_json::to_vec(&stored).unwrap_or_default(), out);
    if let Some(will) = &record.will {
        put_will(will, out);
    }
}

pub(in crate::store::embedded) fn take_session(
    id: SessionId,
    mut input: Bytes,
    clock: Clock,
) -> Result<SessionRecord, Unreadable> {
    let document = take_bytes(&mut input, "a session")?;
    let stored: StoredSession =
        serde_json::from_slice(&document).map_err(|_| Unreadable::Invalid("a session"))?;
    let will = stored
        .will
        .map(|will| take_will(&will, input))
        .transpose()?;
    Ok(SessionRecord {
        id,
        subject: Arc::new(stored.subject.into_subject()?),
        session_expiry_interval: stored.session_expiry_interval,
        connected: stored.connected,
        expires_at: clock.read_disk(stored.expires_at),
        will,
        will_at: clock.read_disk(stored.will_at),
    })
}

fn put_will(will: &Will, out: &mut BytesMut) {
    let properties = will.properties.as_deref();
    let message_properties = properties.map(encode_message_properties);
    put_publish(
        PublishHead {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: will.retain,
            packet_identifier: None,
            topic: will.topic.as_str(),
            topic_alias: None,
            subscription_identifiers: &[],
            message_expiry_interval: properties
                .and_then(|properties| properties.message_expiry_interval),
            message_properties: message_properties.as_deref().unwrap_or_default(),
            payload_length: will.payload.len(),
        },
        &will.payload,
        out,
    );
}

fn take_will(stored: &StoredWill, input: Bytes) -> Result<Box<Will>, Unreadable> {
    let publish = take_publish(input)?;
    Ok(Box::new(Will {
        qos: QoS::from_bits(stored.qos).ok_or(Unreadable::Invalid("a QoS"))?,
        retain: publish.retain,
        topic: publish.topic.ok_or(Unreadable::Invalid("a topic name"))?,
        payload: publish.payload,
        will_delay_interval: stored.delay,
        properties: properties(publish.properties),
    }))
}

const QOS: u8 = 0b11;
const NO_LOCAL: u8 = 0b100;
const RETAIN_AS_PUBLISHED: u8 = 0b1000;
const CHECKED: u8 = 0b100_0000;
const REPLAYING: u8 = 0b1000_0000;

/// Laid out like the Subscription Options of a SUBSCRIBE, with two bits of our own. MQTT 5.0 section 3.8.3.1
pub(in crate::store::embedded) fn put_subscription(
    subscribed: Subscribed,
    replaying: Option<&Replaying>,
    out: &mut BytesMut,
) {
    let options = subscribed.options;
    out.put_u8(
        options.maximum_qos.bits()
            | if options.no_local { NO_LOCAL } else { 0 }
            | if options.retain_as_published {
                RETAIN_AS_PUBLISHED
            } else {
                0
            }
            | (options.retain_handling as u8) << 4
            | if subscribed.checked { CHECKED } else { 0 }
            | if replaying.is_some() { REPLAYING } else { 0 },
    );
    out.put_u32(subscribed.identifier.map_or(0, SubscriptionIdentifier::get));
    if let Some(Replaying { as_of, after }) = replaying {
        out.put_u64(*as_of);
        // Up to the end; a topic has at least one character. [MQTT-4.7.3-1]
        out.put_slice(after.as_ref().map_or("", TopicName::as_str).as_bytes());
    }
}

pub(in crate::store::embedded) fn take_subscription(
    filter: &[u8],
    mut input: &[u8],
) -> Result<(Subscription, Subscribed, Option<Replaying>), Unreadable> {
    let flags = take_u8(&mut input, "subscription options")?;
    let options = SubscriptionOptions {
        maximum_qos: QoS::from_bits(flags & QOS).ok_or(Unreadable::Invalid("a QoS"))?,
        no_local: flags & NO_LOCAL != 0,
        retain_as_published: flags & RETAIN_AS_PUBLISHED != 0,
        retain_handling: match (flags >> 4) & 0b11 {
            0 => RetainHandling::SendAtSubscribe,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(Unreadable::Invalid("a retain handling")),
        },
    };
    let identifier = take_u32(&mut input, "a subscription identifier")?;
    let subscribed = Subscribed {
        options,
        identifier: SubscriptionIdentifier::new(identifier),
        checked: flags & CHECKED != 0,
    };
    let replaying = if flags & REPLAYING == 0 {
        None
    } else {
        let as_of = take_u64(&mut input, "a version")?;
        let after = (!input.is_empty()).then(|| topic(input)).transpose()?;
        Some(Replaying { as_of, after })
    };
    Ok((subscription(filter)?, subscribed, replaying))
}
