//! How much anybody may do: every bucket, cap, ban and lockout of contract section 6. Knows no clock: `now` is an argument.
//!
//! On the way of a connection: `screen` (before any byte) → `begin_handshake` (until CONNACK) → `attempt`, then `failed` or
//! `succeeded` (each login) → `enter_user` → `client_buckets` (each message) and the claims on state.

mod ban_list;
mod bans;
mod buckets;
mod config;
mod explained;
mod flapping;
mod gate;
mod gcra;
mod handshakes;
mod keys;
mod lockout;
mod overload;
mod ranges;
mod recent;
mod records;
mod refusal;
mod state;
mod strikes;
mod table;
mod tally;
mod wall;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use self::ban_list::Bans;
use self::buckets::{Kept, Rules};
use self::flapping::Flapping;
use self::gate::{Gate, GateRules};
use self::gcra::{Epoch, Nanos};
use self::handshakes::Handshakes;
use self::keys::Keys;
use self::lockout::Failures;
use self::state::StateQuota;
use self::tally::{KeyedSlot, Tallies};
use crate::identity::{Method, Repute};

pub use self::bans::{Ban, BanError, BanSubject, NotABanSubject, Owner};
pub use self::buckets::{Charge, ClientBuckets};
pub use self::config::{
    ByteLimit, BytesConfig, ConnectionsConfig, Count, FailuresConfig, FlappingConfig,
    GlobalConnectionsConfig, HandshakesConfig, Limit, LimitsConfig, MessageLimit, MessagesConfig,
    PerIpConfig, PerUserConfig, RetainedConfig, StateConfig, UnauthenticatedConfig, WhenExceeded,
};
pub use self::explained::Explained;
use self::explained::Used;
pub use self::flapping::Flapped;
pub use self::gate::ConnectionSlot;
pub use self::handshakes::{Evicted, Handshake};
pub use self::lockout::{Attempt, Lockout};
pub use self::overload::{Overload, Reading, Stage};
pub use self::records::{KEY_LENGTH as RECORDS_KEY_LENGTH, UnreadableRecords};
pub use self::refusal::{LABELS, Limiter, Refusal};
pub use self::state::{RetainedClaim, SessionClaim};
pub use self::tally::{Slot, Tally};

/// All limits of a node.
pub struct Limits {
    settings: ArcSwap<Settings>,
    epoch: Epoch,
    keys: Keys,
    gate: Gate,
    handshakes: Handshakes,
    bans: Bans,
    failures: Failures,
    flapping: Flapping,
    users: Arc<Tallies>,
    buckets: Arc<Kept>,
    state: StateQuota,
}

/// The configuration, ready to ask.
struct Settings {
    config: LimitsConfig,
    gate: GateRules,
    buckets: Arc<Rules>,
}

/// A connection that may begin.
#[derive(Debug)]
pub struct Admission {
    pub slot: ConnectionSlot,
    /// Somebody logged in well from this address lately.
    pub is_known: bool,
}

/// A connection of a user, counted until this is dropped.
#[derive(Debug)]
pub struct UserSlot(#[expect(dead_code, reason = "held for its drop")] KeyedSlot);

/// Who a client is to its buckets and caps.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub namespace: &'a str,
    pub username: &'a str,
    pub client_id: &'a str,
}

/// How much there is of what is limited: for status and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    pub connections: u64,
    pub handshakes: usize,
    pub bans: usize,
    pub sessions: u64,
    pub retained_messages: u64,
    pub retained_bytes: u64,
    pub overloaded: bool,
    pub shedding: Stage,
}

impl Limits {
    /// The seed must be random: it keeps strangers from choosing addresses and names that share a place in a table.
    pub fn new(config: LimitsConfig, seed: [u64; 4], now: Instant) -> Self {
        let mut key = [0; RECORDS_KEY_LENGTH];
        for (part, word) in key.chunks_exact_mut(size_of::<u64>()).zip(seed) {
            part.copy_from_slice(&word.to_ne_bytes());
        }
        Self::remembering(config, seed, &key, now)
    }

    /// Like [`Self::new`], and what is remembered of good logins can be taken up by another process that has the key.
    pub fn remembering(
        config: LimitsConfig,
        seed: [u64; 4],
        key: &[u8; RECORDS_KEY_LENGTH],
        now: Instant,
    ) -> Self {
        let (epoch, keys) = (Epoch::new(now), Keys::new(seed));
        Self {
            settings: ArcSwap::from_pointee(Settings::new(config, epoch)),
            epoch,
            gate: Gate::new(&keys),
            handshakes: Handshakes::default(),
            bans: Bans::default(),
            failures: Failures::new(key),
            flapping: Flapping::new(),
            users: Arc::new(Tallies::new(keys.hasher())),
            buckets: Arc::new(Kept::new(keys.hasher())),
            state: StateQuota::new(&keys),
            keys,
        }
    }

