//! Where one address and user stand with the limits that look at them: for `explain`.

use std::fmt::Display;

use super::Refusal;
use super::config::{Count, Limit, LimitsConfig, WhenExceeded};

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

    /// A bucket that each connection or user has for itself: how it is set.
    fn set(limit: &'static str, standing: Option<String>) -> Self {
        Self {
            limit,
            permits: true,
            standing: standing.unwrap_or_else(|| "none set".into()),
        }
    }
}

impl LimitsConfig {
    /// The buckets that every message of an admitted client is charged to.
    pub(super) fn explained(&self) -> Vec<Explained> {
        let (messages, bytes) = (&self.messages, &self.bytes);
        let of_messages = |limit: &super::MessageLimit| {
            bucket(limit.rate, limit.burst.map(Count::get), limit.when_exceeded)
        };
        let of_bytes =
            |limit: &super::ByteLimit| bucket(limit.rate, limit.burst, limit.when_exceeded);
        let per_user = match self.connections.per_user.max {
            Limit::Off => None,
            Limit::At(max) => Some(format!("at most {}", max.get())),
        };
        vec![
            Explained::set("limits.connections.per_user", per_user),
            Explained::set(
                "limits.messages.per_client",
                messages.per_client.as_ref().map(of_messages),
            ),
            Explained::set(
                "limits.messages.per_user",
                messages.per_user.as_ref().map(of_messages),
            ),
            Explained::set(
                "limits.bytes.per_client",
                bytes.per_client.as_ref().map(of_bytes),
            ),
            Explained::set(
                "limits.bytes.per_user",
                bytes.per_user.as_ref().map(of_bytes),
            ),
        ]
    }
}

fn bucket(rate: impl Display, burst: Option<impl Display>, then: WhenExceeded) -> String {
    let then = match then {
        WhenExceeded::Pause => "pause",
        WhenExceeded::Drop => "drop",
        WhenExceeded::Disconnect => "disconnect",
    };
    match burst {
        Some(burst) => format!("{rate}, burst {burst}, then {then}"),
        None => format!("{rate}, then {then}"),
    }
}
