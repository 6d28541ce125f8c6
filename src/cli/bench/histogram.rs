//! Latencies counted in buckets of at most 1.6 % width, so that a run of any length takes the same memory.

/// 64 buckets for each power of two.
const BITS: u32 = 6;

#[derive(Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    maximum: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            counts: vec![0; (65 - BITS as usize) << BITS],
            total: 0,
            maximum: 0,
        }
    }

    pub(super) fn record(&mut self, value: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count += 1;
        }
        self.total += 1;
        self.maximum = self.maximum.max(value);
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn maximum(&self) -> u64 {
        self.maximum
    }

    /// The value that so many per mille do not exceed.
    pub(super) fn per_mille(&self, per_mille: u64) -> u64 {
        let rank = (self.total * per_mille).div_ceil(1000);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && *count > 0 {
                return upper(index).min(self.maximum);
            }
        }
        self.maximum
    }
}

/// The leading bits and how far they were shifted.
fn bucket(value: u64) -> usize {
    let shift = (64 - BITS)
        .saturating_sub(value.leading_zeros() + 1)
        .min(63 - BITS);
    let shift = if value >> BITS == 0 { 0 } else { shift };
    let step = usize::try_from(shift).unwrap_or(0) << BITS;
    step + usize::try_from(value >> shift).unwrap_or(0)
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    // Past the first 128 values each shift has its upper half of 64 buckets.
    let shift = (index >> BITS).saturating_sub(1);
    let leading = (index - (shift << BITS)) as u64;
    ((leading + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_value_within_two_per_cent() {
        for value in
            (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) | (1 << bit >> 1)])
        {
            let upper = upper(bucket(value));
            assert!(upper >= value, "{value} is above its bucket's {upper}");
            assert!(
                upper - value <= value / 50,
                "{value} is far below its bucket's {upper}"
            );
        }
    }

    #[test]
    fn ranks_are_counted_from_below() {
        let mut histogram = Histogram::new();
        for value in 1..=1000 {
            histogram.record(value);
        }
        let rows = [(500, 500), (990, 990), (1000, 1000)];
        for (per_mille, expected) in rows {
            let found = histogram.per_mille(per_mille);
            assert!(
                found.abs_diff(expected) <= expected / 50,
                "{per_mille}: {found}"
            );
        }
        assert_eq!(Histogram::new().per_mille(500), 0);
    }
}
