//! Session keys.

use std::{fmt, sync::Arc};

use rand::RngExt as _;

/// Django's alphabet and length.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const LENGTH: usize = 32;

/// The key of a session: the cookie's value and the table's primary key.
///
/// Anybody who knows it can impersonate the visitor, so `Debug` does not show it; [`as_str`](Self::as_str)
/// does.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(Arc<str>);

impl SessionKey {
    /// Generates a new key as Django does: 32 characters of `a-z0-9` from a cryptographic generator, about
    /// 165 bits.
    ///
    /// ```
    /// use actix_django_session::SessionKey;
    ///
    /// assert_ne!(SessionKey::generate(), SessionKey::generate());
    /// ```
    pub fn generate() -> Self {
        let mut rng = rand::rng();
        let (mut key, mut length) = ([0; LENGTH], 0);
        while length < LENGTH {
            let mut random = [0_u8; LENGTH + 8];
            rng.fill(&mut random);
            // All characters must be equally likely: the greatest of the 256 bytes are of no use.
            let usable = random.into_iter().map(usize::from).filter(|byte| *byte < 7 * ALPHABET.len());
            for byte in usable.take(LENGTH - length) {
                key[length] = ALPHABET[byte % ALPHABET.len()];
                length += 1;
            }
        }
        Self(std::str::from_utf8(&key).unwrap_or_default().into())
    }

    /// Takes a text that can be a key in a `django_session` table: 8 to 40 visible ASCII characters. For
    /// anything else no store is queried.
    ///
    /// ```
    /// use actix_django_session::SessionKey;
    ///
    /// assert!(SessionKey::parse("8zx2rkbz").is_some());
    /// assert!(SessionKey::parse("short").is_none());
    /// assert!(SessionKey::parse("abcdefg\0hij").is_none());
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let possible = (8..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        possible.then(|| Self(text.into()))
    }

    /// For texts that are known to be keys; those of signed cookies are longer.
    pub(crate) fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the key itself. Keep it out of logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_look_like_djangos() {
        let keys: std::collections::HashSet<_> = (0..1000).map(|_| SessionKey::generate()).collect();
        assert_eq!(keys.len(), 1000);
        let letters: std::collections::HashSet<u8> =
            keys.iter().flat_map(|key| key.as_str().bytes()).collect();
        assert_eq!(letters.len(), 36);
        assert!(keys.iter().all(|key| key.as_str().len() == 32 && SessionKey::parse(key.as_str()).is_some()));
    }

    #[test]
    fn a_key_of_forty_characters_is_possible_and_of_41_is_not() {
        assert!(SessionKey::parse(&"k".repeat(40)).is_some());
        assert!(SessionKey::parse(&"k".repeat(41)).is_none());
    }
}
