//! How fast an admitted client may speak: messages and bytes, its own, its policy's and its user's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::config::{LimitsConfig, MessageLimit, WhenExceeded};
use super::gcra::{Epoch, Nanos, NotUntil, Quota};
use super::refusal::Limiter;
use super::table::{Table, Weighed};

/// What became of what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Charge {
    Granted,
    /// It counts, and nothing more is read until then.
    Pause {
        until: Instant,
        limiter: Limiter,
    },
    /// It is dropped, and answered `Limiter::DROPPED` where an answer is due.
    Drop(Limiter),
    /// The client is disconnected with `Limiter::DISCONNECTED`.
    Disconnect(Limiter),
}

/// The buckets of one client.
pub struct ClientBuckets {
    rules: Arc<Rules>,
    policy: Option<(Quota, WhenExceeded)>,
    /// Written by its owner alone, or by two for the moment of a take-over; read by whoever asks how it stands. None before the first charge: most connections publish nothing.
    spent: Option<Arc<Spending>>,
    user: Option<Arc<UserBuckets>>,
    kept: Arc<Kept>,
    key: u64,
}

/// All buckets, as the configuration says.
pub(super) struct Rules {
    epoch: Epoch,
    client_messages: Option<(Quota, WhenExceeded)>,
    client_bytes: Option<(Quota, WhenExceeded)>,
    user_messages: Option<(Quota, WhenExceeded)>,
    user_bytes: Option<(Quota, WhenExceeded)>,
}

/// What outlives a connection: the buckets of users with a client here, and what those who left had spent, so that leaving
/// and coming back does not fill a bucket.
pub(super) struct Kept {
    /// Of those who are connected and have spent something.
    clients: Mutex<HashMap<u64, Arc<Spending>, ahash::RandomState>>,
    users: Mutex<HashMap<u64, Arc<UserBuckets>, ahash::RandomState>>,
    left: Table<Spent>,
}

/// Shared by the clients of one user.
struct UserBuckets {
    key: u64,
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// When each bucket will be full again. Of a user, `policy` is 0.
#[derive(Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) messages: Nanos,
    pub(super) bytes: Nanos,
    pub(super) policy: Nanos,
}

/// The same of a client that is here.
#[derive(Default)]
struct Spending {
    messages: AtomicU64,
    bytes: AtomicU64,
    policy: AtomicU64,
}

impl From<Spent> for Spending {
    fn from(spent: Spent) -> Self {
        let spending = Self::default();
        spending.set(spent);
        spending
    }
}

impl Spent {
    /// Of two connections of one client.
    fn max(self, other: Self) -> Self {
        Self {
            messages: self.messages.max(other.messages),
            bytes: self.bytes.max(other.bytes),
            policy: self.policy.max(other.policy),
        }
    }
}

impl Spending {
    fn get(&self) -> Spent {
        Spent {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            policy: self.policy.load(Ordering::Relaxed),
        }
    }

    fn set(&self, spent: Spent) {
        self.messages.store(spent.messages, Ordering::Relaxed);
        self.bytes.store(spent.bytes, Ordering::Relaxed);
        self.policy.store(spent.policy, Ordering::Relaxed);
    }
}

impl Weighed for Spent {
    // Compared among themselves only: whoever has to wait longest is kept longest.
    fn weight(&self, _: Nanos) -> u64 {
        self.messages.max(self.bytes).max(self.policy)
    }
}

impl Rules {
    pub(super) fn new(config: &LimitsConfig, epoch: Epoch) -> Self {
        let messages = |limit: MessageLimit| (Quota::from(limit), limit.when_exceeded);
        Self {
            epoch,
            client_messages: config.messages.per_client.map(messages),
            user_messages: config.messages.per_user.map(messages),
            client_bytes: config
                .bytes
                .per_client
                .map(|limit| (limit.into(), limit.when_exceeded)),
            user_bytes: config
                .bytes
                .per_user
                .map(|limit| (limit.into(), limit.when_exceeded)),
        }
    }

    fn concern_users(&self) -> bool {
        self.user_messages.is_some() || self.user_bytes.is_some()
    }
}

