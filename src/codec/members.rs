//! The members of the session dictionary: an ordered multimap from key to JSON text.

use std::{
    borrow::Cow,
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::json;

/// Up to this many members a scan is as fast as a hash lookup.
const SMALL: usize = 32;

/// Lookups that scan a larger dictionary before the index is built. Building it costs as much as several
/// scans, and most requests look up a key or two.
const SCANS: usize = 8;

/// Members in source order, duplicate keys included. Operations on a key take amortized constant time.
#[derive(Default)]
pub(super) struct Members {
    /// The text that was read. Untouched members point into it.
    source: Arc<str>,
    /// A removed member leaves `None`, which keeps the positions in the index valid.
    slots: Vec<Option<Member>>,
    removed: usize,
    scans: AtomicUsize,
    index: OnceLock<Box<Index>>,
}

#[derive(Clone)]
pub(super) struct Member {
    /// The text between the key's quotes.
    pub(super) key: Fragment,
    /// Whether that text has escapes.
    escaped: bool,
    pub(super) value: Fragment,
}

/// A key or a value.
#[derive(Clone)]
pub(super) enum Fragment {
    /// A range of the source.
    Source(Range<usize>),
    Owned(Arc<str>),
    #[cfg_attr(not(feature = "pickle"), allow(dead_code))] // constructed by the pickle decoder only
    Pickled(Arc<PickledValue>),
}

/// A pickled value that JSON cannot replace: a tuple, a dict with keys other than strings, an object.
#[cfg_attr(not(feature = "pickle"), allow(dead_code))]
pub(super) struct PickledValue {
    /// Its JSON, or `<class name>` if it has none. The latter is not valid JSON, so reading it is an error.
    pub(super) json: Box<str>,
    /// The opcodes that build it, without PROTO, FRAME, memo and STOP.
    pub(super) opcodes: Box<[u8]>,
    /// The protocol of the pickle that it was read from.
    pub(super) protocol: u8,
}

/// The positions of each unescaped key, in source order. More than one means duplicates.
type Index = HashMap<Box<str>, Vec<usize>>;

impl Members {
    /// Keys are the text between the quotes. Ranges are of `source`.
    pub(super) fn new(source: Arc<str>, members: impl IntoIterator<Item = (Fragment, Fragment)>) -> Self {
        let slots = members.into_iter().map(|(key, value)| {
            let escaped = resolve(&source, &key).contains('\\');
            Some(Member { key, escaped, value })
        });
        Self { slots: slots.collect(), source, ..Self::default() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.slots.iter().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.removed
    }

    /// The length of the texts of all members, in bytes.
    pub(super) fn text_len(&self) -> usize {
        let length = |fragment: &Fragment| match fragment {
            Fragment::Source(range) => range.len(),
            Fragment::Owned(text) => text.len(),
            Fragment::Pickled(value) => value.opcodes.len(),
        };
        self.iter().map(|member| length(&member.key) + length(&member.value) + 4).sum()
    }

    pub(super) fn text<'a>(&'a self, fragment: &'a Fragment) -> &'a str {
        resolve(&self.source, fragment)
    }

    /// The value of a key. Of duplicates the last wins, as in Python.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let last = match self.index() {
            Some(index) => *index.get(key)?.last()?,
            None => self.slots.iter().rposition(|slot| self.matches(slot, key))?,
        };
        Some(self.text(&self.slots.get(last)?.as_ref()?.value))
    }

    /// Replaces the value of the first member with this key and removes its duplicates, or appends a member.
    pub(super) fn set(&mut self, key: &Arc<str>, value: Arc<str>) {
        let value = Fragment::Owned(value);
        let positions = self.positions(key);
        let first = positions.first().copied().unwrap_or(self.slots.len());
        if let Some(Some(member)) = self.slots.get_mut(first) {
            member.value = value;
        } else {
            let (raw, escaped) = match json::escape_key(key) {
                Cow::Borrowed(_) => (key.clone(), false),
                Cow::Owned(raw) => (raw.into(), true),
            };
            self.slots.push(Some(Member { key: Fragment::Owned(raw), escaped, value }));
        }
        if positions.len() != 1
            && let Some(index) = self.index.get_mut()
        {
            index.insert((&**key).into(), vec![first]);
        }
        self.empty(positions.get(1..).unwrap_or_default());
    }

    /// Removes a key with all its duplicates. Returns whether there was one.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        let positions = self.positions(key);
        if let Some(index) = self.index.get_mut() {
            index.remove(key);
        }
        self.empty(&positions);
        !positions.is_empty()
    }

    fn positions(&self, key: &str) -> Vec<usize> {
        match self.index() {
            Some(index) => index.get(key).cloned().unwrap_or_default(),
            None => {
                (0..).zip(&self.slots).filter(|(_, slot)| self.matches(slot, key)).map(|(at, _)| at).collect()
            }
        }
    }

    /// The index, if there is one or lookups have paid for one.
    fn index(&self) -> Option<&Index> {
        let indexed = self.index.get().is_some()
            || (self.slots.len() > SMALL && self.scans.fetch_add(1, Relaxed) >= SCANS);
        indexed.then(|| &**self.index.get_or_init(|| Box::new(self.new_index())))
    }

    fn new_index(&self) -> Index {
        let mut index = Index::with_capacity(self.len());
        for (position, slot) in self.slots.iter().enumerate() {
            count_step();
            if let Some(member) = slot.as_ref().filter(|member| member.has_string_key()) {
                let key = json::unescape(self.text(&member.key)).into();
                index.entry(key).or_default().push(position);
            }
        }
        index
    }

    /// Empties slots, and drops the empty ones once they are the majority. That changes positions, so the
    /// index is built anew.
    fn empty(&mut self, positions: &[usize]) {
        for &position in positions {
            if let Some(slot) = self.slots.get_mut(position) {
                *slot = None;
                self.removed += 1;
            }
        }
        if self.removed > self.slots.len() / 2 {
            self.slots.retain(|slot| {
                count_step();
                slot.is_some()
            });
            self.removed = 0;
            self.index = OnceLock::new();
        }
    }

    fn matches(&self, slot: &Option<Member>, key: &str) -> bool {
        count_step();
        let Some(member) = slot.as_ref().filter(|member| member.has_string_key()) else { return false };
        if let Fragment::Source(range) = &member.key
            && !member.escaped
            && range.len() != key.len()
        {
            return false;
        }
        let raw = self.text(&member.key);
        if member.escaped { json::unescape(raw) == key } else { raw == key }
    }
}

