//! The broker as its operators see it: what the admin API asks is answered here.

use super::running::Running;
use crate::admin::{
    self, AdminConfig, ClientDetail, ClientQuery, ClientSummary, Denials, Export, Pending, Status,
    SubscriptionSummary,
};
use crate::admission::{client, policy_limit};
use crate::audit::{Event, Sink, Unauditable};
use crate::identity::io::Chain;
use crate::identity::jwt::JwtConfig;
use crate::identity::{
    AuthenticateConfig, Credentials, Identity, Method, Rejection, Role, Step, Subject,
};
use crate::limits::{Attempt, BanSubject, Explained, Limits, Stage};
use crate::mqtt::ReasonCode;
use crate::policy::{Compiled, Policies};
use crate::problem::Problem;
use crate::router::{End, SessionHandle};
use crate::telemetry::metrics::State;
use arc_swap::ArcSwap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

pub(super) struct Desk {
    pub(super) running: Running,
    /// How names and passwords are proved here.
    pub(super) admin: Arc<ArcSwap<AdminConfig>>,
}

impl admin::Node for Desk {
    fn limits(&self) -> &Limits {
        &self.running.node().limits
    }

    fn policies(&self) -> Arc<Policies> {
        self.running.node().router.policies()
    }

    fn denials(&self) -> &Denials {
        &self.running.node().denials
    }

    fn record(&self, event: Event) -> Result<(), Unauditable> {
        self.running.node().audit.record(event)
    }

    fn readiness(&self) -> Result<(), String> {
        let node = self.running.node();
        if !node.audit.is_writable() {
            return Err("the audit log cannot be written".into());
        }
        if !node.router.store().accepting() {
            return Err("the store takes nothing: the disk is full or failing".into());
        }
        match node.limits.standing(Instant::now()).shedding {
            Stage::Nothing => Ok(()),
            Stage::Newcomers | Stage::SlowConsumers => Err("overloaded: load is being shed".into()),
        }
    }

    fn status(&self) -> Status {
        let node = self.running.node();
        let policies = node.router.policies();
        Status {
            node: self.running.config().node.clone(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: node.metrics.uptime_seconds(),
            ready: self.readiness().is_ok(),
            listeners: BTreeMap::clone(&self.running.addresses()),
            connected_clients: node.counters().connected.value(),
            subscriptions: u64::try_from(node.router.subscription_count()).unwrap_or(u64::MAX),
            policies: policies.len(),
            policy_generation: policies.generation(),
            limits: node.limits.standing(Instant::now()),
        }
    }

    fn jwt(&self) -> JwtConfig {
        let config = self.running.config();
        config.authentication.jwt.clone().unwrap_or_default()
    }

    fn regrouped(&self, identity: &Identity) -> Option<Identity> {
        self.running.node().back_ends.load().regrouped(identity)
    }

    fn effective_configuration(&self) -> Value {
        self.running.config().effective_json()
    }

    fn metrics(&self) -> String {
        let node = self.running.node();
        let whole = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        node.metrics.render(&State {
            counters: node.counters(),
            standing: node.limits.standing(Instant::now()),
            sessions: whole(node.router.registry().len()),
            subscriptions: whole(node.router.subscription_count()),
            passwords: node.back_ends.load().hashing_counters(),
        })
    }

    fn clients(&self, query: &ClientQuery<'_>) -> Vec<ClientSummary> {
        // One pass, keeping no more than a page: the table is in no order.
        let mut page: BTreeMap<Arc<str>, Arc<SessionHandle>> = BTreeMap::new();
        self.running.node().router.registry().for_each(|handle| {
            let id = handle.client_id();
            if id.starts_with(query.prefix) && **id > *query.after {
                page.insert(Arc::clone(id), Arc::clone(handle));
                if page.len() > query.limit {
                    page.pop_last();
                }
            }
        });
        page.values().map(|handle| summary(handle)).collect()
    }

    fn client(&self, client_id: &str) -> Option<ClientDetail> {
        let handle = self.running.node().router.registry().find(client_id)?;
        let rights = handle.rights();
        let identity = &rights.subject().identity;
        let seconds = |end: SystemTime| {
            end.duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs())
        };
        let filters = handle
            .subscriptions()
            .into_iter()
            .map(|(subscription, subscribed)| SubscriptionSummary {
                filter: subscription.to_string(),
                qos: subscribed.options.maximum_qos.bits(),
            });
        Some(ClientDetail {
            summary: summary(&handle),
            groups: identity.groups.clone(),
            certificate: identity
                .certificate
                .as_ref()
                .map(|certificate| certificate.subject_dn.clone()),
            valid_until: identity.valid_until.map(seconds),
            filters: filters.collect(),
            limits: self.limits_of(&rights),
        })
    }

