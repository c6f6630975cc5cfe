//! The session dictionary.

use std::{collections::HashMap, fmt, sync::Arc, time::SystemTime};

#[cfg(feature = "pickle")]
use super::members::PickledValue;
use super::{
    json,
    members::{Fragment, Members},
    scan,
};
use crate::Error;

/// The key of the session's own expiry, as Django calls it.
pub(crate) const EXPIRY_KEY: &str = "_session_expiry";

/// The session dictionary: an ordered map from key to raw JSON text.
///
/// Untouched values are written back unchanged: JSON byte for byte, and pickled objects (a `Decimal`, an
/// object of the site's) as equal objects.
///
/// ```
/// use actix_django_session::codec::SessionData;
///
/// let mut data = SessionData::from_json(r#"{"big": 123456789012345678901234567890, "b": NaN}"#)?;
/// data.set_json("c", "[1,2]")?;
/// assert_eq!(data.to_json(), r#"{"big":123456789012345678901234567890,"b":NaN,"c":[1,2]}"#);
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct SessionData {
    members: Members,
    /// The instant that a naive datetime in [`EXPIRY_KEY`] stands for.
    naive_expiry: Option<SystemTime>,
}

/// A key or value to serialize.
#[cfg(feature = "pickle")]
#[derive(Clone, Copy)]
pub(super) enum FragmentRef<'a> {
    Json(&'a str),
    Pickled(&'a PickledValue),
}

impl SessionData {
    /// Reads a JSON object as Python's `json` does: `NaN` and `Infinity` are values, nesting is unlimited.
    ///
    /// Errors ([`is_unreadable`](Error::is_unreadable)) if the text is anything else.
    ///
    /// ```
    /// use actix_django_session::codec::SessionData;
    ///
    /// assert!(SessionData::from_json(r#"{"cart": [1, 2]}"#).is_ok());
    /// assert!(SessionData::from_json("[1, 2]").unwrap_err().is_unreadable());
    /// ```
    pub fn from_json(text: impl Into<Arc<str>>) -> Result<Self, Error> {
        Self::from_json_up_to(text.into(), usize::MAX)
    }

    /// The same, for a session of a limited size.
    pub(super) fn from_json_up_to(source: Arc<str>, max_bytes: usize) -> Result<Self, Error> {
        let ranges = scan::scan_object(&source, max_bytes)?.into_iter();
        let members = ranges.map(|range| (Fragment::Source(range.key), Fragment::Source(range.value)));
        Ok(Self { members: Members::new(source, members), naive_expiry: None })
    }

    /// Keys are the text between the quotes. Ranges are of `source`.
    #[cfg(feature = "pickle")]
    pub(super) fn from_members(
        source: String,
        members: impl IntoIterator<Item = (Fragment, Fragment)>,
    ) -> Self {
        Self { members: Members::new(source.into(), members), naive_expiry: None }
    }

    #[cfg(feature = "pickle")]
    pub(super) fn members(&self) -> impl Iterator<Item = (FragmentRef<'_>, FragmentRef<'_>)> {
        self.members.iter().map(|member| (self.resolve(&member.key), self.resolve(&member.value)))
    }

    #[cfg(feature = "pickle")]
    fn resolve<'a>(&'a self, fragment: &'a Fragment) -> FragmentRef<'a> {
        match fragment {
            Fragment::Pickled(value) => FragmentRef::Pickled(value),
            json => FragmentRef::Json(self.members.text(json)),
        }
    }

    /// About the number of bytes that the dictionary has when it is serialized.
    pub(crate) fn size_hint(&self) -> usize {
        self.members.text_len()
    }

    /// Returns the dictionary as one JSON object, without spaces between members. ASCII if the source is.
    ///
    /// A pickled object without a JSON form shows as `<its class>`, which is not valid JSON.
    ///
    /// ```
    /// use actix_django_session::codec::SessionData;
    ///
    /// let data = SessionData::from_json(r#"{"a": 1.50, "b": [1, 2]}"#)?;
    /// assert_eq!(data.to_json(), r#"{"a":1.50,"b":[1, 2]}"#);
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(self.members.text_len() + 2);
        out.push('{');
        for (index, member) in self.members.iter().filter(|member| member.has_string_key()).enumerate() {
            out.push_str(if index == 0 { "\"" } else { ",\"" });
            out.push_str(self.members.text(&member.key));
            out.push_str("\":");
            out.push_str(self.members.text(&member.value));
        }
        out.push('}');
        out
    }

    /// Returns the JSON text of a value. Of duplicate keys the last wins, as in Python.
    ///
    /// A pickled object without a JSON form is `<its class>`.
    ///
    /// ```
    /// use actix_django_session::codec::SessionData;
    ///
    /// let data = SessionData::from_json(r#"{"name": "Ada"}"#)?;
    /// assert_eq!(data.get_json("name"), Some(r#""Ada""#));
    /// assert_eq!(data.get_json("age"), None);
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn get_json(&self, key: &str) -> Option<&str> {
        self.members.get(key)
    }

    /// Sets a value, given as JSON text. An existing key keeps its place.
    ///
    /// Errors ([`is_unreadable`](Error::is_unreadable)) if the text is not one JSON value.
    ///
    /// ```
    /// use actix_django_session::codec::SessionData;
    ///
    /// let mut data = SessionData::default();
    /// data.set_json("cart", "[1, 2]")?;
    /// assert!(data.set_json("cart", "[1,").is_err());
    /// assert_eq!(data.get_json("cart"), Some("[1, 2]"));
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn set_json(&mut self, key: &str, value: impl Into<Arc<str>>) -> Result<(), Error> {
        let value = value.into();
        scan::check_value(&value)?;
        // A reader of the stored text would not see the surrounding whitespace either.
        let trimmed = value.trim_matches([' ', '\t', '\n', '\r']);
        let value = if trimmed.len() == value.len() { value } else { trimmed.into() };
        self.set(&key.into(), value);
        Ok(())
    }

    /// Sets a value that is known to be JSON.
    pub(crate) fn set(&mut self, key: &Arc<str>, value: Arc<str>) {
        if &**key == EXPIRY_KEY {
            self.naive_expiry = None;
        }
        self.members.set(key, value);
    }

    /// Removes a key with all its duplicates. Returns whether it was present.
    ///
    /// ```
    /// use actix_django_session::codec::SessionData;
    ///
    /// let mut data = SessionData::from_json(r#"{"a": 1}"#)?;
    /// assert!(data.remove("a") && data.is_empty());
    /// assert!(!data.remove("a"));
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn remove(&mut self, key: &str) -> bool {
        self.members.remove(key)
    }

    /// Removes every key, including those of a pickle that are not strings.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns keys with the JSON texts of their values. Each key occurs once, in the place of the first.
    ///
    /// ```
    /// use actix_django_session::codec::SessionData;
    ///
    /// let data = SessionData::from_json(r#"{"a": 1, "b": 2, "a": 3}"#)?;
    /// assert_eq!(data.items(), [("a".to_owned(), "3"), ("b".to_owned(), "2")]);
    /// assert_eq!(data.keys(), ["a", "b"]);
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn items(&self) -> Vec<(String, &str)> {
        let mut items: Vec<(String, &str)> = Vec::with_capacity(self.members.len());
        let mut positions = HashMap::with_capacity(self.members.len());
        for member in self.members.iter().filter(|member| member.has_string_key()) {
            let key = json::unescape(self.members.text(&member.key));
            let value = self.members.text(&member.value);
            let position = *positions.entry(key.clone()).or_insert(items.len());
            match items.get_mut(position) {
                Some(item) => item.1 = value,
                None => items.push((key.into_owned(), value)),
            }
        }
        items
    }

    /// Returns the keys. Each occurs once, in the place of the first.
    pub fn keys(&self) -> Vec<String> {
        self.items().into_iter().map(|(key, _)| key).collect()
    }

    /// Returns whether the dictionary has no keys.
    pub fn is_empty(&self) -> bool {
        self.members.len() == 0
    }

    pub(super) fn naive_expiry(&self) -> Option<SystemTime> {
        self.naive_expiry
    }

    pub(super) fn set_naive_expiry(&mut self, expiry: SystemTime) {
        self.naive_expiry = Some(expiry);
    }

    /// The class of the first pickled object without a JSON form.
    pub(super) fn first_class_without_json(&self) -> Option<&str> {
        let mut fragments = self.members.iter().flat_map(|member| [&member.key, &member.value]);
        fragments.find_map(|fragment| match fragment {
            Fragment::Pickled(value) => value.json.strip_prefix('<')?.strip_suffix('>'),
            _ => None,
        })
    }
}

/// Shows the number of keys only: sessions hold personal data and secrets.
impl fmt::Debug for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionData({} keys)", self.members.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_matches_whatever_its_escapes() {
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
    fn whitespace_around_a_value_is_dropped() {
        let mut data = SessionData::default();
        data.set_json("_session_expiry", "\r null\n").unwrap();
        assert_eq!(data.get_json("_session_expiry"), Some("null"));
        assert_eq!(data.to_json(), r#"{"_session_expiry":null}"#);
    }

    #[test]
    fn duplicates_stay_until_their_key_changes() {
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
