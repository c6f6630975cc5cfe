//! How a session's dictionary becomes bytes, as Django stores them, and how bytes become a dictionary.
//!
//! Signed text is `body ":" timestamp ":" signature`, as `django.core.signing.dumps(data, compress=True)`
//! writes it with the salt of the session engine. No I/O here.

mod base64;
pub(crate) mod compress;
#[cfg(feature = "messages")]
pub(crate) mod cookie_signer;
mod data;
pub(crate) mod expiry;
pub(crate) mod json;
mod legacy;
mod members;
#[cfg(feature = "pickle")]
mod pickle;
mod scan;
mod serializer;
pub(crate) mod signing;
mod stamp;
#[cfg(test)]
mod vectors;

use std::{fmt, sync::Arc, time::SystemTime};

use ::base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

pub(crate) use self::data::EXPIRY_KEY;
#[cfg(feature = "pickle")]
pub use self::pickle::PickleSerializer;
use self::{
    compress::Level,
    signing::{SecretKey, Signer},
};
pub use self::{
    data::SessionData,
    serializer::{JsonSerializer, Serializer},
};
use crate::Error;

/// The class name in the salt: every one of Django's own engines calls its class so.
const CLASS: &str = "SessionStore";

/// The salt of Django's `signed_cookies` engine, which is the name of its module and not of its class.
const COOKIE_CLASS: &str = "backends.signed_cookies";

/// Below this, compression costs more time than the saved bytes are worth. Django reads both.
const COMPRESS_FROM: usize = 1024;

/// A session may have as many values as a sixteenth of its limit in bytes: a value of one byte takes a
/// hundred in memory while it is decoded.
fn max_values(max_bytes: usize) -> usize {
    (max_bytes / 16).max(10_000)
}

/// A zlib stream's first byte. Neither a pickle nor JSON begins with it.
const ZLIB: u8 = 0x78;

/// Turns a session into the bytes that Django stores, and back. Cheap to clone.
///
/// Databases, files and cookies hold signed text: every function that takes a codec takes a [`SecretKey`] for
/// that. Caches hold what a serializer wrote, without a signature: [`Codec::unsigned`].
///
/// ```
/// use actix_django_session::{SecretKey, codec::{Codec, SessionData}};
///
/// let codec = Codec::new(SecretKey::new("django-insecure-x")).read_legacy(true).max_session_bytes(65_536);
/// let text = codec.encode(&SessionData::from_json(r#"{"k1":"v1"}"#)?)?;
/// assert_eq!(codec.decode(&text)?.get_json("k1"), Some("\"v1\""));
///
/// let forged = "e30:1r31eq:eW91IHdvdWxkIG5vdCBndWVzcyB0aGlzIHNpZ25hdA";
/// assert!(codec.decode(forged).unwrap_err().is_bad_signature());
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone)]
pub struct Codec(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    envelope: Envelope,
    serializer: Arc<dyn Serializer>,
    compress_from: usize,
    level: Level,
    read_legacy: bool,
    max_session_bytes: usize,
}

/// The envelope of the serialized dictionary.
#[derive(Clone)]
#[allow(clippy::large_enum_variant)] // a codec has one, behind its Arc
enum Envelope {
    /// A time stamp and a signature.
    Signed { key: SecretKey, class: String, salt: String, signer: Signer },
    /// The same, read without checking the signature, and never written.
    Unverified,
    /// Nothing.
    None,
}

impl Codec {
    /// Signed text, as Django's engines `db`, `file` and `signed_cookies` write it.
    pub fn new(key: SecretKey) -> Self {
        let salt = salt(CLASS);
        let signer = Signer::new(&key, &salt);
        Self::with(
            Envelope::Signed { key, class: CLASS.to_owned(), salt, signer },
            JsonSerializer,
            COMPRESS_FROM,
        )
    }

    /// Serialized bytes without a signature, as Django's `cache` and `cached_db` engines write them. Anybody
    /// who can write to the cache can impersonate any visitor.
    ///
    /// Django uses `PickleSerializer` (feature `pickle`); django-redis can also use [`JsonSerializer`].
    ///
    /// ```
    /// use actix_django_session::codec::{Codec, JsonSerializer, SessionData};
    ///
    /// let codec = Codec::unsigned(JsonSerializer);
    /// assert_eq!(codec.encode(&SessionData::from_json(r#"{"k1":1}"#)?)?, br#"{"k1":1}"#);
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn unsigned(serializer: impl Serializer) -> Self {
        Self::with(Envelope::None, serializer, usize::MAX)
    }

    /// Signed text, read without checking its signature, and never written: for listing, showing, clearing
    /// and deleting sessions where the secret key is not known. Its data proves nothing about the
    /// visitor.
    pub fn unverified() -> Self {
        Self::with(Envelope::Unverified, JsonSerializer, COMPRESS_FROM).read_legacy(true)
    }

    fn with(envelope: Envelope, serializer: impl Serializer, compress_from: usize) -> Self {
        Self(Arc::new(Inner {
            envelope,
            serializer: Arc::new(serializer),
            compress_from,
            level: Level::Fast,
            read_legacy: false,
            max_session_bytes: 16 * 1024 * 1024,
        }))
    }