impl Kept {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            clients: Mutex::new(HashMap::with_hasher(hasher.clone())),
            users: Mutex::new(HashMap::with_hasher(hasher.clone())),
            left: Table::new(LEFT),
        }
    }

    fn user(&self, key: u64) -> Arc<UserBuckets> {
        let mut users = self.users.lock();
        let user = users.entry(key).or_insert_with(|| {
            let spent = self.left.remove(key).unwrap_or_default();
            Arc::new(UserBuckets {
                key,
                messages: AtomicU64::new(spent.messages),
                bytes: AtomicU64::new(spent.bytes),
            })
        });
        Arc::clone(user)
    }

    /// What the client had spent before, on a connection that it takes over or on an earlier one.
    fn client(&self, key: u64) -> Option<Arc<Spending>> {
        let mut clients = self.clients.lock();
        if let Some(here) = clients.get(&key) {
            return Some(Arc::clone(here));
        }
        let spending = Arc::new(Spending::from(self.left.remove(key)?));
        clients.insert(key, Arc::clone(&spending));
        Some(spending)
    }

    /// From here on others see what the client spends, another connection of the same client too.
    #[cold]
    fn enter(&self, key: u64, spent: Spent) -> Arc<Spending> {
        let mut clients = self.clients.lock();
        if let Some(here) = clients.get(&key) {
            here.set(here.get().max(spent));
            return Arc::clone(here);
        }
        let left = self.left.remove(key).unwrap_or_default();
        let spending = Arc::new(Spending::from(left.max(spent)));
        clients.insert(key, Arc::clone(&spending));
        spending
    }

    fn leave_client(&self, key: u64, spent: Arc<Spending>) {
        let mut clients = self.clients.lock();
        // The map and the one that leaves: nobody else can clone it while the map is locked, nor let go of it.
        if Arc::strong_count(&spent) <= 2 {
            clients.remove(&key);
            self.leave(key, spent.get());
        }
        drop(spent);
    }

    /// What a client has spent, and its user; of somebody who never was here, or too long ago, nothing.
    pub(super) fn spent(&self, client: u64, user: u64) -> (Spent, Spent) {
        let here = self.clients.lock().get(&client).map(|own| own.get());
        let user_here = self.users.lock().get(&user).map(|user| Spent {
            messages: user.messages.load(Ordering::Relaxed),
            bytes: user.bytes.load(Ordering::Relaxed),
            policy: 0,
        });
        let left = |key| self.left.find(key).unwrap_or_default();
        (
            here.unwrap_or_else(|| left(client)),
            user_here.unwrap_or_else(|| left(user)),
        )
    }

    fn leave(&self, key: u64, spent: Spent) {
        if spent.weight(0) > 0 {
            self.left.update(key, 0, |_| spent, |kept| *kept = spent);
        }
    }

    fn leave_user(&self, user: Arc<UserBuckets>) {
        let mut users = self.users.lock();
        // The map and the one that leaves: nobody else can clone it while the map is locked.
        if Arc::strong_count(&user) <= 2 {
            users.remove(&user.key);
            let spent = Spent {
                messages: user.messages.load(Ordering::Relaxed),
                bytes: user.bytes.load(Ordering::Relaxed),
                policy: 0,
            };
            self.leave(user.key, spent);
        }
    }
}

impl ClientBuckets {
    pub(super) fn new(
        rules: Arc<Rules>,
        kept: Arc<Kept>,
        policy: Option<MessageLimit>,
        client: u64,
        user: u64,
    ) -> Self {
        let user = rules.concern_users().then(|| kept.user(user));
        Self {
            rules,
            policy: policy.map(|limit| (limit.into(), limit.when_exceeded)),
            spent: kept.client(client),
            user,
            kept,
            key: client,
        }
    }

    fn own(&self) -> Spent {
        self.spent
            .as_ref()
            .map_or_else(Spent::default, |spent| spent.get())
    }

    /// Whether there is anything to charge: a client without limits need not ask.
    #[inline]
    pub fn are_any(&self) -> bool {
        self.user.is_some()
            || self.policy.is_some()
            || self.rules.client_messages.is_some()
            || self.rules.client_bytes.is_some()
    }

