//! One entry of a session's queue on disk.

use super::Unreadable;
use super::fields::{put_bytes, take_slice, take_u8, take_u16, take_u32, take_u64};
use crate::mqtt::{QoS, Subscription, SubscriptionIdentifier, Text, TopicLimits, TopicName};
use crate::session::{Delivery, Message, SessionId, Ticket};
use bytes::{BufMut, BytesMut};
use std::sync::Arc;

/// What of a delivery is the session's own.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::embedded) struct RowHead<'a> {
    pub(in crate::store::embedded) delivery: &'a Delivery,
    /// Unix milliseconds, or 0.
    pub(in crate::store::embedded) expires_at: u64,
}

/// A row as it was read; nothing of the message itself is judged yet.
#[derive(Debug)]
pub(in crate::store::embedded) struct Row<'a> {
    qos: QoS,
    retain: bool,
    share: Option<&'a [u8]>,
    identifiers: Option<Arc<[SubscriptionIdentifier]>>,
    /// As [`Message::queued_bytes`] counts them.
    pub(in crate::store::embedded) queued_bytes: usize,
    /// Unix milliseconds, or 0.
    pub(in crate::store::embedded) expires_at: u64,
    pub(in crate::store::embedded) body: Body<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::store::embedded) enum Body<'a> {
    /// The message has this one receiver and stands here.
    Inline(&'a [u8]),
    /// It stands in `messages`.
    Reference(u64),
    /// The client has it; only the identifier is needed until PUBCOMP. MQTT 5.0 section 4.3.3
    HandedOver,
}

const INLINE: u8 = 1;
const REFERENCE: u8 = 2;
const HANDED_OVER: u8 = 3;

const QOS: u8 = 0b11;
const RETAIN: u8 = 0b100;
const SHARE: u8 = 0b1000;

impl RowHead<'_> {
    /// The message follows.
    pub(in crate::store::embedded) fn put_inline(&self, out: &mut BytesMut) {
        self.put(INLINE, out);
    }

    pub(in crate::store::embedded) fn put_reference(&self, message: u64, out: &mut BytesMut) {
        self.put(REFERENCE, out);
        out.put_u64(message);
    }

    fn put(&self, kind: u8, out: &mut BytesMut) {
        let delivery = self.delivery;
        out.put_u8(kind);
        out.put_u8(
            delivery.qos.bits()
                | if delivery.retain { RETAIN } else { 0 }
                | if delivery.share.is_some() { SHARE } else { 0 },
        );
        out.put_u32(u32::try_from(delivery.message.queued_bytes()).unwrap_or(u32::MAX));
        out.put_u64(self.expires_at);
        let identifiers = delivery.subscription_identifiers.as_deref().unwrap_or(&[]);
        // A client has fewer subscriptions than this can count.
        let count = u16::try_from(identifiers.len()).unwrap_or(u16::MAX);
        out.put_u16(count);
        for identifier in identifiers.iter().take(usize::from(count)) {
            out.put_u32(identifier.get());
        }
        if let Some(share) = &delivery.share {
            put_bytes(share.to_string().as_bytes(), out);
        }
    }
}

impl<'a> Row<'a> {
    pub(in crate::store::embedded) fn put_handed_over(out: &mut BytesMut) {
        out.put_u8(HANDED_OVER);
    }

    pub(in crate::store::embedded) fn take(mut input: &'a [u8]) -> Result<Self, Unreadable> {
        let kind = take_u8(&mut input, "a row")?;
        if kind == HANDED_OVER {
            return Ok(Self {
                qos: QoS::ExactlyOnce,
                retain: false,
                share: None,
                identifiers: None,
                queued_bytes: 0,
                expires_at: 0,
                body: Body::HandedOver,
            });
        }
        let flags = take_u8(&mut input, "a row")?;
        let qos = QoS::from_bits(flags & QOS).ok_or(Unreadable::Invalid("a QoS"))?;
        let queued_bytes = usize::try_from(take_u32(&mut input, "a size")?).unwrap_or(usize::MAX);
        let expires_at = take_u64(&mut input, "an expiry")?;
        let identifiers = take_identifiers(&mut input)?;
        let share = if flags & SHARE == 0 {
            None
        } else {
            Some(take_slice(&mut input, "a shared subscription")?)
        };
        let body = match kind {
            INLINE => Body::Inline(input),
            REFERENCE => Body::Reference(take_u64(&mut input, "a reference")?),
            _ => return Err(Unreadable::Invalid("the kind of a row")),
        };
        Ok(Self {
            qos,
            retain: flags & RETAIN != 0,
            share,
            identifiers,
            queued_bytes,
            expires_at,
            body,
        })
    }

    /// The message that it refers to, of a row whose checksum need not be right.
    pub(in crate::store::embedded) fn reference(record: &[u8]) -> Option<u64> {
        match Row::take(record).ok()?.body {
            Body::Reference(message) => Some(message),
            Body::Inline(_) | Body::HandedOver => None,
        }
    }

    /// Drawn for a shared subscription: such rows are always in memory while their session is.
    pub(in crate::store::embedded) fn is_shared(&self) -> bool {
        self.share.is_some()
    }

    pub(in crate::store::embedded) fn delivery(
        &self,
        session: SessionId,
        sequence: u64,
        message: Arc<Message>,
    ) -> Result<Delivery, Unreadable> {
        Ok(Delivery {
            message,
            qos: self.qos,
            retain: self.retain,
            subscription_identifiers: self.identifiers.clone(),
            share: self.share.map(take_share).transpose()?.map(Arc::new),
            sequence,
            ticket: Some(Arc::new(Ticket::written(session, sequence))),
        })
    }
}

const WIDEST: TopicLimits = TopicLimits {
    levels: u16::MAX as usize + 1,
    length: u16::MAX as usize,
};

pub(super) fn subscription(bytes: &[u8]) -> Result<Subscription, Unreadable> {
    let read = text(bytes).and_then(|text| Subscription::new(text, WIDEST).ok());
    read.ok_or(Unreadable::Invalid("a topic filter"))
}

pub(super) fn topic(bytes: &[u8]) -> Result<TopicName, Unreadable> {
    let read = text(bytes).and_then(|text| TopicName::new(text, WIDEST).ok());
    read.ok_or(Unreadable::Invalid("a topic name"))
}

fn text(bytes: &[u8]) -> Option<Text> {
    Text::try_from(std::str::from_utf8(bytes).ok()?).ok()
}

fn take_share(text: &[u8]) -> Result<Subscription, Unreadable> {
    let share = subscription(text)?;
    if share.share.is_none() {
        return Err(Unreadable::Invalid("a shared subscription"));
    }
    Ok(share)
}

fn take_identifiers(
    input: &mut &[u8],
) -> Result<Option<Arc<[SubscriptionIdentifier]>>, Unreadable> {
    let count = take_u16(input, "subscription identifiers")?;
    if count == 0 {
        return Ok(None);
    }
    let identifier = |_| {
        SubscriptionIdentifier::new(take_u32(input, "a subscription identifier")?)
            .ok_or(Unreadable::Invalid("a subscription identifier"))
    };
    let identifiers: Vec<_> = (0..count).map(identifier).collect::<Result<_, _>>()?;
    Ok(Some(identifiers.into()))
}