    fn subject(&self, client_id: &str) -> Option<Arc<Subject>> {
        let handle = self.running.node().router.registry().find(client_id)?;
        Some(Arc::clone(handle.rights().subject()))
    }

    fn kick(&self, client_id: &str, reason: &str) -> bool {
        let Some(handle) = self.running.node().router.registry().find(client_id) else {
            return false;
        };
        let is_online = handle.outbox().is_online();
        if is_online {
            handle.end(end(reason));
        }
        is_online
    }

    fn kick_banned(&self, subject: &BanSubject) -> u64 {
        self.end_where("banned", |peer| {
            subject.concerns(peer.ip, &peer.identity.username, &peer.client_id)
        })
    }

    fn keep_bans(&self) -> Pending<'_, io::Result<()>> {
        let node = Arc::clone(self.running.node());
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(move || node.bans.try_write(&node.limits));
            written.await.map_err(io::Error::other)?
        })
    }

    fn reload(&self) -> Pending<'_, Result<(), Vec<Problem>>> {
        Box::pin(self.running.reload())
    }

    fn export(&self) -> Option<Export> {
        let store = Arc::clone(self.running.node().embedded.as_ref()?);
        Some(Box::new(move |out| {
            store.export(out).map_err(io::Error::other)
        }))
    }

    fn audit_trail(&self) -> PathBuf {
        self.running.config().audit_folder()
    }

    fn identify(&self, credentials: Credentials) -> Pending<'_, Result<Identity, Rejection>> {
        Box::pin(async move {
            let chain = {
                let certificate = AuthenticateConfig(vec![Step(vec![Method::CERTIFICATE])]);
                let admin = self.admin.load();
                let steps = if credentials.certificate.is_some() {
                    &certificate
                } else {
                    &admin.authenticate
                };
                Chain::build(steps, &self.running.node().back_ends.load())
            };
            let chain = chain.map_err(|error| Rejection::BackEnd {
                method: Method::PASSWORD,
                reason: error.to_string(),
            })?;
            chain.identify(credentials).await
        })
    }

    fn role(&self, identity: &Identity) -> Option<Role> {
        self.running.node().back_ends.load().role(identity)
    }

    fn recheck(&self, identity: &Identity) -> Result<(), Rejection> {
        self.running.node().back_ends.load().recheck(identity)
    }
}

impl Desk {
    /// How its limits stand for somebody who is here.
    fn limits_of(&self, rights: &Compiled) -> Vec<Explained> {
        let subject = rights.subject();
        let login = Attempt {
            ip: subject.ip,
            method: subject.identity.method,
            username: Some(&subject.identity.username),
        };
        let policy = policy_limit(rights);
        self.running
            .node()
            .limits
            .explain(&login, &client(subject), policy, Instant::now())
    }

    fn end_where(&self, reason: &str, concerns: impl Fn(&Subject) -> bool) -> u64 {
        let mut ended = 0u64;
        self.running.node().router.registry().for_each(|handle| {
            if handle.outbox().is_online() && concerns(handle.rights().subject()) {
                handle.end(end(reason));
                ended = ended.saturating_add(1);
            }
        });
        ended
    }
}

fn end(reason: &str) -> End {
    End {
        reason_code: ReasonCode::AdministrativeAction,
        reason: reason.to_owned(),
    }
}

fn summary(handle: &SessionHandle) -> ClientSummary {
    let rights = handle.rights();
    let subject = rights.subject();
    let connected = handle.outbox().is_online();
    let (messages, bytes) = handle.outbox().load();
    ClientSummary {
        client_id: Arc::clone(&subject.client_id),
        username: Arc::clone(&subject.identity.username),
        namespace: Arc::clone(&subject.identity.namespace),
        auth: subject.identity.method.0,
        ip: connected.then_some(subject.ip),
        listener: connected.then(|| Arc::clone(&subject.listener)),
        protocol: subject.protocol,
        connected,
        subscriptions: handle.subscription_count(),
        queued_messages: u64::try_from(messages).unwrap_or(u64::MAX),
        queued_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    }
}
