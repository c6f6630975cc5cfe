//! Opens stored texts of any Django, and tells what they are.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix_django_session::{
    Error,
    codec::{Codec, JsonSerializer, PickleSerializer, Serializer},
    store::SessionData,
};

use crate::shape::Shape;

/// Reads JSON and pickles alike, and remembers which it was.
#[derive(Clone, Default)]
pub(crate) struct Either {
    pickled: Arc<AtomicBool>,
}

impl Serializer for Either {
    fn dumps(&self, data: &SessionData) -> Result<Vec<u8>, Error> {
        JsonSerializer.dumps(data)
    }

    fn loads(&self, bytes: Vec<u8>, max_bytes: usize) -> Result<SessionData, Error> {
        // What a dictionary's pickle can begin with, and JSON cannot.
        let pickled = matches!(bytes.first(), Some(0x80 | b'(' | b'}'));
        self.pickled.store(pickled, Ordering::Relaxed);
        if pickled {
            PickleSerializer::new().loads(bytes, max_bytes)
        } else {
            JsonSerializer.loads(bytes, max_bytes)
        }
    }
}

/// A text that a secret opens.
#[derive(Debug)]
pub(crate) struct Opened {
    /// 0 is the secret key, 1 the first fallback.
    pub(crate) secret: usize,
    /// Signed with SHA-1, as before Django 3.1.
    pub(crate) legacy: bool,
    pub(crate) pickled: bool,
    pub(crate) data: SessionData,
}

/// Why a text does not open.
#[derive(Debug)]
pub(crate) enum Closed {
    /// No secret made its signature.
    OtherSecret(Error),
    TooLarge(Error),
    /// Signed by us, but no dictionary is in it.
    Broken(Error),
    /// No Django writes such a text.
    Foreign,
}

impl Closed {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::OtherSecret(error) | Self::TooLarge(error) | Self::Broken(error) => error.with_causes(),
            Self::Foreign => "this is no text of a session".to_owned(),
        }
    }
}

/// Tries one secret after the other.
pub(crate) struct Reader {
    codecs: Vec<Codec>,
    either: Either,
}

impl Reader {
    /// Each codec has one secret.
    pub(crate) fn new(codecs: Vec<Codec>) -> Self {
        let either = Either::default();
        let codecs = codecs.into_iter().map(|codec| codec.serializer(either.clone())).collect();
        Self { codecs, either }
    }

    pub(crate) fn secrets(&self) -> usize {
        self.codecs.len()
    }

    pub(crate) fn open(&self, text: &str) -> Result<Opened, Closed> {
        let mut refused = None;
        for (secret, codec) in self.codecs.iter().enumerate() {
            for legacy in [false, true] {
                let decoded = codec.clone().read_legacy(legacy).decode(text);
                match decoded {
                    Ok(data) => {
                        let pickled = self.either.pickled.load(Ordering::Relaxed);
                        return Ok(Opened { secret, legacy, pickled, data });
                    }
                    Err(error) if error.is_bad_signature() => refused = Some(error),
                    Err(error) if error.is_too_large() => return Err(Closed::TooLarge(error)),
                    Err(error) => return Err(Closed::Broken(error)),
                }
            }
        }
        Err(match refused {
            Some(error) if Shape::of(text) != Shape::Foreign => Closed::OtherSecret(error),
            _ => Closed::Foreign,
        })
    }
}

/// `the secret key`, `fallback 1`.
pub(crate) fn secret_name(secret: usize) -> String {
    if secret == 0 { "the secret key".to_owned() } else { format!("fallback {secret}") }
}
