//! What client and server agree on in CONNECT and CONNACK. MQTT 5.0 sections 3.1 and 3.2

use super::MqttConfig;
use crate::mqtt::{ConnAck, ConnAckProperties, Connect, QoS, ReasonCode, Text};
use std::num::NonZeroU32;
use std::time::Duration;

/// v5: no longer than the maximum, 0 counts as longer (Server Keep Alive tells). MQTT 3: the client's own, 0 included. [MQTT-3.1.2-21]
pub(super) fn keep_alive(connect: &Connect, settings: &MqttConfig) -> Option<Duration> {
    let seconds = if connect.protocol_version.is_v5() {
        server_keep_alive(connect, settings).unwrap_or(connect.keep_alive)
    } else {
        connect.keep_alive
    };
    (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
}

/// The CONNACK that admits. MQTT 5.0 section 3.2.2.3
pub fn connack(
    connect: &Connect,
    settings: &MqttConfig,
    session_present: bool,
    assigned: Option<Text>,
    maximum_packet_size: Option<NonZeroU32>,
) -> ConnAck {
    let mut properties = ConnAckProperties::default();
    if connect.protocol_version.is_v5() {
        let expiry = settings.session_expiry(connect);
        let topic_alias_maximum = settings.topic_alias_maximum;
        properties = ConnAckProperties {
            session_expiry_interval: (expiry
                != connect.properties.session_expiry_interval.unwrap_or(0))
            .then_some(expiry),
            receive_maximum: Some(settings.receive_maximum),
            maximum_qos: (settings.max_qos.0 < QoS::ExactlyOnce).then_some(settings.max_qos.0),
            retain_available: (!settings.retain_available).then_some(false),
            maximum_packet_size,
            assigned_client_identifier: assigned, // [MQTT-3.2.2-16]
            topic_alias_maximum: (topic_alias_maximum > 0).then_some(topic_alias_maximum),
            shared_subscription_available: (!settings.shared_subscriptions).then_some(false),
            server_keep_alive: server_keep_alive(connect, settings),
            authentication_method: connect.properties.authentication_method.clone(),
            ..ConnAckProperties::default()
        };
    }
    ConnAck {
        session_present,
        reason_code: ReasonCode::Success,
        properties,
    }
}

fn server_keep_alive(connect: &Connect, settings: &MqttConfig) -> Option<u16> {
    let maximum = u16::try_from(settings.keep_alive.max.get().as_secs()).unwrap_or(u16::MAX);
    (maximum > 0 && (connect.keep_alive == 0 || connect.keep_alive > maximum)).then_some(maximum)
}
