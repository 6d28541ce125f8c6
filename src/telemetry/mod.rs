//! What the operator sees: logs, metrics and the audit trail. Contract section 8.

pub mod audit_log;
mod counter;
mod escape;
pub mod logging;
pub mod metrics;
pub mod panics;

pub use self::audit_log::{AuditConfig, AuditLog, OnFailure};
pub use self::escape::Escaped;
pub use self::logging::LogConfig;
pub use self::metrics::Metrics;
