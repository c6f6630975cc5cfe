//! A file for each session. Django's file engine.

mod clear;
mod disk;
mod error;
mod list;
mod record;
mod replace;
mod sys;
#[cfg(all(test, unix, feature = "test-suite"))]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Semaphore;

use self::{
    clear::ClearingPass,
    disk::{Disk, MAX_PREFIX, can_be_named},
    error::FileError,
    list::ListingCache,
    record::SiteFiles,
    replace::Swapped,
};
use super::{Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row, SiteSettings};
use crate::{Error, SessionKey};

/// Threads that may wait for the disk at once.
const THREADS: usize = 16;

/// How long to wait for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for a disk that does not answer at all (a network's). The thread is lost until it does.
const DISK_TIMEOUT: Duration = Duration::from_secs(6);

/// Keeps sessions in a directory, one file each, which a Django site may use at the same time.
/// Django's `django.contrib.sessions.backends.file`.
///
/// Run as the user that Django runs as: no other user may read the files. Keys consist of `a-z` and `0-9`, as
/// Django's; any other key is a miss. The names of the files begin with the cookie's name. A file holds no
/// expiry: unless its session says when, it expires one cookie age after its time of modification, which a
/// save sets accordingly. Both settings come from [`SessionSettings`](crate::SessionSettings).
///
/// Other than in Django, writers lock a session's file (`flock`) and compare its bytes, so services of this
/// crate lose no change. A save is on the disk before it returns, and a failed one is an error. An integer
/// `_session_expiry` is enforced. Clearing also removes what killed writers left behind.
///
/// Django does not lock. A save looks for changes of Django's until it puts its file in place. There it swaps
/// the two files and looks again: what Django saved is put back and merged as usual, what Django deleted
/// stays deleted. Only a reader in the microseconds in between sees what is then taken back. Where a file
/// system cannot swap (NFS), a save of Django's in that instant is overwritten.
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{SecretKey, Session, Store, backend::Files};
///
/// # let directory = std::env::temp_dir();
/// let files = Files::open(directory).await?; // Django's SESSION_FILE_PATH
/// let store = Store::new(files, SecretKey::new("a secret"));
/// let session = Session::new(&store);
/// session.insert("k1", "v1")?;
/// session.save().await?;
/// # session.flush()?;
/// # session.save().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Files(Arc<FilesShared>);

/// Shared by clones.
struct FilesShared {
    files: SiteFiles,
    permits: Arc<Semaphore>,
    listing: Mutex<Option<ListingCache>>,
    clearing: Mutex<Option<ClearingPass>>,
}

impl Files {
    /// Uses this directory: Django's `SESSION_FILE_PATH`, or the directory for temporary files where Django
    /// has none.
    ///
    /// Errors if it does not exist, or if this user may not list it and create files in it.
    pub async fn open(directory: impl AsRef<Path>) -> Result<Self, Error> {
        let files = Self::open_lazy(directory)?;
        files.ping().await?;
        Ok(files)
    }

    /// The same without a look at the directory. Errors only if its path is empty.
    pub fn open_lazy(directory: impl AsRef<Path>) -> Result<Self, Error> {
        let directory = directory.as_ref();
        if directory.as_os_str().is_empty() {
            return Err(Error::configuration("sessions in files need a directory: set its path"));
        }
        // The same one, even if the program changes its working directory.
        let dir = std::path::absolute(directory).unwrap_or_else(|_| PathBuf::from(directory));
        let disk = Disk { dir, prefix: String::new(), limit: 0, swaps: true };
        Self::new(disk, &SiteSettings::default(), Arc::new(Semaphore::new(THREADS)))
    }

    fn new(mut disk: Disk, site: &SiteSettings, permits: Arc<Semaphore>) -> Result<Self, Error> {
        let name = &*site.cookie_name;
        if name.is_empty() || name.len() > MAX_PREFIX || name.contains(['/', '\\', '\0']) {
            return Err(Error::configuration(format!(
                "the names of session files begin with the cookie's name: give it 1 to {MAX_PREFIX} bytes, \
                 without slash, backslash and NUL"
            )));
        }
        name.clone_into(&mut disk.prefix);
        disk.limit = site.max_value_bytes as u64;
        let files = SiteFiles { disk, site: site.clone() };
        let (listing, clearing) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(FilesShared { files, permits, listing, clearing })))
    }

    /// Errors if the directory cannot be used. That it is missing is a wrong setting, as in Django.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        let usable = self.run("use the directory of sessions", |files, until| files.disk.check(until)).await;
        let is_there = || self.0.files.disk.dir.is_dir();
        usable.map_err(|error| if is_there() { error } else { Error::configuration(error.with_causes()) })
    }

    /// Runs `work` on a thread that may block. `work` gets the deadline for locks.
    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&SiteFiles, Instant) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, Error> {
        let (shared, until) = (self.0.clone(), Instant::now() + LOCK_TIMEOUT);
        let done = async move {
            let permit = shared.permits.clone().acquire_owned().await;
            let working = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                work(&shared.files, until)
            });
            working.await
        };
        let dir = &self.0.files.disk.dir;
        match tokio::time::timeout(DISK_TIMEOUT, done).await {
            Ok(Ok(result)) => result.map_err(|error| error.explain(what, dir)),
            Ok(Err(panicked)) => Err(Error::store_caused_by(format!("cannot {what}"), panicked)),
            Err(_) => Err(Error::store(format!(
                "cannot {what}: the disk with {} has not answered for {DISK_TIMEOUT:?}",
                dir.display()
            ))),
        }
    }
}

