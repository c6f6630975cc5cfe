//! Python's pickle as data: decoded without running anything, encoded so that Python restores equal objects.
//!
//! Django's cache engines use it, and so did `PickleSerializer` up to Django 4.2. Unpickling in Python can
//! call any function, so only the site itself may write a pickle. Here names in a pickle are only copied.

mod decoder;
mod encoder;
mod from_json;
mod graph;
mod input;
mod integer;
mod known_types;
mod opcode;
mod text_args;
mod to_json;
mod vm;
mod wtf8;

use super::{SessionData, data::FragmentRef, serializer::Serializer};
use crate::Error;

/// The deepest nesting, which is about the deepest that Python can pickle.
const MAX_DEPTH: usize = 1000;

/// Python's pickle. Django's `PickleSerializer`, and the format of its cache engines.
///
/// Nothing in a pickle is run, imported or called. JSON values are read and written as by the
/// [`JsonSerializer`](super::JsonSerializer). Any other value, such as a `timedelta` or a set, is written
/// back as an equal object until its key is set. Of these
///
/// - `tuple`, `OrderedDict`, `defaultdict`, `SafeString`, dicts with numeric keys, `datetime` (naive or
///   with a fixed offset from UTC), `date`, `Decimal` and `UUID` can be read as JSON, in the form of Django's
///   `DjangoJSONEncoder`, but datetimes as their `isoformat()`;
/// - others show as `<module.Class>`, which is not valid JSON, so reading them is an error;
/// - values under keys that are not strings are preserved, but cannot be accessed.
///
/// Reads protocols 0 to 5. Writes protocol 2, which every Python reads, or the one that preserved objects
/// need. A shared value becomes separate equal values, as in JSON. A value that contains itself is an error.
///
/// ```
/// use actix_django_session::codec::{PickleSerializer, Serializer};
///
/// // pickle.dumps({"a": [1, None], "b": {2, 3}}, 4)
/// let stored = b"\x80\x04\x95\x1c\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94]\x94(K\x01Ne\
///     \x8c\x01b\x94\x8f\x94(K\x02K\x03\x90u.";
/// let mut data = PickleSerializer::new().loads(stored.to_vec(), 1024)?;
/// assert_eq!(data.get_json("a"), Some("[1,null]"));
/// assert_eq!(data.get_json("b"), Some("<set>"));
/// data.set_json("a", "true")?;
/// let written = PickleSerializer::new().dumps(&data)?;
/// assert_eq!(written, b"\x80\x04}(X\x01\0\0\0a\x88X\x01\0\0\0b\x8f(K\x02K\x03\x90u.");
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PickleSerializer;

impl PickleSerializer {
    /// Creates the serializer, which has no settings.
    pub fn new() -> Self {
        Self
    }
}

impl Serializer for PickleSerializer {
    fn dumps(&self, data: &SessionData) -> Result<Vec<u8>, Error> {
        let mut out = encoder::Encoder::default();
        let protocols = data.members().flat_map(|(key, value)| [protocol(key), protocol(value)]);
        // Below protocol 3, Python reads class names as Python 2's and translates them.
        let (mut protocol, mut old, mut new) = (encoder::MIN_PROTOCOL, false, false);
        for needed in protocols.flatten() {
            protocol = protocol.max(needed);
            (old, new) = (old | (needed < 3), new | (needed >= 3));
        }
        if old && new {
            return Err(Error::value(
                "one pickle cannot hold objects of Python 2 and of Python 3: remove the keys of one of them",
            ));
        }
        out.0.extend_from_slice(&[opcode::PROTO, protocol, opcode::EMPTY_DICT]);
        if !data.is_empty() {
            out.op(opcode::MARK);
            for (key, value) in data.members() {
                match key {
                    FragmentRef::Json(raw) => from_json::string(raw, &mut out),
                    FragmentRef::Pickled(value) => out.0.extend_from_slice(&value.opcodes),
                }
                match value {
                    FragmentRef::Json(text) => from_json::value(text, 1, &mut out)?,
                    FragmentRef::Pickled(value) => out.0.extend_from_slice(&value.opcodes),
                }
            }
            out.op(opcode::SETITEMS);
        }
        out.op(opcode::STOP);
        Ok(out.0)
    }

    fn loads(&self, bytes: Vec<u8>, max_bytes: usize) -> Result<SessionData, Error> {
        let mut budget = Budget { left: max_bytes, limit: max_bytes };
        if bytes.len() > max_bytes {
            return Err(Error::too_large(bytes.len(), max_bytes));
        }
        to_json::session_data(&decoder::decode(&bytes, max_bytes)?, &mut budget)
    }
}

fn protocol(fragment: FragmentRef<'_>) -> Option<u8> {
    match fragment {
        FragmentRef::Json(_) => None,
        FragmentRef::Pickled(value) => Some(value.protocol),
    }
}

/// Why a pickle cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq)]
struct PickleError(&'static str);

impl From<PickleError> for Error {
    fn from(PickleError(reason): PickleError) -> Self {
        Self::unreadable(format!("the session's pickle cannot be read: {reason}"))
    }
}

/// Limits the bytes that a pickle expands to: shared values let a small pickle describe a huge one.
#[derive(Debug)]
struct Budget {
    left: usize,
    limit: usize,
}

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| Error::too_large(self.limit + bytes - self.left, self.limit))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        codec::{
            EXPIRY_KEY, expiry,
            members::{Fragment, PickledValue},
        },
        datetime::from_micros,
    };

    /// Django up to 4.0 stores the datetime itself, later versions its text.
    #[test]
    fn a_pickled_datetime_is_an_expiry() {
        // pickle.dumps({"_session_expiry": datetime(2023, 11, 14, 22, 13, 20, 123456, timezone.utc)}, 4)
        let stored = b"\x80\x04\x95l\0\0\0\0\0\0\0}\x94\x8c\x0f_session_expiry\x94\x8c\x08datetime\x94\
            \x8c\x08datetime\x94\x93\x94C\n\x07\xe7\x0b\x0e\x16\r\x14\x01\xe2@\x94h\x02\x8c\x08timezone\
            \x94\x93\x94h\x02\x8c\ttimedelta\x94\x93\x94K\0K\0K\0\x87\x94R\x94\x85\x94R\x94\x86\x94R\x94s.";
        let data = PickleSerializer::new().loads(stored.to_vec(), 1000).unwrap();
        assert_eq!(data.get_json(EXPIRY_KEY), Some("\"2023-11-14T22:13:20.123456+00:00\""));
        let expected = from_micros(1_700_000_000_123_456);
        assert_eq!(expiry::date(&data, Duration::from_secs(60), from_micros(0)), expected);
    }

    /// Python would read the class names of one as those of the other.
    #[test]
    fn class_names_of_python_2_and_3_are_not_mixed() {
        let member = |protocol: u8| {
            let value = PickledValue { json: "<x.y>".into(), opcodes: (*b"cx\ny\n").into(), protocol };
            (Fragment::Owned("k".into()), Fragment::Pickled(std::sync::Arc::new(value)))
        };
        let dumps = |protocols: [u8; 2]| {
            PickleSerializer.dumps(&SessionData::from_members(String::new(), protocols.map(member)))
        };
        assert_eq!(dumps([0, 1]).unwrap()[..2], [opcode::PROTO, 2]);
        assert_eq!(dumps([3, 5]).unwrap()[..2], [opcode::PROTO, 5]);
        assert!(dumps([2, 3]).unwrap_err().is_value());
    }
}
