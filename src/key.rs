//! Session keys.

use std::{fmt, sync::Arc};

use rand::RngExt as _;

/// What Django draws from, and how many.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const LENGTH: usize = 32;

/// The name of a session: what the cookie holds and the table's primary key.
///
/// Whoever knows it *is* the visitor, so `Debug` does not show it; [`as_str`](Self::as_str) does.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(Arc<str>);

impl SessionKey {
    /// Draws a new key as Django does: 32 characters of `a-z0-9` from a cryptographic generator, about
    /// 165 bits.
    pub fn generate() -> Self {
        let mut rng = rand::rng();
        let key: String =
            (0..LENGTH).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect();
        Self(key.into())
    }

    /// Takes a key that can be in a `django_session` table: 8 to 40 visible ASCII characters. Anything
    /// else cannot name a session, and no store is asked about it.
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

    /// For a store whose keys are other than a table's.
    pub(crate) fn of_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The key itself. Keep it out of logs.
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
    fn keys_are_djangos() {
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
