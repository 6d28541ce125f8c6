//! SUBSCRIBE and UNSUBSCRIBE, as a client writes them. MQTT 5.0 sections 3.8, 3.10

use super::output::{self, Section, binary_data};
use crate::mqtt::{
    PacketType, ProtocolVersion, Subscribe, Subscription, SubscriptionOptions, Unsubscribe,
    property,
};
use bytes::{BufMut, BytesMut};

/// A filter that is none is left out: only a decoder makes such a value.
pub(super) fn subscribe(subscribe: &Subscribe, version: ProtocolVersion, out: &mut BytesMut) {
    output::packet(PacketType::Subscribe, out, |out| {
        out.put_u16(subscribe.packet_identifier.get());
        if version.is_v5() {
            output::with_length(out, |out| {
                let mut section = Section(out);
                if let Some(identifier) = subscribe.subscription_identifier {
                    let value = identifier.get();
                    section.variable_byte_integer(property::SUBSCRIPTION_IDENTIFIER, value);
                }
                section.user_properties(&subscribe.user_properties);
            });
        }
        for filter in &subscribe.filters {
            if let Ok(subscription) = &filter.subscription {
                topic_filter(subscription, out);
                out.put_u8(options(filter.options, version));
            }
        }
    });
}

pub(super) fn unsubscribe(unsubscribe: &Unsubscribe, version: ProtocolVersion, out: &mut BytesMut) {
    output::packet(PacketType::Unsubscribe, out, |out| {
        out.put_u16(unsubscribe.packet_identifier.get());
        if version.is_v5() {
            output::with_length(out, |out| {
                Section(out).user_properties(&unsubscribe.user_properties);
            });
        }
        for subscription in unsubscribe.filters.iter().flatten() {
            topic_filter(subscription, out);
        }
    });
}

fn topic_filter(subscription: &Subscription, out: &mut BytesMut) {
    match &subscription.share {
        None => binary_data(subscription.filter.as_str().as_bytes(), out),
        Some(_) => binary_data(subscription.to_string().as_bytes(), out),
    }
}

fn options(options: SubscriptionOptions, version: ProtocolVersion) -> u8 {
    let qos = options.maximum_qos.bits();
    if !version.is_v5() {
        return qos;
    }
    qos | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | (options.retain_handling as u8) << 4
}
