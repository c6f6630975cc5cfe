//! What is asked of the table, one by one or many at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use tokio_postgres::{Row, types::ToSql};

use super::{
    connection::{ChangedRows, Connections, Kind},
    lane::{Attempt, Failure, Work},
    sql::{Many, Sql, Statement},
    trouble::other_columns,
};
use crate::{Error, SessionKey, store::Seen};

/// What a row holds.
#[derive(Clone)]
pub(super) struct Content {
    /// None if it is longer than any that we could read.
    pub(super) text: Option<Arc<str>>,
    pub(super) expires: SystemTime,
}

/// Who asks the table, and how.
#[derive(Clone)]
pub(super) struct Rows {
    pub(super) connections: Connections,
    pub(super) sql: Arc<Sql>,
    /// The longest text that is read, in bytes.
    pub(super) max_text: i32,
}

pub(super) struct Loads(pub(super) Rows);
pub(super) struct Creates(pub(super) Rows);
pub(super) struct Replaces(pub(super) Rows);
pub(super) struct Deletes(pub(super) Rows);

pub(super) struct New {
    pub(super) key: SessionKey,
    pub(super) text: Arc<str>,
    pub(super) expires: SystemTime,
}

pub(super) struct Replacement {
    pub(super) key: SessionKey,
    pub(super) seen: Seen,
    pub(super) new: New,
}

/// How a replacement ended.
pub(super) enum Replaced {
    Done,
    Taken,
    /// Not done: this is there.
    There(Option<Content>),
    /// Its answer was lost, and another writer has changed the row since.
    Unknown,
}

impl Work for Loads {
    type Question = SessionKey;
    type Answer = Option<Content>;

    async fn one(&self, key: &SessionKey, _: Attempt) -> Result<Self::Answer, Failure> {
        Ok(self.0.content(key, SystemTime::now()).await?)
    }

    async fn many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Self::Answer>>, Failure> {
        let found = self.0.contents(keys, SystemTime::now()).await?;
        // Nobody waits for a large one.
        let answer = |content: Option<Content>| match content {
            Some(Content { text: None, .. }) => None,
            content => Some(content),
        };
        Ok(found.into_iter().map(answer).collect())
    }
}

impl Work for Creates {
    type Question = New;
    type Answer = bool;

    fn name(new: &New) -> Option<&SessionKey> {
        Some(&new.key)
    }

    fn bytes(new: &New) -> usize {
        new.text.len()
    }

    async fn one(&self, new: &New, Attempt { unsure, patient }: Attempt) -> Result<bool, Failure> {
        let params: &Params<'_> = &[&new.key.as_str(), &&*new.text, &new.expires];
        let sql = &self.0.sql.create;
        let created = self.0.connections.try_execute("create a session", sql, params, patient).await?;
        Ok(created.rows == 1 || ((unsure || created.repeated) && self.0.are_there(&[new]).await?[0]))
    }

    /// All of them or, as a failure, none.
    async fn many(&self, news: &[New]) -> Result<Vec<Option<bool>>, Failure> {
        let keys: Vec<&str> = news.iter().map(|new| new.key.as_str()).collect();
        let texts: Vec<&str> = news.iter().map(|new| &*new.text).collect();
        let expires: Vec<SystemTime> = news.iter().map(|new| new.expires).collect();
        let params: &Params<'_> = &[&keys, &texts, &expires];
        self.0.connections.change("create a session", &self.0.sql.create_many, params).await?;
        Ok(vec![Some(true); news.len()])
    }
}

impl Work for Replaces {
    type Question = Replacement;
    type Answer = Replaced;

    fn name(replacement: &Replacement) -> Option<&SessionKey> {
        Some(&replacement.key)
    }

    fn bytes(replacement: &Replacement) -> usize {
        replacement.new.text.len() + replacement.seen.as_bytes().len()
    }

