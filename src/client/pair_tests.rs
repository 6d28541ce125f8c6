//! Two machines on a link that breaks at random, in virtual time.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

use super::tests::{connack, connect, publish, wire};
use super::{Acknowledgement, Client, Event, Options, PublishError};
use crate::mqtt::{ProtocolVersion, QoS};
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::time::Instant;

const MESSAGES: usize = 20;

/// xorshift64: each seed another story, the same one each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// One end: a machine, what it wrote, and what its user holds.
struct End {
    client: Client,
    written: BytesMut,
    read: BytesMut,
    held: Vec<(String, Acknowledgement)>,
    acknowledged: BTreeMap<String, usize>,
    delivered: BTreeMap<String, usize>,
    settled: usize,
}

impl End {
    fn new(version: ProtocolVersion, receive_maximum: u16) -> Self {
        let mut connect = connect(version);
        connect.clean_start = false;
        connect.properties.receive_maximum = std::num::NonZeroU16::new(receive_maximum);
        Self {
            client: Client::new(connect, Options::default(), Instant::now()),
            written: BytesMut::new(),
            read: BytesMut::new(),
            held: Vec::new(),
            acknowledged: BTreeMap::new(),
            delivered: BTreeMap::new(),
            settled: 0,
        }
    }

    /// A new connection to a server that is this test, then to the other end.
    fn reconnect(&mut self, session_present: bool, receive_maximum: u16) {
        let now = Instant::now();
        self.client.connect(now);
        (self.written, self.read) = (BytesMut::new(), BytesMut::new());
        while self.client.poll_transmit(&mut BytesMut::new(), now) {}
        let version = self.client.version();
        let mut answer = wire(&connack(session_present, receive_maximum), version);
        self.client.read(&mut answer, now).unwrap();
        self.take_events();
    }

    fn take_events(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Message(publish, acknowledgement) => {
                    let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
                    *self.delivered.entry(payload.clone()).or_default() += 1;
                    if let Some(acknowledgement) = acknowledgement {
                        self.held.push((payload, acknowledgement));
                    }
                }
                Event::Published(_) => self.settled += 1,
                Event::Connected(_) => {}
                other => unreachable!("{other:?}"),
            }
        }
    }

    fn acknowledge_first(&mut self) {
        if !self.held.is_empty() {
            let (payload, acknowledgement) = self.held.remove(0);
            *self.acknowledged.entry(payload).or_default() += 1;
            self.client.acknowledge(acknowledgement);
        }
    }
}

/// Some bytes travel; what follows them is still under way.
fn carry(from: &mut End, to: &mut End, chance: &mut Chance) {
    let now = Instant::now();
    while from.client.poll_transmit(&mut from.written, now) {}
    let length = chance.below(from.written.len() + 1);
    to.read.unsplit(from.written.split_to(length));
    to.client.read(&mut to.read, now).unwrap();
    to.take_events();
}

/// Publishes from one end to the other over a link that breaks; returns the other end when all is settled.
fn publish_and_settle(seed: u64, version: ProtocolVersion, qos: QoS) -> End {
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    // MQTT 3 knows no Receive Maximum.
    let receive_maximum = match version.is_v5() {
        true => u16::try_from(1 + chance.below(8)).unwrap(),
        false => u16::MAX,
    };
    let (mut near, mut far) = (
        End::new(version, receive_maximum),
        End::new(version, receive_maximum),
    );
    near.reconnect(false, receive_maximum);
    far.reconnect(false, receive_maximum);
    let mut published = 0;
    for _ in 0..20_000 {
        if near.settled == MESSAGES && near.client.is_settled() && far.held.is_empty() {
            return far;
        }
        if published < MESSAGES && chance.percent(30) {
            match near
                .client
                .publish(publish("t", qos, &published.to_string()))
            {
                Ok(_) => published += 1,
                Err(error) => assert_eq!(error, PublishError::WindowFull),
            }
        }
        if chance.percent(50) {
            carry(&mut near, &mut far, &mut chance);
        }
        if chance.percent(50) {
            for _ in 0..chance.below(far.held.len() + 1) {
                far.acknowledge_first();
            }
        }
        if chance.percent(50) {
            carry(&mut far, &mut near, &mut chance);
        }
        if chance.percent(5) {
            near.client.connection_lost();
            far.client.connection_lost();
            near.reconnect(true, receive_maximum);
            far.reconnect(true, receive_maximum);
        }
    }
    unreachable!(
        "seed {seed} never settles: {published} published, {} settled",
        near.settled
    );
}

#[test]
fn every_message_arrives_over_any_link() {
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
        for seed in 0..500 {
            let far = publish_and_settle(seed, version, QoS::AtLeastOnce);
            assert_eq!(far.delivered.len(), MESSAGES, "seed {seed}");
        }
    }
}

/// [MQTT-4.3.3-10]
#[test]
fn qos_2_delivers_once_over_any_link() {
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
        for seed in 0..500 {
            let far = publish_and_settle(seed, version, QoS::ExactlyOnce);
            let once = (0..MESSAGES).map(|number| (number.to_string(), 1));
            let once: BTreeMap<_, _> = once.collect();
            assert_eq!(far.delivered, once, "seed {seed}");
            assert_eq!(far.acknowledged, once, "seed {seed}");
        }
    }
}
