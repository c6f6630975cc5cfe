//! Django's stored text: JSON, compressed if that is shorter, with a time stamp and a signature.
//!
//! `body ":" timestamp ":" signature`, as `django.core.signing.dumps(data, compress=True)` with the salt
//! of the session engine. No I/O here.

mod base64;
mod compress;
mod data;
pub(crate) mod json;
mod legacy;
mod scan;
mod signing;
pub(crate) mod time;

use std::{fmt, sync::Arc, time::SystemTime};

use ::base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use self::signing::Signer;
pub use self::{data::SessionData, signing::SecretKey};
use crate::Error;

/// The class name in the salt: every one of Django's own engines calls its class so.
const CLASS: &str = "SessionStore";

/// Below this, compression costs more time than the bytes it saves are worth. Django reads both.
const COMPRESS_FROM: usize = 1024;

/// Turns a session into the text that Django stores, and back. Cheap to clone.
///
/// Any store takes a [`SecretKey`] where it takes a codec; make one to change what a codec does:
///
/// ```
/// use actix_django_session::{SecretKey, codec::Codec};
///
/// let codec = Codec::new(SecretKey::new("django-insecure-x")).read_legacy(true).max_session_bytes(65_536);
/// let text = "e30:1r31eq:eW91IHdvdWxkIG5vdCBndWVzcyB0aGlzIHNpZ25hdA";
/// assert!(codec.decode(text).unwrap_err().is_bad_signature());
/// ```
#[derive(Clone)]
pub struct Codec(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    key: SecretKey,
    class: String,
    salt: String,
    signer: Signer,
    read_legacy: bool,
    max_session_bytes: usize,
}

impl Codec {
    /// A codec that writes what Django's own engines write.
    pub fn new(key: SecretKey) -> Self {
        let salt = salt(CLASS);
        let signer = Signer::new(&key, &salt);
        Self(Arc::new(Inner {
            key,
            class: CLASS.to_owned(),
            salt,
            signer,
            read_legacy: false,
            max_session_bytes: 16 * 1024 * 1024,
        }))
    }

    /// For a site whose engine class is not called `SessionStore`: Django salts with the class's name
    /// (`key_salt`).
    #[must_use]
    pub fn engine_class(self, class: &str) -> Self {
        self.change(|inner| {
            inner.class = class.to_owned();
            inner.salt = salt(class);
            inner.signer = Signer::new(&inner.key, &inner.salt);
        })
    }

    /// Also reads what Django wrote before 3.1 (SHA-1). Default: no, as Django since 4.0. Such a row is
    /// rewritten in today's format by the next save.
    #[must_use]
    pub fn read_legacy(self, yes: bool) -> Self {
        self.change(|inner| inner.read_legacy = yes)
    }

    /// The largest session, as bytes of JSON before compression, that is read or written.
    /// Default: 16 MiB.
    #[must_use]
    pub fn max_session_bytes(self, bytes: usize) -> Self {
        self.change(|inner| inner.max_session_bytes = bytes)
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Errors if the secret key is empty. So does everything else that a codec does with one.
    pub fn check(&self) -> Result<(), Error> {
        self.0.key.check()
    }

    /// The text to store for `data`, stamped with the present time. Django's `SessionBase.encode`.
    ///
    /// Errors if the session is too large.
    pub fn encode(&self, data: &SessionData) -> Result<String, Error> {
        self.encode_at(data, SystemTime::now())
    }

    /// As [`encode`](Self::encode), stamped with another time.
    pub fn encode_at(&self, data: &SessionData, time: SystemTime) -> Result<String, Error> {
        self.check()?;
        let payload = json::to_latin1(data.to_json());
        if payload.len() > self.0.max_session_bytes {
            return Err(Error::too_large(payload.len(), self.0.max_session_bytes));
        }
        let mut text = String::with_capacity(payload.len() * 4 / 3 + 64);
        let compressed = (payload.len() >= COMPRESS_FROM).then(|| compress::deflate(&payload)).flatten();
        match compressed {
            // Django's own bound: worth it from two bytes on, as the mark takes one.
            Some(shorter) if shorter.len() + 1 < payload.len() => {
                text.push('.');
                URL_SAFE_NO_PAD.encode_string(&shorter, &mut text);
            }
            _ => URL_SAFE_NO_PAD.encode_string(&payload, &mut text),
        }
        text.push(':');
        push_base62(&mut text, time);
        let signature = self.0.signer.sign(&text);
        text.push(':');
        text.push_str(&signature);
        Ok(text)
    }

    /// The session in a stored text. Django's `SessionBase.decode`.
    ///
    /// Errors, where Django would answer an empty dictionary, if the signature is wrong, the text is
    /// broken, too large, or holds something else than a JSON object.
    pub fn decode(&self, text: &str) -> Result<SessionData, Error> {
        self.check()?;
        let Inner { key, class, salt, signer, read_legacy, max_session_bytes } = &*self.0;
        let Some((value, signature)) = text.rsplit_once(':') else {
            let payload = read_legacy.then(|| legacy::decode(text, key, class)).flatten();
            return parse(payload.ok_or_else(Error::bad_signature)?, *max_session_bytes);
        };
        let signed =
            signer.verify(value, signature) || (*read_legacy && legacy::verify(value, signature, key, salt));
        if !signed {
            return Err(Error::bad_signature());
        }
        let (body, stamp) =
            value.rsplit_once(':').ok_or_else(|| Error::unreadable("the session data has no time stamp"))?;
        check_base62(stamp)?;
        let payload = match body.strip_prefix('.') {
            Some(body) => compress::inflate(&base64::decode_leniently(body)?, *max_session_bytes)?,
            None => base64::decode_leniently(body)?,
        };
        parse(payload, *max_session_bytes)
    }
}

impl From<SecretKey> for Codec {
    fn from(key: SecretKey) -> Self {
        Self::new(key)
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("key", &self.0.key)
            .field("salt", &self.0.salt)
            .field("read_legacy", &self.0.read_legacy)
            .field("max_session_bytes", &self.0.max_session_bytes)
            .finish_non_exhaustive()
    }
}

fn salt(class: &str) -> String {
    format!("django.contrib.sessions.{class}")
}

fn parse(payload: Vec<u8>, limit: usize) -> Result<SessionData, Error> {
    if payload.len() > limit {
        return Err(Error::too_large(payload.len(), limit));
    }
    SessionData::from_json(from_latin1(payload))
}

/// Django reads the payload's bytes as latin-1, so raw UTF-8 in it is two characters, not one.
fn from_latin1(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => text,
        Ok(text) => text.bytes().map(char::from).collect(),
        Err(error) => error.into_bytes().into_iter().map(char::from).collect(),
    }
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Appends the Unix time in base 62. A clock before 1970 counts as 1970.
fn push_base62(text: &mut String, time: SystemTime) {
    let mut rest = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut digits = Vec::with_capacity(6);
    loop {
        digits.push(char::from(BASE62[(rest % 62) as usize]));
        rest /= 62;
        if rest == 0 {
            break;
        }
    }
    text.extend(digits.iter().rev());
}

/// Django reads the stamp even where no age limit needs it, and so must it be there.
fn check_base62(stamp: &str) -> Result<(), Error> {
    let digits = stamp.strip_prefix('-').unwrap_or(stamp);
    if !stamp.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        Ok(())
    } else {
        Err(Error::unreadable("the session data has a broken time stamp"))
    }
}
