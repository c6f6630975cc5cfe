//! The `django_session` table in Django's own `db.sqlite3`.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tokio::sync::Semaphore;

use super::{Cleared, Cursor, Loaded, Outcome, Page, Seen, SessionData, SessionStore, text};
use crate::{
    Error, SessionKey,
    codec::{
        Codec,
        datetime::{fromisoformat, naive_isoformat},
    },
};

/// Connections at once: SQLite lets one write, so more would only wait for each other.
const CONNECTIONS: usize = 4;

/// How long a statement waits for others who have locked the file, as in Django, and before it for a connection.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Sessions in an SQLite file, which a Django site may use at the same time, with WAL or without.
///
/// Django must run with `USE_TZ = True` (its default), since the file holds times without a zone.
///
/// ```no_run
/// # async fn open() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{SecretKey, SqliteStore};
///
/// let store = SqliteStore::open("db.sqlite3", SecretKey::new("…")).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

struct Inner {
    path: PathBuf,
    codec: Codec,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl SqliteStore {
    /// Opens the file, and creates it if its directory is there. Errors if it is no SQLite database, cannot be
    /// opened, or the secret is empty.
    pub async fn open(path: impl AsRef<Path>, codec: impl Into<Codec>) -> Result<Self, Error> {
        let codec = codec.into();
        codec.check()?;
        let (path, idle) = (path.as_ref().to_owned(), Mutex::default());
        if path.as_os_str().is_empty() || path.starts_with(":memory:") {
            return Err(Error::configuration(
                "SQLite needs the name of a file; for sessions in memory take MemoryStore",
            ));
        }
        let store =
            Self(Arc::new(Inner { path, codec, idle, permits: Arc::new(Semaphore::new(CONNECTIONS)) }));
        let look = |db: &Connection| db.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()));
        store.run("open the file", look).await?;
        Ok(store)
    }

    /// Creates the table and its index, as Django's migration does. A table that is there stays as it is.
    pub async fn create_table(&self) -> Result<(), Error> {
        let ddl = "CREATE TABLE IF NOT EXISTS \"django_session\" (\"session_key\" varchar(40) NOT NULL PRIMARY KEY, \
            \"session_data\" text NOT NULL, \"expire_date\" datetime NOT NULL); \
            CREATE INDEX IF NOT EXISTS \"django_session_expire_date_a5c62663\" \
            ON \"django_session\" (\"expire_date\")";
        let create = move |db: &Connection| {
            let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
            transaction.execute_batch(ddl)?;
            transaction.commit()
        };
        self.run("create the table of sessions", create).await
    }

    /// Runs `work` on a connection, away from the threads that serve requests: SQLite blocks.
    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = self.0.clone();
        let permit = tokio::time::timeout(BUSY_TIMEOUT, inner.permits.clone().acquire_owned()).await;
        let Ok(permit) = permit else {
            return Err(Error::store(format!("cannot {what}: the file was busy for {BUSY_TIMEOUT:?}")));
        };
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let idle = inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let db = match idle {
                Some(db) => db,
                None => connect(&inner.path)?,
            };
            let answer = work(&db);
            // One that is left in a transaction would make the next user's writes part of it.
            if db.is_autocommit() {
                inner.idle.lock().unwrap_or_else(PoisonError::into_inner).push(db);
            }
            answer
        });
        match done.await {
            Ok(answer) => answer.map_err(|error| explain(what, error)),
            Err(stopped) => Err(Error::store_caused_by(format!("cannot {what}"), stopped)),
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
        let text = self.0.codec.encode(data)?;
        let saved = Outcome::Saved(Seen::new(text.as_str()));
        let (old, seen, new, expires) = (key.clone(), seen.clone(), new_key.clone(), to_text(expires));
        let changed = self.run("save a session", move |db| {
            let changed = db
                .prepare_cached(
                    "UPDATE django_session SET session_key = ?1, session_data = ?2, expire_date = ?3 \
                     WHERE session_key = ?4 AND session_data = ?5 AND expire_date > ?6",
                )?
                .execute(params![
                    new.as_str(),
                    text,
                    expires,
                    old.as_str(),
                    seen.as_str(),
                    to_text(SystemTime::now())
                ]);
            match changed {
                Err(error) if is_duplicate(&error) => Ok(None),
                other => other.map(Some),
            }
        });
        match changed.await? {
            None => Ok(Outcome::KeyTaken),
            Some(1) => Ok(saved),
            Some(_) => Ok(self.load(key).await?.refused()),
        }
    }
}

