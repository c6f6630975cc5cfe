//! A file for each session, as Django's file engine keeps them.

mod clear;
mod disk;
mod meaning;
mod place;
mod sys;
#[cfg(all(test, unix, feature = "test-suite"))]
mod tests;
mod trouble;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Semaphore;

use self::{
    clear::Clearing,
    disk::{Disk, can_be_named},
    meaning::Inner,
    place::Placed,
    trouble::Trouble,
};
use super::{Cursor, Loaded, Outcome, Page, Seen, SessionData, SessionStore};
use crate::{Error, SessionKey, codec::Codec};

/// Threads at once that wait for the disk.
const THREADS: usize = 16;

/// How long a lock is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a disk may take that does not answer at all (a network's). The thread that waits for it is lost until it does.
const DISK_TIMEOUT: Duration = Duration::from_secs(6);

/// Sessions in a directory, one file each, which a Django site may use at the same time.
/// Django's `django.contrib.sessions.backends.file`.
///
/// Run it as the user that Django runs as: the files are for nobody else. Keys have only `a-z` and `0-9`, as Django's;
/// any other names no session here.
///
/// What Django does not: writers lock a session's file (`flock`) and compare it with what they saw, so nothing is lost
/// between services of this crate. A write is on the disk when it is answered, and one that fails is an error. An integer
/// `_session_expiry` ends a session. What killed writers left behind is removed by `clear_expired`.
///
/// Django does not lock. Ours looks for what Django has saved or ended up to the instant in which it puts its own file in
/// place, and in that instant swaps the two and looks again: what Django saved is put back and merged with as usual, what it
/// ended stays ended. Only who reads in the microseconds between sees what is then taken back. Where a file system
/// cannot swap (NFS), a save of Django's in that instant is overwritten.
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{SecretKey, Session, store::FileStore};
///
/// # let directory = std::env::temp_dir();
/// let store = FileStore::open(directory, SecretKey::new("…")).await?; // Django's SESSION_FILE_PATH
/// let session = Session::create(&store);
/// session.insert("k1", "v1")?;
/// session.save().await?;
/// # session.flush()?;
/// # session.save().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct FileStore(Arc<Inner>);

impl FileStore {
    /// Uses this directory: Django's `SESSION_FILE_PATH`, or the directory for temporary files where Django has none.
    ///
    /// Errors if it is not there, if this user may not list it and make files in it, or if the secret is empty.
    pub async fn open(directory: impl AsRef<Path>, codec: impl Into<Codec>) -> Result<Self, Error> {
        let codec = codec.into();
        codec.check()?;
        if directory.as_ref().as_os_str().is_empty() {
            return Err(Error::configuration("sessions in files need a directory: give its path"));
        }
        // The same one, even if the program changes its working directory.
        let dir = std::path::absolute(&directory).unwrap_or_else(|_| PathBuf::from(directory.as_ref()));
        let limit = (codec.size_limit() as u64).saturating_mul(2).saturating_add(4096);
        let disk = Disk { dir, prefix: "sessionid".to_owned(), limit, swaps: true };
        let cookie_age = Duration::from_secs(14 * 24 * 60 * 60);
        let permits = Arc::new(Semaphore::new(THREADS));
        let store = Self(Arc::new(Inner { disk, codec, cookie_age, permits, ahead: Arc::default() }));
        store.check().await?;
        Ok(store)
    }

    /// What the files' names begin with: Django's `SESSION_COOKIE_NAME`. Default: `sessionid`.
    ///
    /// Errors if no file can be called so: empty, too long, with a slash or NUL.
    pub fn cookie_name(self, name: &str) -> Result<Self, Error> {
        // What comes after it in a name: key, mark and random end; and a name has at most 255 bytes.
        if name.is_empty() || name.len() > 255 - 40 - 13 || name.contains(['/', '\\', '\0']) {
            return Err(Error::configuration(
                "the cookie's name begins the names of session files: 1 to 202 bytes without slash, backslash and NUL",
            ));
        }
        Ok(self.change(|inner| inner.disk.prefix = name.to_owned()))
    }

    /// How long a session lives after it was saved, if it does not say so itself: Django's `SESSION_COOKIE_AGE`, and
    /// the same as in [`SessionSettings`](crate::SessionSettings). Default: two weeks.
    ///
    /// The files hold no date of expiry: a session ends this long after its file's time of modification, which is set so that
    /// the session ends when it should.
    #[must_use]
    pub fn cookie_age(self, age: Duration) -> Self {
        self.change(|inner| inner.cookie_age = age)
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.ahead = Arc::default();
        change(inner);
        self
    }

