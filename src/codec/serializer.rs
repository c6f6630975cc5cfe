//! Conversion between the dictionary and bytes: Django's `SESSION_SERIALIZER`.

use super::{SessionData, json};
use crate::Error;

/// Converts the dictionary to bytes and back. Django's `SESSION_SERIALIZER`.
///
/// ```
/// use actix_django_session::{Error, SecretKey, codec::{Codec, Serializer, SessionData}};
///
/// /// Lines of `key=json`.
/// struct Lines;
///
/// impl Serializer for Lines {
///     fn dumps(&self, data: &SessionData) -> Result<Vec<u8>, Error> {
///         let lines = data.items().into_iter().map(|(key, value)| format!("{key}={value}\n"));
///         Ok(lines.collect::<String>().into_bytes())
///     }
///
///     fn loads(&self, bytes: Vec<u8>, _: usize) -> Result<SessionData, Error> {
///         let text = String::from_utf8(bytes).map_err(|_| Error::unreadable("not UTF-8"))?;
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
    /// Returns the bytes to store.
    ///
    /// Errors ([`Error::value`]) if the format cannot express a value.
    fn dumps(&self, data: &SessionData) -> Result<Vec<u8>, Error>;

    /// Returns the dictionary in stored bytes.
    ///
    /// Errors ([`Error::unreadable`]) if they hold no dictionary, or one that takes more than `max_bytes`.
    fn loads(&self, bytes: Vec<u8>, max_bytes: usize) -> Result<SessionData, Error>;
}

/// JSON in latin-1, the default since Django 1.6. Django's `JSONSerializer`.
///
/// ```
/// use actix_django_session::codec::{JsonSerializer, Serializer, SessionData};
///
/// let data = SessionData::from_json(r#"{"city": "Kraków"}"#)?;
/// let stored = JsonSerializer.dumps(&data)?;
/// assert_eq!(stored, b"{\"city\":\"Krak\xf3w\"}");
/// assert_eq!(JsonSerializer.loads(stored, 1024)?.get_json("city"), Some("\"Kraków\""));
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSerializer;

impl Serializer for JsonSerializer {
    fn dumps(&self, data: &SessionData) -> Result<Vec<u8>, Error> {
        match data.first_class_without_json() {
            Some(class) => Err(Error::value(format!(
                "JSON cannot express a Python object ({class}): remove its key, or use PickleSerializer"
            ))),
            None => Ok(to_latin1(data.to_json())),
        }
    }

    fn loads(&self, bytes: Vec<u8>, max_bytes: usize) -> Result<SessionData, Error> {
        if bytes.len() > max_bytes {
            return Err(Error::too_large(bytes.len(), max_bytes));
        }
        SessionData::from_json_up_to(from_latin1(bytes).into(), max_bytes)
    }
}

/// Encodes as latin-1, which Django decodes. Other characters can only occur in strings, so they are escaped.
fn to_latin1(text: String) -> Vec<u8> {
    if text.is_ascii() {
        return text.into_bytes();
    }
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) => out.push(byte),
            Err(_) => json::write_unicode_escape(&mut out, c).unwrap_or_default(), // memory takes any write
        }
    }
    out
}

fn from_latin1(bytes: Vec<u8>) -> String {
    if bytes.is_ascii() {
        return String::from_utf8(bytes).unwrap_or_default(); // ASCII is UTF-8
    }
    bytes.into_iter().map(char::from).collect()
}
