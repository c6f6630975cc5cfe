//! The directory: names, opening and locking of its files.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind::NotFound, Read as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{sys, trouble::Trouble};
use crate::SessionKey;

/// Between the name of a session's file and a random end, in the name of a file that is being written. Django's.
const TEMPORARY: &str = "_out_";

/// The random end's length.
const RANDOM: usize = 8;

/// Where the files are, and what their names begin with.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) dir: PathBuf,
    pub(super) prefix: String,
    /// A file of more bytes is not read.
    pub(super) limit: u64,
    /// Whether two files can be swapped here. Where that is not so, it is found out.
    pub(super) swaps: bool,
}

/// What a name in the directory says.
#[derive(Debug)]
pub(super) enum Name {
    Session(SessionKey),
    Temporary,
    NotOurs,
}

/// A session's file as it was found.
#[derive(Debug)]
pub(super) struct Content {
    /// None if it is larger than the limit.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

/// Whether a key can be a part of a file's name. Django's `VALID_KEY_CHARS`: no path can be made of these.
pub(super) fn can_be_named(key: &SessionKey) -> bool {
    key.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

impl Disk {
    /// The file of a session whose key [can be named](can_be_named).
    pub(super) fn path(&self, key: &SessionKey) -> PathBuf {
        self.dir.join(format!("{}{}", self.prefix, key.as_str()))
    }

    /// A name for a file that is being written.
    pub(super) fn temporary(&self, key: &str) -> PathBuf {
        let random = SessionKey::generate();
        let random = &random.as_str()[..RANDOM];
        self.dir.join(format!("{}{key}{TEMPORARY}{random}", self.prefix))
    }

    pub(super) fn name(&self, name: &str) -> Name {
        let Some(rest) = name.strip_prefix(&self.prefix) else { return Name::NotOurs };
        if let Some(key) = SessionKey::parse(rest).filter(can_be_named) {
            return Name::Session(key);
        }
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        match rest.split_once(TEMPORARY) {
            // Python's random ends have the underscore too.
            Some((key, end)) if plain(key) && end.len() == RANDOM && plain(&end.replace('_', "")) => {
                Name::Temporary
            }
            _ => Name::NotOurs,
        }
    }

    /// The session's file, if there is one. Errors if there is not even the directory: an answer of "no such session"
    /// would log everybody out.
    pub(super) fn open(&self, key: &SessionKey, to_lock: bool) -> Result<Option<File>, Trouble> {
        let file = open(&self.path(key), to_lock)?;
        if file.is_none() {
            fs::metadata(&self.dir)?;
        }
        Ok(file)
    }

    /// What is in the session's file, if there is one.
    pub(super) fn read(&self, key: &SessionKey) -> Result<Option<Content>, Trouble> {
        match self.open(key, false)? {
            Some(file) => self.read_from(&file).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn read_from(&self, file: &File) -> Result<Content, Trouble> {
        let metadata = file.metadata()?;
        let (size, modified) = (metadata.len(), metadata.modified()?);
        let mut bytes = Vec::new();
        if size <= self.limit {
            bytes.reserve_exact(size as usize);
            file.take(self.limit + 1).read_to_end(&mut bytes)?;
        }
        let size = size.max(bytes.len() as u64);
        Ok(Content { bytes: (size <= self.limit).then_some(bytes), size, modified })
    }

    /// Locks the session's file, if there is one. Whoever changes or ends the session here holds this lock, and that
    /// of the file that it puts in place; Django does not know of it.
    pub(super) fn lock(&self, key: &SessionKey, until: Instant) -> Result<Option<File>, Trouble> {
        let path = self.path(key);
        loop {
            let Some(file) = self.open(key, true)? else { return Ok(None) };
            lock(&file, until)?;
            // While this waited, another file may have been put in its place.
            if is_at(&file, &path)? == Some(true) {
                return Ok(Some(file));
            }
        }
    }

    /// Makes what was put in place, or taken away, survive a crash of the system.
    pub(super) fn sync(&self) -> io::Result<()> {
        match File::open(&self.dir)?.sync_all() {
            // Some network file systems cannot, and do not need to.
            Err(error) if sys::is_unsupported(&error) => Ok(()),
            done => done,
        }
    }
}

/// Opens a file, if it is there. Errors if that is no file.
pub(super) fn open(path: &Path, to_lock: bool) -> Result<Option<File>, Trouble> {
    match sys::open(path, to_lock) {
        Ok(file) => {
            let kind = file.metadata()?.file_type();
            if kind.is_file() { Ok(Some(file)) } else { Err(Trouble::NotAFile(sys::kind(kind))) }
        }
        Err(error) if error.kind() == NotFound => Ok(None),
        Err(error) => match fs::symlink_metadata(path).map(|there| there.file_type()) {
            Ok(kind) if !kind.is_file() => Err(Trouble::NotAFile(sys::kind(kind))),
            _ => Err(error.into()),
        },
    }
}

/// Waits for a lock, which no other process can make last longer than `until`.
pub(super) fn lock(file: &File, until: Instant) -> Result<(), Trouble> {
    let mut pause = Duration::from_micros(200);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return Err(Trouble::Locked),
            Err(TryLockError::WouldBlock) => thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Tells a file from every other that is there at the same time.
pub(super) type Identity = (u64, u64);

pub(super) fn identity(file: &File) -> io::Result<Identity> {
    file.metadata().map(|metadata| sys::identity(&metadata))
}

/// What file has the name, if any.
pub(super) fn identity_at(path: &Path) -> io::Result<Option<Identity>> {
    match fs::symlink_metadata(path) {
        Ok(there) => Ok(Some(sys::identity(&there))),
        Err(error) if error.kind() == NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether it is this file that has the name; None if nothing has.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<Option<bool>> {
    let Some(there) = identity_at(path)? else { return Ok(None) };
    Ok(Some(there == identity(file)?))
}

/// Removes a file; whether it was there.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
