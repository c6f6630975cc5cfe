//! A backend with the codec of what it holds: the one place where bytes and dictionaries meet.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{
    off_worker::off_worker,
    record::{Loaded, Record, Saved, SessionEntry, Update, Version},
};
use crate::{
    Error, SessionKey, SessionSettings,
    backend::{Backend, DynBackend, Insert, Inserted, Replace, Replaced, Row, SiteSettings},
    codec::{Codec, SessionData, expiry, json},
};

/// Sessions of up to so many bytes are encoded and decoded on the worker, which takes a millisecond at most.
/// Larger ones would hold up its other requests: they go to a thread of tokio's blocking pool.
const SMALL: usize = 64 * 1024;

#[derive(Clone)]
pub(super) struct EncodedBackend {
    pub(super) backend: Arc<dyn DynBackend>,
    pub(super) codec: Codec,
}

impl EncodedBackend {
    pub(super) fn new(backend: impl Backend, codec: Codec) -> Self {
        Self { backend: Arc::new(backend), codec }
    }

    /// The same, with the backend adapted to these settings.
    pub(super) fn with_settings(&self, settings: &SessionSettings, in_front: bool) -> Result<Self, Error> {
        let (codec, age) = (self.codec.clone(), settings.cookie_age);
        let expiry = move |value: &[u8], saved| {
            Some(expiry::date(&decode(&codec, value, usize::MAX).ok()?, age, saved))
        };
        let mut site = SiteSettings::new(&settings.cookie_name, age, self.codec.max_value_bytes(), expiry);
        site.in_front = in_front;
        let codec = self.codec.clone();
        let site = site.with_text(move |value, key| {
            let data = decode(&codec, value, usize::MAX).ok()?;
            let text = data.get_json(key).filter(|text| *text != "null")?;
            Some(json::from_json(text).unwrap_or_else(|_| text.to_owned()))
        });
        let adapted = self.backend.with_settings(&site)?;
        Ok(Self { backend: adapted.unwrap_or_else(|| self.backend.clone()), codec: self.codec.clone() })
    }

    pub(super) async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        self.codec.check()?; // a setting that cannot be right is not a session that cannot be read
        match self.backend.get(key).await? {
            Some(row) => self.loaded(row).await,
            None => Ok(Loaded::Missing),
        }
    }

    /// Errors if a large session cannot be decoded, since the runtime is stopping.
    pub(super) async fn loaded(&self, row: Row) -> Result<Loaded, Error> {
        let expires = row.expires;
        Ok(match self.decode(&row).await? {
            Ok(mut data) => {
                expiry::resolve_naive(&mut data, expires);
                Loaded::Found(Record {
                    data,
                    version: Version::Stored(row.value.unwrap_or_default()),
                    expires,
                })
            }
            Err(error) => Loaded::Unreadable(error),
        })
    }

    async fn decode(&self, row: &Row) -> Result<Result<SessionData, Error>, Error> {
        let Some(value) = &row.value else {
            return Ok(Err(Error::too_large_to_read(self.codec.size_limit())));
        };
        // How large a compressed one is shows when it is decompressed.
        if self.codec.can_be_small(value, SMALL) {
            match decode(&self.codec, value, SMALL) {
                Err(error) if error.is_too_large() && self.codec.size_limit() > SMALL => {}
                decoded => return Ok(decoded),
            }
        }
        let (codec, value) = (self.codec.clone(), value.clone());
        Box::pin(off_worker(move || decode(&codec, &value, usize::MAX))).await
    }

    async fn encode(&self, data: &SessionData) -> Result<Bytes, Error> {
        if data.size_hint() <= SMALL {
            return self.codec.encode(data).map(Bytes::from);
        }
        let (codec, data) = (self.codec.clone(), data.clone());
        Box::pin(off_worker(move || codec.encode(&data))).await?.map(Bytes::from)
    }

    pub(super) async fn insert(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Saved, Error> {
        let value = self.encode(data).await?;
        Ok(match self.backend.insert(Insert::new(key, value.clone(), expires)).await? {
            Inserted::Done => Saved::Done(key.clone(), Version::Stored(value)),
            Inserted::KeyTaken => Saved::KeyTaken,
        })
    }

    pub(super) async fn update(&self, update: Update<'_>) -> Result<Saved, Error> {
        let Version::Stored(expected) = update.version else {
            return Ok(self.load(update.key).await?.not_saved());
        };
        let value = self.encode(update.data).await?;
        let mut change = Replace::new(update.key, expected.clone(), update.expires).value(value.clone());
        change.new_key = update.new_key;
        self.replace(change, value).await
    }

    /// Moves the expiry and nothing else.
    pub(super) async fn touch(
        &self,
        key: &SessionKey,
        version: &Version,
        expires: SystemTime,
    ) -> Result<Saved, Error> {
        let Version::Stored(expected) = version else {
            return Ok(self.load(key).await?.not_saved());
        };
        self.replace(Replace::new(key, expected.clone(), expires), expected.clone()).await
    }

    /// `value` is what the row holds if the change is made.
    async fn replace(&self, change: Replace<'_>, value: Bytes) -> Result<Saved, Error> {
        let key = change.new_key.unwrap_or(change.key);
        Ok(match self.backend.replace(change).await? {
            Replaced::Done => Saved::Done(key.clone(), Version::Stored(value)),
            Replaced::KeyTaken => Saved::KeyTaken,
            Replaced::Conflict(row) => self.loaded(row).await?.not_saved(),
            Replaced::Gone => Saved::Gone,
            Replaced::Unknown => Saved::Unknown,
        })
    }

    /// A row as a listing shows it.
    pub(super) async fn entry(
        &self,
        key: SessionKey,
        row: Result<Row, Error>,
        age: Duration,
    ) -> SessionEntry {
        match row {
            Ok(row) => {
                let data = self.decode(&row).await.unwrap_or_else(Err);
                SessionEntry { key, expires: row.expires, value: row.value, data }
            }
            // Nothing shows that the row has expired: it counts as new.
            Err(error) => {
                let now = SystemTime::now();
                let expires = now.checked_add(age).unwrap_or(now);
                SessionEntry { key, expires, value: None, data: Err(error) }
            }
        }
    }
}

/// An empty value is an empty session: Django makes a session's file before it writes it. Not so in a cache.
fn decode(codec: &Codec, value: &[u8], limit: usize) -> Result<SessionData, Error> {
    let empty = value.is_empty() && !codec.is_unsigned();
    if empty { Ok(SessionData::default()) } else { codec.decode_small(value, limit) }
}
