//! Django's signatures. Not made by the crate, which is to read them.

use actix_django_session::{SecretKey, codec::Codec};
use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// That of most vectors.
pub const SECRET: &str = "django-insecure-!k3y-for-vectors_(0)#";

/// The vectors' time, 1700000000, in base 62.
pub const STAMP: &str = "1r31eq";

const SALT: &str = "django.contrib.sessions.SessionStore";

/// That of the engine `signed_cookies`.
const COOKIE_SALT: &str = "django.contrib.sessions.backends.signed_cookies";

const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The codec that reads these.
pub fn codec() -> Codec {
    Codec::new(SecretKey::new(SECRET))
}

/// A text of today with a right signature, whatever it says: `body:stamp`.
pub fn signed(value: &str) -> String {
    signed_as(SALT, value)
}

/// The same as a cookie that is a session.
pub fn signed_cookie(value: &str) -> String {
    signed_as(COOKIE_SALT, value)
}

fn signed_as(salt: &str, value: &str) -> String {
    let key = Sha256::digest(format!("{salt}signer{SECRET}"));
    let mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length is a key's").chain_update(value);
    format!("{value}:{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// As Django 3.1 and 3.2 could sign it.
pub fn signed_with_sha1(value: &str) -> String {
    format!("{value}:{}", URL_SAFE_NO_PAD.encode(sha1(&format!("{SALT}signer{SECRET}"), value.as_bytes())))
}

/// The layout from before Django 3.1.
pub fn signed_before_3_1(payload: &[u8]) -> String {
    let mac = sha1(&format!("django.contrib.sessionsSessionStore{SECRET}"), payload);
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    URL_SAFE.encode([hex.as_bytes(), b":", payload].concat())
}

/// A payload that is not compressed.
pub fn signed_payload(payload: &[u8]) -> String {
    signed(&format!("{}:{STAMP}", URL_SAFE_NO_PAD.encode(payload)))
}

/// A zlib stream.
pub fn signed_stream(stream: &[u8]) -> String {
    signed(&format!(".{}:{STAMP}", URL_SAFE_NO_PAD.encode(stream)))
}

/// Splits a text signed by us: the part before the timestamp, and the timestamp in seconds.
pub fn body_and_stamp(text: &[u8]) -> (&[u8], u64) {
    let mut parts = text.rsplitn(3, |byte| *byte == b':').skip(1);
    let stamp = seconds(parts.next().expect("a stamp")).expect("a number");
    (parts.next().expect("a body"), stamp)
}

/// The number that these digits in base 62 are; none if it is too large, or they are none.
pub fn seconds(stamp: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| DIGITS.iter().position(|digit| digit == byte);
    stamp.iter().try_fold(0_u64, |sum, byte| sum.checked_mul(62)?.checked_add(digit(byte)? as u64))
}

fn sha1(key: &str, message: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha1>::new_from_slice(&Sha1::digest(key)).expect("any length is a key's");
    mac.chain_update(message).finalize().into_bytes().to_vec()
}