    /// After a reload. What was counted stays counted; clients ask `refresh` for their buckets.
    pub fn reconfigure(&self, config: LimitsConfig) {
        self.settings
            .store(Arc::new(Settings::new(config, self.epoch)));
    }

    pub fn config(&self) -> LimitsConfig {
        self.settings.load().config.clone()
    }

    /// Before any byte is read. `methods` are the ways in that the listener offers (only `certificate` where it demands one):
    /// an address that is locked out of all of them is refused here, where it costs least. Empty: not asked.
    pub fn screen(
        &self,
        ip: IpAddr,
        methods: &[Method],
        now: Instant,
    ) -> Result<Admission, Refusal> {
        let now = self.epoch.nanos(now);
        let settings = self.settings.load();
        self.screened(&settings, ip, methods, now)?;
        let key = self.keys.address(ip);
        let is_known = self.failures.records().knows_address(ip, now);
        let slot = self.gate.enter(&settings.gate, ip, key, is_known, now)?;
        Ok(Admission { slot, is_known })
    }

    /// The lists and bans of an address alone, without counting it: for listeners with bounds of their own.
    pub fn judge_address(&self, ip: IpAddr, now: Instant) -> Result<(), Refusal> {
        self.screened(&self.settings.load(), ip, &[], self.epoch.nanos(now))
    }

    /// The lists and bans of a client that is almost in: who was banned while it was let in is found by nobody else.
    pub fn judge_again(
        &self,
        ip: IpAddr,
        client: &Client<'_>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let nanos = self.epoch.nanos(now);
        self.judge_address(ip, now)?;
        self.judge_names(client, nanos)?;
        flapping::judge(&self.bans, client, (self.epoch, nanos))
    }

    /// The slot of a handshake, from accept to CONNACK. To be raced against `evicted()` and `deadline()`.
    pub fn begin_handshake(
        &self,
        ip: IpAddr,
        is_known: bool,
        now: Instant,
    ) -> Result<Handshake, Refusal> {
        let settings = self.settings.load();
        let handshakes = &settings.config.connections.handshakes;
        self.handshakes
            .begin(handshakes, self.keys.address(ip), is_known, now)
    }

    /// Whether a login may be judged: asked before hashes, directories and signatures.
    pub fn attempt(&self, attempt: &Attempt<'_>, now: Instant) -> Result<Repute, Refusal> {
        let now = self.epoch.nanos(now);
        let settings = self.settings.load();
        let with = (&settings.config.failures, &self.bans, &self.keys);
        self.failures.attempt(with, attempt, (self.epoch, now))
    }

    /// A login was refused for what the peer gave (never for a back end that failed). `Some`: its address is banned now.
    pub fn failed(&self, attempt: &Attempt<'_>, now: Instant, wall: SystemTime) -> Option<Lockout> {
        let settings = self.settings.load();
        let with = (&settings.config.failures, &self.bans, &self.keys);
        self.failures
            .failed(with, attempt, self.epoch.nanos(now), wall)
    }

    pub fn succeeded(&self, attempt: &Attempt<'_>, now: Instant) {
        let settings = self.settings.load();
        let config = &settings.config.failures;
        self.failures
            .succeeded(config, &self.keys, attempt, self.epoch.nanos(now));
    }

    /// An identified client comes in: bans by name, flapping, and the connections of its user.
    pub fn enter_user(
        &self,
        client: &Client<'_>,
        now: Instant,
        wall: SystemTime,
    ) -> Result<UserSlot, Refusal> {
        let now = self.epoch.nanos(now);
        self.judge_names(client, now)?;
        let settings = self.settings.load();
        let with = (&settings.config.flapping, &self.bans, &self.keys);
        self.flapping.come(with, client, (self.epoch, now), wall)?;
        let max = settings.config.connections.per_user.max.bound();
        let slot = self
            .users
            .claim(self.keys.name(&[client.namespace, client.username]), max);
        slot.map(UserSlot).ok_or(Refusal::UserConnections)
    }

    pub fn client_buckets(
        &self,
        client: &Client<'_>,
        policy: Option<MessageLimit>,
    ) -> ClientBuckets {
        let rules = Arc::clone(&self.settings.load().buckets);
        let (own, user) = self.bucket_keys(client);
        ClientBuckets::new(rules, Arc::clone(&self.buckets), policy, own, user)
    }

