//! An SQLite file: its connections, the turns of those who use it, and its errors.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{
    Connection,
    ErrorCode::{DatabaseBusy, SystemIoFailure},
    OpenFlags,
};

use crate::{
    Error,
    backend::blocking::{Failed, Stopped, Turns},
};

/// Connections that read at once. One more writes: SQLite locks the whole file for a writer, so more would
/// only wait for each other.
const READERS: usize = 4;

/// How long a call waits for its turn and for locks on the file, as in Django.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one attempt waits for locks on the file, with its thread. Then another call has its turn.
const ATTEMPT: Duration = Duration::from_millis(50);

/// The pause before the next attempt if the file was locked and SQLite did not wait.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct SqliteFile {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    reads: Turns,
    writes: Turns,
}

/// A call: what it does, for errors, and until when it waits.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) what: &'static str,
    /// Whether it needs the lock of a writer, and for how many bytes.
    pub(super) writes: Option<usize>,
    /// Whether it may create the file.
    pub(super) creates: bool,
    pub(super) until: Instant,
}

impl Call {
    pub(super) fn read(what: &'static str) -> Self {
        Self { what, writes: None, creates: false, until: Instant::now() + BUSY_TIMEOUT }
    }

    /// Keeps so many bytes while it waits.
    pub(super) fn write(what: &'static str, bytes: usize) -> Self {
        Self { writes: Some(bytes), ..Self::read(what) }
    }
}

/// The result of one attempt.
enum Attempt<T> {
    Done(Result<T, Failed>),
    /// Another connection has the file locked.
    Locked(Failed),
}

impl SqliteFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default(), reads: Turns::new(READERS), writes: Turns::new(1) }
    }

    /// Runs `work` on a connection, on a thread that may block. Repeats it while the file is locked: SQLite
    /// has changed nothing then.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + Sync + 'static,
    ) -> Result<T, Failed> {
        let Call { what, writes, until, .. } = call;
        let turns = if writes.is_some() { &self.writes } else { &self.reads };
        let Some(_place) = turns.enter(writes.unwrap_or(0)) else {
            let text = format!("cannot {what}: too many others wait for the file; retry later");
            return Err(Failed::unchanged(Error::store(text)));
        };
        let work = Arc::new(work);
        loop {
            let (file, work) = (self.clone(), work.clone());
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

    pub(super) fn can_be_created(&self) -> bool {
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

/// Never creates the file without a flag that says so: a wrong path would become an empty database.
fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // No URI: it could name a database that each connection has to itself.
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(ATTEMPT)?;
    Ok(db)
}

pub(super) fn explain(what: &str, db: Option<&Connection>, error: rusqlite::Error) -> Error {
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
