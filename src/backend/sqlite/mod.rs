//! The `django_session` table in Django's own `db.sqlite3`.

mod file;
#[cfg(feature = "auth")]
mod texts;

use std::{
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use rusqlite::{
    Connection,
    ErrorCode::ConstraintViolation,
    OptionalExtension as _, Row as TableRow, ToSql, Transaction, TransactionBehavior, params,
    types::{ToSqlOutput, ValueRef},
};

use self::file::{BUSY_TIMEOUT, Call, SqliteFile, explain};
use super::{
    Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row, SiteSettings, blocking::Failed,
};
use crate::{
    Error, SessionKey,
    datetime::{fromisoformat, naive_isoformat},
};

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
        Ok(Self::new(Arc::new(SqliteFile::new(path)), &SiteSettings::default()))
    }

    fn new(file: Arc<SqliteFile>, site: &SiteSettings) -> Self {
        Self { file, max_value_bytes: site.max_value_bytes.try_into().unwrap_or(i64::MAX) }
    }

    /// Errors if the file is no SQLite database or cannot be opened.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        let sql = "SELECT count(*) FROM sqlite_master";
        let opened = self.file.run(Call::read("open the file"), |db| db.query_row(sql, [], |_| Ok(()))).await;
        match opened {
            // As a table that is missing: the first use is the error, unless create_table() comes first.
            Err(_) if self.file.can_be_created() => Ok(()),
            opened => Ok(opened?),
        }
    }

    async fn get_until(&self, key: &SessionKey, until: Instant) -> Result<Option<Row>, Error> {
        let (key, limit) = (key.clone(), self.max_value_bytes);
        let call = Call { until, ..Call::read("load a session") };
        let row = self.file.run(call, move |db| {
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
}

impl Backend for Sqlite {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        self.get_until(key, Instant::now() + BUSY_TIMEOUT).await
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        let (key, value, expires) = (new.key.clone(), SqlText::new(new.value)?, to_text(new.expires));
        let call = Call::write("create a session", value.0.len());
        let inserted = self.file.run(call, move |db| {
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
        let changed = self.file.run(call, move |db| {
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
        let deleted = self.file.run(Call::write("delete a session", 0), move |db| {
            db.prepare_cached("DELETE FROM django_session WHERE session_key = ?1")?.execute([key.as_str()])
        });
        Ok(deleted.await? == 1)
    }

    /// In the order of the keys.
    async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
        let after = after.map_or_else(String::new, |cursor| cursor.as_str().to_owned());
        let limit = self.max_value_bytes;
        let page = self.file.run(Call::read("list sessions"), move |db| {
            let mut select = db.prepare_cached(
                "SELECT session_key, iif(octet_length(session_data) > ?2, NULL, session_data), expire_date \
                 FROM django_session WHERE session_key > ?1 AND typeof(session_key) = 'text' \
                 ORDER BY session_key",
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
        let exists = self.file.run(Call::read("look for a session"), move |db| {
            db.prepare_cached("SELECT 1 FROM django_session WHERE session_key = ?1")?.exists([key.as_str()])
        });
        Ok(exists.await?)
    }

    async fn clear_expired(&self, limit: u32) -> Result<u64, Error> {
        let now = to_text(SystemTime::now());
        let cleared = self.file.run(Call::write("clear expired sessions", 0), move |db| {
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
        Ok(self.file.run(call, move |db| db.execute(sql, []).map(drop)).await?)
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
        Ok(self.file.run(call, create).await?)
    }

    fn indexes_expiry(&self) -> bool {
        true
    }

    fn with_settings(&self, site: &SiteSettings) -> Result<Option<Self>, Error> {
        Ok(Some(Self::new(self.file.clone(), site)))
    }
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
