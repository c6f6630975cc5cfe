//! A file for each session. Django's file engine.

mod clear;
mod disk;
mod error;
mod list;
mod locks;
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

use tokio::time::{sleep, timeout_at};

use self::{
    clear::ClearingPass,
    disk::{Disk, MAX_PREFIX, can_be_named},
    error::FileError,
    list::ListingCache,
    locks::LockQueues,
    record::SiteFiles,
    replace::Swapped,
};
use super::{
    Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row, SiteSettings,
    blocking::{Failed, Stopped, Turns},
};
use crate::{Error, SessionKey};

/// Threads that may wait for the disk at once: for reads, for writes, and for listing and clearing.
const READERS: usize = 8;
const WRITERS: usize = 8;
const UPKEEP: usize = 2;

/// How long a call waits for its turn and for the lock of its file. A disk that does not answer at all (a
/// network's) has a second more; the thread is lost until it does.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long one attempt waits for the lock, with its thread, and the pauses before the next one.
const ATTEMPT: Duration = Duration::from_millis(2);
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(20);

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
    threads: Arc<Threads>,
    listing: Mutex<Option<ListingCache>>,
    clearing: Mutex<Option<ClearingPass>>,
}

/// The calls that wait for a directory. A locked file holds up only those who want to lock it.
#[derive(Debug)]
struct Threads {
    reads: Turns,
    writes: Turns,
    upkeep: Turns,
    locks: LockQueues,
}

