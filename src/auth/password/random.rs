//! Random salts, in Django's alphabet.

use rand::RngExt as _;

const ALPHABET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Django's `get_random_string`.
pub(super) fn random_text(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

pub(super) fn random_bytes() -> [u8; 16] {
    rand::rng().random()
}
