//! A session's file as a row: its bytes, and when it expires.

use std::time::{Duration, SystemTime};

use super::{
    disk::{Disk, FileContent},
    error::FileError,
};
use crate::{
    SessionKey,
    backend::{Row, SiteSettings},
};

/// The directory of one site. Its files hold no expiry: the site tells it from a file's bytes and mtime.
#[derive(Debug)]
pub(super) struct SiteFiles {
    pub(super) disk: Disk,
    pub(super) site: SiteSettings,
}

impl SiteFiles {
    /// When a file expires; `None` if its bytes cannot be read.
    fn expiry(&self, content: &FileContent) -> Option<SystemTime> {
        self.site.expiry(content.bytes.as_deref()?, content.modified)
    }

    /// The row that a file holds. An unreadable one expires one cookie age after its mtime.
    pub(super) fn row(&self, content: FileContent) -> Row {
        let modified = content.modified;
        let by_age = || modified.checked_add(self.site.cookie_age).unwrap_or(modified);
        let expires = self.expiry(&content).unwrap_or_else(by_age);
        content.bytes.map_or(Row::too_large(expires), |bytes| Row::new(bytes, expires))
    }

    /// The row of a session, if it has not expired.
    pub(super) fn live_row(&self, key: &SessionKey) -> Result<Option<Row>, FileError> {
        let row = self.disk.read(key)?.map(|content| self.row(content));
        Ok(row.filter(|row| row.expires > SystemTime::now()))
    }

    /// Whether a file has expired. Never an unreadable one: it may belong to another site.
    pub(super) fn has_expired(&self, content: &FileContent) -> bool {
        self.expiry(content).is_some_and(|expires| expires <= SystemTime::now())
    }

    /// The mtime with which a file of these bytes expires at `expires`; `None` if the bytes themselves say
    /// when.
    pub(super) fn mtime(&self, value: &[u8], expires: SystemTime) -> Option<SystemTime> {
        let epoch = SystemTime::UNIX_EPOCH;
        let saved_at = |time| self.site.expiry(value, time);
        let age = match saved_at(epoch) {
            None => self.site.cookie_age,
            same if same == saved_at(epoch + Duration::from_secs(1)) => return None,
            // A negative age has expired before it was saved.
            Some(end) => match end.duration_since(epoch) {
                Ok(age) => age,
                Err(before) => return expires.checked_add(before.duration()),
            },
        };
        expires.checked_sub(age)
    }
}
