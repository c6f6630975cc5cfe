//! Puts a whole file in the place of another, in one step, on the condition that the place still has that
//! other.

use std::{
    fs::{self, File},
    io::{
        self,
        ErrorKind::{AlreadyExists, NotFound},
        Write as _,
    },
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use super::{
    disk::{self, Disk, FileId, id, id_at, is_at},
    error::FileError,
    sys::{self, RenameMode},
};
use crate::{SessionKey, event_log::EventLog};

/// A file that is being written. Locked, so that no sweep removes it; dropping it removes it unless it is in
/// place.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    in_place: bool,
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.in_place {
            let _ = fs::remove_file(&self.path); // a file that stays is swept
        }
    }
}

/// The result of putting a file in place.
#[derive(Debug)]
pub(super) enum Swapped {
    Done,
    /// The name is taken.
    Taken,
    /// A writer that does not lock (Django) has put another file there.
    Changed,
    /// A writer that does not lock (Django) has removed the file.
    Gone,
}

impl Disk {
    /// Writes a whole file beside its place and to the disk. Leaves nothing behind if that fails.
    pub(super) fn write(
        &self,
        key: &SessionKey,
        value: &[u8],
        mtime: Option<SystemTime>,
        until: Instant,
    ) -> Result<TemporaryFile, FileError> {
        let mut new = self.create_temporary(key.as_str(), until)?;
        new.file.write_all(value)?;
        if let Some(mtime) = mtime {
            new.file.set_modified(mtime)?;
        }
        new.file.sync_all()?;
        Ok(new)
    }

