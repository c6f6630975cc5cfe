//! Django's stored text: JSON, compressed if that is shorter, with a time stamp and a signature.
//!
//! `body ":" timestamp ":" signature`, as `django.core.signing.dumps(data, compress=True)` with the salt
//! of the session engine. No I/O here.

mod base64;
pub(crate) mod compress;
mod data;
pub(crate) mod datetime;
pub(crate) mod expiry;
pub(crate) mod json;
mod legacy;
mod members;
#[cfg(feature = "pickle")]
mod pickle;
mod scan;
mod serializer;
mod signing;

use std::{fmt, sync::Arc, time::SystemTime};

use ::base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

pub(crate) use self::data::EXPIRY_KEY;
#[cfg(feature = "pickle")]
pub use self::pickle::PickleSerializer;
use self::{compress::Level, signing::Signer};
pub use self::{
    data::SessionData,
    serializer::{JsonSerializer, Serializer},
    signing::SecretKey,
};
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
    serializer: Arc<dyn Serializer>,
    compress_from: usize,
    level: Level,
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
            serializer: Arc::new(JsonSerializer),
            compress_from: COMPRESS_FROM,
            level: Level::Fast,
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

    /// For a site with another SESSION_SERIALIZER than JSON: [`PickleSerializer`] or one of your own.
    #[must_use]
    pub fn serializer(self, serializer: impl Serializer) -> Self {
        self.change(|inner| inner.serializer = Arc::new(serializer))
    }

    /// The size in bytes from which a session is compressed if that is shorter. Default: 1024; Django's: 0.
    #[must_use]
    pub fn compress_from(self, bytes: usize) -> Self {
        self.change(|inner| inner.compress_from = bytes)
    }

    /// As small as Django makes it, in all sizes.
    pub(crate) fn compress_well(self) -> Self {
        self.compress_from(0).change(|inner| inner.level = Level::Best)
    }

    pub(crate) fn size_limit(&self) -> usize {
        self.0.max_session_bytes
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
        let payload = self.0.serializer.dumps(data)?;
        if payload.len() > self.0.max_session_bytes {
            return Err(Error::too_large(payload.len(), self.0.max_session_bytes));
        }
        let mut text = String::with_capacity(payload.len() * 4 / 3 + 64);
        let compressed = (payload.len() >= self.0.compress_from)
            .then(|| compress::deflate(&payload, self.0.level))
            .flatten();
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
        self.0.signer.sign(&mut text);
        Ok(text)
    }

    /// The session in a stored text. Django's `SessionBase.decode`.
    ///
    /// Errors, where Django would answer an empty dictionary, if the signature is wrong, the text is
    /// broken, too large, or holds something else than a JSON object.
    pub fn decode(&self, text: &str) -> Result<SessionData, Error> {
        self.decode_stamped(text).map(|(data, _)| data)
    }

    /// As [`decode`](Self::decode), with the time of encoding in whole seconds. A text from before Django 3.1
    /// has none and counts as encoded in 1970.
    pub fn decode_stamped(&self, text: &str) -> Result<(SessionData, SystemTime), Error> {
        self.check()?;
        let Inner { key, class, salt, signer, read_legacy, max_session_bytes, .. } = &*self.0;
        let load = |payload: Vec<u8>| {
            if payload.len() > *max_session_bytes {
                return Err(Error::too_large(payload.len(), *max_session_bytes));
            }
            self.0.serializer.loads(payload, *max_session_bytes)
        };
        let Some((value, signature)) = text.rsplit_once(':') else {
            let payload = read_legacy.then(|| legacy::decode(text, key, class)).flatten();
            return Ok((load(payload.ok_or_else(Error::bad_signature)?)?, SystemTime::UNIX_EPOCH));
        };
        let signed =
            signer.verify(value, signature) || (*read_legacy && legacy::verify(value, signature, key, salt));
        if !signed {
            return Err(Error::bad_signature());
        }
        let (body, stamp) =
            value.rsplit_once(':').ok_or_else(|| Error::unreadable("the session data has no time stamp"))?;
        let time = from_base62(stamp)?;
        let payload = match body.strip_prefix('.') {
            Some(body) => compress::inflate(&base64::decode_leniently(body)?, *max_session_bytes)?,
            None => base64::decode_leniently(body)?,
        };
        Ok((load(payload)?, time))
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

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Appends the Unix time in base 62. A clock before 1970 counts as 1970.
fn push_base62(text: &mut String, time: SystemTime) {
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

/// The time that a stamp says. Django reads it even where no age limit needs it, and so must it be there.
fn from_base62(stamp: &str) -> Result<SystemTime, Error> {
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