    /// Puts a live client under the limits of the last reload.
    pub fn refresh(
        &self,
        buckets: &mut ClientBuckets,
        client: &Client<'_>,
        policy: Option<MessageLimit>,
    ) {
        let rules = Arc::clone(&self.settings.load().buckets);
        buckets.replace(rules, policy, self.bucket_keys(client).1);
    }

    /// A session begins to exist; the claim lives as long as it.
    pub fn claim_session(&self, namespace: &str, username: &str) -> Result<SessionClaim, Refusal> {
        let settings = self.settings.load();
        self.state.claim_session(
            &settings.config.state,
            self.keys.name(&[namespace, username]),
        )
    }

    /// A session that the store already has, over the caps or not.
    pub fn adopt_session(&self, namespace: &str, username: &str) -> Option<SessionClaim> {
        let user = self.keys.name(&[namespace, username]);
        self.state.claim_session(&state::without_caps(), user).ok()
    }

    /// A message is retained; the claim lives as long as it.
    pub fn claim_retained(
        &self,
        namespace: &str,
        username: &str,
        bytes: u64,
    ) -> Result<RetainedClaim, Refusal> {
        let settings = self.settings.load();
        let user = self.keys.name(&[namespace, username]);
        self.state
            .claim_retained(&settings.config.state, user, bytes)
    }

    /// The author's next message in the place of his last.
    pub fn resize_retained(&self, claim: &mut RetainedClaim, bytes: u64) -> Result<(), Refusal> {
        claim.resize(&self.settings.load().config.state, bytes)
    }

    /// A retained message that the store already has, over the caps or not.
    pub fn adopt_retained(
        &self,
        namespace: &str,
        username: &str,
        bytes: u64,
    ) -> Option<RetainedClaim> {
        let user = self.keys.name(&[namespace, username]);
        self.state
            .claim_retained(&state::without_caps(), user, bytes)
            .ok()
    }

    /// A ban by an operator. Kick whom `subject.concerns`.
    pub fn ban(
        &self,
        subject: BanSubject,
        duration: Option<Duration>,
        (reason, by): (String, String),
        now: Instant,
        wall: SystemTime,
    ) -> Result<Ban, BanError> {
        let since = wall
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let ban = Ban {
            subject,
            method: None,
            owner: None,
            reason,
            by: Some(by),
            since,
            until: duration.map(|duration| since.saturating_add(duration.as_secs())),
        };
        self.bans.place(ban.clone(), self.epoch.nanos(now), wall)?;
        Ok(ban)
    }

    /// Lifts all bans of a subject, those for failed logins and flapping too. False: there was none.
    pub fn unban(&self, subject: &BanSubject) -> bool {
        self.bans.lift(subject)
    }

    /// All bans in force, the newest first: to show, and to write down when `bans_generation` has changed.
    pub fn bans(&self, now: Instant, wall: SystemTime) -> Vec<Ban> {
        self.bans.all(self.epoch.nanos(now), wall)
    }

    /// What was written down before the last stop.
    pub fn restore_bans(&self, bans: Vec<Ban>, now: Instant, wall: SystemTime) {
        let now = self.epoch.nanos(now);
        let config = &self.settings.load().config;
        for ban in &bans {
            self.failures
                .recall((&config.failures, &self.keys), ban, now, wall);
            self.flapping
                .recall((&config.flapping, &self.keys), ban, (now, wall));
        }
        self.bans.restore(bans, now, wall);
    }

    pub fn bans_generation(&self) -> u64 {
        self.bans.generation()
    }

    /// Who logged in well from where lately, sealed: to write down when `records_generation` has changed.
    pub fn records(&self, now: Instant, wall: SystemTime) -> Vec<u8> {
        self.failures.records().sealed(self.epoch.nanos(now), wall)
    }

    /// What was written down before the last stop, and how many entries that is.
    pub fn restore_records(
        &self,
        bytes: &[u8],
        now: Instant,
        wall: SystemTime,
    ) -> Result<usize, UnreadableRecords> {
        self.failures
            .records()
            .unseal(bytes, self.epoch.nanos(now), wall)
    }

    pub fn records_generation(&self) -> u64 {
        self.failures.records().generation()
    }

    /// What is shed from now on; from the first stage on addresses without a recent good login are refused. Gives what was shed until now.
    pub fn shed(&self, stage: Stage) -> Stage {
        self.gate.shed(stage)
    }

    pub fn standing(&self, now: Instant) -> Standing {
        let (retained_messages, retained_bytes) = self.state.retained();
        Standing {
            connections: self.gate.open(),
            handshakes: self.handshakes.count(),
            bans: self.bans.count(self.epoch.nanos(now)),
            sessions: self.state.sessions(),
            retained_messages,
            retained_bytes,
            overloaded: self.gate.shedding() > Stage::Nothing,
            shedding: self.gate.shedding(),
        }
    }

