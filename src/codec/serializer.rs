//! How the dictionary becomes bytes. Django's SESSION_SERIALIZER.

use super::{SessionData, json};
use crate::Error;

/// Turns a dictionary into bytes and back. Django's SESSION_SERIALIZER.
///
/// ```
/// use actix_django_session::{Error, SecretKey, codec::{Codec, Serializer}, store::SessionData};
///
/// /// Lines of `key=json`.
/// struct Lines;
///
/// impl Serializer for Lines {
///     fn dumps(&self, data: &SessionData) -> Result<Vec<u8>, Error> {
///         Ok(data.items().iter().map(|(key, value)| format!("{key}={value}\n")).collect::<String>().into_bytes())
///     }
///
///     fn loads(&self, bytes: Vec<u8>, _: usize) -> Result<SessionData, Error> {
///         let text = String::from_utf8(bytes).map_err(|_| Error::unreadable("no text"))?;
///         let mut data = SessionData::default();
///         for line in text.lines() {
///             let (key, value) = line.split_once('=').ok_or_else(|| Error::unreadable("a line without ="))?;
///             data.set_json(key, value)?;
///         }
///         Ok(data)
///     }
/// }
///
/// let codec = Codec::new(SecretKey::new("a secret")).serializer(Lines);
/// let data = SessionData::from_json(r#"{"a":1}"#)?;
/// assert_eq!(codec.decode(&codec.encode(&data)?)?.to_json(), r#"{"a":1}"#);
/// # Ok::<(), Error>(())
/// ```
pub trait Serializer: Send + Sync + 'static {
    /// The bytes to store. Errors ([`Error::value`]) if they cannot hold a value.
    fn dumps(&self, data: &SessionData) -> Result<Vec<u8>, Error>;

    /// The dictionary in stored bytes. Errors ([`Error::unreadable`]) if they are anything else, or if it would
    /// take more than `max_bytes`.
    fn loads(&self, bytes: Vec<u8>, max_bytes: usize) -> Result<SessionData, Error>;
}

/// JSON, as Django writes it since 1.6. Its `JSONSerializer`.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSerializer;

impl Serializer for JsonSerializer {
    fn dumps(&self, data: &SessionData) -> Result<Vec<u8>, Error> {
        match data.first_of_python() {
            Some(class) => Err(Error::value(format!("JSON cannot hold an object of Python's ({class})"))),
            None => Ok(json::to_latin1(data.to_json())),
        }
    }

    fn loads(&self, bytes: Vec<u8>, max_bytes: usize) -> Result<SessionData, Error> {
        if bytes.len() > max_bytes {
            return Err(Error::too_large(bytes.len(), max_bytes));
        }
        SessionData::from_json(from_latin1(bytes))
    }
}

/// Django reads the payload's bytes as latin-1, so raw UTF-8 in it is two characters, not one.
fn from_latin1(bytes: Vec<u8>) -> String {
    if bytes.is_ascii() {
        return String::from_utf8(bytes).unwrap_or_default(); // ASCII is UTF-8
    }
    bytes.into_iter().map(char::from).collect()
}
