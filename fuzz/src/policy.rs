//! A policy file and its decisions, against the naive twin (POL-1).

use wardgate::policy::differential;

pub fn check(bytes: &[u8]) {
    if let Err(difference) = differential(bytes) {
        panic!("{difference}");
    }
}
