//! Lists the sessions of a directory, in the order of their keys.

use std::{collections::BinaryHeap, fs};

use super::{
    disk::{Disk, FileName},
    error::FileError,
    record::SiteFiles,
};
use crate::{Error, SessionKey, backend::Row};

/// A page ends with the first of these.
const PAGE_ROWS: usize = 500;
const PAGE_BYTES: usize = 4 << 20;

/// Keys that one pass over the directory collects: about a megabyte.
const MAX_KEYS: usize = 10_000;

/// Keys that a pass over the directory has found, for the next pages. Otherwise each page would need its own
/// pass.
#[derive(Debug)]
pub(super) struct ListingCache {
    /// The next page follows this key.
    pub(super) after: String,
    /// In reverse order.
    keys: Vec<SessionKey>,
    /// Whether the directory has more.
    more: bool,
}

type Entries = Vec<(SessionKey, Result<Row, Error>)>;

impl ListingCache {
    /// Collects the first keys that follow `after`.
    fn new(disk: &Disk, after: String) -> Result<Self, FileError> {
        let (mut first, mut more) = (BinaryHeap::new(), false);
        for entry in fs::read_dir(&disk.dir)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            let FileName::Session(key) = disk.parse_name(&name) else { continue };
            if key.as_str() > after.as_str() {
                first.push(key);
            }
            if first.len() > MAX_KEYS {
                first.pop();
                more = true;
            }
        }
        let mut keys = first.into_sorted_vec();
        keys.reverse();
        Ok(Self { after, keys, more })
    }

    /// The sessions that follow `after`, and the cache for the next page, if there is one.
    pub(super) fn page(
        kept: Option<Self>,
        files: &SiteFiles,
        after: String,
    ) -> Result<(Entries, Option<Self>), FileError> {
        let mut cache = match kept.filter(|cache| cache.after == after && !cache.keys.is_empty()) {
            Some(cache) => cache,
            None => Self::new(&files.disk, after)?,
        };
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < PAGE_ROWS && bytes < PAGE_BYTES {
            let Some(key) = cache.keys.pop() else { break };
            key.as_str().clone_into(&mut cache.after);
            match files.disk.read(&key) {
                Ok(None) | Err(FileError::NotAFile(_)) => {}
                Ok(Some(content)) => {
                    let row = files.row(content);
                    bytes += row.value.as_ref().map_or(0, |value| value.len());
                    entries.push((key, Ok(row)));
                }
                // The session exists: neither it nor those after it may be left out silently.
                Err(error) => entries.push((key, Err(error.explain("read a session", &files.disk.dir)))),
            }
        }
        let next = (cache.more || !cache.keys.is_empty()).then_some(cache);
        Ok((entries, next))
    }
}
