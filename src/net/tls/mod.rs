//! TLS 1.2 and 1.3 on a listener: who we are, whom we believe, and for how long.

mod client_certificates;
mod error;
mod files;
mod revocation;
mod server;
mod server_names;
mod tickets;

pub use self::error::{CertificateRefused, TlsError};
pub use self::revocation::RevocationList;
pub use self::server::{PeerTls, ServerTls};

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
