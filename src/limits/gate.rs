//! The first question to a connection, before any byte of it is read: may this address open one now?

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use super::Refusal;
use super::config::LimitsConfig;
use super::gcra::{Epoch, Nanos, Quota};
use super::keys::Keys;
use super::overload::Stage;
use super::ranges::Ranges;
use super::table::{Table, Weighed};
use super::tally::{KeyedSlot, Slot, Tallies, Tally};

/// What the configuration says of connections, ready to ask.
pub(super) struct GateRules {
    deny: Ranges,
    allow: Ranges,
    exempt: Ranges,
    address_rate: Option<Quota>,
    address_max: u32,
    global_rate: Option<Quota>,
    global_max: u32,
}

pub(super) struct Gate {
    rates: Table<FullAt>,
    addresses: Arc<Tallies>,
    global_full_at: AtomicU64,
    open: Arc<Tally>,
    /// A [`Stage`].
    shedding: AtomicU8,
}

/// A connection that was let in, counted for its address and in all until this is dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    _address: Option<KeyedSlot>,
    _open: Slot,
}

/// The moment at which a bucket will be full again.
#[derive(Clone, Copy)]
struct FullAt(Nanos);

impl Weighed for FullAt {
    fn weight(&self, now: Nanos) -> u64 {
        self.0.saturating_sub(now)
    }
}

impl GateRules {
    pub(super) fn new(config: &LimitsConfig) -> Self {
        let (per_ip, global) = (&config.connections.per_ip, &config.connections.global);
        Self {
            deny: Ranges::new(&config.deny),
            allow: Ranges::new(&config.allow),
            exempt: Ranges::new(&per_ip.exempt),
            address_rate: per_ip.into(),
            address_max: per_ip.max.bound(),
            global_rate: global.into(),
            global_max: global.max.bound(),
        }
    }

    /// The lists alone: also asked when a header of the PROXY protocol names the true address.
    pub(super) fn listed(&self, address: IpAddr) -> Result<(), Refusal> {
        if self.deny.contains(address) {
            return Err(Refusal::AddressDenied);
        }
        if !self.allow.is_empty() && !self.allow.contains(address) {
            return Err(Refusal::AddressNotAllowed);
        }
        Ok(())
    }
}

impl Gate {
    pub(super) fn new(keys: &Keys) -> Self {
        Self {
            rates: Table::new(ADDRESSES),
            addresses: Arc::new(Tallies::new(keys.hasher())),
            global_full_at: AtomicU64::new(0),
            open: Arc::default(),
            shedding: AtomicU8::new(0),
        }
    }

    /// An address is asked before the whole, so that one that is refused takes nothing from the others.
    pub(super) fn enter(
        &self,
        rules: &GateRules,
        address: IpAddr,
        key: u64,
        known: bool,
        now: Nanos,
    ) -> Result<ConnectionSlot, Refusal> {
        let address = if rules.exempt.contains(address) {
            None
        } else {
            let slot = self.addresses.claim(key, rules.address_max);
            let slot = slot.ok_or(Refusal::AddressConnections)?;
            self.charge_address(rules, key, now)?;
            Some(slot)
        };
        if self.shedding() >= Stage::Newcomers && !known {
            return Err(Refusal::Overloaded);
        }
        let open = self
            .open
            .claim(rules.global_max)
            .ok_or(Refusal::GlobalConnections)?;
        self.charge_global(rules, now)?;
        Ok(ConnectionSlot {
            _address: address,
            _open: open,
        })
    }

    pub(super) fn shed(&self, stage: Stage) -> Stage {
        Stage::from_level(self.shedding.swap(stage.level(), Ordering::Relaxed))
    }

    pub(super) fn shedding(&self) -> Stage {
        Stage::from_level(self.shedding.load(Ordering::Relaxed))
    }

    pub(super) fn open(&self) -> u64 {
        self.open.count()
    }

    /// Whether the bucket of an address is empty, and when it will be full: for `explain`.
    pub(super) fn address_standing(
        &self,
        rules: &GateRules,
        key: u64,
        epoch: Epoch,
        now: Nanos,
    ) -> (bool, Option<Instant>) {
        let full_at = self.rates.find(key).map_or(0, |FullAt(at)| at);
        let spent = rules
            .address_rate
            .is_some_and(|quota| quota.is_spent(full_at, now));
        (spent, (full_at > now).then(|| epoch.instant(full_at)))
    }

    // A newcomer inherits what gives way to it. That is never less than its own due, and while the table is not full of
    // addresses at their limit it is nothing.
    fn charge_address(&self, rules: &GateRules, key: u64, now: Nanos) -> Result<(), Refusal> {
        let Some(quota) = rules.address_rate else {
            return Ok(());
        };
        self.rates.update(
            key,
            now,
            |lightest| lightest.unwrap_or(FullAt(0)),
            |full_at| match quota.take(full_at.0, 1, now) {
                Ok(next) => {
                    full_at.0 = next;
                    Ok(())
                }
                Err(_) => Err(Refusal::AddressRate),
            },
        )
    }

    fn charge_global(&self, rules: &GateRules, now: Nanos) -> Result<(), Refusal> {
        let Some(quota) = rules.global_rate else {
            return Ok(());
        };
        let take = |full_at| quota.take(full_at, 1, now).ok();
        match self
            .global_full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(Refusal::GlobalRate),
        }
    }
}

