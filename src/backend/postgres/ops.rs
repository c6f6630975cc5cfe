//! The four operations that are batched, each for one request and for many.

use std::{collections::HashSet, time::SystemTime};

use super::{
    batch::{Attempt, BatchOp, Outcome},
    distributed,
    error::{StatementError, unexpected_columns},
    rows::SessionRows,
    statement::{Executed, Params, Retry, Statement},
};
use crate::{
    Error, SessionKey,
    backend::{Action, Inserted, Replaced, Row},
    metrics::Purpose,
};

pub(super) struct Gets(pub(super) SessionRows);
pub(super) struct Inserts(pub(super) SessionRows);
pub(super) struct Replaces(pub(super) SessionRows);
pub(super) struct Deletes(pub(super) SessionRows);

pub(super) struct NewRow {
    pub(super) key: SessionKey,
    pub(super) value: String,
    pub(super) expires: SystemTime,
    /// Of further columns.
    pub(super) texts: Option<String>,
}

pub(super) struct Replacement {
    pub(super) key: SessionKey,
    pub(super) expected: String,
    pub(super) new_key: SessionKey,
    pub(super) value: Option<String>,
    pub(super) expires: SystemTime,
    /// Of further columns.
    pub(super) texts: Option<String>,
}

impl BatchOp for Gets {
    const ACTION: Action = Action::new("load a session", Purpose::Load);
    const SHARED: bool = true;
    const READS: bool = true;

    type Key = SessionKey;
    type Request = SessionKey;
    type Reply = Option<Row>;

    fn key(key: &SessionKey) -> &SessionKey {
        key
    }

    fn share(row: &Option<Row>) -> Option<Row> {
        row.clone()
    }

    async fn run_one(&self, key: &SessionKey, _: Attempt) -> Result<Option<Row>, StatementError> {
        self.0.one(key, SystemTime::now()).await
    }

    async fn run_batch(
        &self,
        keys: &[&SessionKey],
        _: bool,
    ) -> Result<Vec<Outcome<Option<Row>>>, StatementError> {
        let rows = self.0.many(keys, SystemTime::now()).await?;
        let outcome = |row| match row {
            Some(Row { value: None, .. }) => Outcome::Alone, // a large one
            row => Outcome::Done(row),
        };
        Ok(rows.into_iter().map(outcome).collect())
    }
}

impl BatchOp for Inserts {
    const ACTION: Action = Action::new("create a session", Purpose::Create);

    type Key = SessionKey;
    type Request = NewRow;
    type Reply = Inserted;

    fn key(new: &NewRow) -> &SessionKey {
        &new.key
    }

    fn bytes(new: &NewRow) -> usize {
        new.value.len()
    }

    fn share(inserted: &Inserted) -> Inserted {
        *inserted
    }

    async fn run_one(&self, new: &NewRow, attempt: Attempt) -> Result<Inserted, StatementError> {
        let params: &Params<'_> = &[&new.key.as_str(), &new.value, &new.expires, &new.texts];
        let params = self.0.own_or_all(params, 3);
        let retry = Retry { resend: true, ..Retry::ONCE };
        let error = match self.0.connections.run(Self::ACTION, &self.0.sql.insert, params, retry).await {
            Ok(inserted) if inserted.affected == 1 => return Ok(Inserted::Done),
            Ok(_) => return Err(Error::store("cannot create a session: a trigger dropped the row").into()),
            Err(error) if error.unique => error,
            Err(error) => return Err(error),
        };
        // The key's constraint may have any name, and the table may have others: only a row with the key
        // proves it. If an earlier attempt may have been applied, the row may be this one: nobody else
        // knows its key yet.
        match self.0.one(&new.key, SystemTime::UNIX_EPOCH).await? {
            Some(row)
                if (attempt.maybe_applied || error.maybe_applied)
                    && row.value.as_deref() == Some(new.value.as_bytes())
                    && row.expires == new.expires =>
            {
                Ok(Inserted::Done)
            }
            Some(_) => Ok(Inserted::KeyTaken),
            None => Err(error),
        }
    }