    /// Runs `work` away from the threads that serve requests: disks block. It is told until when to wait for locks.
    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Inner, Instant) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Error> {
        let (inner, until) = (self.0.clone(), Instant::now() + LOCK_TIMEOUT);
        let done = async move {
            let permit = inner.permits.clone().acquire_owned().await;
            let working = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                work(&inner, until)
            });
            working.await
        };
        match tokio::time::timeout(DISK_TIMEOUT, done).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(trouble))) => Err(trouble.explain(what, &self.0.disk.dir)),
            Ok(Err(stopped)) => Err(Error::store_caused_by(format!("cannot {what}"), stopped)),
            Err(_) => Err(Error::store(format!(
                "cannot {what}: the disk with {} has not answered for {DISK_TIMEOUT:?}",
                self.0.disk.dir.display()
            ))),
        }
    }

    async fn replace(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        if !can_be_named(key) {
            return Ok(Outcome::Gone);
        }
        check_new(new_key)?;
        let text = self.0.codec.encode(data)?;
        let modified = self.0.modified(data, expires);
        let (key, seen, new_key) = (key.clone(), seen.clone(), new_key.clone());
        let replaced = self.run("save a session", move |inner, until| {
            let Some(old) = inner.disk.lock(&key, until)? else { return Ok(Outcome::Gone) };
            match inner.loaded(Some(inner.disk.read_from(&old)?)) {
                Loaded::Found(record) if record.seen == seen => {}
                other => return Ok(other.refused()),
            }
            let mut new = inner.disk.write(&new_key, &text, modified, until)?;
            let placed = if new_key == key {
                inner.disk.put_over(&mut new, &old, &key)
            } else {
                inner.disk.put_beside(&mut new, &new_key, &old, &key)
            };
            Ok(match placed? {
                Placed::Done => Outcome::Saved(Seen::new(text)),
                Placed::Taken => Outcome::KeyTaken,
                Placed::Changed => inner.loaded(inner.disk.read(&key)?).refused(),
                Placed::Gone => Outcome::Gone,
            })
        });
        replaced.await
    }
}

impl SessionStore for FileStore {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        if !can_be_named(key) {
            return Ok(Loaded::Missing);
        }
        let key = key.clone();
        self.run("load a session", move |inner, _| Ok(inner.loaded(inner.disk.read(&key)?))).await
    }

    async fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        check_new(key)?;
        let text = self.0.codec.encode(data)?;
        let (key, modified) = (key.clone(), self.0.modified(data, expires));
        let created = self.run("create a session", move |inner, until| {
            let mut new = inner.disk.write(&key, &text, modified, until)?;
            Ok(match inner.disk.put_new(&mut new, &key)? {
                Placed::Done => Outcome::Saved(Seen::new(text)),
                _ => Outcome::KeyTaken,
            })
        });
        created.await
    }

    async fn update(
        &self,
        key: &SessionKey,
        seen: &Seen,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.replace(key, seen, key, data, expires).await
    }

    async fn rename(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.replace(key, seen, new_key, data, expires).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        if !can_be_named(key) {
            return Ok(false);
        }
        let key = key.clone();
        let deleted = self.run("delete a session", move |inner, until| {
            let Some(_locked) = inner.disk.lock(&key, until)? else { return Ok(false) };
            let was_there = disk::remove(&inner.disk.path(&key))?;
            inner.disk.sync()?;
            Ok(was_there)
        });
        deleted.await
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        if !can_be_named(key) {
            return Ok(false);
        }
        let key = key.clone();
        let exists =
            self.run("look for a session", move |inner, _| Ok(inner.disk.open(&key, false)?.is_some()));
        exists.await
    }

    fn parse_key(&self, text: &str) -> Option<SessionKey> {
        SessionKey::parse(text).filter(can_be_named)
    }

    async fn check(&self) -> Result<(), Error> {
        self.run("use the directory of sessions", |inner, until| inner.disk.check(until)).await
    }

    /// In steps, so that others get their turn. What cannot be looked at is left alone, and the log says so.
    async fn clear_expired(&self) -> Result<u64, Error> {
        let what = "clear expired sessions";
        let (mut clearing, mut more) = (self.run(what, |inner, _| Clearing::begin(inner)).await?, true);
        while more {
            (clearing, more) = self
                .run(what, move |inner, _| {
                    let more = clearing.step(inner)?;
                    Ok((clearing, more))
                })
                .await?;
        }
        if let Some(trouble) = clearing.first_trouble {
            let error = trouble.explain(what, &self.0.disk.dir);
            tracing::warn!(
                "{} files were left alone, the first because: {}",
                clearing.skipped,
                error.with_causes()
            );
        }
        Ok(clearing.cleared)
    }

    /// In the order of the keys.
    async fn page(&self, cursor: Option<&Cursor>) -> Result<Page, Error> {
        let after = cursor.map_or_else(String::new, |cursor| cursor.as_str().to_owned());
        let (sessions, next) = self.run("list sessions", move |inner, _| clear::page(inner, after)).await?;
        Ok(Page { sessions, next: next.map(Cursor::new) })
    }
}

/// Errors if no file can have this key in its name.
fn check_new(key: &SessionKey) -> Result<(), Error> {
    if can_be_named(key) {
        return Ok(());
    }
    Err(Error::configuration(
        "a session in a file has a key of a-z and 0-9 only: draw it with SessionKey::generate",
    ))
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("directory", &self.0.disk.dir).finish_non_exhaustive()
    }
}
