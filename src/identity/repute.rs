//! What an address has shown of itself in the name it claims: who waits for a scarce turn waits among his like.

/// Told before a login is judged, by what was seen of earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repute {
    /// This name logged in well from this address lately.
    Known,
    #[default]
    Stranger,
    /// Logins by this method from this address failed lately.
    Suspect,
}
