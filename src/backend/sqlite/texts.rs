//! Statements on other tables than that of sessions: every parameter and every column is text.

use rusqlite::{
    Connection, Row, Transaction, TransactionBehavior, ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
    ffi::SQLITE_CONSTRAINT_UNIQUE, params_from_iter, types::ValueRef,
};

use super::{Sqlite, file::Call};
use crate::{
    Error,
    backend::{
        Action,
        database::{Executed, NotExecuted, TextRow, TextStatement},
    },
};

impl Sqlite {
    pub(crate) async fn texts(
        &self,
        statement: &TextStatement,
        params: &[Option<&str>],
    ) -> Result<Executed, NotExecuted> {
        let call = match statement.writes {
            true => Call::write(statement.action.phrase, 0),
            false => Call::read(statement.action.phrase),
        };
        let (sql, writes) = (statement.sql.clone(), statement.writes);
        let params: Vec<Option<String>> = params.iter().map(|param| param.map(str::to_owned)).collect();
        let run = move |db: &Connection| {
            let mut prepared = db.prepare_cached(&sql)?;
            let rows = prepared.query_map(params_from_iter(&params), read)?;
            let rows: Vec<TextRow> = rows.collect::<Result<_, _>>()?;
            let affected = if writes { db.changes() } else { rows.len() as u64 };
            Ok(Executed { rows, affected })
        };
        let executed = self.file.run(call, move |db| match run(db) {
            Err(rusqlite::Error::SqliteFailure(error, _)) if is_taken(error) => Ok(None),
            result => result.map(Some),
        });
        let taken =
            || Error::store(format!("cannot {}: a unique constraint refuses the row", statement.action));
        let executed = executed.await.map_err(|failed| match failed.in_doubt && statement.writes {
            true => Error::write_in_doubt(statement.action),
            false => failed.error,
        })?;
        executed.ok_or_else(|| NotExecuted { taken: true, refused: false, error: taken() })
    }

    pub(crate) async fn script(&self, action: Action, sql: String) -> Result<(), Error> {
        let call = Call { creates: true, ..Call::write(action.phrase, 0) };
        let run = self.file.run(call, move |db| {
            let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
            transaction.execute_batch(&sql)?;
            transaction.commit()
        });
        Ok(run.await?)
    }
}

fn is_taken(error: rusqlite::ffi::Error) -> bool {
    [SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_PRIMARYKEY].contains(&error.extended_code)
}

fn read(row: &Row<'_>) -> rusqlite::Result<TextRow> {
    let columns = row.as_ref().column_count();
    (0..columns).map(|n| Ok(text(row.get_ref(n)?))).collect()
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}
