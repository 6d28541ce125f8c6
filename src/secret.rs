//! Secrets that cannot be printed, copied, compared or left behind.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// No Display, Clone, Serialize or PartialEq, and a Debug that prints `Secret(..)`: a secret can only be matched or handed to the library that needs it.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Compares in constant time.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.as_slice().ct_eq(given).into()
    }

    /// For the one call that needs the bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
