//! What packets ask for, judged and done: publish, subscribe, unsubscribe, disconnect.

use super::connection::{Connection, Ending};
use super::worker::{Worker, count};
use crate::admin;
use crate::admission::{client, policy_limit};
use crate::audit::{DecisionId, Event, Kind, Outcome};
use crate::limits::Charge;
use crate::mqtt::{
    Disconnect, Packet, PacketIdentifier, QoS, ReasonCode, SubAck, Subscribe, SubscribeFilter,
    Subscription, SubscriptionIdentifier, SubscriptionOptions, TopicName, UnsubAck, Unsubscribe,
};
use crate::policy::{Denial, PublishPermit, RuleId};
use crate::router::{End, Judged, Made, PublishError, SubscribeError};
use crate::session::{Action, Answer, Content, Incoming, Position, ProtocolError};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What became of one filter of a SUBSCRIBE.
enum Subscribing {
    Made(Box<Made>),
    /// With the id of the decision, where a policy or a limit took one.
    Refused(ReasonCode, Option<DecisionId>),
}

/// Who decided, and who would have decided otherwise.
#[derive(Default)]
struct Rules {
    deciding: Option<Arc<str>>,
    audited: Option<Arc<str>>,
}

impl Connection {
    pub(super) fn act(
        &mut self,
        action: Action,
        worker: &mut Worker,
        now: Instant,
    ) -> Result<(), Ending> {
        match action {
            Action::Nothing | Action::Settled(None) => Ok(()),
            Action::Settled(Some(ticket)) => {
                self.node.router.store().settle(&ticket);
                Ok(())
            }
            Action::Publish(incoming) => self.on_publish(incoming, worker, now),
            Action::Subscribe(subscribe) => self.on_subscribe(subscribe),
            Action::Unsubscribe(unsubscribe) => {
                self.on_unsubscribe(&unsubscribe);
                Ok(())
            }
            Action::HandedOver(identifier, ticket) => {
                let store = self.node.router.store();
                let position = store.hand_over(&ticket);
                self.session.send_release(
                    identifier,
                    position,
                    store.committed(),
                    &mut self.output,
                );
                Ok(())
            }
            Action::Repeated(identifier) => {
                let store = self.node.router.store();
                self.session.acknowledge_again(
                    identifier,
                    store.current(),
                    store.committed(),
                    &mut self.output,
                );
                Ok(())
            }
            Action::Released(identifier, was_held) => {
                let store = self.node.router.store();
                let position = match (self.handle.is_durable(), was_held) {
                    (true, true) => store.release(self.handle.id(), identifier),
                    // A repeated one: the commit that takes the first may still be under way, and until then the identifier means the old message.
                    (true, false) => store.current(),
                    // Nothing is kept of it: its PUBREC waited for all that there was to wait for.
                    (false, _) => Position::default(),
                };
                self.session.complete(
                    (identifier, was_held),
                    position,
                    store.committed(),
                    &mut self.output,
                );
                Ok(())
            }
            Action::Disconnect(disconnect) => Err(self.on_disconnect(disconnect)),
            Action::Authenticate(auth) => self.on_auth(auth, now),
        }
    }

