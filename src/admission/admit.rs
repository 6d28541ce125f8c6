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

/// One bucket within all that policies give the client: the narrowest rate, and the smallest burst.
pub fn policy_limit(rights: &Compiled) -> Option<MessageLimit> {
    let narrowest = rights
        .limits()
        .max_by_key(|limit| limit.rate.period() / limit.rate.amount())?;
    let burst = rights.limits().map(|limit| limit.burst).min()?;
    Some(MessageLimit {
        rate: narrowest.rate,
        burst: Some(Count::new(burst)),
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::identity::{Identity, Method};
    use crate::policy::Policies;
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::PathBuf;

    #[test]
    fn every_limit_of_every_policy_holds() {
        let rows = [
            (vec![], None),
            (vec![("20/s", 20)], Some(("20/s", 20))),
            (vec![("10/s", 100_000), ("20/s", 20)], Some(("10/s", 20))),
            (vec![("20/s", 20), ("600/min", 30)], Some(("600/min", 20))),
        ];
        for (limits, expected) in rows {
            let mut yaml = "version: 1\npolicies:\n  - { id: all, who: { any: true }, allow: [{ publish: '#' }] }\n".to_owned();
            for (number, (rate, burst)) in limits.iter().enumerate() {
                yaml.push_str(&format!("  - {{ id: p{number}, who: {{ any: true }}, limits: {{ messages: {{ rate: {rate}, burst: {burst} }} }} }}\n"));
            }
            let policies = Policies::parse(&[(PathBuf::from("p.yaml"), yaml)]).unwrap();
            let rights = Arc::new(policies).compile(&Arc::new(Subject {
                identity: Identity::new(Method::PASSWORD, "lab".into(), "alice".into()),
                client_id: "c".into(),
                ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
                listener: "lab".into(),
                protocol: "mqtt",
            }));
            let limit = policy_limit(&rights);
            let told = limit.map(|limit| (limit.rate.to_string(), limit.burst));
            let expected = expected.map(|(rate, burst)| (rate.to_owned(), Some(Count::new(burst))));
            assert_eq!(told, expected, "{limits:?}");
        }
    }
}
