//! The directory: names, opening and locking of its files.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind::NotFound, Read as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{error::FileError, sys};
use crate::SessionKey;

/// Separates the session file's name from a random suffix, in the name of a file that is being written.
/// Django's.
const TEMPORARY: &str = "_out_";
const SUFFIX_LENGTH: usize = 8;

/// The longest prefix: a file name has at most 255 bytes, and a key, the mark and a suffix follow.
pub(super) const MAX_PREFIX: usize = 255 - 40 - TEMPORARY.len() - SUFFIX_LENGTH;

/// Where the files are, and what their names begin with.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) dir: PathBuf,
    pub(super) prefix: String,
    /// A file of more bytes is not read.
    pub(super) limit: u64,
    /// Whether to try to swap two files. If the file system cannot, another way is taken.
    pub(super) swaps: bool,
}

/// The kind of a file, by its name.
#[derive(Debug)]
pub(super) enum FileName {
    Session(SessionKey),
    Temporary,
    Foreign,
}

/// A session's file as it was read.
#[derive(Debug)]
pub(super) struct FileContent {
    /// `None` if it is larger than the limit.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) modified: SystemTime,
}

/// Django's `VALID_KEY_CHARS`: no path can be made of these.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Whether a key can be a part of a file's name.
pub(super) fn can_be_named(key: &SessionKey) -> bool {
    is_plain(key.as_str())
}

impl Disk {
    /// The file of a session, if its key [can be named](can_be_named).
    pub(super) fn path(&self, key: &SessionKey) -> PathBuf {
        self.dir.join(format!("{}{}", self.prefix, key.as_str()))
    }

    /// A new name for a file that is being written.
    pub(super) fn temporary(&self, key: &str) -> PathBuf {
        let random = SessionKey::generate();
        let suffix = &random.as_str()[..SUFFIX_LENGTH];
        self.dir.join(format!("{}{key}{TEMPORARY}{suffix}", self.prefix))
    }

    pub(super) fn parse_name(&self, name: &str) -> FileName {
        let Some(rest) = name.strip_prefix(&self.prefix) else { return FileName::Foreign };
        if let Some(key) = SessionKey::parse(rest).filter(can_be_named) {
            return FileName::Session(key);
        }
        match rest.split_once(TEMPORARY) {
            // Python's random suffixes also contain the underscore.
            Some((key, suffix))
                if is_plain(key) && suffix.len() == SUFFIX_LENGTH && is_plain(&suffix.replace('_', "")) =>
            {
                FileName::Temporary
            }
            _ => FileName::Foreign,
        }
    }

    /// Opens the session's file, if it exists. A key that no file can have is a miss. A missing directory is
    /// an error: "no such session" would log everybody out.
    pub(super) fn open(&self, key: &SessionKey, to_lock: bool) -> Result<Option<File>, FileError> {
        let file = if can_be_named(key) { open(&self.path(key), to_lock)? } else { None };
        if file.is_none() {
            fs::metadata(&self.dir)?;
        }
        Ok(file)
    }

    pub(super) fn read(&self, key: &SessionKey) -> Result<Option<FileContent>, FileError> {
        let file = self.open(key, false)?;
        file.map(|file| self.read_from(&file)).transpose()
    }

    pub(super) fn read_from(&self, file: &File) -> Result<FileContent, FileError> {
        let metadata = file.metadata()?;
        let (size, modified) = (metadata.len(), metadata.modified()?);
        if size > self.limit {
            return Ok(FileContent { bytes: None, modified });
        }
        let mut bytes = Vec::new();
        bytes.reserve_exact(size as usize);
        file.take(self.limit.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(FileContent { bytes: Some(bytes).filter(|bytes| bytes.len() as u64 <= self.limit), modified })
    }

    /// Locks the session's file, if it exists. Every writer of this crate holds this lock, and that of the
    /// new file that it puts in place; Django does not lock.
    pub(super) fn lock(&self, key: &SessionKey, until: Instant) -> Result<Option<File>, FileError> {
        let path = self.path(key);
        loop {
            let Some(file) = self.open(key, true)? else { return Ok(None) };
            lock(&file, until)?;
            // Another writer may have put a new file in place before this one got the lock.
            if is_at(&file, &path)? == Some(true) {
                return Ok(Some(file));
            }
        }
    }

    /// Makes renames and removals survive a crash of the system.
    pub(super) fn sync(&self) -> io::Result<()> {
        match File::open(&self.dir)?.sync_all() {
            // Some network file systems cannot, and do not need to.
            Err(error) if sys::is_unsupported(&error) => Ok(()),
            done => done,
        }
    }
}

/// Opens a file, if it exists. Anything but a file is an error.
pub(super) fn open(path: &Path, to_lock: bool) -> Result<Option<File>, FileError> {
    match sys::open(path, to_lock) {
        Ok(file) => {
            let kind = file.metadata()?.file_type();
            if kind.is_file() { Ok(Some(file)) } else { Err(FileError::NotAFile(sys::kind(kind))) }
        }
        Err(error) if error.kind() == NotFound => Ok(None),
        Err(error) => match fs::symlink_metadata(path).map(|found| found.file_type()) {
            Ok(kind) if !kind.is_file() => Err(FileError::NotAFile(sys::kind(kind))),
            _ => Err(error.into()),
        },
    }
}

/// Waits for a lock, until the deadline.
pub(super) fn lock(file: &File, until: Instant) -> Result<(), FileError> {
    let mut pause = Duration::from_micros(200);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return Err(FileError::Locked),
            Err(TryLockError::WouldBlock) => thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Device and inode: different from those of every other file that exists at the same time.
pub(super) type FileId = (u64, u64);

pub(super) fn id(file: &File) -> io::Result<FileId> {
    file.metadata().map(|metadata| sys::id(&metadata))
}

/// The file that has this name, if any.
pub(super) fn id_at(path: &Path) -> io::Result<Option<FileId>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(sys::id(&found))),
        Err(error) if error.kind() == NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether this file has this name; `None` if no file has it.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<Option<bool>> {
    let Some(found) = id_at(path)? else { return Ok(None) };
    Ok(Some(found == id(file)?))
}

/// Removes a file and returns whether it existed.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
