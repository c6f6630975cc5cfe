//! The hash that binds a session to the password: Django's `get_session_auth_hash`.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::{Error, SecretKey};

const SALT: &str = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";

/// Makes and verifies session auth hashes. Keyed HMAC states are computed once.
#[derive(Clone)]
pub(super) struct SessionHash {
    current: Hmac<Sha256>,
    fallbacks: Vec<Hmac<Sha256>>,
}

/// The secret that made a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MadeBy {
    Current,
    /// A fallback secret: the hash must be renewed.
    Fallback,
    Nobody,
}

impl SessionHash {
    pub(super) fn new(key: &SecretKey) -> Result<Self, Error> {
        key.check()?;
        let mut macs = key
            .secrets()
            .map(|secret| keyed(&Sha256::new().chain_update(SALT).chain_update(secret).finalize()));
        // `SecretKey` has at least one secret.
        let current = macs.next().unwrap_or_else(|| keyed(&[]));
        Ok(Self { current, fallbacks: macs.collect() })
    }

    /// The hash of a user with this password column, as 64 hexadecimal digits.
    pub(super) fn make(&self, password_column: &str) -> String {
        let digest = self.current.clone().chain_update(password_column).finalize().into_bytes();
        digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}"); // a String takes everything
            hex
        })
    }

    /// Compares in constant time. Only the spelling that Django writes is right: lower case, no blanks.
    pub(super) fn verify(&self, hash: &str, password_column: &str) -> MadeBy {
        let Some(digest) = from_hex(hash) else { return MadeBy::Nobody };
        let matches =
            |mac: &Hmac<Sha256>| mac.clone().chain_update(password_column).verify_slice(&digest).is_ok();
        if matches(&self.current) {
            MadeBy::Current
        } else if self.fallbacks.iter().any(matches) {
            MadeBy::Fallback
        } else {
            MadeBy::Nobody
        }
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[allow(clippy::expect_used)] // HMAC takes keys of any length
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_spelling_of_django_is_right() {
        let hashes = SessionHash::new(&SecretKey::new("new").with_fallbacks(["old"])).unwrap();
        let old = SessionHash::new(&SecretKey::new("old")).unwrap();
        let hash = hashes.make("!x");
        assert_eq!(hashes.verify(&hash, "!x"), MadeBy::Current);
        assert_eq!(hashes.verify(&old.make("!x"), "!x"), MadeBy::Fallback);
        for bad in [hash.to_uppercase(), format!(" {hash}"), hash[..63].to_owned(), String::new()] {
            assert_eq!(hashes.verify(&bad, "!x"), MadeBy::Nobody, "{bad}");
        }
        assert_eq!(hashes.verify(&hash, "!y"), MadeBy::Nobody);
        assert!(SessionHash::new(&SecretKey::new("")).is_err());
    }
}
