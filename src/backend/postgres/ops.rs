//! The four operations that are batched, each for one request and for many.

use std::{collections::HashSet, time::SystemTime};

use super::{
    batch::{Attempt, BatchOp},
    error::{StatementError, unexpected_columns},
    rows::{After, SessionRows, Written},
    statement::{Executed, Params},
};
use crate::{
    Error, SessionKey,
    backend::{Inserted, Replaced, Row},
};

pub(super) struct Gets(pub(super) SessionRows);
pub(super) struct Inserts(pub(super) SessionRows);
pub(super) struct Replaces(pub(super) SessionRows);
pub(super) struct Deletes(pub(super) SessionRows);

pub(super) struct NewRow {
    pub(super) key: SessionKey,
    pub(super) value: String,
    pub(super) expires: SystemTime,
}

pub(super) struct Replacement {
    pub(super) key: SessionKey,
    pub(super) expected: String,
    pub(super) new_key: SessionKey,
    pub(super) value: Option<String>,
    pub(super) expires: SystemTime,
}

impl BatchOp for Gets {
    const ACTION: &'static str = "load a session";

    type Request = SessionKey;
    type Reply = Option<Row>;

    async fn run_one(&self, key: &SessionKey, _: Attempt) -> Result<Option<Row>, StatementError> {
        self.0.one(key, SystemTime::now()).await
    }

    async fn run_batch(&self, keys: &[&SessionKey]) -> Result<Vec<Option<Option<Row>>>, StatementError> {
        let rows = self.0.many(keys, SystemTime::now()).await?;
        // A large one is read alone.
        let reply = |row| if matches!(row, Some(Row { value: None, .. })) { None } else { Some(row) };
        Ok(rows.into_iter().map(reply).collect())
    }
}

impl BatchOp for Inserts {
    const ACTION: &'static str = "create a session";

    type Request = NewRow;
    type Reply = Inserted;

    fn unique_key(new: &NewRow) -> Option<&SessionKey> {
        Some(&new.key)
    }

    fn bytes(new: &NewRow) -> usize {
        new.value.len()
    }

    async fn run_one(&self, new: &NewRow, attempt: Attempt) -> Result<Inserted, StatementError> {
        let params: &Params<'_> = &[&new.key.as_str(), &new.value, &new.expires];
        let (statement, after) = (&self.0.sql.insert, (&new.key, &*new.value, new.expires));
        match self.0.write(Self::ACTION, statement, params, after, Some(&new.key), attempt).await? {
            Written::Done => Ok(Inserted::Done),
            Written::KeyTaken => Ok(Inserted::KeyTaken),
            Written::NoMatch { .. } => {
                Err(Error::store("cannot create a session: a trigger dropped the row").into())
            }
        }
    }

    /// Inserts all of them, or fails and inserts none.
    async fn run_batch(&self, news: &[&NewRow]) -> Result<Vec<Option<Inserted>>, StatementError> {
        let keys: Vec<&str> = news.iter().map(|new| new.key.as_str()).collect();
        let values: Vec<&str> = news.iter().map(|new| &*new.value).collect();
        let expires: Vec<SystemTime> = news.iter().map(|new| new.expires).collect();
        let params: &Params<'_> = &[&keys, &values, &expires];
        self.0.connections.run(Self::ACTION, &self.0.sql.insert_many, params, false).await?;
        Ok(vec![Some(Inserted::Done); news.len()])
    }
}

impl BatchOp for Replaces {
    const ACTION: &'static str = "save a session";

    type Request = Replacement;
    type Reply = Replaced;

    fn unique_key(replacement: &Replacement) -> Option<&SessionKey> {
        Some(&replacement.key)
    }

    fn bytes(replacement: &Replacement) -> usize {
        replacement.expected.len() + replacement.value.as_ref().map_or(0, String::len)
    }

    async fn run_one(&self, one: &Replacement, attempt: Attempt) -> Result<Replaced, StatementError> {
        let now = SystemTime::now();
        let params: &Params<'_> =
            &[&one.key.as_str(), &one.expected, &now, &one.value, &one.expires, &one.new_key.as_str()];
        let (statement, params, new_key) = match one.key == one.new_key {
            true => (&self.0.sql.update, &params[..5], None),
            false => (&self.0.sql.rename, params, Some(&one.new_key)),
        };
        match self.0.write(Self::ACTION, statement, params, one.after(), new_key, attempt).await? {
            Written::Done => Ok(Replaced::Done),
            Written::KeyTaken => Ok(Replaced::KeyTaken),
            Written::NoMatch { in_doubt } => Ok(not_done(in_doubt, self.0.one(&one.key, now).await?)),
        }
    }