impl Default for Threads {
    fn default() -> Self {
        let (reads, writes, upkeep) = (Turns::new(READERS), Turns::new(WRITERS), Turns::new(UPKEEP));
        Self { reads, writes, upkeep, locks: LockQueues::default() }
    }
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
        Self::new(disk, &SiteSettings::default(), Arc::default())
    }

    fn new(mut disk: Disk, site: &SiteSettings, threads: Arc<Threads>) -> Result<Self, Error> {
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
        Ok(Self(Arc::new(FilesShared { files, threads, listing, clearing })))
    }

    /// Errors if the directory cannot be used. That it is missing is a wrong setting, as in Django.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        let usable = self
            .change("use the directory of sessions", None, 0, |files, until| files.disk.check(until))
            .await;
        let is_there = || self.0.files.disk.dir.is_dir();
        let wrong = |error: Error| Error::configuration(error.with_causes());
        usable.map_err(|failed| if is_there() { failed.into() } else { wrong(failed.into()) })
    }

    /// Runs `work`, which needs no lock, on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        turns: &Turns,
        work: impl FnOnce(&SiteFiles) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, Failed> {
        let _place = turns.enter(0).ok_or_else(|| too_many(what))?;
        let shared = self.0.clone();
        let done = turns.run(Instant::now() + TIMEOUT, move || work(&shared.files)).await;
        self.explain(what, done)
    }

    /// Runs `work` on a thread that may block, until the deadline that it gets. Repeats it while a lock is
    /// held elsewhere. If it locks the file of a session, the others of this process wait for that one.
    async fn change<T: Send + 'static>(
        &self,
        what: &'static str,
        locked: Option<&SessionKey>,
        bytes: usize,
        work: impl Fn(&SiteFiles, Instant) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<T, Failed> {
        let (Threads { writes, locks, .. }, until) = (&*self.0.threads, Instant::now() + TIMEOUT);
        let _place = writes.enter(bytes).ok_or_else(|| too_many(what))?;
        let waiter = match locked {
            None => None,
            Some(key) => Some(locks.enter(key).ok_or_else(|| too_many(what))?),
        };
        let _turn = match &waiter {
            None => None,
            Some(waiter) => match timeout_at(until.into(), waiter.turn()).await {
                Ok(turn) => turn,
                Err(_) => return self.explain(what, Ok(Err(FileError::Locked))),
            },
        };
        let (work, mut pause) = (Arc::new(work), MIN_PAUSE);
        loop {
            let (shared, work) = (self.0.clone(), work.clone());
            let attempt = move || work(&shared.files, Instant::now() + ATTEMPT);
            match writes.run(until, attempt).await {
                Ok(Err(FileError::Locked)) if Instant::now() < until => sleep(pause).await,
                done => return self.explain(what, done),
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    fn explain<T>(&self, what: &str, done: Result<Result<T, FileError>, Stopped>) -> Result<T, Failed> {
        let dir = &self.0.files.disk.dir;
        let (error, in_doubt) = match done {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(error)) => {
                let in_doubt = matches!(error, FileError::InDoubt(_));
                (error.explain(what, dir), in_doubt)
            }
            Err(Stopped::Panicked(panicked)) => {
                (Error::store_caused_by(format!("cannot {what}"), panicked), true)
            }
            Err(stopped) => {
                let dir = dir.display();
                let text = format!("cannot {what}: the disk with {dir} has not answered for {TIMEOUT:?}");
                (Error::store(text), matches!(stopped, Stopped::Running))
            }
        };
        Err(Failed { error, in_doubt })
    }
}

fn too_many(what: &str) -> Failed {
    Failed::unchanged(Error::store(format!("cannot {what}: too many others wait for the disk; retry later")))
}

impl Backend for Files {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        let key = key.clone();
        Ok(self.run("load a session", &self.0.threads.reads, move |files| files.live_row(&key)).await?)
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        check_new(new.key)?;
        let (key, value, expires) = (new.key.clone(), new.value, new.expires);
        let bytes = value.len();
        let inserted = self.change("create a session", None, bytes, move |files, until| {
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
        let bytes = expected.len() + value.as_ref().map_or(0, |value| value.len());
        let replaced = self.change("save a session", Some(change.key), bytes, move |files, until| {
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
        match replaced.await {
            Err(Failed { error, in_doubt: true }) => {
                tracing::debug!("a save is in doubt: {}", error.with_causes());
                Ok(Replaced::Unknown)
            }
            replaced => Ok(replaced?),
        }
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        let name = key.clone();
        let deleted = self.change("delete a session", Some(key), 0, move |files, until| {
            let Some(_locked) = files.disk.lock(&name, until)? else { return Ok(false) };
            let existed = disk::remove(&files.disk.path(&name))?;
            files.disk.sync()?;
            Ok(existed)
        });
        Ok(deleted.await?)
    }

    /// In the order of the keys.
    async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
        let after = after.map_or_else(String::new, |cursor| cursor.as_str().to_owned());
        let kept = lock(&self.0.listing).take();
        let page = move |files: &SiteFiles| ListingCache::page(kept, files, after);
        let listing = self.run("list sessions", &self.0.threads.upkeep, page);
        let (entries, cache) = listing.await?;
        let next = cache.as_ref().map(|cache| Cursor::new(&*cache.after));
        if cache.is_some() {
            *lock(&self.0.listing) = cache;
        }
        Ok(Page::new(entries, next))
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        let key = key.clone();
        let look = move |files: &SiteFiles| Ok(files.disk.open(&key, false)?.is_some());
        Ok(self.run("look for a session", &self.0.threads.reads, look).await?)
    }

    /// In steps, so that other requests get their turn. Files that cannot be examined stay, with a warning.
    /// Sessions that expire during a pass over the directory, which may take several calls, wait for the next
    /// pass.
    async fn clear_expired(&self, limit: u32) -> Result<u64, Error> {
        const WHAT: &str = "clear expired sessions";
        let (limit, mut cleared, upkeep) = (u64::from(limit), 0, &self.0.threads.upkeep);
        let kept = lock(&self.0.clearing).take();
        let mut pass = match kept.filter(ClearingPass::is_recent) {
            Some(pass) => pass,
            None => self.run(WHAT, upkeep, |files| ClearingPass::begin(&files.disk)).await?,
        };
        while cleared < limit {
            let left = limit - cleared;
            let step = self.run(WHAT, upkeep, move |files| pass.step(files, left));
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
        Self::new(self.0.files.disk.clone(), site, self.0.threads.clone()).map(Some)
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
