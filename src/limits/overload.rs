//! When too much is asked of the machine: what is shed, in which order, and when that ends. Contract section 6
//!
//! First newcomers: connections from addresses without a good login. Then what waits for slow consumers, and they themselves. What was
//! acknowledged is never shed.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::config::StateConfig;

/// What is being shed; each stage holds those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    #[default]
    Nothing,
    Newcomers,
    SlowConsumers,
}

/// How the machine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Resident, in bytes; 0 where it cannot be told.
    pub memory: u64,
    /// How late a task that is ready gets its turn.
    pub lag: Duration,
}

/// Judges readings, one after another.
#[derive(Debug, Default)]
pub struct Overload {
    stage: Stage,
    since: Option<Instant>,
    calm_since: Option<Instant>,
    late_readings: u32,
}

impl Stage {
    pub(super) fn from_level(level: u8) -> Self {
        match level {
            0 => Self::Nothing,
            1 => Self::Newcomers,
            _ => Self::SlowConsumers,
        }
    }

    pub fn level(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Newcomers => 1,
            Self::SlowConsumers => 2,
        }
    }
}

impl Overload {
    pub fn judge(&mut self, marks: &StateConfig, reading: Reading, now: Instant) -> Stage {
        let memory = Mark::of(marks.memory.get(), reading.memory);
        let lag = Mark::of(nanos(marks.lag.get()), nanos(reading.lag));
        self.late_readings = match lag {
            Mark::Below | Mark::Near => 0,
            Mark::Over | Mark::WellOver => self.late_readings.saturating_add(1),
        };
        // One late turn is a hiccup, not a load.
        let lag = if self.late_readings < LATE_READINGS {
            lag.min(Mark::Near)
        } else {
            lag
        };
        self.stage = match memory.max(lag) {
            Mark::Below => self.calm(now),
            Mark::Near => {
                self.calm_since = None;
                self.since = None;
                self.stage.min(Stage::Newcomers)
            }
            mark @ (Mark::Over | Mark::WellOver) => {
                self.calm_since = None;
                let since = *self.since.get_or_insert(now);
                let is_lasting = now.saturating_duration_since(since) >= PATIENCE;
                match self.stage {
                    Stage::Nothing => Stage::Newcomers,
                    Stage::Newcomers if is_lasting || mark == Mark::WellOver => {
                        Stage::SlowConsumers
                    }
                    stage @ (Stage::Newcomers | Stage::SlowConsumers) => stage,
                }
            }
        };
        self.stage
    }

    fn calm(&mut self, now: Instant) -> Stage {
        self.since = None;
        let since = *self.calm_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= CALM {
            return Stage::Nothing;
        }
        self.stage.min(Stage::Newcomers)
    }
}

/// Where a reading stands to its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Below,
    /// Too near to end what was begun: a stage that came and went with each reading would help nobody.
    Near,
    Over,
    WellOver,
}

impl Mark {
    /// A mark of 0 is none.
    fn of(mark: u64, reading: u64) -> Self {
        if mark == 0 || reading <= mark - mark / 10 {
            Self::Below
        } else if reading <= mark {
            Self::Near
        } else if reading <= mark.saturating_add(mark / 8) {
            Self::Over
        } else {
            Self::WellOver
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How long newcomers alone are shed before slow consumers are, unless the reading is well over its mark.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long all must be well before nothing is shed any more.
const CALM: Duration = Duration::from_secs(2);
const LATE_READINGS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{ByteSize, Period};

    /// (second, memory in MiB, lag in ms) and the stage after it.
    fn run(rows: &[(u64, u64, u64, Stage)]) {
        let marks = StateConfig {
            memory: ByteSize::mib(1000),
            lag: Period::from_millis(100),
            ..StateConfig::default()
        };
        let (mut overload, start) = (Overload::default(), Instant::now());
        for (second, memory, lag, expected) in rows {
            let reading = Reading {
                memory: memory << 20,
                lag: Duration::from_millis(*lag),
            };
            let now = start + Duration::from_secs(*second);
            let stage = overload.judge(&marks, reading, now);
            assert_eq!(stage, *expected, "second {second}");
        }
    }

    #[test]
    fn newcomers_go_first_and_slow_consumers_when_that_does_not_help() {
        use Stage::{Newcomers, Nothing, SlowConsumers};
        run(&[
            (0, 999, 0, Nothing),
            (1, 1001, 0, Newcomers),
            (5, 1001, 0, Newcomers),
            (6, 1001, 0, SlowConsumers),
            (7, 950, 0, Newcomers),
            (20, 950, 0, Newcomers),
            (21, 899, 0, Newcomers),
            (22, 899, 0, Newcomers),
            (23, 899, 0, Nothing),
        ]);
    }

    #[test]
    fn well_over_the_mark_nobody_waits_but_the_order_stays() {
        use Stage::{Newcomers, SlowConsumers};
        run(&[(0, 2000, 0, Newcomers), (0, 2000, 0, SlowConsumers)]);
    }

    #[test]
    fn one_late_turn_is_no_overload() {
        use Stage::{Newcomers, Nothing};
        run(&[
            (0, 0, 500, Nothing),
            (1, 0, 0, Nothing),
            (2, 0, 105, Nothing),
            (3, 0, 105, Nothing),
            (4, 0, 105, Newcomers),
            (5, 0, 0, Newcomers),
            (7, 0, 0, Nothing),
        ]);
    }

    #[test]
    fn lim_07_without_marks_nothing_is_ever_shed() {
        let mut overload = Overload::default();
        let reading = Reading {
            memory: u64::MAX,
            lag: Duration::MAX,
        };
        for _ in 0..10 {
            let stage = overload.judge(&StateConfig::default(), reading, Instant::now());
            assert_eq!(stage, Stage::Nothing);
        }
    }
}
