//! The session dictionary: an ordered map from key to raw JSON text.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    ops::Range,
    sync::Arc,
    time::SystemTime,
};

use super::{json, scan};
use crate::Error;

/// The key under which Django keeps what a session says of its own end.
pub(crate) const EXPIRY_KEY: &str = "_session_expiry";

/// The session dictionary, as a store sees it: an ordered map from key to raw JSON text.
///
/// Values that nobody touches are written back as they came, whoever wrote them: JSON byte for byte, and what only
/// Python knows (a pickled `Decimal`, an object of the site's) as the same object.
///
/// ```
/// use actix_django_session::store::SessionData;
///
/// let mut data = SessionData::from_json(r#"{"big": 123456789012345678901234567890, "b": NaN}"#)?;
/// data.set_json("c", "[1,2]")?;
/// assert_eq!(data.to_json(), r#"{"big":123456789012345678901234567890,"b":NaN,"c":[1,2]}"#);
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct SessionData {
    /// The text that was read, which untouched members still point into.
    source: Arc<str>,
    members: Vec<Member>,
    /// What its date of expiry means, if that has no zone.
    end_without_zone: Option<SystemTime>,
}

#[derive(Clone)]
struct Member {
    /// The text between the key's quotes.
    key: Text,
    /// Whether that is the key itself.
    plain: bool,
    value: Text,
}

#[derive(Clone)]
pub(super) enum Text {
    Read(Range<usize>),
    New(Arc<str>),
    #[cfg_attr(not(feature = "pickle"), allow(dead_code))] // nobody makes one then
    Python(Arc<Python>),
}

/// A pickled value that is more than its JSON shows: a tuple, a dict with keys that are no strings, an object.
#[derive(Clone)]
#[cfg_attr(not(feature = "pickle"), allow(dead_code))]
pub(super) struct Python {
    /// Its JSON, or `<name of its class>` where it has none: no JSON, so that nobody reads or rewrites it by accident.
    pub(super) json: Box<str>,
    /// The opcodes that make it, without a memo, a frame, a beginning or an end.
    pub(super) pickle: Box<[u8]>,
    /// Of the pickle that it came in.
    pub(super) protocol: u8,
}

