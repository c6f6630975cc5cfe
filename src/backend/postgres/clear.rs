//! Clears expired rows, and goes round those that cannot be deleted: a foreign key of another table or a
//! trigger can refuse a row, and then the whole statement fails.
//!
//! Rows to which a foreign key refers are left out by the statement itself. Other refusals are found by
//! deleting fewer rows at a time, down to one, which is then skipped.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use tokio_postgres::types::Type;

use super::{
    error::{Refusal, StatementError, unexpected_columns},
    pool::Connections,
    sql::Sql,
    statement::{Executed, Params, Retry, Statement},
};
use crate::{Error, backend::Action, metrics::Purpose};

pub(super) const ACTION: Action = Action::new("clear expired sessions", Purpose::Clear);

/// Rows that are left are counted up to here.
const COUNT_LIMIT: i64 = 10_000;

/// The progress of [`Clear::batch`], shared by the clones of a backend.
#[derive(Default)]
pub(super) struct Progress {
    round: Mutex<Round>,
    /// Why the last round left expired rows.
    left: Mutex<Option<Error>>,
}

/// A pass over the expired rows, from the oldest to the newest, in several calls.
#[derive(Clone, Default)]
pub(super) struct Round {
    /// The latest expiry of the last full batch.
    since: Option<SystemTime>,
    /// Foreign keys that refused a row.
    references: Vec<Reference>,
    /// The last row that was deleted or skipped, while rows are deleted in small numbers.
    pub(super) position: Option<(SystemTime, String)>,
    /// How many rows were skipped.
    pub(super) skipped: u64,
    /// The last refusal.
    pub(super) refusal: Option<Error>,
}

/// A foreign key to the sessions.
#[derive(Clone, PartialEq, Eq)]
struct Reference {
    /// The table that has it, quoted.
    table: String,
    /// The condition that its row `f` refers to the session `s`.
    condition: String,
}

/// The table to clear.
pub(super) struct Clear<'a> {
    pub(super) connections: &'a Connections,
    pub(super) sql: &'a Sql,
    pub(super) progress: &'a Progress,
}

impl Progress {
    /// Returns why the last round left expired rows, if it did.
    pub(super) fn left(&self) -> Option<Error> {
        lock(&self.left).clone()
    }