    async fn one(
        &self,
        one: &Replacement,
        Attempt { unsure, patient }: Attempt,
    ) -> Result<Replaced, Failure> {
        let Replacement { key, seen, new } = one;
        let (what, now) = ("save a session", SystemTime::now());
        let all: [&(dyn ToSql + Sync); 6] =
            [&key.as_str(), &seen.as_str(), &now, &&*new.text, &new.expires, &new.key.as_str()];
        let (sql, params) = match *key == new.key {
            true => (&self.0.sql.update, &all[..5]),
            false => (&self.0.sql.rename, &all[..]),
        };
        let changed = self.0.connections.try_execute(what, sql, params, patient).await?;
        let doubtful = unsure || changed.repeated;
        if changed.rows == 1 || (doubtful && self.0.are_there(&[new]).await?[0]) {
            return Ok(Replaced::Done);
        }
        if changed.duplicate {
            return Ok(Replaced::Taken);
        }
        Ok(Replaced::not_done(doubtful, self.0.content(key, now).await?))
    }

    async fn many(&self, all: &[Replacement]) -> Result<Vec<Option<Replaced>>, Failure> {
        if all.iter().any(|one| one.key != one.new.key) {
            let new_keys: HashSet<&SessionKey> = all.iter().map(|one| &one.new.key).collect();
            if new_keys.len() < all.len() {
                // The answer names new keys: if two want the same one, or one that another has, all are asked for by themselves.
                return Ok(all.iter().map(|_| None).collect());
            }
        }
        let changed = self.0.replace(all).await?;
        let mut done = changed.among(all.iter().map(|one| one.new.key.as_str()))?;
        if changed.repeated {
            let there = self.0.are_there(&all.iter().map(|one| &one.new).collect::<Vec<_>>()).await?;
            done.iter_mut().zip(there).for_each(|(done, there)| *done |= there);
        }
        let left: Vec<SessionKey> =
            all.iter().zip(&done).filter(|(_, done)| !**done).map(|(one, _)| one.key.clone()).collect();
        let there = match left.is_empty() {
            true => Vec::new(),
            false => self.0.whole_contents(&left, SystemTime::now()).await?,
        };
        let mut there = there.into_iter();
        let answers = done.into_iter().map(|done| match done {
            true => Some(Replaced::Done),
            false => Some(Replaced::not_done(changed.repeated, there.next().flatten())),
        });
        Ok(answers.collect())
    }
}

impl Replaced {
    /// With what is there instead. If the answer to a first attempt was lost, what is there may come of that: to make the
    /// changes again on it would be to make them twice.
    fn not_done(doubtful: bool, there: Option<Content>) -> Self {
        if doubtful && there.is_some() { Self::Unknown } else { Self::There(there) }
    }
}

impl Work for Deletes {
    type Question = SessionKey;
    type Answer = bool;

    fn name(key: &SessionKey) -> Option<&SessionKey> {
        Some(key)
    }

    async fn one(&self, key: &SessionKey, Attempt { unsure, patient }: Attempt) -> Result<bool, Failure> {
        let (params, sql): (&Params<'_>, _) = (&[&key.as_str()], &self.0.sql.delete);
        let deleted = self.0.connections.try_execute("delete a session", sql, params, patient).await?;
        Ok(deleted.rows == 1 || unsure || deleted.repeated)
    }

    async fn many(&self, keys: &[SessionKey]) -> Result<Vec<Option<bool>>, Failure> {
        let keys: Vec<&str> = keys.iter().map(SessionKey::as_str).collect();
        let sql = self.0.for_many(&self.0.sql.delete_many);
        let deleted = self.0.connections.change("delete a session", sql, &[&keys]).await?;
        let done = match deleted.repeated {
            true => vec![true; keys.len()],
            false => deleted.among(keys.into_iter())?,
        };
        Ok(done.into_iter().map(Some).collect())
    }
}

type Params<'a> = [&'a (dyn ToSql + Sync)];

const LOAD: &str = "load a session";

