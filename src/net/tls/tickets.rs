//! Session tickets whose keys are random, belong to one `ServerTls`, and rotate (TRN-5).

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use rustls::ticketer::TicketRotator;

/// rustls' own ticket keys end after twelve hours, so no setting can make a ticket live longer.
pub(super) const LIFETIME_MAX: Duration = Duration::from_secs(12 * 60 * 60);
pub(super) const LIFETIME_MIN: Duration = Duration::from_secs(60);

/// Keys that make tickets for half of `lifetime` and open them for the other half.
pub(super) fn ticketer(lifetime: Duration) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    let lifetime = lifetime.clamp(LIFETIME_MIN, LIFETIME_MAX);
    let half = u32::try_from(lifetime.as_secs() / 2).unwrap_or(u32::MAX);
    Ok(Arc::new(TicketRotator::new(
        half,
        || match Ticketer::new() {
            Ok(keys) => Ok(Box::new(Keys(keys))),
            Err(_) => Err(rustls::crypto::GetRandomFailed),
        },
    )?))
}

/// One generation of keys. rustls hands them out behind an `Arc` and wants them back in a `Box`.
#[derive(Debug)]
struct Keys(Arc<dyn ProducesTickets>);

impl ProducesTickets for Keys {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn trn_05_every_generation_has_keys_of_its_own() {
        let (one, other) = (
            ticketer(LIFETIME_MAX).unwrap(),
            ticketer(LIFETIME_MAX).unwrap(),
        );
        let ticket = one.encrypt(b"a session").unwrap();
        assert_eq!(one.decrypt(&ticket).unwrap(), b"a session");
        assert_eq!(other.decrypt(&ticket), None);
        let mut forged = ticket;
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(one.decrypt(&forged), None);
        assert!(one.enabled());
    }

    #[test]
    fn a_client_is_told_the_lifetime() {
        for (given, told) in [
            (0, 60),
            (60, 60),
            (3600, 3600),
            (43_200, 43_200),
            (u64::MAX, 43_200),
        ] {
            let ticketer = ticketer(Duration::from_secs(given)).unwrap();
            assert_eq!(ticketer.lifetime(), told, "{given}");
        }
    }
}