    /// For a site whose engine class is not called `SessionStore`: Django salts with the class's name
    /// (`key_salt`).
    #[must_use]
    pub fn engine_class(self, name: &str) -> Self {
        self.change(|inner| {
            if let Envelope::Signed { key, class, salt: old, signer } = &mut inner.envelope {
                *class = name.to_owned();
                *old = salt(name);
                *signer = Signer::new(key, old);
            }
        })
    }

    /// Also reads what Django wrote before 3.1 (SHA-1). Default: no, as Django since 4.0. Such a row is
    /// rewritten in today's format by the next save.
    #[must_use]
    pub fn read_legacy(self, yes: bool) -> Self {
        self.change(|inner| inner.read_legacy = yes)
    }

    /// The largest session, in bytes of the serialized dictionary before compression, that is read or
    /// written. Default: 16 MiB. It also bounds the number of keys, and of values in a pickle, that are read:
    /// a sixteenth of it.
    #[must_use]
    pub fn max_session_bytes(self, bytes: usize) -> Self {
        self.change(|inner| inner.max_session_bytes = bytes)
    }

    /// For a site with another SESSION_SERIALIZER than JSON: `PickleSerializer` or one of your own.
    #[must_use]
    pub fn serializer(self, serializer: impl Serializer) -> Self {
        self.change(|inner| inner.serializer = Arc::new(serializer))
    }

    /// The size in bytes from which on a session is compressed, if that makes it shorter. Default: 1024 for
    /// signed text (Django's: 0), never for unsigned bytes. There only django-redis with its `ZlibCompressor`
    /// can read it; what is compressed is always read.
    #[must_use]
    pub fn compress_from(self, bytes: usize) -> Self {
        self.change(|inner| inner.compress_from = bytes)
    }

    /// As Django's `signed_cookies` writes it, and as small: every byte of a cookie travels with every
    /// request.
    pub(crate) fn for_cookies(self) -> Self {
        self.engine_class(COOKIE_CLASS).compress_from(0).change(|inner| inner.level = Level::Best)
    }

    /// The same limit for the values of a cache, in JSON or as Django's own serializer there writes them.
    #[cfg(feature = "redis")]
    pub(crate) fn for_cache(&self, json: bool) -> Self {
        let codec =
            if json { Self::unsigned(JsonSerializer) } else { Self::unsigned(PickleSerializer::new()) };
        codec.max_session_bytes(self.size_limit())
    }

    /// Whether it reads nothing but what the secret key has signed.
    pub(crate) fn is_verified(&self) -> bool {
        matches!(self.0.envelope, Envelope::Signed { .. })
    }

    pub(crate) fn is_unsigned(&self) -> bool {
        matches!(self.0.envelope, Envelope::None)
    }

    pub(crate) fn size_limit(&self) -> usize {
        self.0.max_session_bytes
    }

    /// Whether these stored bytes can hold a session of at most so many bytes.
    pub(crate) fn can_be_small(&self, stored: &[u8], bytes: usize) -> bool {
        stored.len() <= bytes.saturating_mul(4) / 3 + 256
    }

