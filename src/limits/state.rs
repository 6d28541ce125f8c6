//! How much state there may be: sessions and retained messages, in all and for each user (LIM-5).

use std::sync::Arc;

use super::Refusal;
use super::config::StateConfig;
use super::keys::Keys;
use super::tally::{KeyedSlot, Slot, Tallies, Tally};

pub(super) struct StateQuota {
    sessions: Arc<Tally>,
    user_sessions: Arc<Tallies>,
    retained: Arc<Tally>,
    retained_bytes: Arc<Tally>,
    user_retained: Arc<Tallies>,
}

/// A session that exists, counted until this is dropped.
#[derive(Debug)]
pub struct SessionClaim {
    _all: Slot,
    _user: KeyedSlot,
}

/// A retained message that exists, counted until this is dropped.
#[derive(Debug)]
pub struct RetainedClaim {
    _all: Slot,
    _user: KeyedSlot,
    bytes: BytesClaim,
}

#[derive(Debug)]
struct BytesClaim {
    tally: Arc<Tally>,
    bytes: u64,
}

impl StateQuota {
    pub(super) fn new(keys: &Keys) -> Self {
        Self {
            sessions: Arc::default(),
            user_sessions: Arc::new(Tallies::new(keys.hasher())),
            retained: Arc::default(),
            retained_bytes: Arc::default(),
            user_retained: Arc::new(Tallies::new(keys.hasher())),
        }
    }

    /// The user's bound is asked first: he that is at it must not be told of the others.
    pub(super) fn claim_session(
        &self,
        caps: &StateConfig,
        user: u64,
    ) -> Result<SessionClaim, Refusal> {
        let of_user = self
            .user_sessions
            .claim(user, caps.sessions_per_user.bound());
        let of_user = of_user.ok_or(Refusal::UserSessions)?;
        let all = self
            .sessions
            .claim(caps.sessions.bound())
            .ok_or(Refusal::Sessions)?;
        Ok(SessionClaim {
            _all: all,
            _user: of_user,
        })
    }

    pub(super) fn claim_retained(
        &self,
        caps: &StateConfig,
        user: u64,
        bytes: u64,
    ) -> Result<RetainedClaim, Refusal> {
        let caps = &caps.retained;
        let of_user = self.user_retained.claim(user, caps.per_user.bound());
        let of_user = of_user.ok_or(Refusal::UserRetained)?;
        let all = self
            .retained
            .claim(caps.messages.bound())
            .ok_or(Refusal::RetainedMessages)?;
        let bound = caps.bytes.get().map_or(u64::MAX, |size| size.get());
        if !self.retained_bytes.add(bytes, bound) {
            return Err(Refusal::RetainedBytes);
        }
        let tally = Arc::clone(&self.retained_bytes);
        Ok(RetainedClaim {
            _all: all,
            _user: of_user,
            bytes: BytesClaim { tally, bytes },
        })
    }

    pub(super) fn sessions(&self) -> u64 {
        self.sessions.count()
    }

    pub(super) fn retained(&self) -> (u64, u64) {
        (self.retained.count(), self.retained_bytes.count())
    }
}

impl RetainedClaim {
    /// The same author's message in the place of this one: only the difference in bytes is asked for.
    pub fn resize(&mut self, caps: &StateConfig, bytes: u64) -> Result<(), Refusal> {
        let claim = &mut self.bytes;
        match bytes.checked_sub(claim.bytes) {
            Some(more) => {
                let bound = caps
                    .retained
                    .bytes
                    .get()
                    .map_or(u64::MAX, |size| size.get());
                if !claim.tally.add(more, bound) {
                    return Err(Refusal::RetainedBytes);
                }
            }
            None => claim.tally.subtract(claim.bytes.saturating_sub(bytes)),
        }
        claim.bytes = bytes;
        Ok(())
    }
}

impl Drop for BytesClaim {
    fn drop(&mut self) {
        self.tally.subtract(self.bytes);
    }
}

/// What is in the store at a start is there, whatever the caps say now.
pub(super) fn without_caps() -> StateConfig {
    use super::config::{Limit, RetainedConfig};
    StateConfig {
        sessions: Limit::Off,
        sessions_per_user: Limit::Off,
        retained: RetainedConfig {
            messages: Limit::Off,
            bytes: Limit::Off,
            per_user: Limit::Off,
        },
        ..StateConfig::default()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn caps(yaml: &str) -> StateConfig {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn quota() -> StateQuota {
        StateQuota::new(&Keys::new([1, 2, 3, 4]))
    }

    #[test]
    fn lim_05_one_user_stops_at_his_cap_and_what_ends_gives_its_place_back() {
        let (quota, caps) = (quota(), caps("{ sessions: 5, sessions_per_user: 3 }"));
        let mut held: Vec<_> = (0..3)
            .map(|_| quota.claim_session(&caps, 1).unwrap())
            .collect();
        for _ in 0..100_000 {
            assert_eq!(
                quota.claim_session(&caps, 1).err(),
                Some(Refusal::UserSessions)
            );
        }
        held.extend((0..2).map(|_| quota.claim_session(&caps, 2).unwrap()));
        assert_eq!(quota.claim_session(&caps, 3).err(), Some(Refusal::Sessions));
        held.remove(0);
        assert!(quota.claim_session(&caps, 3).is_ok());
        drop(held);
        assert_eq!((quota.sessions(), quota.user_sessions.entries()), (0, 0));
    }

    #[test]
    fn lim_05_retained_messages_are_bounded_in_number_and_bytes() {
        let (quota, caps) = (
            quota(),
            caps("{ retained: { messages: 3, bytes: 1000, per_user: 2 } }"),
        );
        let mut first = quota.claim_retained(&caps, 1, 400).unwrap();
        let second = quota.claim_retained(&caps, 1, 400).unwrap();
        assert_eq!(
            quota.claim_retained(&caps, 1, 1).err(),
            Some(Refusal::UserRetained)
        );
        assert_eq!(
            quota.claim_retained(&caps, 2, 201).err(),
            Some(Refusal::RetainedBytes)
        );
        assert_eq!(first.resize(&caps, 601).err(), Some(Refusal::RetainedBytes));
        assert_eq!(first.resize(&caps, 600), Ok(()));
        assert_eq!(first.resize(&caps, 100), Ok(()));
        let third = quota.claim_retained(&caps, 2, 500).unwrap();
        assert_eq!(
            quota.claim_retained(&caps, 3, 0).err(),
            Some(Refusal::RetainedMessages)
        );
        assert_eq!(quota.retained(), (3, 1000));
        drop((first, second, third));
        assert_eq!(quota.retained(), (0, 0));
    }
}