    /// Charges what was read. Where a limit drops or disconnects, ask for one message at a time, and nothing is charged for a
    /// message that does not pass; where all of them pause, a whole batch may be charged at once.
    #[inline]
    pub fn charge(&mut self, messages: u64, bytes: u64, now: Instant) -> Charge {
        if !self.are_any() {
            return Charge::Granted;
        }
        let now = self.rules.epoch.nanos(now);
        let mut round = Round::new(now);
        let rules = &self.rules;
        let spent = self.own();
        let own_messages = round.ask(
            rules.client_messages,
            spent.messages,
            messages,
            Limiter::ClientMessages,
        );
        let policy = round.ask(self.policy, spent.policy, messages, Limiter::PolicyMessages);
        let own_bytes = round.ask(rules.client_bytes, spent.bytes, bytes, Limiter::ClientBytes);
        if let Some(user) = &self.user {
            round.ask(
                rules.user_messages,
                user.messages.load(Ordering::Relaxed),
                messages,
                Limiter::UserMessages,
            );
            round.ask(
                rules.user_bytes,
                user.bytes.load(Ordering::Relaxed),
                bytes,
                Limiter::UserBytes,
            );
        }
        if let Some(refused) = round.refused {
            return refused;
        }
        let spent = Spent {
            messages: own_messages,
            policy,
            bytes: own_bytes,
        };
        match &self.spent {
            Some(own) => own.set(spent),
            None => self.spent = Some(self.kept.enter(self.key, spent)),
        }
        if let Some(user) = &self.user {
            spend(&user.messages, rules.user_messages, messages, now);
            spend(&user.bytes, rules.user_bytes, bytes, now);
        }
        match round.paused {
            Some((until, limiter)) => Charge::Pause {
                until: rules.epoch.instant(until),
                limiter,
            },
            None => Charge::Granted,
        }
    }

    /// Charges a message that went to many as several messages, so that a costly publish is paid by its publisher (LIM-2). It
    /// has been sent: it may only delay the next.
    pub fn charge_fan_out(&mut self, recipients: u64, now: Instant) {
        let messages = recipients / FAN_OUT;
        if messages == 0 || !self.are_any() {
            return;
        }
        let now = self.rules.epoch.nanos(now);
        let mut spent = self.own();
        if let Some((quota, _)) = self.rules.client_messages {
            spent.messages = quota.borrow(spent.messages, messages, now).0;
        }
        if let Some((quota, _)) = self.policy {
            spent.policy = quota.borrow(spent.policy, messages, now).0;
        }
        match &self.spent {
            Some(own) => own.set(spent),
            None => self.spent = Some(self.kept.enter(self.key, spent)),
        }
        if let Some(user) = &self.user {
            spend(&user.messages, self.rules.user_messages, messages, now);
        }
    }

    /// Limits that take effect after a reload; what was spent stays spent.
    pub(super) fn replace(&mut self, rules: Arc<Rules>, policy: Option<MessageLimit>, user: u64) {
        self.policy = policy.map(|limit| (limit.into(), limit.when_exceeded));
        match (rules.concern_users(), self.user.take()) {
            (true, Some(user)) => self.user = Some(user),
            (true, None) => self.user = Some(self.kept.user(user)),
            (false, Some(user)) => self.kept.leave_user(user),
            (false, None) => {}
        }
        self.rules = rules;
    }
}

impl Drop for ClientBuckets {
    fn drop(&mut self) {
        if let Some(spent) = self.spent.take() {
            self.kept.leave_client(self.key, spent);
        }
        if let Some(user) = self.user.take() {
            self.kept.leave_user(user);
        }
    }
}

/// One charge while its buckets are asked: the worst answer wins.
struct Round {
    now: Nanos,
    refused: Option<Charge>,
    paused: Option<(Nanos, Limiter)>,
}

impl Round {
    fn new(now: Nanos) -> Self {
        Self {
            now,
            refused: None,
            paused: None,
        }
    }

    #[inline]
    fn ask(
        &mut self,
        limit: Option<(Quota, WhenExceeded)>,
        full_at: Nanos,
        n: u64,
        limiter: Limiter,
    ) -> Nanos {
        let Some((quota, when_exceeded)) = limit else {
            return full_at;
        };
        match when_exceeded {
            WhenExceeded::Pause => {
                let (next, standing) = quota.borrow(full_at, n, self.now);
                if let Err(NotUntil(until)) = standing
                    && self.paused.is_none_or(|(longest, _)| longest < until)
                {
                    self.paused = Some((until, limiter));
                }
                next
            }
            WhenExceeded::Drop => quota.take(full_at, n, self.now).unwrap_or_else(|_| {
                self.refused.get_or_insert(Charge::Drop(limiter));
                full_at
            }),
            WhenExceeded::Disconnect => quota.take(full_at, n, self.now).unwrap_or_else(|_| {
                // Disconnecting outweighs dropping.
                if !matches!(self.refused, Some(Charge::Disconnect(_))) {
                    self.refused = Some(Charge::Disconnect(limiter));
                }
                full_at
            }),
        }
    }
}

