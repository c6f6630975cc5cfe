//! Time stamps of signed text: Unix seconds in base 62. Django's `baseconv` alphabet.

use std::time::SystemTime;

use crate::{Error, datetime};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Appends the Unix time in base 62. A clock before 1970 counts as 1970.
pub(super) fn push(text: &mut String, time: SystemTime) {
    let mut rest = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut digits = [0; 11]; // 62^11 is more than 2^64
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = BASE62[(rest % 62) as usize];
        rest /= 62;
        if rest == 0 {
            break;
        }
    }
    text.extend(digits[first..].iter().copied().map(char::from));
}

/// Parses a stamp. Django parses it even where no age limit needs it, so a text without a valid one is broken.
pub(super) fn parse(stamp: &str) -> Result<SystemTime, Error> {
    let digits = stamp.strip_prefix('-').unwrap_or(stamp);
    if stamp.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Error::unreadable("the session data has a broken time stamp"));
    }
    let seconds = digits.bytes().fold(0_u64, |sum, digit| {
        let value = BASE62.iter().position(|&known| known == digit).unwrap_or_default();
        sum.saturating_mul(62).saturating_add(value as u64)
    });
    Ok(datetime::from_micros(match stamp.starts_with('-') {
        true => 0,
        false => i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000),
    }))
}
