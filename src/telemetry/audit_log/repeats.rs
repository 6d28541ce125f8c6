//! What comes again and again: counted, and summed up once a minute (LOG-2).

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;

use crate::audit::{Event, Kind, Outcome};

/// Who had how many lines in this minute, and how much besides.
pub(super) struct Repeats {
    since: Instant,
    bounds: Bounds,
    lines_left: u32,
    sources: AHashMap<Source, Seen>,
    /// Those of sources that found the table full.
    elsewhere: u64,
}

/// How much of it has lines of its own in a minute.
#[derive(Clone, Copy)]
struct Bounds {
    lines: u32,
    of_one_source: u32,
    sources: usize,
    /// What the line says that stands for all other sources.
    elsewhere: (&'static str, Outcome),
}

/// An address (IPv6 by /64) and what it was refused; or a user and what he was permitted.
#[derive(PartialEq, Eq, Hash)]
struct Source {
    address: Option<IpAddr>,
    user: Option<(Option<Arc<str>>, Arc<str>)>,
    kind: Kind,
    outcome: Outcome,
}

struct Seen {
    lines: u32,
    summed: u64,
    listener: Option<Arc<str>>,
    /// The reason of the last one, shortened.
    reason: String,
}

impl Repeats {
    /// Of refusals, by address. One source has at most half of the lines, so that it cannot hide the others.
    pub(super) fn of_refusals(lines: u32, now: Instant) -> Self {
        let bounds = Bounds {
            lines,
            of_one_source: lines.div_ceil(2),
            sources: SOURCES,
            elsewhere: ("refusals from other addresses, summed up", Outcome::Refused),
        };
        Self::new(bounds, now)
    }

    /// Of what admitted clients may do over and over, by user: nobody turns the trail over by asking for what he has a right to.
    pub(super) fn of_permits(now: Instant) -> Self {
        let bounds = Bounds {
            lines: u32::MAX,
            of_one_source: PERMITTED,
            sources: USERS,
            elsewhere: (
                "what other users were permitted, summed up",
                Outcome::Permitted,
            ),
        };
        Self::new(bounds, now)
    }

    fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            since: now,
            bounds,
            lines_left: bounds.lines,
            sources: AHashMap::new(),
            elsewhere: 0,
        }
    }

    /// Whether this event gets a line of its own. Else it is summed up.
    pub(super) fn takes_a_line(&mut self, event: &Event) -> bool {
        let share = self.bounds.of_one_source;
        let lines_left = self.lines_left;
        let Some(seen) = self.seen(event) else {
            return false;
        };
        if lines_left == 0 || seen.lines >= share {
            seen.sum(event);
            return false;
        }
        seen.lines = seen.lines.saturating_add(1);
        self.lines_left = lines_left.saturating_sub(1);
        true
    }

    /// Counts one whose line could not be taken.
    pub(super) fn sum_up(&mut self, event: &Event) {
        if let Some(seen) = self.seen(event) {
            seen.sum(event);
        }
    }

    /// What was summed up in a minute that is over; the sources with most first, the rest in one line.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Event, u64)> {
        if now.saturating_duration_since(self.since) < WINDOW {
            return Vec::new();
        }
        self.since = now;
        self.drain()
    }

    /// Ends the minute early.
    pub(super) fn drain(&mut self) -> Vec<(Event, u64)> {
        self.lines_left = self.bounds.lines;
        let mut summed: Vec<(Source, Seen)> = std::mem::take(&mut self.sources)
            .into_iter()
            .filter(|(_, seen)| seen.summed > 0)
            .collect();
        summed.sort_by_key(|(_, seen)| Reverse(seen.summed));
        let few = summed.len().min(SUMMARIES);
        let rest = summed.split_off(few);
        let others = rest
            .iter()
            .fold(std::mem::take(&mut self.elsewhere), |sum, (_, seen)| {
                sum.saturating_add(seen.summed)
            });
        let mut lines: Vec<_> = summed
            .into_iter()
            .map(|(source, seen)| seen.into_summary(source))
            .collect();
        if others > 0 {
            let (reason, outcome) = self.bounds.elsewhere;
            lines.push((
                Event {
                    kind: Kind::Audit,
                    outcome,
                    reason: reason.into(),
                    ..Event::default()
                },
                others,
            ));
        }
        lines
    }

    fn seen(&mut self, event: &Event) -> Option<&mut Seen> {
        let username = event.username.clone();
        let user = username.filter(|_| event.outcome == Outcome::Permitted);
        let source = Source {
            address: event.ip.map(network).filter(|_| user.is_none()),
            user: user.map(|user| (event.namespace.clone(), user)),
            kind: event.kind,
            outcome: event.outcome,
        };
        if self.sources.len() >= self.bounds.sources && !self.sources.contains_key(&source) {
            self.elsewhere = self.elsewhere.saturating_add(1);
            return None;
        }
        let fresh = || Seen {
            lines: 0,
            summed: 0,
            listener: event.listener.clone(),
            reason: String::new(),
        };
        Some(self.sources.entry(source).or_insert_with(fresh))
    }
}

