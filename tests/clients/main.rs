//! Real clients, as people use them: mosquitto_pub and mosquitto_sub, paho-mqtt and MQTT.js, over each transport they know.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod authentication;
mod client;
mod cookie;
mod est;
mod mosquitto;

use client::{Client, Kind};
use serde_json::json;
use support::broker::EVERY_TRANSPORT;
use support::{Broker, Setup};

/// One transport of one library at one version.
#[derive(Clone, Copy)]
struct Way {
    kind: Kind,
    version: u8,
    listener: &'static str,
}

macro_rules! ways {
    ($($name:ident = $kind:ident $version:literal over $listener:literal,)*) => {
        $(
            mod $name {
                use super::*;
                const WAY: Way = Way { kind: Kind::$kind, version: $version, listener: $listener };
                #[test] fn publishes_at_every_qos() { every_qos(WAY) }
                #[test] fn finds_what_was_retained() { retained(WAY) }
                #[test] fn leaves_a_will() { will(WAY) }
                #[test] fn finds_what_came_while_it_was_away() { persistent_session(WAY) }
                #[test] fn shares_a_subscription() { shared_subscription(WAY) }
                #[test] fn carries_a_large_payload() { large_payload(WAY) }
                #[test] fn asks_and_is_answered() { request_response(WAY) }
            }
        )*
    };
}

ways! {
    paho_version_3_over_tcp = Paho 4 over "tcp",
    paho_version_5_over_tcp = Paho 5 over "tcp",
    paho_version_5_over_wss = Paho 5 over "wss",
    mqttjs_version_3_over_tcp = MqttJs 4 over "tcp",
    mqttjs_version_5_over_tcp = MqttJs 5 over "tcp",
    mqttjs_version_5_over_tls = MqttJs 5 over "tls",
    mqttjs_version_5_over_ws = MqttJs 5 over "ws",
    mqttjs_version_5_over_wss = MqttJs 5 over "wss",
}

fn broker() -> Broker {
    Setup::new(EVERY_TRANSPORT).start()
}

fn every_qos(way: Way) {
    let broker = broker();
    let mut reader = Client::start(&broker, way, "reader", &json!({}));
    reader.subscribe("t/#", 2);
    let mut writer = Client::start(&broker, way, "writer", &json!({}));
    for qos in 0..=2 {
        writer.publish(
            &json!({ "topic": format!("t/{qos}"), "text": format!("at {qos}"), "qos": qos }),
        );
        let message = reader.message();
        assert_eq!(message["topic"], format!("t/{qos}"));
        assert_eq!(message["text"], format!("at {qos}"));
        assert_eq!(message["qos"], qos);
        assert_eq!(message["retain"], false);
    }
}

fn retained(way: Way) {
    let broker = broker();
    let mut writer = Client::start(&broker, way, "writer", &json!({}));
    writer.publish(&json!({ "topic": "state", "text": "on", "qos": 1, "retain": true }));
    let mut reader = Client::start(&broker, way, "reader", &json!({}));
    reader.subscribe("state", 1);
    let message = reader.message();
    assert_eq!(
        (&message["text"], &message["retain"]),
        (&json!("on"), &json!(true))
    );
}

fn will(way: Way) {
    let broker = broker();
    let mut reader = Client::start(&broker, way, "reader", &json!({}));
    reader.subscribe("wills/#", 1);
    let mut mortal = Client::start(&broker, way, "mortal", &json!({ "will": "wills/mortal" }));
    mortal.command(&json!({ "do": "vanish" }));
    assert_eq!(reader.message()["text"], "gone");
    let mut polite = Client::start(&broker, way, "polite", &json!({ "will": "wills/polite" }));
    polite.command(&json!({ "do": "disconnect" }));
    polite.event("disconnected");
    reader.publish(&json!({ "topic": "wills/marker", "text": "last", "qos": 1 }));
    assert_eq!(reader.message()["text"], "last");
}

fn persistent_session(way: Way) {
    let broker = broker();
    let durable = json!({ "clean": false });
    let mut reader = Client::start(&broker, way, "reader", &durable);
    reader.subscribe("t", 1);
    reader.command(&json!({ "do": "disconnect" }));
    reader.event("disconnected");
    let mut writer = Client::start(&broker, way, "writer", &json!({}));
    for text in ["one", "two", "three"] {
        writer.publish(&json!({ "topic": "t", "text": text, "qos": 1 }));
    }
    let mut reader = Client::resume(&broker, way, "reader", &durable);
    for text in ["one", "two", "three"] {
        assert_eq!(reader.message()["text"], text);
    }
}

fn shared_subscription(way: Way) {
    let broker = broker();
    let mut members: Vec<Client> = (0..2)
        .map(|number| {
            let mut member = Client::start(&broker, way, &format!("member-{number}"), &json!({}));
            member.subscribe("$share/group/t", 1);
            member
        })
        .collect();
    let mut writer = Client::start(&broker, way, "writer", &json!({}));
    for text in ["1", "2", "3", "4"] {
        writer.publish(&json!({ "topic": "t", "text": text, "qos": 1 }));
    }
    let mut seen: Vec<String> = members
        .iter_mut()
        .flat_map(|member| [member.message(), member.message()])
        .map(|message| message["text"].as_str().unwrap().to_owned())
        .collect();
    seen.sort();
    assert_eq!(seen, ["1", "2", "3", "4"]);
}

fn large_payload(way: Way) {
    let broker = broker();
    let mut reader = Client::start(&broker, way, "reader", &json!({}));
    reader.subscribe("t", 1);
    let mut writer = Client::start(&broker, way, "writer", &json!({}));
    writer.publish(&json!({ "topic": "t", "text": "12345678", "times": 65536, "qos": 1 }));
    assert_eq!(reader.message()["length"], 524_288);
}

fn request_response(way: Way) {
    let broker = broker();
    let mut service = Client::start(&broker, way, "service", &json!({}));
    service.subscribe("ask", 1);
    let mut asker = Client::start(&broker, way, "asker", &json!({}));
    asker.subscribe("answers/asker", 1);
    let extra = json!({ "ResponseTopic": "answers/asker", "CorrelationData": "42" });
    asker.publish(&json!({ "topic": "ask", "text": "the time", "qos": 1, "properties": extra }));
    let question = service.message();
    // Version 3 has no properties: there the two have agreed on a topic.
    if way.version == 5 {
        assert_eq!(question["properties"], extra);
    }
    let correlation = json!({ "CorrelationData": "42" });
    service.publish(
        &json!({ "topic": "answers/asker", "text": "noon", "qos": 1, "properties": correlation }),
    );
    let answer = asker.message();
    assert_eq!(answer["text"], "noon");
    if way.version == 5 {
        assert_eq!(answer["properties"], correlation);
    }
}
