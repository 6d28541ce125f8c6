//! Our own certificates: the device CA, what it has issued and revoked, and the server certificate of a first run. Contract section 1, `ca`.
//!
//! Two authorities lie in `ca/`, each with a key of its own. The *device CA* signs client certificates and is what listeners trust (`client_ca`); the *server CA*
//! signs server certificates and is what clients trust (`ca.pem`). A device certificate can therefore never pass for a server, whatever a client forgets to check.
//!
//! ```text
//! ca/device-ca.pem device-ca.key device-ca.crl    the device CA and its revocation list
//! ca/server-ca.pem server-ca.key                  the server CA
//! ca/issued.json                                  who was issued what, when, by whom, and what was revoked: a line of JSON each
//! ca/issued/SERIAL.pem                            the certificates themselves
//! ca/enrolment.json                               tokens with which devices fetch their first certificate, as hashes
//! ca/rules.yaml                                   which names are certified, where somebody has written it
//! ```

mod authority;
mod certs_only;
mod device_ca;
mod device_name;
mod enrolment;
mod enrolment_tokens;
mod error;
mod journal;
mod key_file;
mod ledger;
mod pkcs12;
mod request;
mod revocation_list;
mod rules;
mod server_ca;

pub use crate::identity::io::files;

pub use self::authority::Protection;
pub use self::device_ca::{DeviceCa, Issued, Revocation, Validity};
pub use self::device_name::{DeviceNames, InvalidName};
pub use self::enrolment::{Applicant, Enrolment, EnrolmentError, Fault, Wish};
pub use self::error::PkiError;
pub use self::key_file::{Passphrase, read_passphrase};
pub use self::ledger::{Record, Records, RevocationReason, Revoked, State};
pub use self::request::SigningRequest;
pub use self::server_ca::{ServerCa, ServerCertificate};