    fn on_publish(
        &mut self,
        incoming: Incoming,
        worker: &mut Worker,
        now: Instant,
    ) -> Result<(), Ending> {
        let Incoming {
            topic,
            qos,
            retain,
            payload,
            properties,
            packet_identifier,
        } = incoming;
        #[cfg(test)]
        super::panics::trip(topic.as_str());
        let committed = self.node.router.store().committed();
        count(&mut worker.tally.publish_received, qos);
        let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        worker.tally.published_bytes_received += bytes;
        match self.occupied.buckets.charge(1, bytes, now) {
            Charge::Granted => {}
            // This message is in; the next one waits until the bucket has room: true back pressure.
            Charge::Pause { until, limiter } => {
                self.node.metrics.limit_reached(limiter.label());
                self.paused_until = Some(until);
            }
            Charge::Drop(limiter) => {
                self.node.metrics.limit_reached(limiter.label());
                self.drop_publish(qos, packet_identifier, &limiter.to_string());
                return Ok(());
            }
            Charge::Disconnect(limiter) => {
                self.node.metrics.limit_reached(limiter.label());
                return Err(Ending::Misbehaved(ProtocolError::MessageRateTooHigh));
            }
        }
        let permit = match self.permit(&topic, qos, retain) {
            Ok(permit) => permit,
            Err(denial) => {
                return self.refuse_publish(&topic, qos, retain, packet_identifier, &denial);
            }
        };
        let content = Content {
            received: packet_identifier.filter(|_| self.remembers(qos)),
            ..Content::from_session(self.handle.id(), payload, properties)
        };
        let published = match self.node.router.publish(
            &permit,
            content,
            &mut self.routes,
            now,
            &mut worker.wakes,
        ) {
            Ok(published) => published,
            Err(PublishError::Store)
                if qos > QoS::AtMostOnce && !self.session.version().is_v5() =>
            {
                // It cannot be told, and must not believe that we have the message: no acknowledgement. It sends again when it has reconnected.
                return Err(Ending::Asked(End {
                    reason_code: ReasonCode::QuotaExceeded,
                    reason: PublishError::Store.to_string(),
                }));
            }
            Err(refusal) => {
                if let PublishError::Quota(quota) = &refusal {
                    self.node.metrics.limit_reached(quota.label());
                }
                self.drop_publish(qos, packet_identifier, &refusal.to_string());
                return Ok(());
            }
        };
        self.occupied
            .buckets
            .charge_fan_out(published.recipients, now);
        let reason_code = if published.matched {
            ReasonCode::Success
        } else {
            ReasonCode::NoMatchingSubscribers
        };
        self.session.acknowledge(
            qos,
            packet_identifier,
            reason_code.into(),
            published.position,
            committed,
            &mut self.output,
        );
        Ok(())
    }

    /// A durable session's QoS 2 identifiers outlive the process.
    fn remembers(&self, qos: QoS) -> bool {
        qos == QoS::ExactlyOnce && self.handle.is_durable() && self.node.router.store().keeps()
    }

    /// Over a limit: v5 clients are told 0x97, others get an acknowledgement and nothing else. Contract section 10
    fn drop_publish(&mut self, qos: QoS, identifier: Option<PacketIdentifier>, limiter: &str) {
        self.node.record(Event {
            kind: Kind::Limit,
            outcome: Outcome::Refused,
            reason: limiter.to_owned(),
            ..self.event()
        });
        let committed = self.node.router.store().committed();
        self.session.acknowledge(
            qos,
            identifier,
            ReasonCode::QuotaExceeded.into(),
            committed,
            committed,
            &mut self.output,
        );
    }

    fn permit(&mut self, topic: &TopicName, qos: QoS, retain: bool) -> Result<Judged, Denial> {
        let permit = self
            .rights
            .permit_publish(&self.handle, topic, qos, retain)?;
        if let Judged::Now(permit) = &permit
            && let Some(audited) = permit.audited()
        {
            self.tell_audited(permit, audited);
        }
        Ok(permit)
    }

    /// A deny in audit mode would refuse what is permitted: told once for each verdict, not for each message.
    fn tell_audited(&self, permit: &PublishPermit, audited: &RuleId) {
        self.node.record(Event {
            kind: Kind::Publish,
            outcome: Outcome::Permitted,
            reason: "a policy in audit mode would deny it".into(),
            rule: Some(permit.rule().text()),
            audited: Some(audited.text()),
            action: Some("publish"),
            topic: Some(permit.topic().as_str().to_owned()),
            qos: Some(permit.qos().bits()),
            retain: Some(permit.retain()),
            ..self.event()
        });
    }

