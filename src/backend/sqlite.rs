//! The `django_session` table in Django's own `db.sqlite3`.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use rusqlite::{
    Connection,
    ErrorCode::{ConstraintViolation, DatabaseBusy, SystemIoFailure},
    OpenFlags, OptionalExtension as _, Row as TableRow, ToSql, Transaction, TransactionBehavior, params,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row, SiteSettings,
    blocking::{Failed, Stopped, Turns},
};
use crate::{
    Error, SessionKey,
    datetime::{fromisoformat, naive_isoformat},
};

/// Connections that read at once. One more writes: SQLite locks the whole file for a writer, so more would
/// only wait for each other.
const READERS: usize = 4;

/// How long a call waits for its turn and for locks on the file, as in Django.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one attempt waits for locks on the file, with its thread. Then another call has its turn.
const ATTEMPT: Duration = Duration::from_millis(50);

/// The pause before the next attempt if the file was locked and SQLite did not wait.
const PAUSE: Duration = Duration::from_millis(5);

/// A page ends with the first of these.
const PAGE_ROWS: usize = 500;
const PAGE_BYTES: usize = 4 << 20;

/// Keeps sessions in an SQLite file, which a Django site may use at the same time, with WAL or without.
///
/// SQLite has one writer at a time. Writers wait for each other, for up to 5 seconds; with WAL, reads never
/// wait for them.
///
/// Django must run with `USE_TZ = True` (its default), since the file holds times without a zone.
///
/// ```no_run
/// # async fn open() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{SecretKey, Store, backend::Sqlite};
///
/// let store = Store::new(Sqlite::open("db.sqlite3").await?, SecretKey::new("a secret"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Sqlite {
    file: Arc<SqliteFile>,
    /// Of SQLite's own type.
    max_value_bytes: i64,
}

#[derive(Debug)]
struct SqliteFile {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    reads: Turns,
    writes: Turns,
}

/// A call: what it does, for errors, and until when it waits.
#[derive(Clone, Copy)]
struct Call {
    what: &'static str,
    /// Whether it needs the lock of a writer, and for how many bytes.
    writes: Option<usize>,
    /// Whether it may create the file.
    creates: bool,
    until: Instant,
}

impl Call {
    fn read(what: &'static str) -> Self {
        Self { what, writes: None, creates: false, until: Instant::now() + BUSY_TIMEOUT }
    }

    /// Keeps so many bytes while it waits.
    fn write(what: &'static str, bytes: usize) -> Self {
        Self { writes: Some(bytes), ..Self::read(what) }
    }
}

