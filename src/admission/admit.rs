//! The last word before a session: client identifier binding, bans by name, the will.

use super::grant::{Grant, Occupied};
use super::greet::Greeted;
use super::identify::Identified;
use super::refusal::{Cause, Refused, event_about, room_of};
use crate::identity::Subject;
use crate::limits::{Client, Count, MessageLimit, WhenExceeded};
use crate::mqtt::{Connect, MqttConfig, ReasonCode, Will};
use crate::net::Stream;
use crate::policy::Compiled;
use bytes::BytesMut;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// A client that was let in: its grant, its stream, and what it already sent.
pub struct Admitted {
    pub grant: Grant,
    pub stream: Stream,
    pub received: BytesMut,
}

impl Identified {
    pub fn admit(self) -> Result<Admitted, Box<Refused>> {
        let Self { greeted, subject } = self;
        let rights = Arc::new(greeted.rules.policies.compile(&subject));
        if let Err(cause) = judge(&greeted, &subject, &rights) {
            return Err(refuse(greeted, &subject, cause));
        }
        let client = client(&subject);
        let limits = &greeted.door.limits;
        let user = match limits.enter_user(&client, Instant::now(), SystemTime::now()) {
            Ok(user) => user,
            Err(refusal) => return Err(refuse(greeted, &subject, refusal.into())),
        };
        let buckets = greeted
            .door
            .limits
            .client_buckets(&client, policy_limit(&rights));
        let Greeted {
            door,
            rules,
            stream,
            peer_tls,
            places,
            connect,
            assigned,
            received,
            authentication_data,
            ..
        } = greeted;
        let occupied = Occupied::new(buckets, user, places);
        Ok(Admitted {
            grant: Grant::new(
                rights,
                (connect, authentication_data),
                assigned,
                occupied,
                (door, rules),
                peer_tls,
            ),
            stream,
            received,
        })
    }
}

impl Admitted {
    /// Admitted, and refused after all: the client identifier is taken, or the login cannot be audited.
    pub fn refuse(self, cause: Cause) -> Box<Refused> {
        let (subject, connect) = (self.grant.subject(), self.grant.connect());
        told(self.stream, subject, connect, cause)
    }
}

/// Who a client is to its buckets and caps.
pub fn client(subject: &Subject) -> Client<'_> {
    Client {
        namespace: &subject.identity.namespace,
        username: &subject.identity.username,
        client_id: &subject.client_id,
    }
}

/// The narrowest of the buckets that policies give the client.
pub fn policy_limit(rights: &Compiled) -> Option<MessageLimit> {
    let narrowest = rights
        .limits()
        .max_by_key(|limit| limit.rate.period() / limit.rate.amount())?;
    Some(MessageLimit {
        rate: narrowest.rate,
        burst: Some(Count::new(narrowest.burst)),
        when_exceeded: WhenExceeded::default(),
    })
}

fn judge(greeted: &Greeted, subject: &Subject, rights: &Compiled) -> Result<(), Cause> {
    // An identifier that we chose is nobody's claim.
    if !greeted.assigned {
        let binding = greeted.rules.client_id_binding;
        binding
            .permit(&subject.identity.username, &subject.client_id)
            .map_err(|error| Cause::ClientIdentifier(error.to_string()))?;
    }
    greeted
        .connect
        .will
        .as_ref()
        .map_or(Ok(()), |will| judge_will(will, rights, &greeted.rules.mqtt))
}

/// A will that may not be published refuses the connection (POL-8).
fn judge_will(will: &Will, rights: &Compiled, mqtt: &MqttConfig) -> Result<(), Cause> {
    if will.qos > mqtt.max_qos.0 {
        return Err(Cause::WillNotSupported(ReasonCode::QoSNotSupported)); // [MQTT-3.2.2-12]
    }
    if will.retain && !mqtt.retain_available {
        return Err(Cause::WillNotSupported(ReasonCode::RetainNotSupported)); // [MQTT-3.2.2-13]
    }
    rights
        .permit_publish(will.topic.clone(), will.qos, will.retain)
        .map(|_| ())
        .map_err(Cause::Will)
}

fn refuse(greeted: Greeted, subject: &Subject, cause: Cause) -> Box<Refused> {
    told(greeted.stream, subject, &greeted.connect, cause)
}

fn told(stream: Stream, subject: &Subject, connect: &Connect, cause: Cause) -> Box<Refused> {
    Box::new(Refused {
        cause,
        event: event_about(subject),
        lockout: None,
        stream: Some(stream),
        version: Some(connect.protocol_version),
        room: Some(room_of(connect)),
    })
}
