//! A copy of a password for the thread that hashes it.

use std::{fmt, hint::black_box};

/// Longer passwords are refused. Django has no bound but that of the request. Hashing a MiB takes some
/// milliseconds more than hashing a word.
pub(super) const MAX_PASSWORD_BYTES: usize = 1 << 20;

/// Overwritten when dropped, and never shown.
pub(super) struct Secret(Vec<u8>);

impl Secret {
    pub(super) fn new(password: &[u8]) -> Self {
        Self(password.to_vec())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // The compiler must not leave out what nobody reads.
        black_box(&self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
