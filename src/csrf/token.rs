//! Secrets, and the masked tokens that stand for them in pages.

use std::{fmt, hint::black_box};

use rand::RngExt as _;

const ALPHABET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const LENGTH: usize = 32;

/// A visitor's secret: 32 characters, about 190 bits. The cookie has it as it is, pages have it masked.
#[derive(Clone, Copy)]
pub(super) struct Secret([u8; LENGTH]);

/// Why a text is neither a secret nor a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadFormat {
    Length,
    Characters,
}

impl BadFormat {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Length => "has incorrect length",
            Self::Characters => "has invalid characters",
        }
    }
}

impl Secret {
    pub(super) fn generate() -> Self {
        Self(random_characters())
    }

    /// Reads a secret or a masked token, wherever it comes from: any mask will do.
    ///
    /// Cookies and sessions of Django 3.2 and older hold masked ones too.
    pub(super) fn parse(text: &str) -> Result<Self, BadFormat> {
        // Python counts characters, and looks at the length first.
        if !matches!(text.chars().count(), 32 | 64) {
            return Err(BadFormat::Length);
        }
        let mut indices = [0; 2 * LENGTH];
        if !text.is_ascii() {
            return Err(BadFormat::Characters);
        }
        for (index, byte) in indices.iter_mut().zip(text.bytes()) {
            *index = index_of(byte).ok_or(BadFormat::Characters)?;
        }
        let (mask, cipher) = indices.split_at(LENGTH);
        let mut secret = [0; LENGTH];
        for ((out, mask), cipher) in secret.iter_mut().zip(mask).zip(cipher) {
            let index = if text.len() == LENGTH { *mask } else { (cipher + 62 - mask) % 62 };
            *out = ALPHABET[index];
        }
        Ok(Self(secret))
    }

    /// A new token of this secret. The mask keeps a compressed page from giving the secret away (BREACH).
    pub(super) fn mask(&self) -> String {
        let mask = random_characters();
        let index = |byte: u8| index_of(byte).unwrap_or_default(); // both are of the alphabet
        let cipher = self.0.iter().zip(&mask).map(|(s, m)| ALPHABET[(index(*s) + index(*m)) % 62]);
        mask.iter().copied().chain(cipher).map(char::from).collect()
    }

    /// Compares in constant time.
    pub(super) fn matches(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        pairs.fold(0, |different, (a, b)| black_box(different | (a ^ b))) == 0
    }

    /// What the cookie or the session holds. Keep it out of logs.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default() // it is of the alphabet
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn index_of(byte: u8) -> Option<usize> {
    let index = match byte {
        b'a'..=b'z' => byte - b'a',
        b'A'..=b'Z' => byte - b'A' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        _ => return None,
    };
    Some(usize::from(index))
}

fn random_characters() -> [u8; LENGTH] {
    let mut rng = rand::rng();
    std::array::from_fn(|_| ALPHABET[rng.random_range(0..ALPHABET.len())])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_alphabet_is_in_order() {
        for (index, byte) in ALPHABET.iter().enumerate() {
            assert_eq!(index_of(*byte), Some(index));
        }
        assert!((0..=255).filter(|byte| index_of(*byte).is_some()).count() == 62);
    }

    #[test]
    fn each_mask_is_another_and_all_mean_the_secret() {
        let secret = Secret::generate();
        let tokens: HashSet<String> = (0..100).map(|_| secret.mask()).collect();
        assert_eq!(tokens.len(), 100);
        for token in tokens {
            assert_eq!(token.len(), 64);
            assert!(!token.contains(secret.as_str()));
            assert_eq!(Secret::parse(&token).unwrap().as_str(), secret.as_str());
        }
    }

    #[test]
    fn secrets_use_the_whole_alphabet() {
        let secrets: Vec<Secret> = (0..1000).map(|_| Secret::generate()).collect();
        let letters: HashSet<u8> = secrets.iter().flat_map(|secret| secret.0).collect();
        assert_eq!(letters.len(), 62);
        let texts: HashSet<&str> = secrets.iter().map(Secret::as_str).collect();
        assert_eq!(texts.len(), 1000);
    }

    #[test]
    fn one_character_makes_another_secret() {
        let secret = Secret::parse("abcdefghijklmnopqrstuvwxyzABCDEF").unwrap();
        assert!(secret.matches(&Secret::parse("abcdefghijklmnopqrstuvwxyzABCDEF").unwrap()));
        assert!(!secret.matches(&Secret::parse("abcdefghijklmnopqrstuvwxyzABCDEf").unwrap()));
        assert!(!secret.matches(&Secret::parse("bbcdefghijklmnopqrstuvwxyzABCDEF").unwrap()));
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = Secret::generate();
        assert!(!format!("{secret:?}").contains(secret.as_str()));
    }
}
