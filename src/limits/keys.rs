//! What tables know strangers by: keyed hashes, so that no name a client chose is kept and none can be aimed at a shard.

use std::net::IpAddr;

use crate::address::Cidr;

#[derive(Clone)]
pub(super) struct Keys(ahash::RandomState);

impl Keys {
    /// The seed must be random: whoever knows it can choose addresses that share a shard.
    pub(super) fn new(seed: [u64; 4]) -> Self {
        let [a, b, c, d] = seed;
        Self(ahash::RandomState::with_seeds(a, b, c, d))
    }

    pub(super) fn hasher(&self) -> &ahash::RandomState {
        &self.0
    }

    pub(super) fn address(&self, address: IpAddr) -> u64 {
        self.0.hash_one(Cidr::household(address))
    }

    pub(super) fn address_by(&self, address: IpAddr, method: &str) -> u64 {
        self.0.hash_one((Cidr::household(address), method))
    }

    pub(super) fn name_at(&self, address: IpAddr, name: &str) -> u64 {
        self.0.hash_one((name, Cidr::household(address)))
    }

    /// One name of one or several parts.
    pub(super) fn name(&self, parts: &[&str]) -> u64 {
        self.0.hash_one(parts)
    }
}
