//! What the engines share that keep Django's signed text in a row.

use std::{sync::Arc, time::SystemTime};

use super::{Cursor, Listed, Loaded, Page, Record, Seen};
use crate::{Error, SessionKey, codec::Codec};

/// Expired sessions cleared by one statement, where nobody says how many.
pub(super) const BATCH: u32 = 1000;

/// Clears batch after batch.
pub(super) async fn clear_all(store: &impl super::SessionStore) -> Result<u64, Error> {
    let (mut total, mut after) = (0, None);
    loop {
        let cleared = store.clear_some(BATCH, after).await?;
        total += cleared.sessions;
        if cleared.sessions < u64::from(BATCH) {
            return Ok(total);
        }
        after = cleared.until;
    }
}

/// Sessions of a page.
pub(super) const PAGE: u32 = 500;

/// A row's text and expiry as a load's answer.
pub(super) fn loaded(codec: &Codec, row: Option<(Arc<str>, SystemTime)>) -> Loaded {
    let Some((text, expires)) = row else { return Loaded::Missing };
    match codec.decode(&text) {
        Ok(data) => Loaded::Found(Record { data, seen: Seen::of_text(text), expires }),
        Err(error) => Loaded::Unreadable(Arc::new(error)),
    }
}

/// A row of a page: its key, its text unless that is too long to be read, its expiry.
pub(super) type PageRow = (String, Option<String>, SystemTime);

/// A page from its rows in the order of their keys.
pub(super) fn page(codec: &Codec, rows: Vec<PageRow>) -> Page {
    let full = rows.len() >= PAGE as usize;
    let next = rows.last().filter(|_| full).map(|(key, ..)| Cursor::new(key.as_str()));
    // What is no key of ours (a table may hold anything) has no session either.
    let sessions = rows.into_iter().filter_map(|(key, text, expires)| {
        let key = SessionKey::parse(&key)?;
        let data = match text {
            Some(text) => codec.decode(&text),
            None => Err(Error::too_large_to_read(codec.size_limit())),
        };
        Some(Listed { key, expires, data: data.map_err(Arc::new) })
    });
    Page { sessions: sessions.collect(), next }
}
