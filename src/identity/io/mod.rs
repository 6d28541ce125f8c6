//! The parts of identity that need files, threads and sockets: the chain of authenticators and their back ends.

mod anonymous;
mod back_ends;
mod certificate;
mod chain;
mod client_tls;
mod cookie;
mod directory;
mod fair_gate;
mod fair_queue;
pub mod files;
mod hashing;
mod https;
mod jwt;
mod key_source;
mod ldap;
pub mod logins;
mod password;
mod rehash;
mod remote_keys;
mod scram;
mod standing;
pub mod stored_password;
mod users_file;
mod watched;

pub use self::back_ends::{BackEnds, Standing};
pub use self::chain::{Chain, ChainError, Enhanced};
pub use self::hashing::HashingCounters;
pub use self::rehash::lock as lock_users_file;
pub use self::scram::{Challenge, ScramServer, ScramVerdict};

use std::future::Future;
use std::pin::Pin;

use super::{Credentials, Proof, Rejection};

pub(super) type Verdict<'a> = Pin<Box<dyn Future<Output = Result<Proof, Rejection>> + Send + 'a>>;

/// One way to prove a name. A new method is one more implementation and one line in [`chain`].
pub(super) trait Authenticator: Send + Sync {
    /// Whether these credentials are this method's to judge, told by their shape alone. The answer "not mine" exists only here: whoever claims must accept or
    /// reject, so that no error can pass a client on to something weaker (IDN-1).
    fn claims(&self, credentials: &Credentials) -> bool;

    /// Must answer within bounds of its own; an error of what stands behind it is a rejection.
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Verdict<'a>;
}