    fn create_temporary(&self, key: &str, until: Instant) -> Result<TemporaryFile, FileError> {
        loop {
            let path = self.temporary(key);
            match sys::create(&path) {
                Ok(file) => {
                    let new = TemporaryFile { path, file, in_place: false };
                    disk::lock(&new.file, until)?;
                    return Ok(new);
                }
                Err(error) if error.kind() == AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives a new session its name, unless that is taken.
    pub(super) fn insert(&self, new: &mut TemporaryFile, key: &SessionKey) -> Result<Swapped, FileError> {
        match self.rename_noreplace(&new.path, &self.path(key)) {
            Ok(()) => new.in_place = true,
            Err(error) if error.kind() == AlreadyExists => return Ok(Swapped::Taken),
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = self.sync() {
            let _ = disk::remove(&self.path(key)); // no reader knows the key yet
            return Err(error.into());
        }
        Ok(Swapped::Done)
    }

    /// Sets the mtime of the locked file `old`. Django cannot lose by it: it never writes into a file that
    /// exists.
    pub(super) fn touch(
        &self,
        old: &File,
        key: &SessionKey,
        mtime: Option<SystemTime>,
    ) -> Result<Swapped, FileError> {
        if let Some(mtime) = mtime {
            old.set_modified(mtime)?;
            old.sync_all().map_err(FileError::InDoubt)?;
        }
        self.is_in_place(old, &self.path(key))
    }

    /// `Done` if the locked file `old` still has its name.
    fn is_in_place(&self, old: &File, path: &Path) -> Result<Swapped, FileError> {
        Ok(match is_at(old, path)? {
            None => Swapped::Gone,
            Some(false) => Swapped::Changed,
            Some(true) => Swapped::Done,
        })
    }

    /// Puts `new` in the place of the locked file `old`.
    pub(super) fn replace(
        &self,
        new: &mut TemporaryFile,
        old: &File,
        key: &SessionKey,
    ) -> Result<Swapped, FileError> {
        let path = self.path(key);
        let refused = self.is_in_place(old, &path)?;
        if !matches!(refused, Swapped::Done) {
            return Ok(refused);
        }
        let ids = (id(old)?, id(&new.file)?);
        if self.swaps {
            match sys::rename(&new.path, &path, RenameMode::Swap) {
                Ok(()) => return self.verify_swap(ids, &new.path, &path),
                Err(error) if error.kind() == NotFound => return Ok(Swapped::Gone),
                Err(error) if !sys::is_unsupported(&error) => return Err(FileError::of_a_rename(error)),
                Err(_) => {}
            }
        }
        // A save of Django's between the check above and this rename is overwritten.
        fs::rename(&new.path, &path).map_err(FileError::of_a_rename)?;
        new.in_place = true;
        self.sync().map_err(FileError::InDoubt)?;
        Ok(Swapped::Done)
    }

    /// After a swap `aside` names the file that was in place. If that is not the old file, Django has saved
    /// meanwhile: swaps back, until the file that comes out is the one that was put in last.
    ///
    /// In these microseconds a reader may see our file, which is then taken back. No way is shorter while a
    /// writer does not lock.
    pub(super) fn verify_swap(
        &self,
        (old, new): (FileId, FileId),
        aside: &Path,
        path: &Path,
    ) -> Result<Swapped, FileError> {
        let (mut put_in, mut came_out) = (Some(new), id_at(aside).map_err(FileError::InDoubt)?);
        if came_out == Some(old) {
            self.sync().map_err(FileError::InDoubt)?;
            return Ok(Swapped::Done);
        }
        loop {
            match sys::rename(aside, path, RenameMode::Swap) {
                Ok(()) => {}
                // Deleted at this very moment.
                Err(error) if error.kind() == NotFound => return Ok(Swapped::Gone),
                Err(error) => return Err(FileError::InDoubt(error)),
            }
            let next = id_at(aside).map_err(FileError::InDoubt)?;
            if next == put_in {
                return Ok(Swapped::Changed);
            }
            (put_in, came_out) = (came_out, next);
        }
    }

    /// Gives `new` its own name and removes the locked file `old`.
    ///
    /// For a moment both exist. A crash in it leaves the old session as it was, and a new one whose key
    /// nobody knows.
    pub(super) fn rename(
        &self,
        new: &mut TemporaryFile,
        new_key: &SessionKey,
        old: &File,
        old_key: &SessionKey,
    ) -> Result<Swapped, FileError> {
        if let Swapped::Taken = self.insert(new, new_key)? {
            return Ok(Swapped::Taken);
        }
        let removed = self.remove_old(old, old_key);
        match removed {
            // In doubt, the old file may be gone: the new one stays, since the session must not lose both.
            Ok(Swapped::Done) | Err(FileError::InDoubt(_)) => {}
            _ => drop(disk::remove(&self.path(new_key))?),
        }
        removed
    }

    /// Removes the locked file `old` and no other: the file first gets another name, under which it is
    /// verified.
    fn remove_old(&self, old: &File, key: &SessionKey) -> Result<Swapped, FileError> {
        let (path, aside) = (self.path(key), self.temporary(key.as_str()));
        let refused = self.is_in_place(old, &path)?;
        if !matches!(refused, Swapped::Done) {
            return Ok(refused);
        }
        match fs::rename(&path, &aside) {
            Ok(()) => self.verify_removal(old, &aside, &path),
            Err(error) if error.kind() == NotFound => Ok(Swapped::Gone),
            Err(error) => Err(FileError::of_a_rename(error)),
        }
    }

    /// Removes the file `aside` if it is `old`. Otherwise Django has saved meanwhile, and it is put back.
    pub(super) fn verify_removal(&self, old: &File, aside: &Path, path: &Path) -> Result<Swapped, FileError> {
        if is_at(old, aside).map_err(FileError::InDoubt)? == Some(true) {
            let _ = disk::remove(aside); // a file that stays is swept
            if let Err(error) = self.sync() {
                // The new file is safe. An error now would lose the visitor both.
                let text = format!("a system crash may bring back a session that was renamed: {error}");
                EventLog::general().warn(text);
            }
            return Ok(Swapped::Done);
        }
        match self.rename_noreplace(aside, path) {
            Ok(()) => {}
            // Django has saved once more.
            Err(error) if error.kind() == AlreadyExists => drop(disk::remove(aside)),
            Err(error) => return Err(FileError::InDoubt(error)),
        }
        Ok(Swapped::Changed)
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.swaps {
            match sys::rename(from, to, RenameMode::NoReplace) {
                Err(error) if sys::is_unsupported(&error) => {}
                done => return done,
            }
        }
        fs::hard_link(from, to)?;
        let _ = fs::remove_file(from); // a file that stays is swept
        Ok(())
    }

    /// Errors if files cannot be created and listed here.
    pub(super) fn check(&self, until: Instant) -> Result<(), FileError> {
        fs::read_dir(&self.dir)?.next().transpose()?;
        self.create_temporary("", until).map(drop)
    }
}
