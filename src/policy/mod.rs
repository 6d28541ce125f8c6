//! Who may do what: policies compiled from YAML and asked on every action. Contract section 5.

mod applicable;
mod assertion;
mod attribute;
mod build;
mod compiled;
mod diff;
mod document;
mod explain;
mod glob;
mod import;
mod index;
mod judge;
mod learn;
mod naive;
mod observation;
mod pattern;
mod permit;
mod policies;
mod population;
mod replay;
mod rule;
mod token;
mod who;
mod wide;

pub use self::assertion::{Assertion, Attempt, Failure, method, protocol};
pub use self::compiled::Compiled;
pub use self::diff::{Cause, Change, Example, diff};
pub use self::explain::{Described, Explanation, Near};
pub(crate) use self::glob::Glob;
pub use self::import::{Imported, from_mosquitto};
pub use self::learn::{Learned, Learner};
pub use self::naive::differential;
pub use self::observation::Observation;
pub use self::permit::{About, Delivery, Denial, PublishPermit, SubscribePermit};
pub use self::policies::{MessageLimit, Policies};
pub use self::replay::{Replay, Reversal};
pub use self::rule::{Action, RuleId};
pub use self::token::read_token;
pub use self::wide::WideGrant;

/// What `wardgate quickstart` writes into its policies folder.
pub const QUICKSTART: &str = include_str!("../../policies/quickstart.yaml");

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]
mod tests;