/// A member's key or value for a serializer: its text, or what Python had.
#[cfg(feature = "pickle")]
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    Json(&'a str),
    Python(&'a Python),
}

impl SessionData {
    /// Reads a JSON object. Errors if the text is anything else.
    pub fn from_json(text: impl Into<Arc<str>>) -> Result<Self, Error> {
        let source = text.into();
        let members = scan::scan_object(&source)?
            .into_iter()
            .map(|member| Member::new(&source, Text::Read(member.key), Text::Read(member.value)))
            .collect();
        Ok(Self { source, members, end_without_zone: None })
    }

    /// Of keys (the text between the quotes) and values. Ranges are of `source`.
    #[cfg(feature = "pickle")]
    pub(super) fn from_parts(source: String, members: impl IntoIterator<Item = (Text, Text)>) -> Self {
        let source: Arc<str> = source.into();
        let members = members.into_iter().map(|(key, value)| Member::new(&source, key, value)).collect();
        Self { source, members, end_without_zone: None }
    }

    #[cfg(feature = "pickle")]
    pub(super) fn parts(&self) -> impl Iterator<Item = (Part<'_>, Part<'_>)> {
        self.members.iter().map(|member| (self.part(&member.key), self.part(&member.value)))
    }

    /// The dictionary as one JSON object. ASCII only, unless what was read was not. An object that only Python knows
    /// stands there as `<its class>`, which is no JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(self.source.len() + 64);
        out.push('{');
        for (index, member) in self.members.iter().filter(|member| member.has_name()).enumerate() {
            out.push_str(if index == 0 { "\"" } else { ",\"" });
            out.push_str(self.text(&member.key));
            out.push_str("\":");
            out.push_str(self.text(&member.value));
        }
        out.push('}');
        out
    }

    /// The JSON text of a value. Of duplicate keys the last counts, as in Python. `<its class>` for an object that
    /// only Python knows.
    pub fn get_json(&self, key: &str) -> Option<&str> {
        let member = self.members.iter().rev().find(|member| self.is(member, key))?;
        Some(self.text(&member.value))
    }

    /// Sets a value, given as JSON text; blanks around it are left out. A key that is there keeps its place. Errors if it is
    /// not one value.
    pub fn set_json(&mut self, key: &str, value: impl Into<Arc<str>>) -> Result<(), Error> {
        let value = value.into();
        scan::check_value(&value)?;
        // As it is when it is read again.
        let bare = value.trim_matches([' ', '\t', '\n', '\r']);
        let value = if bare.len() == value.len() { value } else { bare.into() };
        self.set(key, value);
        Ok(())
    }

    /// Sets a value that is known to be JSON.
    pub(crate) fn set(&mut self, key: &str, value: Arc<str>) {
        if key == EXPIRY_KEY {
            self.end_without_zone = None;
        }
        let first = self.members.iter().position(|member| self.is(member, key));
        match first {
            Some(first) => {
                let last = self.members.iter().rposition(|member| self.is(member, key));
                if last != Some(first) {
                    self.remove_from(first + 1, key);
                }
                if let Some(member) = self.members.get_mut(first) {
                    member.value = Text::New(value);
                }
            }
            None => {
                let key = Text::New(json::escape_key(key).into());
                self.members.push(Member::new(&self.source, key, Text::New(value)));
            }
        }
    }

    /// Removes a key and all its duplicates; whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.members.len();
        self.remove_from(0, key);
        self.members.len() < before
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Keys and the JSON texts of their values, each key once and where it was first set.
    pub fn items(&self) -> Vec<(String, &str)> {
        let mut items: Vec<(String, &str)> = Vec::with_capacity(self.members.len());
        let mut places: HashMap<String, usize> = HashMap::with_capacity(self.members.len());
        for member in self.members.iter().filter(|member| member.has_name()) {
            let key = json::unescape(self.text(&member.key)).into_owned();
            let value = self.text(&member.value);
            match places.entry(key) {
                Entry::Occupied(place) => items[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    items.push((place.key().clone(), value));
                    place.insert(items.len() - 1);
                }
            }
        }
        items
    }

    /// The keys, each once and where it was first set.
    pub fn keys(&self) -> Vec<String> {
        self.items().into_iter().map(|(key, _)| key).collect()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn end_without_zone(&self) -> Option<SystemTime> {
        self.end_without_zone
    }

    pub(super) fn set_end_without_zone(&mut self, end: SystemTime) {
        self.end_without_zone = Some(end);
    }

    /// The class of the first object that has no JSON.
    pub(super) fn first_of_python(&self) -> Option<&str> {
        let mut values = self.members.iter().flat_map(|member| [&member.key, &member.value]);
        values.find_map(|text| match text {
            Text::Python(python) => python.json.strip_prefix('<')?.strip_suffix('>'),
            _ => None,
        })
    }

    fn remove_from(&mut self, start: usize, key: &str) {
        let Self { source, members, .. } = self;
        let mut index = 0;
        members.retain(|member| {
            index += 1;
            index <= start || !member.is(source, key)
        });
    }

    fn is(&self, member: &Member, key: &str) -> bool {
        member.is(&self.source, key)
    }

    #[cfg(feature = "pickle")]
    fn part<'a>(&'a self, of: &'a Text) -> Part<'a> {
        match of {
            Text::Python(python) => Part::Python(python),
            other => Part::Json(self.text(other)),
        }
    }

    fn text<'a>(&'a self, of: &'a Text) -> &'a str {
        text(&self.source, of)
    }
}

fn text<'a>(source: &'a str, of: &'a Text) -> &'a str {
    match of {
        Text::Read(range) => source.get(range.clone()).unwrap_or_default(),
        Text::New(text) => text,
        Text::Python(python) => &python.json,
    }
}

impl Member {
    fn new(source: &str, key: Text, value: Text) -> Self {
        let plain = !text(source, &key).contains('\\');
        Self { key, plain, value }
    }

    fn is(&self, source: &str, key: &str) -> bool {
        let raw = text(source, &self.key);
        self.has_name() && if self.plain { raw == key } else { json::unescape(raw) == key }
    }

    /// In a pickle a key may be anything. One that is no string is Python's alone: nobody here can name it.
    fn has_name(&self) -> bool {
        !matches!(self.key, Text::Python(_))
    }
}

/// Shows how much there is, never what: sessions hold personal data and secrets.
impl fmt::Debug for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionData({} keys)", self.members.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognised_however_it_was_escaped() {
        let mut data = SessionData::from_json(r#"{"\u00E9\/":1,"a\\b":2,"\ud800":3}"#).unwrap();
        assert_eq!(
            ["é/", r"a\b", "a\\b", "\u{fffe}"].map(|key| data.get_json(key)),
            [Some("1"), Some("2"), Some("2"), None]
        );
        assert!(data.get_json(r"\u00E9\/").is_none());
        data.set_json("é/", "4").unwrap();
        data.set_json("\"", "5").unwrap();
        data.set_json("\"", "6").unwrap();
        assert_eq!(data.to_json(), r#"{"\u00E9\/":4,"a\\b":2,"\ud800":3,"\"":6}"#);
    }

    #[test]
    fn blanks_around_a_value_are_not_kept() {
        let mut data = SessionData::default();
        data.set_json("_session_expiry", "\r null\n").unwrap();
        assert_eq!(data.get_json("_session_expiry"), Some("null"));
        assert_eq!(data.to_json(), r#"{"_session_expiry":null}"#);
    }

    #[test]
    fn duplicates_stay_until_their_key_is_touched() {
        let text = r#"{"a":1,"b":2,"a":3}"#;
        let mut data = SessionData::from_json(text).unwrap();
        assert_eq!(data.get_json("a"), Some("3"));
        assert_eq!(data.keys(), ["a", "b"]);
        assert_eq!(data.to_json(), text);
        data.set_json("b", "4").unwrap();
        assert_eq!(data.to_json(), r#"{"a":1,"b":4,"a":3}"#);
        data.set_json("a", "5").unwrap();
        assert!(data.set_json("a", "1,\"b\":2").is_err());
        assert_eq!(data.to_json(), r#"{"a":5,"b":4}"#);
        assert!(data.remove("a") && !data.remove("a"));
    }
}