    fn refuse_publish(
        &mut self,
        topic: &TopicName,
        qos: QoS,
        retain: bool,
        identifier: Option<PacketIdentifier>,
        denial: &Denial,
    ) -> Result<(), Ending> {
        let decision = self.node.decision();
        self.node.record(Event {
            kind: Kind::Publish,
            outcome: Outcome::Refused,
            reason: denial.to_string(),
            rule: denial.rule().map(RuleId::text),
            audited: denial.audited().map(RuleId::text),
            action: Some("publish"),
            topic: Some(topic.as_str().to_owned()),
            qos: Some(qos.bits()),
            retain: Some(retain),
            decision: Some(decision),
            ..self.event()
        });
        self.node.denials.record(admin::Denial {
            at: SystemTime::now(),
            decision,
            subject: Arc::clone(self.rights.subject()),
            action: "publish",
            topic: topic.as_str().to_owned(),
            qos: qos.bits(),
            retain,
            rule: denial.rule().map(|rule| rule.to_string()),
            reason: denial.to_string(),
        });
        if denial.disconnects() {
            return Err(Ending::Misbehaved(ProtocolError::Denied));
        }
        let reason_string = self.revealed(&[decision]);
        let answer = Answer {
            reason_code: ReasonCode::NotAuthorized,
            reason_string,
        };
        let committed = self.node.router.store().committed();
        self.session.acknowledge(
            qos,
            identifier,
            answer,
            committed,
            committed,
            &mut self.output,
        );
        Ok(())
    }

    fn on_subscribe(&mut self, subscribe: Subscribe) -> Result<(), Ending> {
        let mut reason_codes = Vec::with_capacity(subscribe.filters.len());
        let (mut replays, mut decisions) = (Vec::new(), Vec::new());
        let mut position = Position::default();
        // Each filter is judged alone. (POL-9) [MQTT-3.8.4-5]
        for filter in &subscribe.filters {
            match self.subscribe(filter, subscribe.subscription_identifier)? {
                Subscribing::Made(made) => {
                    reason_codes.push(granted_code(made.granted)); // [MQTT-3.8.4-7]
                    position = position.max(made.position);
                    replays.extend(made.replay);
                }
                Subscribing::Refused(reason_code, decision) => {
                    reason_codes.push(reason_code);
                    decisions.extend(decision);
                }
            }
        }
        let reason_string = self.revealed(&decisions);
        let packet = Packet::SubAck(SubAck {
            packet_identifier: subscribe.packet_identifier,
            reason_codes,
            properties: self.session.reason(reason_string),
        });
        let committed = self.node.router.store().committed();
        self.session
            .confirm(packet, position, committed, &mut self.output); // [MQTT-3.8.4-1]
        for replay in replays {
            // A subscription made anew starts its replay anew.
            self.replays
                .retain(|known| known.subscription() != replay.subscription());
            self.replays.push(replay);
        }
        Ok(())
    }

    fn subscribe(
        &mut self,
        filter: &SubscribeFilter,
        identifier: Option<SubscriptionIdentifier>,
    ) -> Result<Subscribing, Ending> {
        let refused = |reason_code| Ok(Subscribing::Refused(reason_code, None));
        let settings = self.node.settings.load_full();
        let Ok(subscription) = &filter.subscription else {
            return refused(ReasonCode::TopicFilterInvalid);
        };
        if subscription.share.is_some() && !settings.shared_subscriptions {
            return refused(ReasonCode::SharedSubscriptionsNotSupported);
        }
        let options = SubscriptionOptions {
            maximum_qos: filter.options.maximum_qos.min(settings.max_qos.0),
            ..filter.options
        };
        let made = self
            .rights
            .permit_subscribe(&self.handle, subscription, options.maximum_qos)
            .map_err(SubscribeError::Denied)
            .and_then(|permit| {
                let router = &self.node.router;
                router.subscribe(&self.handle, permit, options, identifier)
            });
        match made {
            Ok(made) => {
                self.audit_subscribe(
                    (subscription, made.granted),
                    Outcome::Permitted,
                    String::new(),
                    Rules {
                        deciding: Some(made.permit.rule().text()),
                        audited: made.permit.audited().map(RuleId::text),
                    },
                );
                Ok(Subscribing::Made(Box::new(made)))
            }
            Err(SubscribeError::Denied(denial)) => {
                let decision = self.audit_subscribe(
                    (subscription, options.maximum_qos),
                    Outcome::Refused,
                    denial.to_string(),
                    Rules {
                        deciding: denial.rule().map(RuleId::text),
                        audited: denial.audited().map(RuleId::text),
                    },
                );
                if denial.disconnects() {
                    return Err(Ending::Misbehaved(ProtocolError::Denied));
                }
                Ok(Subscribing::Refused(ReasonCode::NotAuthorized, decision))
            }
            Err(error @ (SubscribeError::TooMany(_) | SubscribeError::Store)) => {
                let decision = self.audit_subscribe(
                    (subscription, options.maximum_qos),
                    Outcome::Refused,
                    error.to_string(),
                    Rules::default(),
                );
                Ok(Subscribing::Refused(ReasonCode::QuotaExceeded, decision))
            }
            Err(SubscribeError::Ended) => refused(ReasonCode::UnspecifiedError),
        }
    }