/// Leaves the index out: few copies need one, and the first lookups rebuild it.
impl Clone for Members {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            slots: self.slots.clone(),
            removed: self.removed,
            scans: AtomicUsize::new(0),
            index: OnceLock::new(),
        }
    }
}

impl Member {
    /// In a pickle a key can be of any type. A key that is not a string cannot be named here.
    pub(super) fn has_string_key(&self) -> bool {
        !matches!(self.key, Fragment::Pickled(_))
    }
}

fn resolve<'a>(source: &'a str, fragment: &'a Fragment) -> &'a str {
    match fragment {
        Fragment::Source(range) => source.get(range.clone()).unwrap_or_default(),
        Fragment::Owned(text) => text,
        Fragment::Pickled(value) => &value.json,
    }
}

#[cfg(not(test))]
fn count_step() {}

#[cfg(test)]
use tests::count_step;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts the members that are compared, indexed or moved.
    pub(super) fn count_step() {
        STEPS.set(STEPS.get() + 1);
    }

    #[test]
    fn many_keys_take_linear_work() {
        const KEYS: usize = 30_000;
        let keys: Vec<String> = (0..KEYS).map(|n| format!("key {n}")).collect();
        let mut members = Members::default();
        let each = |what: &str, mut action: Box<dyn FnMut(&str) + '_>| {
            STEPS.set(0);
            keys.iter().for_each(|key| action(key));
            assert!(STEPS.get() < 12 * KEYS, "{what}: {} steps", STEPS.get());
        };
        each("insert", Box::new(|key| members.set(&key.into(), "1".into())));
        each("get", Box::new(|key| assert_eq!(members.get(key), Some("1"))));
        each("replace", Box::new(|key| members.set(&key.into(), "2".into())));
        let mut copy = members.clone();
        each("get from a copy", Box::new(|key| assert_eq!(copy.get(key), Some("2"))));
        each("remove", Box::new(|key| assert!(copy.remove(key))));
        each("miss", Box::new(|key| assert!(copy.get(key).is_none() && !copy.remove(key))));
        assert_eq!((members.len(), copy.len(), copy.iter().count()), (KEYS, 0, 0));
    }

    #[test]
    fn a_small_dictionary_has_no_index() {
        let mut members = Members::default();
        (0..SMALL).for_each(|n| members.set(&n.to_string().into(), "1".into()));
        assert!((0..100).all(|n| members.get(&n.to_string()).is_some() == (n < SMALL)));
        assert!(members.index.get().is_none());
    }

    /// With the index, operations on duplicates give what a list of members gives.
    #[test]
    fn an_index_keeps_the_rules_for_duplicates() {
        let fragment = |text: &String| Fragment::Owned(text.as_str().into());
        let mut plain: Vec<(String, String)> =
            (0..200).map(|n| (format!("k{}", n * n % 79), n.to_string())).collect();
        let mut members = Members::new("".into(), plain.iter().map(|(k, v)| (fragment(k), fragment(v))));
        for n in 200..1200 {
            let key = format!("k{}", n * n % 97);
            let found: Vec<usize> = (0..plain.len()).filter(|&at| plain[at].0 == key).collect();
            assert_eq!(members.get(&key), found.last().map(|&last| plain[last].1.as_str()));
            let kept = if n % 3 == 0 { None } else { found.first().copied() };
            if n % 3 == 0 {
                assert_eq!(members.remove(&key), !found.is_empty());
            } else {
                members.set(&key.as_str().into(), n.to_string().into());
                match kept {
                    Some(first) => plain[first].1 = n.to_string(),
                    None => plain.push((key, n.to_string())),
                }
            }
            found.iter().rev().filter(|&&at| Some(at) != kept).for_each(|&at| drop(plain.remove(at)));
            let text = |fragment| members.text(fragment).to_owned();
            assert!(members.iter().map(|member| (text(&member.key), text(&member.value))).eq(plain.clone()));
            assert_eq!(members.len(), plain.len());
        }
        assert!(members.index.get().is_some());
    }
}