    async fn run_batch(&self, all: &[&Replacement]) -> Result<Vec<Option<Replaced>>, StatementError> {
        if all.iter().any(|one| one.key != one.new_key) {
            let new_keys: HashSet<&SessionKey> = all.iter().map(|one| &one.new_key).collect();
            if new_keys.len() < all.len() {
                // The statement returns new keys. If two requests have the same one, it does not tell them
                // apart.
                return Ok(all.iter().map(|_| None).collect());
            }
        }
        let executed = self.replace(all).await?;
        let mut done = returned(&executed, all.iter().map(|one| &one.new_key))?;
        if executed.repeated {
            let applied = self.0.applied(&all.iter().map(|one| one.after()).collect::<Vec<_>>()).await?;
            done.iter_mut().zip(applied).for_each(|(done, applied)| *done |= applied);
        }
        let left: Vec<&SessionKey> =
            all.iter().zip(&done).filter(|(_, done)| !**done).map(|(one, _)| &one.key).collect();
        let mut stored = self.0.many_whole(&left, SystemTime::now()).await?.into_iter();
        let replies = done.into_iter().map(|done| match done {
            true => Some(Replaced::Done),
            false => Some(not_done(executed.repeated, stored.next().flatten())),
        });
        Ok(replies.collect())
    }
}

impl Replacement {
    fn after(&self) -> After<'_> {
        (&self.new_key, self.value.as_deref().unwrap_or(&self.expected), self.expires)
    }
}

impl Replaces {
    /// Replaces every row that is as expected, and returns the keys that these have now.
    async fn replace(&self, all: &[&Replacement]) -> Result<Executed, StatementError> {
        let mut all = all.to_vec();
        // By their bytes, as the statement needs it.
        all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let keys: Vec<&str> = all.iter().map(|one| one.key.as_str()).collect();
        let expected: Vec<&str> = all.iter().map(|one| &*one.expected).collect();
        let values: Vec<Option<&str>> = all.iter().map(|one| one.value.as_deref()).collect();
        let expires: Vec<SystemTime> = all.iter().map(|one| one.expires).collect();
        let new_keys: Vec<&str> = all.iter().map(|one| one.new_key.as_str()).collect();
        let params: &Params<'_> = &[&keys, &expected, &SystemTime::now(), &values, &expires, &new_keys];
        let (statement, params) = match keys == new_keys {
            true => (&self.0.sql.update_many, &params[..5]),
            false => (&self.0.sql.rename_many, params),
        };
        self.0.connections.run(Self::ACTION, self.0.choose(statement), params, false).await
    }
}

/// The reply when no row was as expected. In doubt, what is stored may be the result of the first attempt:
/// who makes the change again on that makes it twice.
fn not_done(in_doubt: bool, stored: Option<Row>) -> Replaced {
    match stored {
        None => Replaced::Gone,
        Some(_) if in_doubt => Replaced::Unknown,
        Some(row) => Replaced::Conflict(row),
    }
}

impl BatchOp for Deletes {
    const ACTION: &'static str = "delete a session";

    type Request = SessionKey;
    type Reply = bool;

    fn unique_key(key: &SessionKey) -> Option<&SessionKey> {
        Some(key)
    }

    async fn run_one(&self, key: &SessionKey, attempt: Attempt) -> Result<bool, StatementError> {
        let (params, statement): (&Params<'_>, _) = (&[&key.as_str()], &self.0.sql.delete);
        let deleted = self.0.connections.run(Self::ACTION, statement, params, attempt.wait_for_lock).await?;
        Ok(deleted.affected == 1 || attempt.maybe_applied || deleted.repeated)
    }

    async fn run_batch(&self, keys: &[&SessionKey]) -> Result<Vec<Option<bool>>, StatementError> {
        let names: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let statement = self.0.choose(&self.0.sql.delete_many);
        let deleted = self.0.connections.run(Self::ACTION, statement, &[&names], false).await?;
        let done = match deleted.repeated {
            true => vec![true; keys.len()],
            false => returned(&deleted, keys.iter().copied())?,
        };
        Ok(done.into_iter().map(Some).collect())
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
