//! A connection of our own to PostgreSQL, for what a store has no method for.

use std::{
    collections::HashSet,
    error::Error as _,
    future::Future,
    io,
    pin::pin,
    time::{Duration, SystemTime},
};

use actix_django_session::PostgresStore;
use futures_util::TryStreamExt as _;
use serde_json::Value;
use tokio_postgres::{
    Client, Row, SimpleQueryMessage,
    error::SqlState,
    types::{ToSql, Type},
};

use crate::{exit::Failure, output::iso, site::parameter};

/// A text larger than this is not fetched to be opened: no session that is read is as large.
const MAX_TEXT: i32 = 24 * 1024 * 1024;

pub(crate) struct Database {
    client: Client,
    deadline: Duration,
    /// The table's name, quoted and with its schema if it has one.
    pub(crate) table: String,
    /// The bare name.
    pub(crate) name: String,
    pub(crate) schema: Option<String>,
}

/// A row of a sample.
pub(crate) struct Sampled {
    pub(crate) key: String,
    /// None if it is too large to be a session.
    pub(crate) text: Option<String>,
}

impl Database {
    pub(crate) async fn connect(url: &str, deadline: Duration) -> Result<Self, Failure> {
        let client = PostgresStore::client(url).await?;
        let (schema, name) = (parameter(url, "schema"), parameter(url, "table"));
        let name = name.unwrap_or_else(|| "django_session".to_owned());
        let table = match &schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(&name)),
            None => quoted(&name),
        };
        let database = Self { client, deadline, table, name, schema };
        database.limit(deadline).await?;
        Ok(database)
    }

    pub(crate) async fn rows(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        self.patiently(self.client.query(sql, params)).await
    }

    pub(crate) async fn row(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Row, Failure> {
        self.patiently(self.client.query_one(sql, params)).await
    }

    /// The first column of the first row as text, if there is one.
    pub(crate) async fn text(&self, sql: &str) -> Result<Option<String>, Failure> {
        let messages = self.patiently(self.client.simple_query(sql)).await?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    /// How many rows there are, exactly; none if counting takes longer than `patience`.
    pub(crate) async fn counted(&self, condition: &str, patience: Duration) -> Result<Option<u64>, Failure> {
        self.limit(patience.min(self.deadline)).await?;
        let sql = format!("SELECT count(*) FROM {} WHERE {condition}", self.table);
        let counted = self.client.query_one(&sql, &[]);
        let answer = tokio::time::timeout(self.deadline + Duration::from_secs(1), counted).await;
        let found = match answer {
            Err(_) => return Err(self.late()),
            Ok(Err(error)) if error.code() == Some(&SqlState::QUERY_CANCELED) => None,
            Ok(row) => Some(row.map_err(explain)?.try_get::<_, i64>(0).map_err(explain)?),
        };
        self.limit(self.deadline).await?;
        Ok(found.map(i64::cast_unsigned))
    }

    /// How many rows the planner expects.
    pub(crate) async fn expected(&self, condition: &str) -> Result<u64, Failure> {
        let sql = format!("EXPLAIN (FORMAT JSON) SELECT 1 FROM {} WHERE {condition}", self.table);
        let plan = self.text(&sql).await?.unwrap_or_default();
        let plan: Value = serde_json::from_str(&plan).unwrap_or_default();
        Ok(plan.pointer("/0/Plan/Plan Rows").and_then(Value::as_f64).unwrap_or_default() as u64)
    }

    /// Takes away what was deleted, however long that takes. False if this role may not.
    pub(crate) async fn vacuum(&self) -> Result<bool, Failure> {
        let owner = format!(
            "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = '{}'::regclass",
            self.literal()
        );
        if self.text(&owner).await?.as_deref() != Some("t") {
            return Ok(false);
        }
        self.client.batch_execute("SET statement_timeout = 0").await.map_err(explain)?;
        self.client.batch_execute(&format!("VACUUM (ANALYZE) {}", self.table)).await.map_err(explain)?;
        self.limit(self.deadline).await?;
        Ok(true)
    }

    /// The condition that a row's time has come, by our clock, as Django's `clearsessions` has it.
    pub(crate) fn expired() -> String {
        format!("expire_date < '{}'::timestamptz", iso(SystemTime::now()))
    }

    /// Part of a FROM clause that gives about four times as many matching rows as are wanted, from all over the table;
    /// nothing if there are not many more.
    pub(crate) async fn tablesample(&self, wanted: u32, condition: &str) -> Result<String, Failure> {
        let matching = self.expected(condition).await?;
        let many = u64::from(wanted).saturating_mul(20).max(20_000);
        // A view has no pages to take a sample of.
        let sql = format!(
            "SELECT relkind IN ('r', 'p', 'm') FROM pg_class WHERE oid = '{}'::regclass",
            self.literal()
        );
        if matching <= many || self.text(&sql).await?.as_deref() != Some("t") {
            return Ok(String::new());
        }
        let percent = f64::from(wanted) * 400.0 / matching as f64;
        Ok(format!("TABLESAMPLE SYSTEM ({})", percent.clamp(1e-4, 100.0)))
    }

    /// Visits up to `wanted` rows from all over the table, one in memory at a time.
    pub(crate) async fn sample(
        &self,
        wanted: u32,
        condition: &str,
        mut visit: impl FnMut(Sampled),
    ) -> Result<(), Failure> {
        let (table, sample) = (&self.table, self.tablesample(wanted, condition).await?);
        let columns = "session_key::text, expire_date, \
                       CASE WHEN octet_length(session_data) <= $1 THEN session_data::text END";
        if sample.is_empty() {
            let sql = format!(
                "SELECT {columns} FROM {table} WHERE session_key IN \
                 (SELECT session_key FROM {table} WHERE {condition} ORDER BY random() LIMIT $2)"
            );
            return self.visit(&sql, wanted, &mut visit).await;
        }
        let mut seen = HashSet::new();
        let sql = format!("SELECT {columns} FROM {table} {sample} WHERE {condition} LIMIT $2");
        let first = |row: Sampled| {
            seen.insert(row.key.clone());
            visit(row);
        };
        self.visit(&sql, wanted, first).await?;
        // The planner knew a larger table, or the rows are all in one place of it.
        let mut left = wanted.saturating_sub(u32::try_from(seen.len()).unwrap_or(u32::MAX));
        if left == 0 {
            return Ok(());
        }
        let sql = format!("SELECT {columns} FROM {table} WHERE {condition} LIMIT $2");
        let more = |row: Sampled| {
            if left > 0 && !seen.contains(&row.key) {
                left -= 1;
                visit(row);
            }
        };
        self.visit(&sql, wanted, more).await
    }

    async fn visit(&self, sql: &str, wanted: u32, mut visit: impl FnMut(Sampled)) -> Result<(), Failure> {
        let work = async {
            let wanted = i64::from(wanted);
            let params: [(&(dyn ToSql + Sync), Type); 2] = [(&MAX_TEXT, Type::INT4), (&wanted, Type::INT8)];
            let stream = self.client.query_typed_raw(sql, params).await?;
            let mut stream = pin!(stream);
            while let Some(row) = stream.try_next().await? {
                visit(Sampled { key: row.try_get(0)?, text: row.try_get(2)? });
            }
            Ok(())
        };
        self.patiently(work).await
    }

    /// The table's name as it stands between single quotes.
    pub(crate) fn literal(&self) -> String {
        self.table.replace('\'', "''")
    }

    async fn limit(&self, patience: Duration) -> Result<(), Failure> {
        let millis = patience.as_millis().clamp(1, 86_400_000);
        self.patiently(self.client.batch_execute(&format!("SET statement_timeout = {millis}"))).await
    }

    /// The server ends a statement at the deadline; here is for one that does not answer at all.
    async fn patiently<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.deadline + Duration::from_secs(1), work).await {
            Ok(answer) => answer.map_err(explain),
            Err(_) => Err(self.late()),
        }
    }

    fn late(&self) -> Failure {
        Failure::text(format!("the database did not answer within {:?} (--deadline)", self.deadline))
    }
}

pub(crate) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// The message and code alone: the detail can quote a row.
pub(crate) fn explain(error: tokio_postgres::Error) -> Failure {
    let Some(db) = error.as_db_error() else {
        let lost = error.is_closed() || error.source().is_some_and(|cause| cause.is::<io::Error>());
        let what = if lost { "the database is away" } else { "the database cannot be understood" };
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        return Failure::text(format!("{what}: {error}{cause}"));
    };
    let advice = match db.code() {
        code if *code == SqlState::UNDEFINED_TABLE => {
            "the table of sessions is not there (or not on the search_path): run `manage.py migrate` or \
             `django-session createtable`: "
        }
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => "this role may not: ",
        code if *code == SqlState::QUERY_CANCELED => "this took longer than --deadline: ",
        _ => "the database refused: ",
    };
    Failure::text(format!("{advice}{} (SQLSTATE {})", db.message(), db.code().code()))
}
