//! Where one address and user stand with the limits that look at them: for `explain`.

use std::fmt::Display;

use super::Refusal;
use super::buckets::Spent;
use super::config::{ByteLimit, Count, Limit, LimitsConfig, MessageLimit, WhenExceeded};
use super::gcra::{Nanos, Quota};

#[derive(Clone, Debug, serde::Serialize)]
pub struct Explained {
    /// The limit's name in the configuration.
    pub limit: &'static str,
    pub permits: bool,
    pub standing: String,
}

impl Explained {
    pub(super) fn of(limit: &'static str, verdict: Result<(), Refusal>) -> Self {
        Self {
            limit,
            permits: verdict.is_ok(),
            standing: verdict
                .map_or_else(|refusal| refusal.to_string(), |()| "not concerned".into()),
        }
    }

    fn open(limit: &'static str, max: Limit<Count>, count: u32) -> Self {
        let (permits, standing) = match max {
            Limit::Off => (true, format!("{count} open, no most")),
            Limit::At(max) => (count < max.get(), format!("{count} of {} open", max.get())),
        };
        Self {
            limit,
            permits,
            standing,
        }
    }

    /// A bucket of messages or bytes: how it is set, and what is left in it.
    fn bucket(
        limit: &'static str,
        set: Option<(Quota, String, WhenExceeded)>,
        full_at: Nanos,
        now: Nanos,
    ) -> Self {
        let Some((quota, rate, then)) = set else {
            return Self {
                limit,
                permits: true,
                standing: "none set".into(),
            };
        };
        let then = match then {
            WhenExceeded::Pause => "pause",
            WhenExceeded::Drop => "drop",
            WhenExceeded::Disconnect => "disconnect",
        };
        let (permits, level) = match quota.left(full_at, now) {
            Ok(left) => (left > 0, format!("{left} left")),
            Err(debt) => (false, format!("nothing left for {} ms", debt.as_millis())),
        };
        Self {
            limit,
            permits,
            standing: format!("{rate}, then {then}: {level}"),
        }
    }
}

/// What is used of the limits that each user and client has for itself.
pub(super) struct Used {
    pub(super) connections: u32,
    pub(super) client: Spent,
    pub(super) user: Spent,
}

impl LimitsConfig {
    /// The limits of an admitted client, those of its policies last.
    pub(super) fn explained(
        &self,
        policies: &[MessageLimit],
        used: &Used,
        now: Nanos,
    ) -> Vec<Explained> {
        let (messages, bytes) = (&self.messages, &self.bytes);
        let of_messages = |limit: &MessageLimit| {
            let rate = written(limit.rate, limit.burst.map(Count::get));
            (Quota::from(*limit), rate, limit.when_exceeded)
        };
        let of_bytes = |limit: &ByteLimit| {
            let rate = written(limit.rate, limit.burst);
            (Quota::from(*limit), rate, limit.when_exceeded)
        };
        let own_messages = messages.per_client.as_ref().map(of_messages);
        let user_messages = messages.per_user.as_ref().map(of_messages);
        let own_bytes = bytes.per_client.as_ref().map(of_bytes);
        let user_bytes = bytes.per_user.as_ref().map(of_bytes);
        let max = self.connections.per_user.max;
        let (client, user) = (&used.client, &used.user);
        let bucket = |limit, set, full_at| Explained::bucket(limit, set, full_at, now);
        let mut all = vec![
            Explained::open("limits.connections.per_user", max, used.connections),
            bucket("limits.messages.per_client", own_messages, client.messages),
            bucket("limits.messages.per_user", user_messages, user.messages),
            bucket("limits.bytes.per_client", own_bytes, client.bytes),
            bucket("limits.bytes.per_user", user_bytes, user.bytes),
        ];
        let of_policy = |limit| {
            bucket(
                "limits of a policy",
                Some(of_messages(limit)),
                client.policy,
            )
        };
        all.extend(policies.iter().map(of_policy));
        all
    }
}

fn written(rate: impl Display, burst: Option<impl Display>) -> String {
    match burst {
        Some(burst) => format!("{rate}, burst {burst}"),
        None => rate.to_string(),
    }
}