/// Two clients of a user that both saw the last token may both take it: the debt is then paid by both.
#[inline]
fn spend(full_at: &AtomicU64, limit: Option<(Quota, WhenExceeded)>, n: u64, now: Nanos) {
    let Some((quota, _)) = limit else { return };
    let borrow = |full_at| Some(quota.borrow(full_at, n, now).0);
    let _ = full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, borrow);
}

/// How many clients and users the table of those who left remembers.
const LEFT: usize = 32_768;
/// Each this many recipients of a message cost its publisher one message more.
const FAN_OUT: u64 = 1024;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Clients {
        rules: Arc<Rules>,
        kept: Arc<Kept>,
        start: Instant,
    }

    impl Clients {
        fn new(yaml: &str) -> Self {
            let config: LimitsConfig = serde_saphyr::from_str(yaml).unwrap();
            let start = Instant::now();
            Self {
                rules: Arc::new(Rules::new(&config, Epoch::new(start))),
                kept: Arc::new(Kept::new(&ahash::RandomState::with_seeds(1, 2, 3, 4))),
                start,
            }
        }

        fn client(&self, client: u64, user: u64) -> ClientBuckets {
            ClientBuckets::new(
                Arc::clone(&self.rules),
                Arc::clone(&self.kept),
                None,
                client,
                user,
            )
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(1000 + ms)
        }
    }

    const PAUSE: &str = "messages: { per_client: { rate: 10/s, burst: 2 } }";
    const DROP: &str = "messages: { per_client: { rate: 10/s, burst: 2, when_exceeded: drop } }";
    const DISCONNECT: &str =
        "messages: { per_client: { rate: 10/s, burst: 2, when_exceeded: disconnect } }";
    const BYTES: &str = "bytes: { per_client: { rate: 1000/s, burst: 2000, when_exceeded: drop } }";
    const USER: &str = "messages: { per_user: { rate: 10/s, burst: 2, when_exceeded: drop } }";
    const BOTH: &str = "{ messages: { per_client: { rate: 10/s, burst: 2, when_exceeded: drop } }, bytes: { per_client: { rate: 1000/s, when_exceeded: disconnect } } }";

    #[test]
    fn each_limit_answers_as_it_says() {
        let pause = |clients: &Clients, ms| Charge::Pause {
            until: clients.at(ms),
            limiter: Limiter::ClientMessages,
        };
        let granted = |_: &Clients, _: u64| Charge::Granted;
        type Step<'a> = (u64, u64, u64, &'a dyn Fn(&Clients, u64) -> Charge);
        // (limits, [(moment, messages, bytes, answer)])
        let rows: [(&str, &[Step<'_>]); 6] = [
            ("{}", &[(0, 1_000_000, 1 << 40, &granted)]),
            (
                PAUSE,
                &[
                    (0, 2, 0, &granted),
                    (0, 1, 0, &|c, _| pause(c, 100)),
                    (50, 3, 0, &|c, _| pause(c, 400)),
                    (600, 2, 0, &granted),
                ],
            ),
            (
                DROP,
                &[
                    (0, 1, 0, &granted),
                    (0, 1, 0, &granted),
                    (0, 1, 0, &|_, _| Charge::Drop(Limiter::ClientMessages)),
                    (100, 1, 0, &granted),
                ],
            ),
            (
                DISCONNECT,
                &[
                    (0, 2, 0, &granted),
                    (0, 1, 0, &|_, _| Charge::Disconnect(Limiter::ClientMessages)),
                ],
            ),
            (
                BYTES,
                &[
                    (0, 9, 5000, &granted),
                    (0, 1, 1, &|_, _| Charge::Drop(Limiter::ClientBytes)),
                    (5000, 1, 2000, &granted),
                ],
            ),
            (
                BOTH,
                &[
                    (0, 2, 2000, &granted),
                    (0, 1, 1, &|_, _| Charge::Disconnect(Limiter::ClientBytes)),
                    (1, 1, 1, &|_, _| Charge::Drop(Limiter::ClientMessages)),
                ],
            ),
        ];
        for (limits, steps) in rows {
            let clients = Clients::new(limits);
            let mut client = clients.client(1, 2);
            for (ms, messages, bytes, expected) in steps {
                let charge = client.charge(*messages, *bytes, clients.at(*ms));
                assert_eq!(
                    charge,
                    expected(&clients, *ms),
                    "{limits}: {messages} messages, {bytes} bytes at {ms} ms"
                );
            }
        }
    }

    #[test]
    fn a_dropped_message_costs_nothing_anywhere() {
        let clients = Clients::new(BOTH);
        let mut client = clients.client(1, 1);
        for _ in 0..100 {
            let _ = client.charge(1, 10, clients.at(0));
        }
        assert_eq!(client.charge(1, 1000, clients.at(100)), Charge::Granted);
    }

    #[test]
    fn the_clients_of_a_user_share_and_leave_with_what_they_spent() {
        let clients = Clients::new(USER);
        let (mut one, mut other, mut stranger) = (
            clients.client(1, 7),
            clients.client(2, 7),
            clients.client(3, 8),
        );
        assert_eq!(one.charge(1, 0, clients.at(0)), Charge::Granted);
        assert_eq!(other.charge(1, 0, clients.at(0)), Charge::Granted);
        assert_eq!(
            one.charge(1, 0, clients.at(0)),
            Charge::Drop(Limiter::UserMessages)
        );
        assert_eq!(stranger.charge(1, 0, clients.at(0)), Charge::Granted);
        drop((one, other));
        assert_eq!(
            clients.kept.users.lock().len(),
            1,
            "nobody of user 7 is here"
        );
        let mut again = clients.client(1, 7);
        assert_eq!(
            again.charge(1, 0, clients.at(0)),
            Charge::Drop(Limiter::UserMessages)
        );
        assert_eq!(again.charge(1, 0, clients.at(100)), Charge::Granted);
    }

    #[test]
    fn coming_back_does_not_fill_a_bucket() {
        let clients = Clients::new(DROP);
        assert_eq!(
            clients.client(1, 1).charge(2, 0, clients.at(0)),
            Charge::Granted
        );
        assert_eq!(
            clients.client(1, 1).charge(1, 0, clients.at(0)),
            Charge::Drop(Limiter::ClientMessages)
        );
    }

    #[test]
    fn taking_over_does_not_fill_a_bucket() {
        // What the old connection has spent by the time its buckets are made, and afterwards.
        for (before, after) in [(2, 0), (1, 1), (0, 2)] {
            let clients = Clients::new(DROP);
            let mut old = clients.client(1, 1);
            if before > 0 {
                assert_eq!(old.charge(before, 0, clients.at(0)), Charge::Granted);
            }
            let mut new = clients.client(1, 1);
            if after > 0 {
                assert_eq!(old.charge(after, 0, clients.at(0)), Charge::Granted);
            }
            if before == 0 {
                // Nothing was spent when it came: its first charge meets what was meanwhile.
                let _ = new.charge(1, 0, clients.at(0));
            }
            let empty = Charge::Drop(Limiter::ClientMessages);
            assert_eq!(new.charge(1, 0, clients.at(0)), empty, "{before} {after}");
            drop(old);
            let third = clients.client(1, 1).charge(1, 0, clients.at(0));
            assert_eq!(third, empty, "{before} {after}");
            drop(new);
            assert!(clients.kept.clients.lock().is_empty(), "nobody is here");
            let later = clients.client(1, 1).charge(1, 0, clients.at(0));
            assert_eq!(later, empty, "{before} {after}");
        }
    }

    #[test]
    fn a_policy_limits_beside_the_others_and_a_reload_keeps_what_was_spent() {
        let clients = Clients::new("{}");
        let policy: MessageLimit =
            serde_saphyr::from_str("{ rate: 1/s, burst: 1, when_exceeded: drop }").unwrap();
        let mut client = ClientBuckets::new(
            Arc::clone(&clients.rules),
            Arc::clone(&clients.kept),
            Some(policy),
            1,
            1,
        );
        assert_eq!(client.charge(1, 0, clients.at(0)), Charge::Granted);
        assert_eq!(
            client.charge(1, 0, clients.at(0)),
            Charge::Drop(Limiter::PolicyMessages)
        );
        client.replace(Arc::clone(&clients.rules), None, 1);
        assert_eq!(client.charge(1, 0, clients.at(0)), Charge::Granted);
    }

    #[test]
    fn lim_02_a_publish_to_many_is_paid_by_its_publisher() {
        let clients = Clients::new(PAUSE);
        let mut client = clients.client(1, 1);
        client.charge_fan_out(1000, clients.at(0));
        assert_eq!(client.charge(1, 0, clients.at(0)), Charge::Granted);
        client.charge_fan_out(50_000, clients.at(0));
        assert!(matches!(
            client.charge(1, 0, clients.at(0)),
            Charge::Pause { .. }
        ));
    }

    #[test]
    fn an_idle_client_is_small() {
        assert!(
            size_of::<ClientBuckets>() <= 96,
            "{}",
            size_of::<ClientBuckets>()
        );
    }
}