    /// Inserts all of them, or fails and inserts none.
    async fn run_batch(&self, news: &[&NewRow], _: bool) -> Result<Vec<Outcome<Inserted>>, StatementError> {
        let keys: Vec<&str> = news.iter().map(|new| new.key.as_str()).collect();
        let values: Vec<&str> = news.iter().map(|new| &*new.value).collect();
        let expires: Vec<SystemTime> = news.iter().map(|new| new.expires).collect();
        let texts: Vec<Option<&str>> = news.iter().map(|new| new.texts.as_deref()).collect();
        let params: &Params<'_> = &[&keys, &values, &expires, &texts];
        let params = self.0.own_or_all(params, 3);
        let retry = Retry { resend: true, ..Retry::BATCH };
        self.0.connections.run(Self::ACTION, &self.0.sql.insert_many, params, retry).await?;
        Ok(news.iter().map(|_| Outcome::Done(Inserted::Done)).collect())
    }
}

impl BatchOp for Replaces {
    const ACTION: Action = Action::new("save a session", Purpose::Save);

    type Key = SessionKey;
    type Request = Replacement;
    type Reply = Replaced;

    fn key(replacement: &Replacement) -> &SessionKey {
        &replacement.key
    }

    fn bytes(replacement: &Replacement) -> usize {
        replacement.expected.len() + replacement.value.as_ref().map_or(0, String::len)
    }

    fn share(replaced: &Replaced) -> Replaced {
        replaced.clone()
    }

    fn in_doubt(replacement: &Replacement) -> Option<Replaced> {
        (!replacement.is_touch()).then_some(Replaced::Unknown)
    }

    async fn run_one(&self, one: &Replacement, attempt: Attempt) -> Result<Replaced, StatementError> {
        let now = SystemTime::now();
        let params: &Params<'_> = &[
            &one.key.as_str(),
            &one.expected,
            &now,
            &one.value,
            &one.expires,
            &one.new_key.as_str(),
            &one.texts,
        ];
        let connections = &self.0.connections;
        if one.key != one.new_key {
            connections.know_the_place(Self::ACTION).await?;
        }
        let apart: Statement;
        let (statement, params) = match one.key == one.new_key {
            true => (self.0.waiting(&self.0.sql.update, attempt), self.0.own_or_all(params, 5)),
            false if connections.engine.renames_apart() => {
                apart = distributed::rename(&self.0, Self::ACTION).await?;
                (&apart, self.0.own_or_all(params, 6))
            }
            false => (self.0.waiting(&self.0.sql.rename, attempt), self.0.own_or_all(params, 6)),
        };
        let retry = Retry { resend: one.is_touch(), ..Retry::ONCE };
        match connections.run(Self::ACTION, statement, params, retry).await {
            Ok(changed) if changed.affected == 1 => Ok(Replaced::Done),
            Ok(_) => Ok(not_done(self.0.one(&one.key, now).await?)),
            Err(error) if error.unique && one.key != one.new_key && self.0.exists(&one.new_key).await? => {
                Ok(Replaced::KeyTaken)
            }
            Err(error) => Err(error),
        }
    }

    async fn run_batch(
        &self,
        all: &[&Replacement],
        skip_locked: bool,
    ) -> Result<Vec<Outcome<Replaced>>, StatementError> {
        if all.iter().any(|one| one.key != one.new_key) {
            let new_keys: HashSet<&SessionKey> = all.iter().map(|one| &one.new_key).collect();
            if new_keys.len() < all.len() || self.0.connections.engine.renames_apart() {
                // The statement returns new keys. If two requests have the same one, it does not tell them
                // apart. On several servers it cannot run.
                return Ok(all.iter().map(|_| Outcome::Alone).collect());
            }
        }
        let executed = self.replace(all, skip_locked).await?;
        let done = returned(&executed, all.iter().map(|one| &one.new_key))?;
        let left: Vec<&SessionKey> =
            all.iter().zip(&done).filter(|(_, done)| !**done).map(|(one, _)| &one.key).collect();
        let stored = match left[..] {
            [] => Ok(Vec::new()),
            _ => self.0.many(&left, SystemTime::now()).await,
        };
        // Some rows are changed: from here on, a failure is one of the others alone.
        let mut stored = stored.map(Vec::into_iter);
        let outcomes = all.iter().zip(done).map(|(one, done)| match &mut stored {
            _ if done => Outcome::Done(Replaced::Done),
            Err(failed) => Outcome::Failed(failed.error.clone()),
            Ok(rows) => match rows.next().flatten() {
                Some(Row { value: None, .. }) => Outcome::Alone, // a large one
                Some(row) if row.value.as_deref() == Some(one.expected.as_bytes()) => Outcome::Locked,
                row => Outcome::Done(not_done(row)),
            },
        });
        Ok(outcomes.collect())
    }
}

