//! What every connection of this process shares.

use super::kept::Kept;
use crate::admin::Denials;
use crate::admission::{Cause, Refused, lockout_reason};
use crate::audit::{DecisionId, Event, Kind, Outcome, Sink};
use crate::identity::io::BackEnds;
use crate::identity::{Identity, Rejection};
use crate::limits::{Flapped, Limits, Refusal};
use crate::mqtt::ReasonCode;
use crate::problem::Problem;
use crate::router::{Counters, End, Router, SessionHandle};
use crate::session::MqttConfig;
use crate::store::Embedded;
use crate::telemetry::{AuditLog, Metrics};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// One for each process.
pub struct Node {
    pub router: Router,
    pub settings: ArcSwap<MqttConfig>,
    pub limits: Arc<Limits>,
    pub back_ends: ArcSwap<BackEnds>,
    pub audit: Arc<AuditLog>,
    pub metrics: Arc<Metrics>,
    /// What the router's store is, where it outlives the process.
    pub embedded: Option<Arc<Embedded>>,
    /// What the limits know and a restart must not lose.
    pub(super) kept: Vec<Arc<Kept>>,
    /// The one of them that an operator waits for.
    pub(super) bans: Arc<Kept>,
    /// The last refusals of policies, for those who ask why.
    pub denials: Denials,
}

impl Node {
    pub fn counters(&self) -> &Counters {
        self.router.counters()
    }

    pub(super) fn connected(&self) {
        let counters = self.counters();
        counters.connected.add(1);
        counters.connected_maximum.raise(counters.connected.value());
    }

    pub(super) fn disconnected(&self) {
        self.counters().connected.subtract(1);
    }

    /// Whether somebody whose proof is older than his session still stands, and his groups of now: what changed in between was told to those who were there.
    pub(super) fn look_again(&self, handle: &Arc<SessionHandle>) -> Result<(), Rejection> {
        let back_ends = self.back_ends.load();
        back_ends.recheck(&handle.rights().subject().identity)?;
        let now = |identity: &Identity| back_ends.regrouped(identity);
        self.router.regroup(handle, now);
        Ok(())
    }

    /// What became of certificates and revocation lists that have changed on disk; with problems, those before them stay in force (TRN-6).
    pub(super) fn record_renewal(&self, listener: &str, problems: &[Problem]) {
        let first = problems.first().map(ToString::to_string);
        if first.is_some() {
            self.metrics.reloads_failed.add(1);
        }
        let renewed = "certificates and revocation lists were read again";
        self.record(Event {
            kind: Kind::Reload,
            outcome: first
                .as_ref()
                .map_or(Outcome::Permitted, |_| Outcome::Failed),
            reason: first.unwrap_or_else(|| renewed.to_owned()),
            listener: Some(listener.into()),
            ..Event::default()
        });
    }

    /// Counts a refusal and writes its audit line, and one for the ban that it led to.
    pub(super) fn record_refused(&self, refused: &Refused) -> DecisionId {
        let decision = self.decision();
        let event = refused.event(decision);
        if let Cause::Limit(refusal) = &refused.cause {
            self.metrics.limit_reached(refusal.label());
            if let Refusal::Flapping {
                banned_now: Some(flapped),
                ..
            } = refusal
            {
                self.banned(&event, flapped);
            }
        }
        if let Some(lockout) = &refused.lockout {
            self.record(Event {
                kind: Kind::Ban,
                outcome: Outcome::Refused,
                reason: lockout_reason(lockout),
                ip: event.ip,
                listener: event.listener.clone(),
                ..Event::default()
            });
        }
        self.record(event);
        decision
    }

    /// A client came once too often. The connection that it has goes too: two machines that take one session from each other end here.
    fn banned(&self, refused: &Event, flapped: &Flapped) {
        let registry = self.router.registry();
        let session = refused.client_id.as_ref().and_then(|id| registry.find(id));
        if let Some(session) = session.filter(|session| session.outbox().is_online()) {
            let rights = session.rights();
            let owner = &rights.subject().identity;
            let is_its_own = Some(&owner.namespace) == refused.namespace.as_ref()
                && Some(&owner.username) == refused.username.as_ref();
            if is_its_own {
                session.end(End {
                    reason_code: ReasonCode::AdministrativeAction,
                    reason: "banned".into(),
                });
            }
        }
        self.record(Event {
            kind: Kind::Ban,
            outcome: Outcome::Refused,
            reason: flapped.to_string(),
            decision: None,
            ..refused.clone()
        });
    }

    /// Leads from a refusal to its explanation.
    pub fn decision(&self) -> DecisionId {
        DecisionId(rand::random())
    }

    /// Whether the line was taken; a caller that may not go on unaudited refuses.
    pub fn record(&self, event: Event) -> bool {
        self.audit.record(event).is_ok()
    }
}
