//! Django's signed text with any stamp. Not made by the crate, which is to read it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The salts of Django's engines for tables and files, and for cookies.
pub const TABLES: &str = "django.contrib.sessions.SessionStore";
pub const COOKIES: &str = "django.contrib.sessions.backends.signed_cookies";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The text of a session that was saved at `time`, not compressed.
pub fn text(json: &str, time: SystemTime, salt: &str, secret: &str) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    sign(&format!("{}:{}", URL_SAFE_NO_PAD.encode(json), base62(seconds)), salt, secret)
}

/// `value:signature`.
pub fn sign(value: &str, salt: &str, secret: &str) -> String {
    let key = Sha256::new().chain_update(salt).chain_update("signer").chain_update(secret).finalize();
    let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(value);
    format!("{value}:{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// When a text was saved, by its stamp; 1970 if it has none.
pub fn saved_at(text: &str) -> SystemTime {
    let stamp = text.rsplit(':').nth(1).unwrap_or_default();
    let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte);
    let seconds =
        stamp.bytes().try_fold(0u64, |sum, byte| sum.checked_mul(62)?.checked_add(digit(byte)? as u64));
    UNIX_EPOCH + Duration::from_secs(seconds.unwrap_or_default())
}

fn base62(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 || digits.is_empty() {
        digits.push(char::from(DIGITS[(number % 62) as usize]));
        number /= 62;
    }
    digits.iter().rev().collect()
}
