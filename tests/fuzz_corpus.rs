//! The fuzz targets' own functions on their seeds, in the normal tests; `fuzz/run` goes further.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;
#[path = "support/notation.rs"]
mod notation;

use std::fs;
use std::path::Path;

/// Every seed, whole, cut at every byte and with one bit of each byte turned.
fn replay(target: &str, check: fn(&[u8])) {
    for seed in seeds(target) {
        around(&seed, check);
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let seeds: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!seeds.is_empty(), "{} has no seeds", folder.display());
    seeds
}

fn around(seed: &[u8], check: fn(&[u8])) {
    check(seed);
    // Long seeds are slow to read: a few hundred places of them are enough.
    let step = seed.len() / 256 + 1;
    for at in (0..seed.len()).step_by(step) {
        check(&seed[..at]);
        let mut damaged = seed.to_vec();
        damaged[at] ^= 1 << (at % 8);
        check(&damaged);
    }
}

/// A broker of its own behind it; each case is a connection.
#[test]
fn connection() {
    replay("connection", fuzz::connection::check);
}

#[test]
fn decode() {
    replay("decode", fuzz::decode::check);
}

#[test]
fn decode_takes_every_malformed_packet() {
    for line in include_str!("data/malformed.txt").lines() {
        let columns: Vec<&str> = line.split('|').collect();
        if line.starts_with('#') || columns.len() < 4 {
            continue;
        }
        let packet = notation::bytes(columns[3].trim());
        for choice in 0..32 {
            fuzz::decode::check(&[&[choice * 5], &packet[..]].concat());
        }
    }
}

#[test]
fn filters() {
    replay("filters", fuzz::filters::check);
}

#[test]
fn proxy_protocol() {
    replay("proxy_protocol", fuzz::proxy_protocol::check);
}

#[test]
fn websocket_head() {
    replay("websocket_head", fuzz::websocket_head::check);
}

#[test]
fn websocket_frames() {
    replay("websocket_frames", fuzz::websocket_frames::check);
}

#[test]
fn policy() {
    replay("policy", fuzz::policy::check);
}

#[test]
fn certificate() {
    replay("certificate", fuzz::certificate::check);
}