impl Sqlite {
    /// Opens the file. Errors if it is no SQLite database, or cannot be opened.
    ///
    /// A file that does not exist yet is no error if its directory does, and is not created: that does
    /// [`create_table`](Backend::create_table), or Django's `migrate`.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let sqlite = Self::open_lazy(path)?;
        sqlite.ping().await?;
        Ok(sqlite)
    }

    /// The same without any I/O: the first use opens the file. Errors only if the path names no file.
    pub fn open_lazy(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() || path.starts_with(":memory:") {
            return Err(Error::configuration(
                "SQLite needs the path of a file; for sessions in memory use the backend Memory",
            ));
        }
        // The same one, even if the program changes its working directory.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (reads, writes) = (Turns::new(READERS), Turns::new(1));
        let file = Arc::new(SqliteFile { path, idle: Mutex::default(), reads, writes });
        Ok(Self::new(file, &SiteSettings::default()))
    }

    fn new(file: Arc<SqliteFile>, site: &SiteSettings) -> Self {
        Self { file, max_value_bytes: site.max_value_bytes.try_into().unwrap_or(i64::MAX) }
    }

    /// Errors if the file is no SQLite database or cannot be opened.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        let sql = "SELECT count(*) FROM sqlite_master";
        let opened = self.run(Call::read("open the file"), |db| db.query_row(sql, [], |_| Ok(()))).await;
        match opened {
            // As a table that is missing: the first use is the error, unless create_table() comes first.
            Err(_) if self.file.can_be_created() => Ok(()),
            opened => Ok(opened?),
        }
    }

    async fn get_until(&self, key: &SessionKey, until: Instant) -> Result<Option<Row>, Error> {
        let (key, limit) = (key.clone(), self.max_value_bytes);
        let call = Call { until, ..Call::read("load a session") };
        let row = self.run(call, move |db| {
            db.prepare_cached(
                "SELECT session_key, iif(octet_length(session_data) > ?3, NULL, session_data), expire_date \
                 FROM django_session WHERE session_key = ?1 AND expire_date > ?2",
            )?
            .query_row(params![key.as_str(), to_text(SystemTime::now()), limit], |row| {
                read(row, SystemTime::now)
            })
            .optional()
        });
        Ok(row.await?)
    }

    /// Runs `work` on a connection, on a thread that may block. Repeats it while the file is locked: SQLite
    /// has changed nothing then.
    async fn run<T: Send + 'static>(
        &self,
        call: Call,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + Sync + 'static,
    ) -> Result<T, Failed> {
        let Call { what, writes, until, .. } = call;
        let turns = if writes.is_some() { &self.file.writes } else { &self.file.reads };
        let Some(_place) = turns.enter(writes.unwrap_or(0)) else {
            let text = format!("cannot {what}: too many others wait for the file; retry later");
            return Err(Failed::unchanged(Error::store(text)));
        };
        let work = Arc::new(work);
        loop {
            let (file, work) = (self.file.clone(), work.clone());
            let begun = Instant::now();
            match turns.run(until, move || file.attempt(call, &*work)).await {
                Ok(Attempt::Locked(failed)) if Instant::now() >= until => return Err(failed),
                Ok(Attempt::Locked(_)) if begun.elapsed() < PAUSE => tokio::time::sleep(PAUSE).await,
                Ok(Attempt::Locked(_)) => {}
                Ok(Attempt::Done(result)) => return result,
                Err(stopped) => return Err(not_done(what, stopped)),
            }
        }
    }
}

/// The result of one attempt.
enum Attempt<T> {
    Done(Result<T, Failed>),
    /// Another connection has the file locked.
    Locked(Failed),
}

impl SqliteFile {
    fn attempt<T>(&self, call: Call, work: &dyn Fn(&Connection) -> rusqlite::Result<T>) -> Attempt<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let what = call.what;
        let flags = if call.creates { OpenFlags::SQLITE_OPEN_CREATE } else { OpenFlags::empty() };
        let db = match idle.map_or_else(|| connect(&self.path, flags), Ok) {
            Ok(db) => db,
            Err(error) => return Attempt::Done(Err(Failed::unchanged(self.explain(what, error)))),
        };
        let attempt = match work(&db) {
            Ok(result) => Attempt::Done(Ok(result)),
            Err(error) => {
                let code = error.sqlite_error_code();
                // A transaction that could not be synchronized may be there after a crash.
                let in_doubt = code == Some(SystemIoFailure);
                let failed = Failed { error: explain(what, Some(&db), error), in_doubt };
                if code == Some(DatabaseBusy) { Attempt::Locked(failed) } else { Attempt::Done(Err(failed)) }
            }
        };
        // A connection in a transaction would make the next user's writes part of it.
        if db.is_autocommit() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(db);
        }
        attempt
    }
}

fn not_done(what: &str, stopped: Stopped) -> Failed {
    match stopped {
        Stopped::NotBegun => Failed::unchanged(Error::store(format!(
            "cannot {what}: the file was busy for {BUSY_TIMEOUT:?} with the work of others"
        ))),
        Stopped::Running => Failed {
            error: Error::store(format!("cannot {what}: SQLite did not end it within {BUSY_TIMEOUT:?}")),
            in_doubt: true,
        },
        Stopped::Panicked(panicked) => {
            Failed { error: Error::store_caused_by(format!("cannot {what}"), panicked), in_doubt: true }
        }
    }
}

impl Backend for Sqlite {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        self.get_until(key, Instant::now() + BUSY_TIMEOUT).await
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        let (key, value, expires) = (new.key.clone(), SqlText::new(new.value)?, to_text(new.expires));
        let call = Call::write("create a session", value.0.len());
        let inserted = self.run(call, move |db| {
            db.prepare_cached(
                "INSERT INTO django_session (session_key, session_data, expire_date) VALUES (?1, ?2, ?3) \
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![key.as_str(), value, expires])
        });
        Ok(if inserted.await? == 1 { Inserted::Done } else { Inserted::KeyTaken })
    }