impl SessionStore for SqliteStore {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        let key = key.clone();
        let row = self.run("load a session", move |db| {
            db.prepare_cached(
                "SELECT session_data, expire_date FROM django_session \
                 WHERE session_key = ?1 AND expire_date > ?2",
            )?
            .query_row(params![key.as_str(), to_text(SystemTime::now())], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .optional()
        });
        let row = row.await?.map(|(text, expires)| {
            // Django's text is an ISO date. It was late enough, whatever it is.
            (text.into(), fromisoformat(&expires).map_or_else(SystemTime::now, |date| date.time))
        });
        Ok(text::loaded(&self.0.codec, row))
    }

    async fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let text = self.0.codec.encode(data)?;
        let saved = Outcome::Saved(Seen::new(text.as_str()));
        let (key, expires) = (key.clone(), to_text(expires));
        let created = self.run("create a session", move |db| {
            db.prepare_cached(
                "INSERT INTO django_session (session_key, session_data, expire_date) VALUES (?1, ?2, ?3) \
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![key.as_str(), text, expires])
        });
        Ok(if created.await? == 1 { saved } else { Outcome::KeyTaken })
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
        let key = key.clone();
        let deleted = self.run("delete a session", move |db| {
            db.prepare_cached("DELETE FROM django_session WHERE session_key = ?1")?.execute([key.as_str()])
        });
        Ok(deleted.await? == 1)
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        let key = key.clone();
        let exists = self.run("look for a session", move |db| {
            db.prepare_cached("SELECT 1 FROM django_session WHERE session_key = ?1")?.exists([key.as_str()])
        });
        exists.await
    }

    async fn check(&self) -> Result<(), Error> {
        let sql = "DELETE FROM django_session WHERE 0 AND session_key = session_data AND expire_date = 0";
        self.run("check the table of sessions", move |db| db.execute(sql, []).map(drop)).await
    }

    /// In batches, so that others who want to write need not wait for all of it.
    async fn clear_expired(&self) -> Result<u64, Error> {
        text::clear_all(self).await
    }

    async fn clear_some(&self, limit: u32, _: Option<SystemTime>) -> Result<Cleared, Error> {
        let now = to_text(SystemTime::now());
        let cleared = self.run("clear expired sessions", move |db| {
            db.prepare_cached(
                "DELETE FROM django_session WHERE session_key IN \
                 (SELECT session_key FROM django_session WHERE expire_date < ?1 LIMIT ?2)",
            )?
            .execute(params![now, limit])
        });
        Ok(Cleared { sessions: cleared.await? as u64, until: None })
    }

    async fn page(&self, cursor: Option<&Cursor>) -> Result<Page, Error> {
        let after = cursor.map_or_else(String::new, |cursor| cursor.as_str().to_owned());
        let rows = self.run("list the sessions", move |db| {
            db.prepare_cached(
                "SELECT session_key, session_data, expire_date FROM django_session \
                 WHERE session_key > ?1 ORDER BY session_key LIMIT ?2",
            )?
            .query_map(params![after, text::PAGE], |row| {
                let expires: String = row.get(2)?;
                let expires = fromisoformat(&expires).map_or(SystemTime::UNIX_EPOCH, |date| date.time);
                Ok((row.get(0)?, Some(row.get(1)?), expires))
            })?
            .collect()
        });
        Ok(text::page(&self.0.codec, rows.await?))
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.0.path).finish_non_exhaustive()
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // A path is a path: no URI, which could name a database that each connection has to itself.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    Ok(db)
}

/// Django's text for a time, which compares as text.
fn to_text(time: SystemTime) -> String {
    naive_isoformat(time, ' ')
}

fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}

fn explain(what: &str, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DiskFull, NotADatabase, ReadOnly};
    let advice = match error.sqlite_error_code() {
        Some(CannotOpen) => "see that its directory is there and that this user may write in it",
        Some(DatabaseBusy) => "another process has kept the file locked for too long",
        Some(NotADatabase) => "the file is not an SQLite database",
        Some(ReadOnly) => "this user may not write to the file or its directory",
        Some(DiskFull) => "the disk is full",
        _ if error.to_string().contains("no such table") => {
            "the table of sessions is not there: run Django's `manage.py migrate`, or call create_table()"
        }
        _ => "SQLite refused",
    };
    Error::store_caused_by(format!("cannot {what}: {advice}"), error)
}