    /// How each limit sees a login now and what that client may still send, without charging any. `policy` is what its policies set.
    pub fn explain(
        &self,
        attempt: &Attempt<'_>,
        client: &Client<'_>,
        policy: Option<MessageLimit>,
        now: Instant,
    ) -> Vec<Explained> {
        let now = self.epoch.nanos(now);
        let settings = self.settings.load();
        let failures = &settings.config.failures;
        let named = attempt.username.unwrap_or_default();
        let (own, user) = self.bucket_keys(client);
        let (client_spent, user_spent) = self.buckets.spent(own, user);
        let used = Used {
            connections: self.users.count(user),
            client: client_spent,
            user: user_spent,
        };
        let (spent, full_at) = self.gate.address_standing(
            &settings.gate,
            self.keys.address(attempt.ip),
            self.epoch,
            now,
        );
        let of_address = self.failures.of_address(
            failures,
            self.keys.address_by(attempt.ip, attempt.method.0),
            now,
        );
        let of_user = self
            .failures
            .of_user(failures, self.keys.name(&[named]), now);
        let locked = self.bans.of_address(attempt.ip, Some(attempt.method), now);
        let is_known = self.failures.has_record(attempt, now);
        let mut all = vec![
            Explained::of(
                "limits.deny, limits.allow",
                settings.gate.listed(attempt.ip),
            ),
            Explained::of(
                "bans of the address",
                self.screened(&settings, attempt.ip, &[], now),
            ),
            Explained::of("bans of the names", self.judge_names(client, now)),
            Explained {
                limit: "limits.connections.per_ip",
                permits: !spent,
                standing: if full_at.is_some() {
                    "partly used".into()
                } else {
                    "unused".into()
                },
            },
            Explained {
                limit: "limits.failures.per_ip",
                permits: locked.is_none() || is_known,
                standing: match locked {
                    None => format!("{of_address} failed logins"),
                    Some((reason, _)) if is_known => {
                        format!("{reason}; known here by a good login, hence only slowed")
                    }
                    Some((reason, _)) => reason,
                },
            },
            Explained {
                limit: "limits.failures.per_user",
                permits: of_user < failures.per_user.bound()
                    || is_known
                    || attempt.method == Method::CERTIFICATE
                    || attempt.method == Method::JWT,
                standing: format!("{of_user} failed logins"),
            },
            self.flapping.explained(
                (&settings.config.flapping, &self.bans, &self.keys),
                client,
                now,
            ),
        ];
        all.extend(settings.config.explained(policy.as_slice(), &used, now));
        all
    }

    fn screened(
        &self,
        settings: &Settings,
        ip: IpAddr,
        methods: &[Method],
        now: Nanos,
    ) -> Result<(), Refusal> {
        settings.gate.listed(ip)?;
        if let Some((reason, _)) = self.bans.of_address(ip, None, now) {
            return Err(Refusal::Banned { reason });
        }
        let lockouts: Vec<_> = methods
            .iter()
            .map_while(|method| self.bans.of_address(ip, Some(*method), now))
            .collect();
        if lockouts.is_empty() || lockouts.len() < methods.len() {
            return Ok(());
        }
        // Whoever logged in well from here is not locked out: who it is will only be known later. (IDN-13)
        if self.failures.records().knows_address(ip, now) {
            return Ok(());
        }
        let until = lockouts.iter().filter_map(|(_, until)| *until).min();
        Err(Refusal::AddressLockedOut {
            until: until.map(|until| self.epoch.instant(until)),
        })
    }

    fn judge_names(&self, client: &Client<'_>, now: Nanos) -> Result<(), Refusal> {
        let subjects = [
            BanSubject::Username(client.username.to_owned()),
            BanSubject::ClientId(client.client_id.to_owned()),
        ];
        for subject in subjects {
            if let Some((reason, _)) = self.bans.of_name(subject, now) {
                return Err(Refusal::Banned { reason });
            }
        }
        Ok(())
    }

    fn bucket_keys(&self, client: &Client<'_>) -> (u64, u64) {
        let own = self
            .keys
            .name(&[client.namespace, client.username, client.client_id]);
        (own, self.keys.name(&[client.namespace, client.username]))
    }
}

impl Settings {
    fn new(config: LimitsConfig, epoch: Epoch) -> Self {
        Self {
            gate: GateRules::new(&config),
            buckets: Arc::new(Rules::new(&config, epoch)),
            config,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