/// How many addresses the table of rates remembers.
const ADDRESSES: usize = 65_536;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    struct Door {
        gate: Gate,
        rules: GateRules,
        keys: Keys,
    }

    impl Door {
        fn new(yaml: &str) -> Self {
            let config: LimitsConfig = serde_saphyr::from_str(yaml).unwrap();
            let keys = Keys::new([1, 2, 3, 4]);
            Self {
                gate: Gate::new(&keys),
                rules: GateRules::new(&config),
                keys,
            }
        }

        fn enter(&self, address: &str, now: Nanos) -> Result<ConnectionSlot, Refusal> {
            let address = address.parse().unwrap();
            self.rules.listed(address)?;
            self.gate
                .enter(&self.rules, address, self.keys.address(address), false, now)
        }
    }

    #[test]
    fn lists_bounds_and_rates_refuse_with_their_own_reason() {
        let lists = "{ deny: [203.0.113.0/24, 2001:db8:bad::/48], allow: [203.0.113.0/24, 10.0.0.0/8, 2001:db8::/32] }";
        let two = "connections: { per_ip: { rate: 1/s, burst: 100, max: 2 } }";
        let slow = "connections: { per_ip: { rate: 1/s, burst: 2, max: off } }";
        let all = "connections: { global: { rate: 1/s, burst: 3, max: off }, per_ip: { rate: off, max: off } }";
        let few = "connections: { global: { rate: off, max: 3 }, per_ip: { rate: off, max: off } }";
        // (limits, addresses that enter first, the next, why not)
        let rows: [(&str, &[&str], &str, Option<Refusal>); 15] = [
            (lists, &[], "10.0.0.1", None),
            (lists, &[], "203.0.113.9", Some(Refusal::AddressDenied)),
            (
                lists,
                &[],
                "::ffff:203.0.113.9",
                Some(Refusal::AddressDenied),
            ),
            (lists, &[], "2001:db8:bad::1", Some(Refusal::AddressDenied)),
            (lists, &[], "2001:db8:bae::1", None),
            (lists, &[], "192.0.2.1", Some(Refusal::AddressNotAllowed)),
            (
                two,
                &["10.0.0.1", "10.0.0.1"],
                "10.0.0.1",
                Some(Refusal::AddressConnections),
            ),
            (two, &["10.0.0.1", "10.0.0.1"], "10.0.0.2", None),
            (
                two,
                &["2001:db8::1", "2001:db8::2"],
                "2001:db8::ffff:3",
                Some(Refusal::AddressConnections),
            ),
            (
                two,
                &["2001:db8::1", "2001:db8::2"],
                "2001:db8:0:1::3",
                None,
            ),
            (
                slow,
                &["10.0.0.1", "10.0.0.1"],
                "10.0.0.1",
                Some(Refusal::AddressRate),
            ),
            (slow, &["10.0.0.1", "10.0.0.1"], "10.0.0.2", None),
            (
                all,
                &["10.0.0.1", "10.0.0.2", "10.0.0.3"],
                "10.0.0.4",
                Some(Refusal::GlobalRate),
            ),
            (
                few,
                &["10.0.0.1", "10.0.0.2", "10.0.0.3"],
                "10.0.0.4",
                Some(Refusal::GlobalConnections),
            ),
            (few, &["10.0.0.1", "10.0.0.2"], "10.0.0.4", None),
        ];
        for (limits, first, next, expected) in rows {
            let door = Door::new(limits);
            let held: Vec<_> = first
                .iter()
                .map(|address| door.enter(address, SECOND).unwrap())
                .collect();
            assert_eq!(
                door.enter(next, SECOND).err(),
                expected,
                "{limits}: {first:?} then {next}"
            );
            drop(held);
        }
    }

    #[test]
    fn a_closed_connection_gives_its_place_back() {
        let door = Door::new("connections: { global: { max: 1 }, per_ip: { max: 1 } }");
        let held = door.enter("10.0.0.1", SECOND).unwrap();
        assert_eq!(
            door.enter("10.0.0.1", SECOND).err(),
            Some(Refusal::AddressConnections)
        );
        drop(held);
        assert!(door.enter("10.0.0.1", SECOND).is_ok());
        assert_eq!((door.gate.open(), door.gate.addresses.entries()), (0, 0));
    }

    #[test]
    fn lim_06_a_refused_address_takes_nothing_from_the_others() {
        let door = Door::new(
            "connections: { global: { rate: 1/s, burst: 10, max: off }, per_ip: { rate: 1/s, burst: 1 } }",
        );
        for _ in 0..1000 {
            let _ = door.enter("10.0.0.1", SECOND);
        }
        for other in 2..11 {
            assert!(
                door.enter(&format!("10.0.0.{other}"), SECOND).is_ok(),
                "{other}"
            );
        }
    }

    #[test]
    fn lim_06_a_million_addresses_neither_grow_the_table_nor_reset_an_offender() {
        let door = Door::new(
            "connections: { global: { rate: off, max: off }, per_ip: { rate: 1/min, burst: 5, max: off } }",
        );
        for _ in 0..5 {
            assert!(door.enter("10.0.0.1", SECOND).is_ok());
        }
        for n in 0..1_000_000u32 {
            let _ = door.enter(
                &IpAddr::from((0x2000_0000 + n).to_be_bytes()).to_string(),
                SECOND,
            );
        }
        assert_eq!(
            door.enter("10.0.0.1", SECOND).err(),
            Some(Refusal::AddressRate)
        );
        assert!(
            door.gate.rates.len() <= ADDRESSES,
            "{}",
            door.gate.rates.len()
        );
    }

    #[test]
    fn overload_refuses_those_without_a_record() {
        let door = Door::new("{}");
        assert_eq!(door.gate.shed(Stage::Newcomers), Stage::Nothing);
        let address = "10.0.0.1".parse().unwrap();
        for (known, expected) in [(false, Some(Refusal::Overloaded)), (true, None)] {
            let entered = door.gate.enter(
                &door.rules,
                address,
                door.keys.address(address),
                known,
                SECOND,
            );
            assert_eq!(entered.err(), expected, "{known}");
        }
    }
}
