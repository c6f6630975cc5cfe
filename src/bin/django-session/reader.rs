//! Decodes texts of any Django, and tells which secret signed them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix_django_session::{
    Error,
    codec::{Codec, JsonSerializer, PickleSerializer, Serializer, SessionData},
};

use crate::text_format::TextFormat;

/// Reads JSON and pickles alike, and remembers which it was.
#[derive(Clone, Default)]
pub(crate) struct AnySerializer {
    pickled: Arc<AtomicBool>,
}

impl Serializer for AnySerializer {
    fn dumps(&self, data: &SessionData) -> Result<Vec<u8>, Error> {
        JsonSerializer.dumps(data)
    }

    fn loads(&self, bytes: Vec<u8>, max_bytes: usize) -> Result<SessionData, Error> {
        // The pickle of a dictionary begins with one of these, and JSON with none.
        let pickled = matches!(bytes.first(), Some(0x80 | b'(' | b'}'));
        self.pickled.store(pickled, Ordering::Relaxed);
        match pickled {
            true => PickleSerializer::new().loads(bytes, max_bytes),
            false => JsonSerializer.loads(bytes, max_bytes),
        }
    }
}

/// A text that could be decoded.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// 0 is the secret key, 1 the first fallback; `None` if no signature was checked.
    pub(crate) secret: Option<usize>,
    pub(crate) pickled: bool,
    pub(crate) data: SessionData,
}

impl Decoded {
    pub(crate) fn serializer(&self) -> &'static str {
        if self.pickled { "pickle" } else { "JSON" }
    }
}

/// Why a text could not be decoded.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// No given secret made its signature.
    OtherSecret(Error),
    TooLarge(Error),
    /// The signature is right, but the text contains no dictionary.
    Broken(Error),
    /// No Django writes such a text.
    UnknownFormat,
}

impl DecodeError {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::OtherSecret(error) | Self::TooLarge(error) | Self::Broken(error) => error.with_causes(),
            Self::UnknownFormat => "this is not the text of a session".to_owned(),
        }
    }
}

/// Tries one secret after the other.
#[derive(Default)]
pub(crate) struct TextReader {
    codecs: Vec<Codec>,
    serializer: AnySerializer,
    unverified: bool,
}

impl TextReader {
    /// Each codec has one secret. With none, signatures are not checked.
    pub(crate) fn new(mut codecs: Vec<Codec>) -> Self {
        let (serializer, unverified) = (AnySerializer::default(), codecs.is_empty());
        if unverified {
            codecs.push(Codec::unverified());
        }
        let codecs =
            codecs.into_iter().map(|codec| codec.read_legacy(true).serializer(serializer.clone())).collect();
        Self { codecs, serializer, unverified }
    }

    pub(crate) fn secrets(&self) -> usize {
        if self.unverified { 0 } else { self.codecs.len() }
    }

    pub(crate) fn decode(&self, text: &str) -> Result<Decoded, DecodeError> {
        if text.is_empty() {
            // As in a store: Django creates the file of a session before it writes it.
            return Ok(Decoded { secret: None, pickled: false, data: SessionData::default() });
        }
        let mut bad_signature = None;
        for (secret, codec) in self.codecs.iter().enumerate() {
            // An unverified codec reads pickles without the serializer.
            self.serializer.pickled.store(true, Ordering::Relaxed);
            match codec.decode(text) {
                Ok(data) => {
                    let pickled = self.serializer.pickled.load(Ordering::Relaxed);
                    return Ok(Decoded { secret: (!self.unverified).then_some(secret), pickled, data });
                }
                Err(error) if error.is_bad_signature() => bad_signature = Some(error),
                Err(error) if error.is_too_large() => return Err(DecodeError::TooLarge(error)),
                Err(error) => return Err(DecodeError::Broken(error)),
            }
        }
        Err(match bad_signature {
            Some(error) if TextFormat::of(text) != TextFormat::Unknown => DecodeError::OtherSecret(error),
            _ => DecodeError::UnknownFormat,
        })
    }
}

/// `the secret key`, `fallback 1`.
pub(crate) fn secret_name(secret: usize) -> String {
    if secret == 0 { "the secret key".to_owned() } else { format!("fallback {secret}") }
}
