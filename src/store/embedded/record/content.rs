//! A message on disk: a small header, its author, and an MQTT 5 PUBLISH as our own codec writes and judges it.

use super::Unreadable;
use super::fields::{put_bytes, take_bytes, take_u8, take_u64};
use super::subject::{StoredSubject, put_short, short_length, take_short};
use crate::identity::Subject;
use crate::mqtt::{
    DecodeLimits, Packet, ProtocolVersion, Publish, PublishHead, PublishProperties, QoS, decode,
};
use crate::session::{Message, SessionId, StoredMessage};
use crate::store::embedded::clock::Clock;
use ahash::AHashMap;
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

/// Where a message is kept, and hence what beside itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::embedded) enum Form {
    /// It was judged: of its author only the name is kept.
    Queued,
    /// With its version. It is judged again whenever it is delivered (POL-7): its author is kept whole.
    Retained(u64),
}

/// Authors that were read, each once: a queue of a million messages has few.
#[derive(Default)]
pub(in crate::store::embedded) struct Authors(AHashMap<Bytes, Arc<Subject>>);

const QOS: u8 = 0b11;
const WHOLE_AUTHOR: u8 = 0b100;
const VERSION: u8 = 0b1000;

pub(in crate::store::embedded) fn put_message(
    message: &Message,
    form: Form,
    clock: Clock,
    out: &mut BytesMut,
) {
    let has = match form {
        Form::Queued => 0,
        Form::Retained(_) => WHOLE_AUTHOR | VERSION,
    };
    out.put_u8(message.qos().bits() | has);
    out.put_u64(clock.to_disk(message.expires_at()));
    out.put_u64(message.publisher().0);
    match form {
        Form::Queued => put_short(message.author(), out),
        Form::Retained(version) => {
            put_whole(message.author(), out);
            out.put_u64(version);
        }
    }
    put_publish(
        PublishHead {
            dup: false,
            // A QoS above 0 would want a packet identifier: it stands in the header instead.
            qos: QoS::AtMostOnce,
            retain: message.retain(),
            packet_identifier: None,
            topic: message.topic().as_str(),
            topic_alias: None,
            subscription_identifiers: &[],
            message_expiry_interval: message
                .properties()
                .and_then(|properties| properties.message_expiry_interval),
            message_properties: message.encoded_properties(),
            payload_length: message.payload().len(),
        },
        message.payload(),
        out,
    );
}

/// Shares the input's memory.
pub(in crate::store::embedded) fn take_message(
    input: Bytes,
    clock: Clock,
    authors: &mut Authors,
) -> Result<Message, Unreadable> {
    take_retained(input, clock, authors).map(|(message, _)| message)
}

/// With its version; one that was written without any has the lowest.
pub(in crate::store::embedded) fn take_retained(
    mut input: Bytes,
    clock: Clock,
    authors: &mut Authors,
) -> Result<(Message, u64), Unreadable> {
    let flags = take_u8(&mut input, "a message")?;
    let qos = QoS::from_bits(flags & QOS).ok_or(Unreadable::Invalid("a QoS"))?;
    let expires_at = clock.read_disk(take_u64(&mut input, "an expiry")?);
    let publisher = SessionId(take_u64(&mut input, "a publisher")?);
    let author = if flags & WHOLE_AUTHOR == 0 {
        authors.take_short(&mut input)?
    } else {
        authors.take_whole(&mut input)?
    };
    let version = if flags & VERSION == 0 {
        0
    } else {
        take_u64(&mut input, "a version")?
    };
    let publish = take_publish(input)?;
    let message = Message::restore(StoredMessage {
        topic: publish.topic.ok_or(Unreadable::Invalid("a topic name"))?,
        qos,
        retain: publish.retain,
        payload: publish.payload,
        properties: properties(publish.properties),
        author,
        publisher,
        expires_at,
    });
    Ok((message, version))
}

pub(super) fn put_publish(head: PublishHead<'_>, payload: &[u8], out: &mut BytesMut) {
    head.encode(ProtocolVersion::V5_0, out);
    out.put_slice(payload);
}

pub(super) fn take_publish(input: Bytes) -> Result<Publish, Unreadable> {
    // What was within the limits when it came is kept, whatever they are now.
    let limits = DecodeLimits {
        user_properties: usize::from(u16::MAX),
        subscription_identifiers: 0,
        ..DecodeLimits::of_client()
    };
    match decode(input, Some(ProtocolVersion::V5_0), &limits) {
        Ok(Packet::Publish(publish)) => Ok(publish),
        Ok(
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::Subscribe(_)
            | Packet::SubAck(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_)
            | Packet::Auth(_),
        )
        | Err(_) => Err(Unreadable::Invalid("a PUBLISH")),
    }
}

/// `None` when there are none, as a message that came over the network has them.
pub(super) fn properties(
    properties: Option<Box<PublishProperties>>,
) -> Option<Box<PublishProperties>> {
    properties.filter(|properties| **properties != PublishProperties::default())
}

fn put_whole(author: &Subject, out: &mut BytesMut) {
    // Strings, numbers and an address: nothing that JSON could refuse.
    let json = serde_json::to_vec(&StoredSubject::of(author)).unwrap_or_default();
    put_bytes(&json, out);
}

impl Authors {
    fn take_short(&mut self, input: &mut Bytes) -> Result<Arc<Subject>, Unreadable> {
        let mut short = input.split_to(short_length(input)?);
        if let Some(author) = self.0.get(&short) {
            return Ok(Arc::clone(author));
        }
        // A copy: the key must not keep a whole row in memory.
        let key = Bytes::copy_from_slice(&short);
        let author = Arc::new(take_short(&mut short)?);
        self.remember(key, &author);
        Ok(author)
    }

    fn take_whole(&mut self, input: &mut Bytes) -> Result<Arc<Subject>, Unreadable> {
        let json = take_bytes(input, "an author")?;
        if let Some(author) = self.0.get(&json) {
            return Ok(Arc::clone(author));
        }
        let stored: StoredSubject =
            serde_json::from_slice(&json).map_err(|_| Unreadable::Invalid("an author"))?;
        let author = Arc::new(stored.into_subject()?);
        self.remember(Bytes::copy_from_slice(&json), &author);
        Ok(author)
    }

    fn remember(&mut self, key: Bytes, author: &Arc<Subject>) {
        const AUTHORS_MAX: usize = 10_000;
        if self.0.len() >= AUTHORS_MAX {
            self.0.clear();
        }
        self.0.insert(key, Arc::clone(author));
    }
}
