//! Messages in the session, under Django's key `_messages`.

use std::{collections::HashMap, sync::Arc};

use super::wire::{self, Listing, MAX_MESSAGES, StoredMessage};
use crate::{Error, Session, codec::json};

/// A string that contains the JSON list.
const KEY: &str = "_messages";

/// Returns the session's messages. Errors if the value cannot be read.
pub(super) fn read(session: &Session) -> Result<Listing, Error> {
    read_value(session.get_json(KEY).as_deref())
}

fn read_value(value: Option<&str>) -> Result<Listing, Error> {
    // What Python takes as false is no list, and nothing to warn of.
    if matches!(value, None | Some("null" | "\"\"" | "false" | "0" | "[]" | "{}")) {
        return Ok(Listing::default());
    }
    let text: String = value
        .and_then(|value| serde_json::from_str(value).ok())
        .ok_or_else(|| Error::unreadable("the session's value under \"_messages\" is no text"))?;
    Ok(Listing::from_json(&text)?.unwrap_or_default())
}

/// Stores these messages in place of those that the session has now; none at all remove the key.
///
/// If a concurrent request changed them meanwhile, what it added stays, after these, and what it showed is
/// gone.
pub(super) fn write(session: &Session, messages: &[StoredMessage]) -> Result<(), Error> {
    if messages.is_empty() && !session.contains_key(KEY) {
        return Ok(());
    }
    let replaced = session.get_json(KEY);
    let own: Vec<String> = to_items(messages);
    session.update_json(KEY, move |present| {
        let mut items = own.clone();
        if present != replaced.as_deref() {
            let shown = added(present, replaced.as_deref());
            items = without(items, shown);
            items.extend(added(replaced.as_deref(), present));
            items.drain(..items.len().saturating_sub(MAX_MESSAGES));
        }
        if items.is_empty() {
            return None;
        }
        let list = wire::join(&items, wire::SPACED);
        json::to_json(list.as_str()).ok().map(Arc::from) // a str always serializes
    })
}

/// The messages in `after` that are not in `before`. The same text twice is two messages.
fn added(before: Option<&str>, after: Option<&str>) -> Vec<String> {
    let items = |value| read_value(value).map_or_else(|_| Vec::new(), |list| to_items(&list.messages));
    without(items(after), items(before))
}

/// Removes each of `known` once.
fn without(items: Vec<String>, known: Vec<String>) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for item in known {
        *counts.entry(item).or_default() += 1;
    }
    let is_new = |item: &String| match counts.get_mut(item) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    items.into_iter().filter(is_new).collect()
}

fn to_items(messages: &[StoredMessage]) -> Vec<String> {
    messages.iter().map(|message| message.to_json(wire::SPACED)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_item_is_removed_once_and_the_order_stays() {
        let items = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(without(items("a b a c a b"), items("a b a d")), items("c a b"));
        assert_eq!(without(items("a b"), items("")), items("a b"));
        assert_eq!(without(items("a b"), items("b a")), items(""));
    }
}
