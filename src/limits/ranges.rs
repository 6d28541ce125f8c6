//! Many ranges, asked about one address: a look-up for each length that occurs.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::address::Cidr;

/// A list of ranges, such as the deny list.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    members: HashSet<Cidr>,
    lengths: Lengths,
}

/// How many ranges there are of each length.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths {
    v4: HashMap<u8, usize>,
    v6: HashMap<u8, usize>,
}

impl Ranges {
    pub(super) fn new(ranges: &[Cidr]) -> Self {
        let mut lengths = Lengths::default();
        let members: HashSet<Cidr> = ranges.iter().copied().collect();
        members.iter().for_each(|range| lengths.add(range));
        Self { members, lengths }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.lengths
            .around(address)
            .any(|range| self.members.contains(&range))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl Lengths {
    pub(super) fn add(&mut self, range: &Cidr) {
        let count = self
            .family(range.network().is_ipv4())
            .entry(range.length())
            .or_insert(0);
        *count = count.saturating_add(1);
    }

    pub(super) fn remove(&mut self, range: &Cidr) {
        let family = self.family(range.network().is_ipv4());
        if let Some(count) = family.get_mut(&range.length()) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                family.remove(&range.length());
            }
        }
    }

    /// The ranges an address would be in, one for each length that occurs.
    pub(super) fn around(&self, address: IpAddr) -> impl Iterator<Item = Cidr> {
        let address = address.to_canonical();
        let family = if address.is_ipv4() {
            &self.v4
        } else {
            &self.v6
        };
        family
            .keys()
            .map(move |length| Cidr::around(address, *length))
    }

    fn family(&mut self, is_ipv4: bool) -> &mut HashMap<u8, usize> {
        if is_ipv4 { &mut self.v4 } else { &mut self.v6 }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_asking_each_range(
            ranges in proptest::collection::vec((any::<[u8; 2]>(), 8u8..=32), 0..20),
            asked in any::<[u8; 2]>(),
        ) {
            let address = |[a, b]: [u8; 2]| IpAddr::from([10 + a % 2, b % 4, a, b]);
            let ranges: Vec<Cidr> = ranges.into_iter().map(|(at, length)| Cidr::around(address(at), length)).collect();
            let naive = ranges.iter().any(|range| range.contains(address(asked)));
            prop_assert_eq!(Ranges::new(&ranges).contains(address(asked)), naive);
        }
    }

    #[test]
    fn a_length_is_asked_while_a_range_has_it() {
        let mut lengths = Lengths::default();
        let range: Cidr = "10.0.0.0/8".parse().unwrap();
        lengths.add(&range);
        lengths.add(&range);
        lengths.remove(&range);
        assert_eq!(
            lengths
                .around("10.1.1.1".parse().unwrap())
                .collect::<Vec<_>>(),
            [range]
        );
        lengths.remove(&range);
        assert_eq!(lengths.around("10.1.1.1".parse().unwrap()).count(), 0);
    }
}
