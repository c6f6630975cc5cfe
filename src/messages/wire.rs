//! Messages as JSON: Django's `MessageEncoder` and `MessageDecoder`.

use serde::de::IgnoredAny;
use serde_json::{Value, value::RawValue};

use super::{Message, MessageLevel, MessageSettings};
use crate::{Error, codec::json};

/// Begins each message's list.
const MARK: &str = "__json_message";

/// Ends a cookie's list if there are more messages in the session.
pub(super) const SENTINEL: &str = "__messagesnotfinished__";

/// The most messages of a visitor. The oldest go, since nobody reads them.
pub(super) const MAX_MESSAGES: usize = 500;

/// Between items: Python's default, in the session.
pub(super) const SPACED: &str = ", ";

/// Between items: in the cookie.
pub(super) const COMPACT: &str = ",";

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredMessage {
    pub(super) is_safe: bool,
    pub(super) level: MessageLevel,
    pub(super) text: String,
    /// Left out of the JSON if there are none at all.
    pub(super) extra_tags: Option<String>,
}

impl StoredMessage {
    pub(super) fn to_json(&self, separator: &str) -> String {
        // A string always serializes.
        let quoted = |text: &str| json::to_json(text).unwrap_or_default();
        let (safe, level) = (u8::from(self.is_safe), self.level.value());
        let text = quoted(&self.text);
        let mut out = format!("[\"{MARK}\"{separator}{safe}{separator}{level}{separator}{text}");
        if let Some(tags) = &self.extra_tags {
            out.push_str(separator);
            out.push_str(&quoted(tags));
        }
        out.push(']');
        out
    }

    /// The message with the tags that the settings give it.
    pub(super) fn to_message(&self, settings: &MessageSettings) -> Message {
        let level_tag = settings.level_tag(self.level);
        let both = [self.extra_tags.as_deref().unwrap_or_default(), level_tag];
        let tags: Vec<&str> = both.into_iter().filter(|tag| !tag.is_empty()).collect();
        Message {
            level: self.level,
            text: self.text.clone(),
            extra_tags: self.extra_tags.clone(),
            level_tag: level_tag.to_owned(),
            tags: tags.join(" "),
            is_safe: self.is_safe,
        }
    }

    /// `None` for anything else than a message as Django writes one.
    fn from_json(text: &str) -> Option<Self> {
        let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        let (mark, safe, level, text, tags) = match *items {
            [mark, safe, level, text] => (mark, safe, level, text, None),
            [mark, safe, level, text, tags] => (mark, safe, level, text, Some(tags)),
            _ => return None,
        };
        if !is_text(mark, MARK) {
            return None;
        }
        let string = |item: &RawValue| serde_json::from_str::<String>(item.get()).ok();
        Some(Self {
            is_safe: is_truthy(&serde_json::from_str(safe.get()).ok()?),
            level: MessageLevel::new(to_int(&serde_json::from_str(level.get()).ok()?)?),
            text: string(text)?,
            extra_tags: match tags {
                Some(tags) if tags.get() != "null" => Some(string(tags)?),
                _ => None,
            },
        })
    }
}

/// A stored list of messages.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) messages: Vec<StoredMessage>,
    /// Whether the sentinel ends it.
    pub(super) has_sentinel: bool,
    /// How many items are no messages.
    pub(super) ignored: usize,
    /// How many items at the beginning were not read, since there are too many.
    pub(super) dropped: usize,
}

impl Listing {
    /// Reads a JSON list, `None` for `null`. Errors if the text is anything else.
    pub(super) fn from_json(text: &str) -> Result<Option<Self>, Error> {
        let items: Option<Vec<&RawValue>> = serde_json::from_str(text).map_err(|_| {
            Error::unreadable(match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => "the messages are no list",
                Err(_) => "the messages are not valid JSON",
            })
        })?;
        let Some(items) = items else { return Ok(None) };
        if items.first().is_some_and(|first| is_text(first, MARK)) {
            return Err(Error::unreadable("the messages are one message, and no list"));
        }
        // One more than the messages, for the sentinel.
        let dropped = items.len().saturating_sub(MAX_MESSAGES + 1);
        let mut listing = Self { dropped, ..Self::default() };
        for item in items.into_iter().skip(dropped) {
            // It counts only at the end.
            listing.ignored += usize::from(listing.has_sentinel);
            listing.has_sentinel = is_text(item, SENTINEL);
            match StoredMessage::from_json(item.get()) {
                Some(message) => listing.messages.push(message),
                None => listing.ignored += usize::from(!listing.has_sentinel),
            }
        }
        Ok(Some(listing))
    }

    /// Whether it has to be removed once it is shown. In Django, every item counts as a message.
    pub(super) fn is_used(&self) -> bool {
        !self.messages.is_empty() || self.ignored > 0 || self.dropped > 0
    }
}

fn is_text(item: &RawValue, wanted: &str) -> bool {
    serde_json::from_str::<String>(item.get()).is_ok_and(|text| text == wanted)
}

/// A JSON list of items that are JSON already.
pub(super) fn join(items: &[String], separator: &str) -> String {
    format!("[{}]", items.join(separator))
}

/// Python's `bool(value)`.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// Python's `int(value)`, for numbers up to 64 bits.
fn to_int(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(yes) => Some(i64::from(*yes)),
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64()?.trunc();
            (float.abs() < 1e18).then_some(float as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_no_rust_value_can_hold_are_ignored() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for item in [
            r#"["__json_message",0,20,"\ud800",""]"#,
            r#"["__json_message",0,20,"text","\udfff"]"#,
            r#"["__json_message",0,99999999999999999999,"text",""]"#,
            r#"["__json_message",0,1e300,"text",""]"#,
            &format!(r#"["__json_message",{deep},20,"text",""]"#),
            &deep,
        ] {
            let text = format!(r#"[{item},["__json_message",0,20,"good",""]]"#);
            let list = Listing::from_json(&text).unwrap().unwrap();
            let texts: Vec<_> = list.messages.iter().map(|message| &*message.text).collect();
            assert_eq!((texts, list.ignored), (vec!["good"], 1), "{item:.60}");
        }
    }

    #[test]
    fn the_sentinel_counts_at_the_end_only() {
        let read = |text: &str| Listing::from_json(text).unwrap().unwrap();
        let list = read(r#"["__messagesnotfinished__"]"#);
        assert!(list.has_sentinel && !list.is_used());
        let list = read(r#"["__messagesnotfinished__",1]"#);
        assert!(!list.has_sentinel && list.is_used());
        assert_eq!(list.ignored, 2);
    }
}
