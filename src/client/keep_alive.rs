//! When to send PINGREQ, and when to give the server up. MQTT 5.0 section 3.1.2.10

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct KeepAlive {
    /// Zero: off.
    interval: Duration,
    response_timeout: Duration,
    last_sent: Instant,
    /// When the PINGRESP is due.
    response_due: Option<Instant>,
}

/// What a passed deadline asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    GiveUp,
}

impl KeepAlive {
    pub(super) fn new(seconds: u16, response_timeout: Duration, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(seconds.into()),
            response_timeout,
            last_sent: now,
            response_due: None,
        }
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    pub(super) fn received_response(&mut self) {
        self.response_due = None;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.response_due {
            Some(due) => Some(due),
            None if self.interval.is_zero() => None,
            // In the absence of anything else a PINGREQ goes out within the interval. [MQTT-3.1.2-20]
            None => Some(self.last_sent + self.interval),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Due {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Due::Nothing;
        }
        if self.response_due.is_some() {
            return Due::GiveUp;
        }
        self.response_due = Some(now + self.response_timeout);
        Due::Ping
    }
}
