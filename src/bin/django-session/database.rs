//! A connection to PostgreSQL itself, for what a store has no method for.

use std::{
    error::Error as _,
    future::Future,
    io,
    pin::pin,
    time::{Duration, SystemTime},
};

use actix_django_session::backend::Postgres;
use futures_util::TryStreamExt as _;
use serde_json::Value;
use tokio_postgres::{
    Client, Error, Row, SimpleQueryMessage,
    error::SqlState,
    types::{ToSql, Type},
};

use crate::{
    error::{CliError, Result},
    output::iso,
};

/// No session that can be read is longer, in bytes.
const MAX_TEXT: i32 = 24 * 1024 * 1024;

pub(crate) struct Database {
    client: Client,
    deadline: Duration,
    /// The table's name, quoted and with its schema if it has one.
    pub(crate) table: String,
}

impl Database {
    /// `None` behind PgBouncer: settings of its connections would stay for the next client.
    pub(crate) async fn connect(url: &str, deadline: Duration) -> Result<Option<Self>> {
        let Some((client, table)) = Postgres::client(url).await? else { return Ok(None) };
        let database = Self { client, deadline, table };
        database.set_timeout(deadline).await?;
        // As sessions are read: times without a zone are in UTC.
        database.within_deadline(database.client.batch_execute("SET TimeZone = 'UTC'")).await?;
        Ok(Some(database))
    }

    pub(crate) async fn rows(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.within_deadline(self.client.query(sql, params)).await
    }

    pub(crate) async fn row(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Row> {
        self.within_deadline(self.client.query_one(sql, params)).await
    }

    /// The first column of the first row as text, if there is one.
    pub(crate) async fn text(&self, sql: &str) -> Result<Option<String>> {
        let messages = self.within_deadline(self.client.simple_query(sql)).await?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    /// The exact number of rows, or `None` if counting takes longer than `timeout`.
    pub(crate) async fn count(&self, condition: &str, timeout: Duration) -> Result<Option<u64>> {
        self.set_timeout(timeout.min(self.deadline)).await?;
        let sql = format!("SELECT count(*) FROM {} WHERE {condition}", self.table);
        let count = self.within_deadline(async {
            match self.client.query_one(&sql, &[]).await {
                Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => Ok(None),
                row => Ok(Some(row?.try_get::<_, i64>(0)?.cast_unsigned())),
            }
        });
        let count = count.await?;
        self.set_timeout(self.deadline).await?;
        Ok(count)
    }

    /// The planner's estimate of the number of rows.
    pub(crate) async fn estimate(&self, condition: &str) -> Result<u64> {
        let sql = format!("EXPLAIN (FORMAT JSON) SELECT 1 FROM {} WHERE {condition}", self.table);
        let plan: Value =
            serde_json::from_str(&self.text(&sql).await?.unwrap_or_default()).unwrap_or_default();
        Ok(plan.pointer("/0/Plan/Plan Rows").and_then(Value::as_f64).unwrap_or_default() as u64)
    }

    /// Runs VACUUM without a timeout. False if this role may not: before PostgreSQL 17 it must be the owner.
    pub(crate) async fn vacuum(&self) -> Result<bool> {
        let table = self.table.replace('\'', "''");
        let allowed = format!(
            "SELECT pg_has_role(relowner, 'USAGE') \
             OR CASE WHEN current_setting('server_version_num')::int4 >= 170000 \
             THEN has_table_privilege(oid, 'MAINTAIN') ELSE false END \
             FROM pg_class WHERE oid = '{table}'::regclass"
        );
        if self.text(&allowed).await?.as_deref() != Some("t") {
            return Ok(false);
        }
        self.client.batch_execute("SET statement_timeout = 0").await?;
        self.client.batch_execute(&format!("VACUUM (ANALYZE) {}", self.table)).await?;
        self.set_timeout(self.deadline).await?;
        Ok(true)
    }

    /// The condition that a row has expired, by the clock of this machine as in Django's `clearsessions`.
    pub(crate) fn expired() -> String {
        format!("expire_date < '{}'::timestamptz", iso(SystemTime::now()))
    }

    /// Visits keys and texts of up to `limit` rows, with one row in memory at a time. A text that is too
    /// large to be read is `None`.
    ///
    /// The rows are the first in the order of their keys. Keys are random, so this is a random sample.
    pub(crate) async fn sample(
        &self,
        limit: u32,
        condition: &str,
        mut visit: impl FnMut(&str, Option<&str>),
    ) -> Result<()> {
        let sql = format!(
            "SELECT session_key::text, CASE WHEN octet_length(session_data) <= $1 THEN session_data::text \
             END \
             FROM {} WHERE {condition} ORDER BY session_key LIMIT $2",
            self.table
        );
        let limit = i64::from(limit);
        let params: [(&(dyn ToSql + Sync), Type); 2] = [(&MAX_TEXT, Type::INT4), (&limit, Type::INT8)];
        self.within_deadline(async {
            let mut rows = pin!(self.client.query_typed_raw(&sql, params).await?);
            while let Some(row) = rows.try_next().await? {
                visit(row.try_get(0)?, row.try_get(1)?);
            }
            Ok(())
        })
        .await
    }

    async fn set_timeout(&self, timeout: Duration) -> Result<()> {
        let millis = timeout.as_millis().clamp(1, 86_400_000);
        self.within_deadline(self.client.batch_execute(&format!("SET statement_timeout = {millis}"))).await
    }

    /// The server cancels a statement at the deadline. This is for a server that does not answer at all.
    async fn within_deadline<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T> {
        match tokio::time::timeout(self.deadline + Duration::from_secs(1), work).await {
            Ok(result) => Ok(result?),
            Err(_) => {
                let text = format!("the database did not answer within {:?} (--deadline)", self.deadline);
                Err(CliError::new(text))
            }
        }
    }
}

/// The message and code alone: the detail can quote a row.
impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let Some(db) = error.as_db_error() else {
            let lost = error.is_closed() || error.source().is_some_and(|cause| cause.is::<io::Error>());
            let what = if lost { "the database is away" } else { "unexpected reply of the database" };
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            return Self::new(format!("{what}: {error}{cause}"));
        };
        let what = match db.code() {
            code if *code == SqlState::UNDEFINED_TABLE => {
                "the table of sessions does not exist (or is not on the search_path): run `manage.py \
                 migrate` or \
                 `django-session createtable`"
            }
            code if *code == SqlState::INSUFFICIENT_PRIVILEGE => "the role lacks a right",
            code if *code == SqlState::QUERY_CANCELED => "the statement took longer than --deadline",
            _ => "the database refused the statement",
        };
        Self::new(format!("{what}: {} (SQLSTATE {})", db.message(), db.code().code()))
    }
}
