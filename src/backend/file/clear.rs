//! Removes expired sessions, and what killed writers left behind.

use std::{
    fs::{self, ReadDir},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use super::{
    disk::{self, Disk, FileName, is_at},
    error::FileError,
    record::SiteFiles,
};
use crate::SessionKey;

/// From this age on nobody still writes a temporary file.
const ABANDONED: Duration = Duration::from_secs(3600);

/// How long one step takes. Between two steps other requests get the thread.
const STEP: Duration = Duration::from_millis(200);

/// A pass that paused for longer starts again: what it has gone by may have expired since.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// A pass over the directory. Kept between calls, so that each does not start at the beginning.
#[derive(Debug)]
pub(super) struct ClearingPass {
    entries: ReadDir,
    /// Files that could not be examined, and the first reason.
    skipped: u64,
    first_error: Option<FileError>,
    paused: Instant,
}

impl ClearingPass {
    pub(super) fn begin(disk: &Disk) -> Result<Self, FileError> {
        let entries = fs::read_dir(&disk.dir)?;
        Ok(Self { entries, skipped: 0, first_error: None, paused: Instant::now() })
    }

    /// Whether the pass may be continued.
    pub(super) fn is_recent(&self) -> bool {
        self.paused.elapsed() < MAX_PAUSE
    }

    /// Goes on for a while. Returns how many sessions it has removed, at most `limit`, and whether it is
    /// complete.
    pub(super) fn step(mut self, files: &SiteFiles, limit: u64) -> Result<(Self, u64, bool), FileError> {
        let until = Instant::now() + STEP;
        let mut cleared = 0;
        while cleared < limit && Instant::now() < until {
            let Some(entry) = self.entries.next().transpose()? else { return Ok((self, cleared, true)) };
            let name = entry.file_name();
            let parsed = name.to_str().map_or(FileName::Foreign, |name| files.disk.parse_name(name));
            let removed = match parsed {
                FileName::Session(key) => clear_session(files, &key),
                FileName::Temporary => sweep(&entry.path()).map(|()| false),
                FileName::Foreign => Ok(false),
            };
            match removed {
                Ok(removed) => cleared += u64::from(removed),
                Err(error) => {
                    self.skipped += 1;
                    self.first_error.get_or_insert(error);
                }
            }
        }
        self.paused = Instant::now();
        Ok((self, cleared, false))
    }

    /// Logs which files were skipped.
    pub(super) fn finish(self, what: &str, dir: &Path) {
        if let Some(error) = self.first_error {
            let (skipped, error) = (self.skipped, error.explain(what, dir).with_causes());
            tracing::warn!("{skipped} files were left alone, the first because: {error}");
        }
    }
}

/// Removes a session if it has expired, and returns whether it did.
fn clear_session(files: &SiteFiles, key: &SessionKey) -> Result<bool, FileError> {
    let Some(content) = files.disk.read(key)? else { return Ok(false) };
    if !files.has_expired(&content) {
        return Ok(false);
    }
    match files.disk.lock(key, Instant::now()) {
        // The first look was without the lock.
        Ok(Some(file)) if files.has_expired(&files.disk.read_from(&file)?) => {
            Ok(disk::remove(&files.disk.path(key))?)
        }
        // The process with the lock removes the session, or has made it live again.
        Ok(_) | Err(FileError::Locked) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the file of a writer that was killed. A living one holds its lock; Django's is never that old.
fn sweep(path: &Path) -> Result<(), FileError> {
    let Some(file) = disk::open(path, true)? else { return Ok(()) };
    let age = SystemTime::now().duration_since(file.metadata()?.modified()?);
    if age.is_ok_and(|age| age > ABANDONED) {
        match disk::lock(&file, Instant::now()) {
            // The writer may have finished meanwhile.
            Ok(()) if is_at(&file, path)? == Some(true) => drop(disk::remove(path)?),
            Ok(()) | Err(FileError::Locked) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