impl Backend for Files {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        let key = key.clone();
        self.run("load a session", move |files, _| files.live_row(&key)).await
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        check_new(new.key)?;
        let (key, value, expires) = (new.key.clone(), new.value, new.expires);
        let inserted = self.run("create a session", move |files, until| {
            let mut new = files.disk.write(&key, &value, files.mtime(&value, expires), until)?;
            files.disk.insert(&mut new, &key)
        });
        Ok(match inserted.await? {
            Swapped::Done => Inserted::Done,
            _ => Inserted::KeyTaken,
        })
    }

    async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
        let new_key = change.new_key.filter(|new_key| *new_key != change.key).cloned();
        new_key.as_ref().map_or(Ok(()), check_new)?;
        let Replace { expected, value, expires, .. } = change;
        let key = change.key.clone();
        let replaced = self.run("save a session", move |files, until| {
            let disk = &files.disk;
            let Some(old) = disk.lock(&key, until)? else { return Ok(Replaced::Gone) };
            let row = files.row(disk.read_from(&old)?);
            if row.expires <= SystemTime::now() {
                return Ok(Replaced::Gone);
            }
            if row.value.as_ref() != Some(&expected) {
                return Ok(Replaced::Conflict(row));
            }
            let mtime = files.mtime(value.as_ref().unwrap_or(&expected), expires);
            let write = |key| disk.write(key, value.as_ref().unwrap_or(&expected), mtime, until);
            let swapped = match &new_key {
                Some(new_key) => disk.rename(&mut write(new_key)?, new_key, &old, &key),
                None if value.is_none() => disk.touch(&old, &key, mtime),
                None => disk.replace(&mut write(&key)?, &old, &key),
            };
            Ok(match swapped? {
                Swapped::Done => Replaced::Done,
                Swapped::Taken => Replaced::KeyTaken,
                Swapped::Changed => files.live_row(&key)?.map_or(Replaced::Gone, Replaced::Conflict),
                Swapped::Gone => Replaced::Gone,
            })
        });
        replaced.await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        let key = key.clone();
        let deleted = self.run("delete a session", move |files, until| {
            let Some(_locked) = files.disk.lock(&key, until)? else { return Ok(false) };
            let existed = disk::remove(&files.disk.path(&key))?;
            files.disk.sync()?;
            Ok(existed)
        });
        deleted.await
    }

    /// In the order of the keys.
    async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
        let after = after.map_or_else(String::new, |cursor| cursor.as_str().to_owned());
        let kept = lock(&self.0.listing).take();
        let listing = self.run("list sessions", move |files, _| ListingCache::page(kept, files, after));
        let (entries, cache) = listing.await?;
        let next = cache.as_ref().map(|cache| Cursor::new(&*cache.after));
        if cache.is_some() {
            *lock(&self.0.listing) = cache;
        }
        Ok(Page::new(entries, next))
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        let key = key.clone();
        self.run("look for a session", move |files, _| Ok(files.disk.open(&key, false)?.is_some())).await
    }

    /// In steps, so that other requests get their turn. Files that cannot be examined stay, with a warning.
    /// Sessions that expire during a pass over the directory, which may take several calls, wait for the next
    /// pass.
    async fn clear_expired(&self, limit: u32) -> Result<u64, Error> {
        const WHAT: &str = "clear expired sessions";
        let (limit, mut cleared) = (u64::from(limit), 0);
        let kept = lock(&self.0.clearing).take();
        let mut pass = match kept.filter(ClearingPass::is_recent) {
            Some(pass) => pass,
            None => self.run(WHAT, |files, _| ClearingPass::begin(&files.disk)).await?,
        };
        while cleared < limit {
            let left = limit - cleared;
            let step = self.run(WHAT, move |files, _| pass.step(files, left));
            let (continued, removed, complete) = step.await?;
            pass = continued;
            cleared += removed;
            if complete {
                pass.finish(WHAT, &self.0.files.disk.dir);
                return Ok(cleared);
            }
        }
        *lock(&self.0.clearing) = Some(pass);
        Ok(cleared)
    }

    async fn check(&self) -> Result<(), Error> {
        self.ping().await
    }

    fn with_settings(&self, site: &SiteSettings) -> Result<Option<Self>, Error> {
        Self::new(self.0.files.disk.clone(), site, self.0.permits.clone()).map(Some)
    }
}

/// Errors if no file can have this key in its name.
fn check_new(key: &SessionKey) -> Result<(), Error> {
    if can_be_named(key) {
        return Ok(());
    }
    Err(Error::configuration(
        "the key of a session in a file consists of a-z and 0-9: make it with SessionKey::generate",
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // nothing that can panic runs while it is locked
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("directory", &self.0.files.disk.dir).finish_non_exhaustive()
    }
}