    /// After an error, or beside another call, a round begins anew.
    pub(super) fn take_round(&self) -> Round {
        std::mem::take(&mut *lock(&self.round))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clear<'_> {
    /// Deletes up to `limit` expired rows and returns how many. Fewer mean that no other can be deleted.
    pub(super) async fn batch(&self, limit: u32) -> Result<u64, Error> {
        let limit = u64::from(limit);
        let mut round = self.progress.take_round();
        let cleared = match round.position {
            None => self.delete(&mut round, limit).await?,
            Some(_) => self.delete_few(&mut round, limit).await?,
        };
        self.finish(round, cleared >= limit).await;
        Ok(cleared)
    }

    /// Keeps the round for the next call, if there is more to clear.
    pub(super) async fn finish(&self, round: Round, more: bool) {
        if more {
            *lock(&self.progress.round) = round;
        } else {
            *lock(&self.progress.left) = self.rows_left(&round).await;
        }
    }

    pub(super) async fn run(
        &self,
        statement: &Statement,
        params: &Params<'_>,
    ) -> Result<Executed, StatementError> {
        self.connections.run(ACTION, statement, params, Retry::READ).await
    }

    /// One statement, and more only if a row is refused.
    async fn delete(&self, round: &mut Round, limit: u64) -> Result<u64, Error> {
        let rows = i64::try_from(limit).unwrap_or(i64::MAX);
        loop {
            let statement = delete(&self.sql.table, &round.references);
            let failed = match self.run(&statement, &[&SystemTime::now(), &rows, &round.since]).await {
                Ok(executed) => {
                    let Some(row) = executed.rows.first() else { return Ok(0) };
                    let cleared = row.try_get::<_, i64>(0).map_err(unexpected_columns)?.unsigned_abs();
                    round.since = row.try_get(1).map_err(unexpected_columns)?;
                    return Ok(cleared);
                }
                Err(failed) => failed,
            };
            match &failed.refused {
                Some(refusal) => match self.reference(refusal).await? {
                    Some(reference) if !round.references.contains(&reference) => {
                        round.references.push(reference);
                    }
                    _ => {
                        round.refusal = Some(failed.error);
                        return self.delete_few(round, limit).await;
                    }
                },
                // The role may not read the other table.
                None if !round.references.is_empty() => {
                    round.references.clear();
                    return self.delete_few(round, limit).await;
                }
                None => return Err(failed.error),
            }
            round.refusal = Some(failed.error);
        }
    }

    /// Looks up the foreign key that refused a row.
    async fn reference(&self, refusal: &Refusal) -> Result<Option<Reference>, Error> {
        let Some([schema, table, name]) = &refusal.foreign_key else { return Ok(None) };
        let params: &Params<'_> = &[schema, table, name, &self.sql.table];
        let found = self.run(&look_up_reference(), params).await?;
        let Some(row) = found.rows.first() else { return Ok(None) };
        let text = |column| row.try_get::<_, String>(column).map_err(unexpected_columns);
        Ok(Some(Reference { table: text(0)?, condition: text(1)? }))
    }

    /// Deletes fewer rows at a time after each refusal, and more again after each success. A row that is
    /// refused alone is skipped. The number of statements is at most proportional to that of the rows.
    async fn delete_few(&self, round: &mut Round, limit: u64) -> Result<u64, Error> {
        let (mut cleared, mut size) = (0, limit);
        let mut position = match round.position.take() {
            Some((date, key)) => (Some(date), key),
            None => (round.since, String::new()),
        };
        let (delete, peek) = (delete_after(&self.sql.table), peek_after(&self.sql.table));
        loop {
            size = size.clamp(1, (limit - cleared).max(1));
            let rows = i64::try_from(size).unwrap_or(i64::MAX);
            let (now, (date, key)) = (SystemTime::now(), &position);
            let next = match self.run(&delete, &[&now, &rows, date, key]).await {
                Ok(executed) => {
                    size = size.saturating_mul(2);
                    executed
                }
                Err(StatementError { error, refused: Some(_), .. }) => {
                    round.refusal = Some(error);
                    if size > 1 {
                        size /= 2;
                        continue;
                    }
                    round.skipped += 1;
                    self.run(&peek, &[&now, &rows, date, key]).await?
                }
                Err(other) => return Err(other.error),
            };
            let Some(row) = next.rows.first() else { return Ok(cleared) }; // the last row is behind
            cleared += row.try_get::<_, i64>(0).map_err(unexpected_columns)?.unsigned_abs();
            let date: SystemTime = row.try_get(1).map_err(unexpected_columns)?;
            let key: String = row.try_get(2).map_err(unexpected_columns)?;
            if cleared >= limit {
                round.position = Some((date, key));
                return Ok(cleared);
            }
            position = (Some(date), key);
        }
    }

    /// Returns the error about the rows that a round has left, and logs it.
    async fn rows_left(&self, round: &Round) -> Option<Error> {
        let refusal = round.refusal.as_ref()?;
        let number = match round.skipped {
            0 => match self.count_referenced(round).await {
                Some(0) => return None, // they were renewed or deleted in between
                Some(rows) if rows >= COUNT_LIMIT => format!("at least {rows}"),
                Some(rows) => rows.to_string(),
                None => "some".to_owned(),
            },
            rows => rows.to_string(),
        };
        let noun = if number == "1" { "session" } else { "sessions" };
        let text = format!("{number} expired {noun} could not be deleted: {}", refusal.with_causes());
        tracing::warn!("{text}");
        Some(Error::store(text))
    }

    async fn count_referenced(&self, round: &Round) -> Option<i64> {
        let count = count_referenced(&self.sql.table, &round.references);
        let counted = self.run(&count, &[&SystemTime::now(), &COUNT_LIMIT]).await.ok()?;
        counted.rows.first()?.try_get(0).ok()
    }
}

/// The condition that no foreign key refers to the session `s`.
fn unreferenced(references: &[Reference]) -> String {
    let condition = |Reference { table, condition }: &Reference| {
        format!("AND NOT EXISTS (SELECT FROM {table} AS f WHERE {condition}) ")
    };
    references.iter().map(condition).collect()
}

/// The lower bound $3 spares the dead index entries of earlier calls. Rows are found again by their date, in
/// pages that were just read, and not by their keys, which are anywhere in the index: `IS TRUE` has the keys
/// looked up in a hash. The outer conditions hold for a row that was renewed in between.
fn delete(t: &str, references: &[Reference]) -> Statement {
    let unreferenced = unreferenced(references);
    let text = format!(
        "WITH expired AS (SELECT session_key, expire_date FROM {t} AS s \
         WHERE expire_date < $1 AND expire_date >= COALESCE($3, '-infinity'::timestamptz) {unreferenced}\
         ORDER BY expire_date LIMIT $2 FOR UPDATE OF s SKIP LOCKED), \
         cleared AS (DELETE FROM {t} WHERE expire_date < $1 \
         AND expire_date >= (SELECT min(expire_date) FROM expired) \
         AND expire_date <= (SELECT max(expire_date) FROM expired) \
         AND (session_key IN (SELECT session_key FROM expired)) IS TRUE RETURNING expire_date) \
         SELECT count(*), max(expire_date) FROM cleared"
    );
    Statement::new(text, &[Type::TIMESTAMPTZ, Type::INT8, Type::TIMESTAMPTZ])
}

const AFTER: &[Type] = &[Type::TIMESTAMPTZ, Type::INT8, Type::TIMESTAMPTZ, Type::TEXT];

/// The expired rows that follow the position $3, $4.
fn expired_after(t: &str) -> String {
    format!(
        "WITH expired AS (SELECT session_key, expire_date FROM {t} \
         WHERE expire_date < $1 \
         AND (expire_date, session_key) > (COALESCE($3, '-infinity'::timestamptz), $4) \
         ORDER BY expire_date, session_key LIMIT $2 FOR UPDATE SKIP LOCKED)"
    )
}

const LAST: &str = "expire_date, session_key::text FROM expired ORDER BY expire_date DESC, session_key DESC";

fn delete_after(t: &str) -> Statement {
    let text = format!(
        "{}, cleared AS (DELETE FROM {t} WHERE expire_date < $1 \
         AND session_key IN (SELECT session_key FROM expired) RETURNING 1) \
         SELECT (SELECT count(*) FROM cleared), {LAST} LIMIT 1",
        expired_after(t)
    );
    Statement::new(text, AFTER)
}

fn peek_after(t: &str) -> Statement {
    Statement::new(format!("{} SELECT 0::int8, {LAST} LIMIT 1", expired_after(t)), AFTER)
}

fn count_referenced(t: &str, references: &[Reference]) -> Statement {
    let unreferenced = unreferenced(references);
    let text = format!(
        "SELECT count(*) FROM (SELECT FROM {t} AS s WHERE expire_date < $1 \
         AND NOT (true {unreferenced}) LIMIT $2) AS referenced"
    );
    Statement::new(text, &[Type::TIMESTAMPTZ, Type::INT8])
}

/// The foreign key $3 of the table $1.$2 that refers to the table $4, or to a partition of it.
fn look_up_reference() -> Statement {
    let text = "SELECT format('%I.%I', n.nspname, r.relname), \
         (SELECT string_agg(format('f.%I = s.%I', a.attname, b.attname), ' AND ') \
         FROM unnest(c.conkey, c.confkey) AS k (own, other) \
         JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.own \
         JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.other) \
         FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid \
         JOIN pg_namespace n ON n.oid = r.relnamespace \
         WHERE n.nspname = $1 AND r.relname = $2 AND c.conname = $3 AND c.contype = 'f' \
         AND c.confrelid IN (SELECT to_regclass($4) \
         UNION ALL SELECT relid FROM pg_partition_tree(to_regclass($4))) LIMIT 1";
    Statement::new(text, &[Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT])
}