impl Seen {
    fn sum(&mut self, event: &Event) {
        self.summed = self.summed.saturating_add(1);
        if self.summed == 1 {
            let told = match &event.topic {
                Some(topic) if event.reason.is_empty() => topic,
                _ => &event.reason,
            };
            self.reason = told.chars().take(REASON).collect();
        }
    }

    fn into_summary(self, source: Source) -> (Event, u64) {
        let reason = format!("summed up, beginning with: {}", self.reason);
        let (namespace, username) = source.user.unzip();
        let event = Event {
            kind: source.kind,
            outcome: source.outcome,
            namespace: namespace.flatten(),
            username,
            ip: source.address,
            listener: self.listener,
            reason,
            ..Event::default()
        };
        (event, self.summed)
    }
}

/// IPv6 by /64: one customer has that many addresses.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        },
    }
}

const WINDOW: Duration = Duration::from_secs(60);
const SOURCES: usize = 4096;
const USERS: usize = 64 * 1024;
/// Lines a minute for what one user is permitted: as many as a client may have subscriptions by default.
const PERMITTED: u32 = 1000;
const SUMMARIES: usize = 32;
const REASON: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: u32, kind: Kind) -> Event {
        let ip = Some(IpAddr::from(address.to_be_bytes()));
        Event {
            kind,
            ip,
            reason: format!("wrong password of {address}"),
            ..Event::default()
        }
    }

    fn flood(addresses: u32, each: u64) -> (u64, u64, usize) {
        let start = Instant::now();
        let mut repeats = Repeats::of_refusals(60, start);
        let mut lines = 0;
        for address in 0..addresses {
            for _ in 0..each {
                lines += u64::from(repeats.takes_a_line(&refusal(address, Kind::Authenticate)));
            }
        }
        assert!(repeats.due(start + WINDOW / 2).is_empty());
        let summaries = repeats.due(start + WINDOW);
        let summed = summaries.iter().map(|(_, count)| count).sum();
        (lines, summed, summaries.len())
    }

    #[test]
    fn log_02_a_million_refusals_are_at_most_100_lines_and_a_true_total() {
        for (addresses, each) in [(1, 1_000_000), (10, 100_000), (1000, 1000), (1_000_000, 1)] {
            let (lines, summed, summaries) = flood(addresses, each);
            assert_eq!(lines + summed, 1_000_000, "{addresses} addresses");
            let total = lines + summaries as u64;
            assert!(total <= 100, "{addresses} addresses: {total} lines");
        }
    }

    #[test]
    fn one_address_cannot_hide_the_others() {
        let mut repeats = Repeats::of_refusals(60, Instant::now());
        for _ in 0..1000 {
            repeats.takes_a_line(&refusal(1, Kind::Screen));
        }
        assert!(repeats.takes_a_line(&refusal(2, Kind::Authenticate)));
    }

    #[test]
    fn ipv6_counts_by_64() {
        let rows = [
            ("2001:db8::1", "2001:db8::"),
            ("2001:db8::ffff:1", "2001:db8::"),
            ("2001:db8:0:1::1", "2001:db8:0:1::"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
        ];
        for (address, expected) in rows {
            let shown = address.parse().map(|address| network(address).to_string());
            assert_eq!(shown.as_deref(), Ok(expected), "{address}");
        }
    }
}
