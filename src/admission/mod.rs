//! From an accepted socket to a [`Grant`]: each stage eats the proof before it and gives the next. DESIGN section 1
//!
//! `Screened` → `Secured` → `Greeted` → `Identified` → `Grant`. Every transport passes the same stages (TRN-8); the caller sets one deadline over all of them (TRN-10).

mod admit;
mod door;
mod enhanced;
mod grant;
mod greet;
mod identify;
mod refusal;
mod screen;
mod secure;

pub use self::admit::{Admitted, client, policy_limit};
pub use self::door::{Door, Rules};
pub use self::enhanced::{Demand, auth, demand};
pub use self::grant::{Grant, Occupied, Parts, ends_at};
pub use self::greet::Greeted;
pub use self::identify::{Identified, guessed, lockout_reason, prove};
pub use self::refusal::{Cause, Refused, event_about};
pub use self::screen::{Places, Proxied, Screened};
pub use self::secure::Secured;