impl Replacement {
    fn is_touch(&self) -> bool {
        self.value.is_none() && self.key == self.new_key
    }
}

impl Replaces {
    /// Replaces every row that is as expected, and returns the keys that these have now.
    async fn replace(&self, all: &[&Replacement], skip_locked: bool) -> Result<Executed, StatementError> {
        let mut all = all.to_vec();
        // By their bytes, as the statement needs it.
        all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let keys: Vec<&str> = all.iter().map(|one| one.key.as_str()).collect();
        let expected: Vec<&str> = all.iter().map(|one| &*one.expected).collect();
        let values: Vec<Option<&str>> = all.iter().map(|one| one.value.as_deref()).collect();
        let expires: Vec<SystemTime> = all.iter().map(|one| one.expires).collect();
        let new_keys: Vec<&str> = all.iter().map(|one| one.new_key.as_str()).collect();
        let texts: Vec<Option<&str>> = all.iter().map(|one| one.texts.as_deref()).collect();
        let params: &Params<'_> =
            &[&keys, &expected, &SystemTime::now(), &values, &expires, &new_keys, &texts];
        let (statement, params) = match keys == new_keys {
            true => (&self.0.sql.update_many, self.0.own_or_all(params, 5)),
            false => (&self.0.sql.rename_many, self.0.own_or_all(params, 6)),
        };
        let retry = Retry { resend: all.iter().all(|one| one.is_touch()), ..Retry::BATCH };
        self.0.connections.run(Self::ACTION, self.0.choose(statement, skip_locked), params, retry).await
    }
}

/// The reply when no row was as expected.
fn not_done(stored: Option<Row>) -> Replaced {
    stored.map_or(Replaced::Gone, Replaced::Conflict)
}

impl BatchOp for Deletes {
    const ACTION: Action = Action::new("delete a session", Purpose::Delete);
    const SHARED: bool = true;

    type Key = SessionKey;
    type Request = SessionKey;
    type Reply = bool;

    fn key(key: &SessionKey) -> &SessionKey {
        key
    }

    /// The first one has deleted the row.
    fn share(_: &bool) -> bool {
        false
    }

    async fn run_one(&self, key: &SessionKey, attempt: Attempt) -> Result<bool, StatementError> {
        let statement = self.0.waiting(&self.0.sql.delete, attempt);
        let retry = Retry { resend: true, ..Retry::ONCE };
        let deleted = self.0.connections.run(Self::ACTION, statement, &[&key.as_str()], retry).await?;
        Ok(deleted.affected == 1 || attempt.maybe_applied || deleted.repeated)
    }

    async fn run_batch(
        &self,
        keys: &[&SessionKey],
        skip_locked: bool,
    ) -> Result<Vec<Outcome<bool>>, StatementError> {
        let texts: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let statement = self.0.choose(&self.0.sql.delete_many, skip_locked);
        let retry = Retry { resend: true, ..Retry::BATCH };
        let deleted = self.0.connections.run(Self::ACTION, statement, &[&texts], retry).await?;
        let done = returned(&deleted, keys.iter().copied())?;
        let left: Vec<&str> =
            texts.iter().zip(&done).filter(|(_, done)| !**done).map(|(text, _)| *text).collect();
        // A row that is still there was locked.
        let locked = match self.0.skips_locked(skip_locked) && !left.is_empty() {
            true => self.0.connections.run(Self::ACTION, &self.0.sql.exist, &[&left], Retry::READ).await,
            false => Ok(Executed::default()),
        };
        // Some rows are deleted: from here on, a failure is one of the others alone.
        let locked = locked.and_then(|found| returned(&found, keys.iter().copied()));
        let outcome = |(at, done): (usize, bool)| match &locked {
            _ if done => Outcome::Done(true),
            Err(failed) => Outcome::Failed(failed.error.clone()),
            Ok(locked) if locked[at] => Outcome::Locked,
            Ok(_) => Outcome::Done(deleted.repeated),
        };
        Ok(done.into_iter().enumerate().map(outcome).collect())
    }
}

/// Returns for each key whether the statement returned it in the first column.
fn returned<'a>(
    executed: &Executed,
    keys: impl Iterator<Item = &'a SessionKey>,
) -> Result<Vec<bool>, StatementError> {
    let found: Result<HashSet<&str>, _> = executed.rows.iter().map(|row| row.try_get(0)).collect();
    let found = found.map_err(unexpected_columns)?;
    Ok(keys.map(|key| found.contains(key.as_str())).collect())
}