impl Rows {
    /// The row under this key, if it ends after `now`.
    async fn content(&self, key: &SessionKey, now: SystemTime) -> Result<Option<Content>, Error> {
        let params: &Params<'_> = &[&key.as_str(), &now, &self.max_text];
        let row = self.connections.query_opt(LOAD, &self.sql.load, params).await?;
        row.as_ref().map(content).transpose()
    }

    /// The rows under these keys that end after `now`; of large ones without the text.
    async fn contents(&self, keys: &[SessionKey], now: SystemTime) -> Result<Vec<Option<Content>>, Error> {
        let names: Vec<&str> = keys.iter().map(SessionKey::as_str).collect();
        let rows = self.connections.query(LOAD, &self.sql.load_many, &[&names, &now]).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            found.insert(row.try_get::<_, &str>(0).map_err(other_columns)?, content(row)?);
        }
        Ok(keys.iter().map(|key| found.get(key.as_str()).cloned()).collect())
    }

    /// The same, large ones as well.
    async fn whole_contents(
        &self,
        keys: &[SessionKey],
        now: SystemTime,
    ) -> Result<Vec<Option<Content>>, Error> {
        let mut all = self.contents(keys, now).await?;
        for (content, key) in all.iter_mut().zip(keys) {
            if matches!(content, Some(Content { text: None, .. })) {
                *content = self.content(key, now).await?;
            }
        }
        Ok(all)
    }

    /// Which of these are stored exactly so: what a statement of ours wrote whose answer was lost.
    async fn are_there(&self, news: &[&New]) -> Result<Vec<bool>, Error> {
        let keys: Vec<SessionKey> = news.iter().map(|new| new.key.clone()).collect();
        let there = self.whole_contents(&keys, SystemTime::UNIX_EPOCH).await?;
        let same = |(new, there): (&&New, Option<Content>)| {
            there.is_some_and(|row| row.text.as_ref() == Some(&new.text) && row.expires == new.expires)
        };
        Ok(news.iter().zip(there).map(same).collect())
    }

    /// Replaces all that is as it was seen, and tells the keys that these rows have now. The statement wants them in the order
    /// of their bytes, as `SessionKey` has it.
    async fn replace(&self, all: &[Replacement]) -> Result<ChangedRows, Failure> {
        let mut all: Vec<&Replacement> = all.iter().collect();
        all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let column = |text: fn(&Replacement) -> &str| all.iter().map(|one| text(one)).collect::<Vec<&str>>();
        let keys = column(|one| one.key.as_str());
        let (seen, texts) = (column(|one| one.seen.as_str()), column(|one| &one.new.text));
        let expires: Vec<SystemTime> = all.iter().map(|one| one.new.expires).collect();
        let new_keys = column(|one| one.new.key.as_str());
        let params: [&(dyn ToSql + Sync); 6] =
            [&keys, &seen, &SystemTime::now(), &texts, &expires, &new_keys];
        let (sql, params) = match keys == new_keys {
            true => (&self.sql.update_many, &params[..5]),
            false => (&self.sql.rename_many, &params[..]),
        };
        self.connections.change("save a session", self.for_many(sql), params).await
    }

    fn for_many<'a>(&self, statement: &'a Many) -> &'a Statement {
        if self.connections.kind == Kind::Own { &statement.own } else { &statement.any }
    }
}

fn content(row: &Row) -> Result<Content, Error> {
    let parts = || {
        let text: Option<&str> = row.try_get(1)?;
        Ok(Content { text: text.map(Into::into), expires: row.try_get(2)? })
    };
    parts().map_err(other_columns)
}

impl ChangedRows {
    /// For each of these keys, whether a row that was changed has it.
    fn among<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Result<Vec<bool>, Error> {
        let changed: Result<HashSet<&str>, _> = self.rows.iter().map(|row| row.try_get(0)).collect();
        let changed = changed.map_err(other_columns)?;
        Ok(keys.map(|key| changed.contains(key)).collect())
    }
}