    /// The length in bytes that no encoded session exceeds: base64 and what stands around it.
    pub(crate) fn max_value_bytes(&self) -> usize {
        self.size_limit().saturating_mul(4) / 3 + 256
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns an error if the secret key is empty. So does everything else that uses it.
    pub fn check(&self) -> Result<(), Error> {
        match &self.0.envelope {
            Envelope::Signed { key, .. } => key.check(),
            Envelope::Unverified | Envelope::None => Ok(()),
        }
    }

    /// Returns the bytes to store, stamped with the present time if they are signed. Django's
    /// `SessionBase.encode`.
    ///
    /// Errors if the session is too large, or if this codec is [`unverified`](Self::unverified).
    pub fn encode(&self, data: &SessionData) -> Result<Vec<u8>, Error> {
        self.encode_at(data, SystemTime::now())
    }

    /// The same as [`encode`](Self::encode), stamped with another time.
    pub(crate) fn encode_at(&self, data: &SessionData, time: SystemTime) -> Result<Vec<u8>, Error> {
        self.check()?;
        if let Envelope::Unverified = self.0.envelope {
            return Err(Error::configuration(
                "this store was opened without a secret key and cannot save sessions: give it Django's \
                 SECRET_KEY",
            ));
        }
        let payload = self.0.serializer.dumps(data)?;
        if payload.len() > self.0.max_session_bytes {
            return Err(Error::too_large(payload.len(), self.0.max_session_bytes));
        }
        let compressed = (payload.len() >= self.0.compress_from)
            .then(|| compress::deflate(&payload, self.0.level))
            .flatten();
        let Envelope::Signed { signer, .. } = &self.0.envelope else {
            return Ok(compressed.filter(|shorter| shorter.len() < payload.len()).unwrap_or(payload));
        };
        let mut text = String::with_capacity(payload.len() * 4 / 3 + 64);
        match compressed {
            // Django's own bound: worth it from two bytes on, since the mark takes one.
            Some(shorter) if shorter.len() + 1 < payload.len() => {
                text.push('.');
                URL_SAFE_NO_PAD.encode_string(&shorter, &mut text);
            }
            _ => URL_SAFE_NO_PAD.encode_string(&payload, &mut text),
        }
        text.push(':');
        stamp::push(&mut text, time);
        signer.sign(&mut text);
        Ok(text.into_bytes())
    }

    /// Returns the session in stored bytes. Django's `SessionBase.decode`.
    ///
    /// Errors, where Django would return an empty dictionary, if the signature is wrong, or the bytes are
    /// broken, too large, or contain something else than a dictionary.
    pub fn decode(&self, stored: impl AsRef<[u8]>) -> Result<SessionData, Error> {
        self.decode_stamped(stored.as_ref()).map(|(data, _)| data)
    }

    /// The same as [`decode`](Self::decode), with the time at which it was encoded, in whole seconds: 1970
    /// for what has no time stamp.
    pub(crate) fn decode_stamped(&self, stored: &[u8]) -> Result<(SessionData, SystemTime), Error> {
        self.decode_up_to(stored, self.size_limit())
    }

    /// The same as [`decode`](Self::decode), for a session of at most `limit` bytes: others are too large.
    pub(crate) fn decode_small(&self, stored: &[u8], limit: usize) -> Result<SessionData, Error> {
        self.decode_up_to(stored, limit.min(self.size_limit())).map(|(data, _)| data)
    }

    fn decode_up_to(&self, stored: &[u8], limit: usize) -> Result<(SessionData, SystemTime), Error> {
        self.check()?;
        let Inner { envelope, read_legacy, .. } = &*self.0;
        if let Envelope::None = envelope {
            return Ok((self.decode_unsigned(stored, limit)?, SystemTime::UNIX_EPOCH));
        }
        let text =
            std::str::from_utf8(stored).map_err(|_| Error::unreadable("the stored session is not text"))?;
        let Some((value, signature)) = text.rsplit_once(':') else {
            let payload = match envelope {
                _ if !read_legacy => None,
                Envelope::Signed { key, class, .. } => legacy::decode(text, key, class),
                _ => legacy::decode_unverified(text),
            };
            let payload = payload.ok_or_else(Error::bad_signature)?;
            return Ok((self.load(payload, limit)?, SystemTime::UNIX_EPOCH));
        };
        if let Envelope::Signed { key, salt, signer, .. } = envelope
            && !signer.verify(value, signature)
            && !(*read_legacy && legacy::verify(value, signature, key, salt))
        {
            return Err(Error::bad_signature());
        }
        let (body, stamp) =
            value.rsplit_once(':').ok_or_else(|| Error::unreadable("the session data has no time stamp"))?;
        let time = stamp::parse(stamp)?;
        let payload = match body.strip_prefix('.') {
            Some(body) => compress::inflate(&base64::decode_leniently(body)?, limit)?,
            None => base64::decode_leniently(body)?,
        };
        Ok((self.load(payload, limit)?, time))
    }

    /// Compressed or not.
    fn decode_unsigned(&self, stored: &[u8], limit: usize) -> Result<SessionData, Error> {
        let inflated = match stored {
            [ZLIB, ..] => Some(compress::inflate(stored, limit)),
            [0x1f, 0x8b, ..] => Some(compress::gunzip(stored, limit)),
            _ => None,
        };
        match inflated {
            // Another serializer's bytes may begin so too.
            Some(Err(error)) if !error.is_too_large() => {}
            None => {}
            Some(inflated) => return self.load(inflated?, limit),
        }
        self.load(stored.to_vec(), limit).map_err(|error| match compress::name_form(stored) {
            Some(form) if !error.is_too_large() => Error::unreadable(format!(
                "the value is {form}, which cannot be read here: let the site use django-redis with \
                 PickleSerializer or JSONSerializer, and with ZlibCompressor, GzipCompressor or none"
            )),
            _ => error,
        })
    }

    fn load(&self, payload: Vec<u8>, limit: usize) -> Result<SessionData, Error> {
        if payload.len() > limit {
            return Err(Error::too_large(payload.len(), limit));
        }
        #[cfg(feature = "pickle")]
        if let (Envelope::Unverified, Some(0x80 | b'(' | b'}')) = (&self.0.envelope, payload.first()) {
            // The first bytes that the pickle of a dictionary can have, and JSON cannot.
            return PickleSerializer::new().loads(payload, limit);
        }
        self.0.serializer.loads(payload, limit)
    }
}

impl From<SecretKey> for Codec {
    fn from(key: SecretKey) -> Self {
        Self::new(key)
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let envelope = match &self.0.envelope {
            Envelope::Signed { salt, .. } => salt,
            Envelope::Unverified => "unverified",
            Envelope::None => "unsigned",
        };
        f.debug_struct("Codec")
            .field("envelope", &envelope)
            .field("read_legacy", &self.0.read_legacy)
            .field("max_session_bytes", &self.0.max_session_bytes)
            .finish_non_exhaustive()
    }
}

fn salt(class: &str) -> String {
    format!("django.contrib.sessions.{class}")
}
