//! Putting a whole file in the place of another, in one step, on the condition that it still is that other.

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
    disk::{self, Disk, Identity, identity, identity_at, is_at},
    sys,
    trouble::Trouble,
};
use crate::SessionKey;

/// A file that is being written, or one taken out of its place. Locked, so that nobody sweeps it; gone when this is.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// It has its name now.
    placed: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.placed {
            let _ = fs::remove_file(&self.path); // one that stays is swept
        }
    }
}

/// Which files are to be swapped.
#[derive(Debug)]
pub(super) struct Swap {
    pub(super) old: Identity,
    pub(super) new: Identity,
}

/// How it went to put a file in place.
#[derive(Debug)]
pub(super) enum Placed {
    Done,
    /// The name is taken.
    Taken,
    /// Somebody who does not lock (Django) has put another file there.
    Changed,
    /// Somebody who does not lock (Django) has removed the file.
    Gone,
}

impl Disk {
    /// Writes a whole file beside its place and waits until the disk has it. Leaves nothing behind if that fails.
    pub(super) fn write(
        &self,
        key: &SessionKey,
        text: &str,
        modified: Option<SystemTime>,
        until: Instant,
    ) -> Result<Temporary, Trouble> {
        let mut new = self.create_temporary(key.as_str(), until)?;
        new.file.write_all(text.as_bytes())?;
        if let Some(modified) = modified {
            new.file.set_modified(modified)?;
        }
        new.file.sync_all()?;
        Ok(new)
    }

    fn create_temporary(&self, key: &str, until: Instant) -> Result<Temporary, Trouble> {
        loop {
            let path = self.temporary(key);
            match sys::create(&path) {
                Ok(file) => {
                    let new = Temporary { path, file, placed: false };
                    disk::lock(&new.file, until)?;
                    return Ok(new);
                }
                Err(error) if error.kind() == AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives a new session its name, unless that is taken.
    pub(super) fn put_new(&self, new: &mut Temporary, key: &SessionKey) -> Result<Placed, Trouble> {
        match self.rename_new(&new.path, &self.path(key)) {
            Ok(()) => new.placed = true,
            Err(error) if error.kind() == AlreadyExists => return Ok(Placed::Taken),
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = self.sync() {
            let _ = disk::remove(&self.path(key)); // nobody is told of it
            return Err(error.into());
        }
        Ok(Placed::Done)
    }

    /// Puts `new` in the place of `old`, which is locked.
    pub(super) fn put_over(
        &self,
        new: &mut Temporary,
        old: &File,
        key: &SessionKey,
    ) -> Result<Placed, Trouble> {
        let path = self.path(key);
        match is_at(old, &path)? {
            None => return Ok(Placed::Gone),
            Some(false) => return Ok(Placed::Changed),
            Some(true) => {}
        }
        let ids = Swap { old: identity(old)?, new: identity(&new.file)? };
        if self.swaps {
            match sys::exchange(&new.path, &path) {
                Ok(()) => return self.look_at_what_came_out(&ids, &new.path, &path),
                Err(error) if error.kind() == NotFound => return Ok(Placed::Gone),
                Err(error) if !sys::is_unsupported(&error) => return Err(error.into()),
                Err(_) => {}
            }
        }
        // Here what Django does between the look above and this goes unnoticed.
        fs::rename(&new.path, &path)?;
        new.placed = true;
        self.sync()?;
        Ok(Placed::Done)
    }

    /// After the swap the temporary name has what was in the place. If that is not the old file, Django has saved
    /// meanwhile: it is put back, until what comes out is what was put in last.
    ///
    /// Whoever reads in these microseconds sees our file, which then never was. Nothing shorter can be had where a writer
    /// does not lock.
    pub(super) fn look_at_what_came_out(
        &self,
        ids: &Swap,
        aside: &Path,
        path: &Path,
    ) -> Result<Placed, Trouble> {
        let (mut put_in, mut came_out) = (Some(ids.new), identity_at(aside)?);
        if came_out == Some(ids.old) {
            self.sync()?;
            return Ok(Placed::Done);
        }
        loop {
            match sys::exchange(aside, path) {
                Ok(()) => {}
                // Ended in this very moment.
                Err(error) if error.kind() == NotFound => return Ok(Placed::Gone),
                Err(error) => return Err(error.into()),
            }
            let next = identity_at(aside)?;
            if next == put_in {
                return Ok(Placed::Changed);
            }
            (put_in, came_out) = (came_out, next);
        }
    }

    /// Puts `new` in its own place and takes away `old`, which is locked.
    ///
    /// For a moment there are both; a crash in it leaves the old session as it was, and a new one whose key nobody knows.
    pub(super) fn put_beside(
        &self,
        new: &mut Temporary,
        new_key: &SessionKey,
        old: &File,
        old_key: &SessionKey,
    ) -> Result<Placed, Trouble> {
        if let Placed::Taken = self.put_new(new, new_key)? {
            return Ok(Placed::Taken);
        }
        let taken = self.take_away(old, old_key);
        if !matches!(taken, Ok(Placed::Done)) {
            disk::remove(&self.path(new_key))?;
        }
        taken
    }

    /// Removes the locked file `old`, but nothing else. To see what is removed, it is first given another name.
    fn take_away(&self, old: &File, key: &SessionKey) -> Result<Placed, Trouble> {
        let (path, aside) = (self.path(key), self.temporary(key.as_str()));
        match is_at(old, &path)? {
            None => return Ok(Placed::Gone),
            Some(false) => return Ok(Placed::Changed),
            Some(true) => {}
        }
        match fs::rename(&path, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == NotFound => return Ok(Placed::Gone),
            Err(error) => return Err(error.into()),
        }
        self.look_at_what_is_aside(old, &aside, &path)
    }

    /// What was taken away is put back if it is not `old`: then Django has saved meanwhile.
    pub(super) fn look_at_what_is_aside(
        &self,
        old: &File,
        aside: &Path,
        path: &Path,
    ) -> Result<Placed, Trouble> {
        if is_at(old, aside)? == Some(true) {
            // The session has ended with its name. What cannot be removed is swept.
            let _ = disk::remove(aside);
            if let Err(error) = self.sync() {
                // The new one is safe: an error now would cost the visitor both.
                tracing::warn!("a crash of the system may bring back a session that was renamed: {error}");
            }
            return Ok(Placed::Done);
        }
        match self.rename_new(aside, path) {
            Ok(()) => {}
            // There is a newer one already.
            Err(error) if error.kind() == AlreadyExists => drop(disk::remove(aside)),
            Err(error) => return Err(error.into()),
        }
        Ok(Placed::Changed)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.swaps {
            match sys::rename_new(from, to) {
                Err(error) if sys::is_unsupported(&error) => {}
                done => return done,
            }
        }
        fs::hard_link(from, to)?;
        let _ = fs::remove_file(from); // one that stays is swept
        Ok(())
    }

    /// Errors if files cannot be made and listed here.
    pub(super) fn check(&self, until: Instant) -> Result<(), Trouble> {
        fs::read_dir(&self.dir)?.next().transpose()?;
        self.create_temporary("", until).map(drop)
    }
}
