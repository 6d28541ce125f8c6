//! Tests of the policy module as a whole: tables, and properties over random policies.

mod properties;
mod random;
mod tables;