    fn audit_subscribe(
        &self,
        (subscription, qos): (&Subscription, QoS),
        outcome: Outcome,
        reason: String,
        rules: Rules,
    ) -> Option<DecisionId> {
        let decision = (outcome == Outcome::Refused).then(|| self.node.decision());
        if let Some(decision) = decision {
            self.node.denials.record(admin::Denial {
                at: SystemTime::now(),
                decision,
                subject: Arc::clone(self.rights.subject()),
                action: "subscribe",
                topic: subscription.to_string(),
                qos: qos.bits(),
                retain: false,
                rule: rules.deciding.as_deref().map(str::to_owned),
                reason: reason.clone(),
            });
        }
        self.node.record(Event {
            kind: Kind::Subscribe,
            outcome,
            reason,
            rule: rules.deciding,
            audited: rules.audited,
            action: Some("subscribe"),
            topic: Some(subscription.to_string()),
            qos: Some(qos.bits()),
            decision,
            ..self.event()
        });
        decision
    }

    /// Where `reveal_decision_id` says so: what leads to the explanations.
    fn revealed(&self, decisions: &[DecisionId]) -> Option<String> {
        let reveal = self.node.settings.load().reveal_decision_id && !decisions.is_empty();
        reveal.then(|| {
            let names: Vec<String> = decisions.iter().map(DecisionId::to_string).collect();
            format!("decision {}", names.join(", "))
        })
    }

    fn on_unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let mut reason_codes = Vec::with_capacity(unsubscribe.filters.len());
        let mut position = Position::default();
        for filter in &unsubscribe.filters {
            reason_codes.push(match filter {
                Err(_) => ReasonCode::TopicFilterInvalid,
                Ok(subscription) => {
                    self.replays
                        .retain(|replay| replay.subscription() != subscription);
                    match self.node.router.unsubscribe(&self.handle, subscription) {
                        Some(gone) => {
                            position = position.max(gone);
                            ReasonCode::Success
                        }
                        None => ReasonCode::NoSubscriptionExisted,
                    }
                }
            });
        }
        let packet = Packet::UnsubAck(UnsubAck {
            packet_identifier: unsubscribe.packet_identifier,
            reason_codes,
            properties: None,
        });
        let committed = self.node.router.store().committed();
        self.session
            .confirm(packet, position, committed, &mut self.output); // [MQTT-3.10.4-4] [MQTT-3.10.4-5]
    }

    fn on_disconnect(&mut self, disconnect: Disconnect) -> Ending {
        Ending::Disconnected(disconnect)
    }

    /// Something changed whom to trust or what to permit: this connection is judged again, and verdicts of before are worth nothing (POL-6, IDN-11).
    pub(super) fn rejudge(&mut self) -> Result<(), Ending> {
        self.rules = self.door.rules.load_full();
        let node = Arc::clone(&self.node);
        self.rights.renew(&self.handle);
        let handle = Arc::clone(&self.handle);
        self.replays
            .retain(|replay| handle.is_subscribed(replay.subscription()));
        let subject = Arc::clone(self.rights.subject());
        node.limits.refresh(
            &mut self.occupied.buckets,
            &client(&subject),
            policy_limit(self.rights.compiled()),
        );
        if let (Some(tls), Some(peer)) = (&self.rules.tls, &self.peer_tls)
            && let Err(error) = tls.judge(peer, SystemTime::now())
        {
            return Err(withdrawn(error.to_string()));
        }
        node.back_ends
            .load()
            .recheck(&subject.identity)
            .map_err(|rejection| withdrawn(rejection.to_string()))
    }
}

/// A live session whose proof no longer stands: v5 0x87. Contract section 10
pub(super) fn withdrawn(reason: String) -> Ending {
    Ending::Asked(End {
        reason_code: ReasonCode::NotAuthorized,
        reason,
    })
}

fn granted_code(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
