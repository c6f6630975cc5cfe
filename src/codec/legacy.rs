//! Formats with SHA-1, read only: that of Django 3.1 and 3.2, and `base64("<hex mac>:<json>")` before 3.1.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};

use super::{base64::decode_leniently, signing::SecretKey};

/// The payload of a text from before Django 3.1, if its signature is valid. Fallback keys verify too, which
/// Django never did for these rows.
pub(super) fn decode(text: &str, key: &SecretKey, class: &str) -> Option<Vec<u8>> {
    let (tag, payload) = split(text)?;
    let salt = format!("django.contrib.sessions{class}");
    key.secrets().any(|secret| verify_mac(&[salt.as_bytes(), secret], &payload, &tag)).then_some(payload)
}

/// The same without a look at the signature.
pub(super) fn decode_unverified(text: &str) -> Option<Vec<u8>> {
    split(text).map(|(_, payload)| payload)
}

fn split(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut signed = decode_leniently(text).ok()?;
    let colon = signed.iter().position(|&byte| byte == b':')?;
    let payload = signed.split_off(colon + 1);
    Some((unhex(signed.get(..colon)?)?, payload))
}

/// Verifies a SHA-1 signature in the current layout: `DEFAULT_HASHING_ALGORITHM` of Django 3.1 and 3.2.
pub(super) fn verify(value: &str, signature: &str, key: &SecretKey, salt: &str) -> bool {
    let Ok(tag) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    key.secrets().any(|secret| verify_mac(&[salt.as_bytes(), b"signer", secret], value.as_bytes(), &tag))
}

fn verify_mac(key_parts: &[&[u8]], message: &[u8], tag: &[u8]) -> bool {
    let mut derived = Sha1::new();
    for part in key_parts {
        derived.update(part);
    }
    let Ok(mac) = Hmac::<Sha1>::new_from_slice(&derived.finalize()) else { return false };
    mac.chain_update(message).verify_slice(tag).is_ok()
}

fn unhex(hex: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(hex).ok()?;
    // Django compares the text, which is in lower case.
    let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != 40 || !lower {
        return None;
    }
    (0..40).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
