//! The whole configuration: one typed value from file and environment (TRN-9). Contract section 3.

mod check;
mod cross_checks;
pub mod doctor;
mod load;
mod outside;
mod ranges;
mod sections;

pub use self::check::{Checked, NO_POLICY, check, policy_files};
pub use self::load::problem_at;
pub use self::sections::{Config, ListenerConfig, ReloadConfig, ShutdownConfig};

#[cfg(test)]
mod tests;
