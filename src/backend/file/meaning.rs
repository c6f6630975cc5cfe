//! What a session's file says: its data, and when it ends.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::Semaphore;

use super::{
    clear::Ahead,
    disk::{Content, Disk},
};
use crate::{
    Error,
    codec::{
        Codec,
        datetime::{from_micros, micros},
        expiry::{self, StoredExpiry},
    },
    store::{Loaded, Record, Seen, SessionData},
};

/// What clones of a store share.
#[derive(Clone)]
pub(super) struct Inner {
    pub(super) disk: Disk,
    pub(super) codec: Codec,
    pub(super) cookie_age: Duration,
    pub(super) permits: Arc<Semaphore>,
    pub(super) ahead: Arc<Mutex<Option<Ahead>>>,
}

impl Inner {
    pub(super) fn loaded(&self, content: Option<Content>) -> Loaded {
        let Some(content) = content else { return Loaded::Missing };
        let (data, expires) = self.dated(content);
        match data {
            _ if expires <= SystemTime::now() => Loaded::Missing,
            Ok((data, seen)) => Loaded::Found(Record { data, seen, expires }),
            Err(error) => Loaded::Unreadable(error),
        }
    }

    /// What is in a session's file, and when that ends. Django's `_expiry_date`, but for integers, which it takes for the
    /// age that is left whenever it looks. What cannot be read has the age of its file.
    pub(super) fn dated(&self, content: Content) -> (Result<(SessionData, Seen), Arc<Error>>, SystemTime) {
        let Content { bytes, size, modified } = content;
        let data = match bytes {
            // Django's own, for the moment between its making the file and writing it.
            Some(bytes) if bytes.is_empty() => Ok((SessionData::default(), Seen::new(""))),
            Some(bytes) => String::from_utf8(bytes)
                .map_err(|_| Error::unreadable("the session's file is not text"))
                .and_then(|text| Ok((self.codec.decode(&text)?, Seen::new(text)))),
            None => Err(Error::too_large(size.try_into().unwrap_or(usize::MAX), self.codec.size_limit())),
        };
        let expires = match &data {
            Ok((data, _)) => expiry::date(data, self.cookie_age, modified),
            Err(_) => expiry::date(&SessionData::default(), self.cookie_age, modified),
        };
        (data.map_err(Arc::new), expires)
    }

    /// The time of modification with which a file ends then. None for one that itself says when.
    pub(super) fn modified(&self, data: &SessionData, expires: SystemTime) -> Option<SystemTime> {
        if let StoredExpiry::Date(_) = expiry::stored_expiry(data) {
            return None;
        }
        let age = micros(expiry::date(data, self.cookie_age, SystemTime::UNIX_EPOCH));
        Some(from_micros(micros(expires).saturating_sub(age)))
    }

    pub(super) fn ahead(&self) -> MutexGuard<'_, Option<Ahead>> {
        // Nothing that can panic runs while it is locked.
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