    async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
        let (value, expected) = (change.value.map(SqlText::new).transpose()?, SqlText(change.expected));
        let (key, expires) = (change.key.clone(), to_text(change.expires));
        let new_key = change.new_key.unwrap_or(change.key).clone();
        let bytes = expected.0.len() + value.as_ref().map_or(0, |value| value.0.len());
        let call = Call::write("save a session", bytes);
        let changed = self.run(call, move |db| {
            let now = to_text(SystemTime::now());
            let changed = db
                .prepare_cached(
                    "UPDATE django_session SET session_key = ?1, session_data = coalesce(?2, session_data), \
                     expire_date = ?3 WHERE session_key = ?4 AND session_data = ?5 AND expire_date > ?6",
                )?
                .execute(params![new_key.as_str(), value, expires, key.as_str(), expected, now]);
            match changed {
                Err(error) if error.sqlite_error_code() == Some(ConstraintViolation) => Ok(None),
                other => other.map(Some),
            }
        });
        match changed.await {
            Ok(None) => Ok(Replaced::KeyTaken),
            Ok(Some(1)) => Ok(Replaced::Done),
            Ok(Some(_)) => {
                let row = self.get_until(change.key, call.until).await?;
                Ok(row.map_or(Replaced::Gone, Replaced::Conflict))
            }
            Err(Failed { error, in_doubt: true }) => {
                tracing::debug!("a save is in doubt: {}", error.with_causes());
                Ok(Replaced::Unknown)
            }
            Err(Failed { error, .. }) => Err(error),
        }
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        let key = key.clone();
        let deleted = self.run(Call::write("delete a session", 0), move |db| {
            db.prepare_cached("DELETE FROM django_session WHERE session_key = ?1")?.execute([key.as_str()])
        });
        Ok(deleted.await? == 1)
    }

    /// In the order of the keys.
    async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
        let after = after.map_or_else(String::new, |cursor| cursor.as_str().to_owned());
        let limit = self.max_value_bytes;
        let page = self.run(Call::read("list sessions"), move |db| {
            let mut select = db.prepare_cached(
                "SELECT session_key, iif(octet_length(session_data) > ?2, NULL, session_data), expire_date \
                 FROM django_session WHERE session_key > ?1 ORDER BY session_key",
            )?;
            let mut rows = select.query(params![after, limit])?;
            let (mut entries, mut bytes, mut last) = (Vec::new(), 0, None);
            while let Some(row) = rows.next()? {
                if entries.len() == PAGE_ROWS || bytes >= PAGE_BYTES {
                    return Ok(Page::new(entries, last.map(Cursor::new)));
                }
                let key: String = row.get(0)?;
                // A table may hold anything. A row whose key no cookie can name is no session.
                if let Some(key) = SessionKey::parse(&key) {
                    let row = read(row, || SystemTime::UNIX_EPOCH);
                    bytes += row.as_ref().map_or(0, |row| row.value.as_ref().map_or(0, Bytes::len));
                    entries.push((key, row.map_err(|error| explain("read a session", None, error))));
                }
                last = Some(key);
            }
            Ok(Page::new(entries, None))
        });
        Ok(page.await?)
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        let key = key.clone();
        let exists = self.run(Call::read("look for a session"), move |db| {
            db.prepare_cached("SELECT 1 FROM django_session WHERE session_key = ?1")?.exists([key.as_str()])
        });
        Ok(exists.await?)
    }

    async fn clear_expired(&self, limit: u32) -> Result<u64, Error> {
        let now = to_text(SystemTime::now());
        let cleared = self.run(Call::write("clear expired sessions", 0), move |db| {
            db.prepare_cached(
                "DELETE FROM django_session WHERE session_key IN \
                 (SELECT session_key FROM django_session WHERE expire_date < ?1 LIMIT ?2)",
            )?
            .execute(params![now, limit])
        });
        Ok(cleared.await? as u64)
    }

    async fn check(&self) -> Result<(), Error> {
        let sql = "DELETE FROM django_session WHERE 0 AND session_key = session_data AND expire_date = 0";
        let call = Call::write("check the table of sessions", 0);
        Ok(self.run(call, move |db| db.execute(sql, []).map(drop)).await?)
    }

    async fn create_table(&self) -> Result<(), Error> {
        let ddl = "CREATE TABLE IF NOT EXISTS \"django_session\" \
            (\"session_key\" varchar(40) NOT NULL PRIMARY KEY, \"session_data\" text NOT NULL, \
            \"expire_date\" datetime NOT NULL); \
            CREATE INDEX IF NOT EXISTS \"django_session_expire_date_a5c62663\" \
            ON \"django_session\" (\"expire_date\")";
        let create = move |db: &Connection| {
            let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
            transaction.execute_batch(ddl)?;
            transaction.commit()
        };
        let call = Call { creates: true, ..Call::write("create the table of sessions", 0) };
        Ok(self.run(call, create).await?)
    }

    fn with_settings(&self, site: &SiteSettings) -> Result<Option<Self>, Error> {
        Ok(Some(Self::new(self.file.clone(), site)))
    }
}

