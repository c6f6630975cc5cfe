//! A cache in this process's memory. Django's LocMem.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{Cache, Entry, Replaced};
use crate::Error;

/// Names a call of `names` answers at most.
const PAGE: usize = 500;

/// Keeps values in memory, at most so many of them: it ends with the process, and no other process sees it.
///
/// A full cache lets go of the value that would end first. Clones share what is in it.
#[derive(Clone)]
pub struct MemoryCache {
    values: Arc<Mutex<Values>>,
    max_entries: usize,
}

#[derive(Default)]
struct Values {
    by_name: BTreeMap<Arc<str>, Entry>,
    by_end: BTreeSet<(SystemTime, Arc<str>)>,
}

impl MemoryCache {
    /// An empty cache for 100,000 values. Django's holds 300 by default.
    pub fn new() -> Self {
        Self { values: Arc::default(), max_entries: 100_000 }
    }

    /// The number of values to hold. Django's MAX_ENTRIES.
    #[must_use]
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries.max(1);
        self
    }

    pub(in crate::store) fn len(&self) -> usize {
        self.values().by_name.len()
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        // Nothing that can panic runs while it is locked.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what has ended, and tells how many that were.
    pub(in crate::store) fn sweep(&self) -> u64 {
        let (mut values, now) = (self.values(), SystemTime::now());
        let mut swept = 0;
        while let Some((end, name)) = values.by_end.first().cloned()
            && end <= now
        {
            values.remove(&name);
            swept += 1;
        }
        swept
    }

    fn exchange(
        &self,
        name: &str,
        seen: &[u8],
        new_name: &str,
        value: &[u8],
        expires: SystemTime,
    ) -> Replaced {
        let (mut values, now) = (self.values(), SystemTime::now());
        match values.live(name, now) {
            None => return Replaced::Gone,
            Some(there) if *there.value != *seen => return Replaced::Changed(there.clone()),
            Some(_) if name != new_name && values.live(new_name, now).is_some() => return Replaced::Taken,
            Some(_) => {}
        }
        values.remove(name);
        values.insert(new_name, value, expires, now, self.max_entries);
        Replaced::Done
    }
}

impl Values {
    fn live(&self, name: &str, now: SystemTime) -> Option<&Entry> {
        self.by_name.get(name).filter(|entry| entry.expires > now)
    }

    fn remove(&mut self, name: &str) -> Option<Entry> {
        let (name, entry) = self.by_name.remove_entry(name)?;
        self.by_end.remove(&(entry.expires, name));
        Some(entry)
    }

    fn insert(&mut self, name: &str, value: &[u8], expires: SystemTime, now: SystemTime, limit: usize) {
        self.remove(name);
        if expires <= now {
            return;
        }
        while self.by_name.len() >= limit
            && let Some((_, first)) = self.by_end.first().cloned()
        {
            self.remove(&first);
        }
        let name: Arc<str> = name.into();
        self.by_end.insert((expires, name.clone()));
        self.by_name.insert(name, Entry { value: value.into(), expires });
    }
}

impl Cache for MemoryCache {
    async fn get(&self, name: &str) -> Result<Option<Entry>, Error> {
        Ok(self.values().live(name, SystemTime::now()).cloned())
    }

    async fn add(&self, name: &str, value: &[u8], expires: SystemTime) -> Result<bool, Error> {
        let (mut values, now) = (self.values(), SystemTime::now());
        let free = values.live(name, now).is_none();
        if free {
            values.insert(name, value, expires, now, self.max_entries);
        }
        Ok(free)
    }

    async fn replace(
        &self,
        name: &str,
        seen: &[u8],
        value: &[u8],
        expires: SystemTime,
    ) -> Result<Replaced, Error> {
        Ok(self.exchange(name, seen, name, value, expires))
    }

    async fn rename(
        &self,
        name: &str,
        seen: &[u8],
        new_name: &str,
        value: &[u8],
        expires: SystemTime,
    ) -> Result<Replaced, Error> {
        Ok(self.exchange(name, seen, new_name, value, expires))
    }

    async fn delete(&self, name: &str) -> Result<bool, Error> {
        let removed = self.values().remove(name);
        Ok(removed.is_some_and(|entry| entry.expires > SystemTime::now()))
    }

    async fn names(
        &self,
        prefix: &str,
        cursor: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        let values = self.values();
        let from = match cursor {
            Some(last) => Bound::Excluded(last),
            None => Bound::Included(prefix),
        };
        let named = values.by_name.range::<str, _>((from, Bound::Unbounded));
        let found = named.map(|(name, _)| name).take_while(|name| name.starts_with(prefix)).take(PAGE);
        let names: Vec<String> = found.map(ToString::to_string).collect();
        let next = (names.len() == PAGE).then(|| names.last().cloned()).flatten();
        Ok((names, next))
    }
}

impl Default for MemoryCache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryCache({} values)", self.len())
    }
}
