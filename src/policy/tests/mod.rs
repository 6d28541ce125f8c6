//! Tests of the policy module as a whole: tables, and properties over random policies.

mod explained;
mod modes;
mod odd_files;
mod placeholders;
mod properties;
mod random;
mod tables;
mod token;
mod unknown;
