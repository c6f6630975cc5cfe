//! A database with other tables than that of sessions: users, groups, permissions.

use std::sync::Arc;

#[cfg(feature = "postgres")]
use super::Postgres;
#[cfg(feature = "sqlite")]
use super::Sqlite;
use crate::{Error, backend::Action, metrics::Purpose};

/// The action of a [`Keyed`] query.
pub(crate) const LOAD_USER: Action = Action::new("load a user", Purpose::User);

/// The columns of a row as text; `None` is NULL.
pub(crate) type TextRow = Vec<Option<String>>;

/// PostgreSQL or SQLite, with the connections of a store of sessions.
#[derive(Clone)]
pub(crate) enum Database {
    #[cfg(feature = "postgres")]
    Postgres(Postgres),
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
}

/// The dialect of a statement's SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[cfg(feature = "postgres")]
    Postgres,
    #[cfg(feature = "sqlite")]
    Sqlite,
}

/// A statement in which every parameter and every column of the result is text.
pub(crate) struct TextStatement {
    /// For errors: "cannot …".
    pub(crate) action: Action,
    pub(crate) sql: String,
    pub(crate) writes: bool,
    /// A second time would change nothing more, so it may be sent again if its reply was lost.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    pub(crate) repeatable: bool,
}

/// A query for the row of one key, which PostgreSQL answers for many requests at once.
pub(crate) struct Keyed {
    #[cfg(feature = "postgres")]
    pub(super) statements: super::postgres::KeyedStatements,
    #[cfg(feature = "sqlite")]
    pub(super) one: TextStatement,
}

impl Keyed {
    /// `many` has the parameter of `one` as an array, and returns the key in its first column. Texts may be
    /// equal to the database and spelled otherwise.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite has no batches"))]
    pub(crate) fn new(one: String, many: String, has_text_keys: bool) -> Self {
        Self {
            #[cfg(feature = "sqlite")]
            one: TextStatement::read(LOAD_USER, one.clone()),
            #[cfg(feature = "postgres")]
            statements: super::postgres::KeyedStatements::new(one, many, has_text_keys),
        }
    }
}

/// The result of a statement.
#[derive(Default)]
pub(crate) struct Executed {
    pub(crate) rows: Vec<TextRow>,
    /// How many rows were changed or returned.
    pub(crate) affected: u64,
}

/// Why a statement has no result.
pub(crate) struct NotExecuted {
    pub(crate) error: Error,
    /// A unique constraint refused the row.
    pub(crate) taken: bool,
    /// The row's values do not fit the table.
    pub(crate) refused: bool,
}

impl From<Error> for NotExecuted {
    fn from(error: Error) -> Self {
        Self { error, taken: false, refused: false }
    }
}

impl From<NotExecuted> for Error {
    fn from(failed: NotExecuted) -> Self {
        failed.error
    }
}

impl TextStatement {
    pub(crate) fn read(action: Action, sql: String) -> Self {
        Self { action, sql, writes: false, repeatable: true }
    }

    pub(crate) fn write(action: Action, sql: String, repeatable: bool) -> Self {
        Self { action, sql, writes: true, repeatable }
    }
}

impl Database {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    pub(crate) async fn execute(
        &self,
        statement: &TextStatement,
        params: &[Option<&str>],
    ) -> Result<Executed, NotExecuted> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => postgres.texts(statement, params).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.texts(statement, params).await,
        }
    }

    /// Runs several statements in one transaction.
    pub(crate) async fn script(&self, action: Action, sql: String) -> Result<(), Error> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => postgres.script(action, sql).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.script(action, sql).await,
        }
    }

    pub(crate) async fn find(&self, query: &Arc<Keyed>, key: &str) -> Result<Option<TextRow>, Error> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => postgres.keyed(query, key).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => {
                let found = sqlite.texts(&query.one, &[Some(key)]).await?;
                Ok(found.rows.into_iter().next())
            }
        }
    }
}
