//! TLS 1.2 and 1.3 on a listener: who we are, whom we believe, and for how long.

mod client_certificates;
mod error;
mod files;
mod foreign_lists;
mod revocation;
mod server;
mod server_names;
mod suites;
mod tickets;
mod validity;

pub use self::error::{CertificateRefused, TlsError};
pub use self::foreign_lists::foreign_lists;
pub use self::revocation::RevocationList;
pub use self::server::{PeerTls, ServerTls};
pub use self::validity::{out_of_date, terms};

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