impl SqliteFile {
    fn can_be_created(&self) -> bool {
        !self.path.exists() && self.path.parent().is_some_and(Path::is_dir)
    }

    /// Why it cannot be opened. A wrong path is a file that is missing.
    fn explain(&self, what: &str, error: rusqlite::Error) -> Error {
        if self.path.exists() {
            return explain(what, None, error);
        }
        let advice = match self.can_be_created() {
            true => "create it with Django's `manage.py migrate` or create_table()",
            false => "see that its directory exists",
        };
        let text = format!(
            "cannot {what}: there is no file {}: {advice}, or correct the path; in a URL it is relative \
             after \
             three slashes (sqlite:///db.sqlite3) and absolute after four (sqlite:////var/db.sqlite3)",
            self.path.display()
        );
        Error::store_caused_by(text, error)
    }
}

/// Never creates the file without a flag that says so: a wrong path would become an empty database.
fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // No URI: it could name a database that each connection has to itself.
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(ATTEMPT)?;
    Ok(db)
}

/// Bytes as a value of type TEXT: a BLOB equals no text.
struct SqlText(Bytes);

impl SqlText {
    fn new(value: Bytes) -> Result<Self, Error> {
        if std::str::from_utf8(&value).is_ok() {
            return Ok(Self(value));
        }
        Err(Error::configuration("django_session holds text: use a codec that writes text (a SecretKey)"))
    }
}

impl ToSql for SqlText {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

/// A row of key, data and date. A date that cannot be parsed has an assumed value.
fn read(row: &TableRow<'_>, assumed: impl Fn() -> SystemTime) -> rusqlite::Result<Row> {
    let (value, expires): (Option<String>, String) = (row.get(1)?, row.get(2)?);
    let expires = fromisoformat(&expires).map_or_else(assumed, |date| date.time);
    Ok(value.map_or(Row::too_large(expires), |value| Row::new(value, expires)))
}

/// Django's text for a time, which compares as text.
fn to_text(time: SystemTime) -> String {
    naive_isoformat(time, ' ')
}

fn explain(what: &str, db: Option<&Connection>, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DiskFull, NotADatabase, ReadOnly, Unknown};
    // A missing table has no error code of its own.
    let has_table = |db: &Connection| db.table_exists(None, "django_session").unwrap_or(true);
    let advice = match error.sqlite_error_code() {
        Some(CannotOpen) => "see that its directory exists and that this user may write in it",
        Some(DatabaseBusy) => "another process has kept the file locked for too long",
        Some(NotADatabase) => "the file is not an SQLite database",
        Some(ReadOnly) => "this user may not write to the file or its directory",
        Some(DiskFull) => "the disk is full",
        Some(Unknown) if !db.is_none_or(has_table) => {
            "the table of sessions does not exist: run Django's `manage.py migrate`, or call create_table()"
        }
        _ => "SQLite refused",
    };
    Error::store_caused_by(format!("cannot {what}: {advice}"), error)
}
