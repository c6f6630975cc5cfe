//! Python's pickle, as data: read without running anything, and written so that Python makes the same objects.
//!
//! Django's cache engines keep sessions so, and `PickleSerializer` did up to Django 4.2. Python runs what a pickle
//! says, which is why nobody but the site itself may write one; here the names in it are only copied.

mod from_json;
mod graph;
mod input;
mod lines;
mod machine;
mod number;
mod opcode;
mod read;
mod recognise;
mod view;
mod write;

use super::{SessionData, data::Part, serializer::Serializer};
use crate::Error;

/// How deep values may be nested, which is about as deep as Python can write them.
const MAX_DEPTH: usize = 1000;

/// Python's pickle. Django's `PickleSerializer`, and what its cache engines do.
///
/// Nothing in a pickle is ever run, imported or called. What JSON can hold is read and written as with the
/// [`JsonSerializer`](super::JsonSerializer). Anything else stays what it is as long as nobody sets its key: a
/// `timedelta`, a set or an object of the site's own is written back as the same object. Of these
///
/// - `tuple`, `OrderedDict`, `defaultdict`, `SafeString`, dicts with keys that are numbers, `datetime` (with a fixed
///   offset from UTC or none), `date`, `Decimal` and `UUID` can be read as the JSON that Django's `DjangoJSONEncoder`
///   has for them, datetimes as their `isoformat()`;
/// - the others show as `<module.Class>`, which is no JSON, so that reading them is an error;
/// - keys that are no strings cannot be named here, and are kept.
///
/// Reads protocols 0 to 5 and writes 2, which every Python reads, or that of what it must keep. A value that stood
/// in two places is two equal values afterwards, as after JSON; one that holds itself is an error.
///
/// ```
/// use actix_django_session::codec::{PickleSerializer, Serializer};
///
/// // pickle.dumps({"a": [1, None], "b": {2, 3}}, 4)
/// let stored = b"\x80\x04\x95\x1c\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94]\x94(K\x01Ne\x8c\x01b\x94\x8f\x94(K\x02K\x03\x90u.";
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
    /// The serializer; there is nothing to set.
    pub fn new() -> Self {
        Self
    }
}

impl Serializer for PickleSerializer {
    fn dumps(&self, data: &SessionData) -> Result<Vec<u8>, Error> {
        let mut out = write::Opcodes::default();
        let protocols = data.parts().flat_map(|(key, value)| [protocol(key), protocol(value)]);
        // Below 3, Python takes the names of classes for Python 2's and translates them.
        let (mut protocol, mut old, mut new) = (write::PROTOCOL, false, false);
        for needed in protocols.flatten() {
            protocol = protocol.max(needed);
            (old, new) = (old | (needed < 3), new | (needed >= 3));
        }
        if old && new {
            return Err(Error::value(
                "objects from pickles of Python 2 and of Python 3 cannot be put together",
            ));
        }
        out.0.extend_from_slice(&[opcode::PROTO, protocol, opcode::EMPTY_DICT]);
        if !data.is_empty() {
            out.op(opcode::MARK);
            for (key, value) in data.parts() {
                match key {
                    Part::Json(raw) => from_json::key(raw, &mut out),
                    Part::Python(python) => out.0.extend_from_slice(&python.pickle),
                }
                match value {
                    Part::Json(text) => from_json::value(text, 1, &mut out)?,
                    Part::Python(python) => out.0.extend_from_slice(&python.pickle),
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
        view::session(&read::read(&bytes)?, &mut budget)
    }
}

fn protocol(part: Part<'_>) -> Option<u8> {
    match part {
        Part::Json(_) => None,
        Part::Python(python) => Some(python.protocol),
    }
}

/// Why a pickle cannot be read or written; becomes an [`Error`] with its place.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Broken(&'static str);

impl From<Broken> for Error {
    fn from(Broken(what): Broken) -> Self {
        Self::unreadable(format!("the session's pickle cannot be read: {what}"))
    }
}

/// The bytes that may yet be made of a pickle: a few that name each other can stand for any number.
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
    use crate::codec::{
        data::{EXPIRY_KEY, Python, Text},
        expiry,
        time::from_micros,
    };

    /// Django up to 4.0 keeps the date itself under this key, where later ones keep its text.
    #[test]
    fn an_expiry_that_is_a_date_is_understood() {
        // pickle.dumps({"_session_expiry": datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=timezone.utc)}, 4)
        let stored = b"\x80\x04\x95l\0\0\0\0\0\0\0}\x94\x8c\x0f_session_expiry\x94\x8c\x08datetime\x94\x8c\x08datetime\
            \x94\x93\x94C\n\x07\xe7\x0b\x0e\x16\r\x14\x01\xe2@\x94h\x02\x8c\x08timezone\x94\x93\x94h\x02\x8c\ttimedelta\x94\
            \x93\x94K\0K\0K\0\x87\x94R\x94\x85\x94R\x94\x86\x94R\x94s.";
        let data = PickleSerializer::new().loads(stored.to_vec(), 1000).unwrap();
        assert_eq!(data.get_json(EXPIRY_KEY), Some("\"2023-11-14T22:13:20.123456+00:00\""));
        let expected = from_micros(1_700_000_000_123_456);
        assert_eq!(expiry::date(&data, Duration::from_secs(60), from_micros(0)), expected);
    }

    /// Python would take the names of one for those of the other.
    #[test]
    fn names_of_python_2_and_3_are_not_mixed() {
        let member = |protocol: u8| {
            let python = Python { json: "<x.y>".into(), pickle: (*b"cx\ny\n").into(), protocol };
            (Text::New("k".into()), Text::Python(std::sync::Arc::new(python)))
        };
        let dumps = |protocols: [u8; 2]| {
            PickleSerializer.dumps(&SessionData::from_parts(String::new(), protocols.map(member)))
        };
        assert_eq!(dumps([0, 1]).unwrap()[..2], [opcode::PROTO, 2]);
        assert_eq!(dumps([3, 5]).unwrap()[..2], [opcode::PROTO, 5]);
        assert!(dumps([2, 3]).unwrap_err().is_value());
    }
}
