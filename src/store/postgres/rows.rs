//! What is asked of the table, one by one or many at once.

use std::{collections::HashMap, collections::HashSet, sync::Arc, time::SystemTime};

use tokio_postgres::{Row, types::ToSql};

use super::{
    connection::{Changed, Connections, Failure},
    lane::Work,
    other_columns,
    sql::Sql,
};
use crate::{Error, SessionKey, store::Seen};

/// A row's text and expiry.
pub(super) type Content = (String, SystemTime);

/// Who asks the table, and how.
#[derive(Clone)]
pub(super) struct Rows {
    pub(super) connections: Connections,
    pub(super) sql: Arc<Sql>,
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
}

impl Work for Loads {
    type Question = SessionKey;
    type Answer = Option<Content>;

    async fn carry_out(&self, keys: &[SessionKey]) -> Vec<Result<Self::Answer, Error>> {
        let found = self.0.contents(keys, SystemTime::now()).await;
        answers(keys, found, |key, found| found.get(key.as_str()).cloned())
    }
}

impl Work for Creates {
    type Question = New;
    type Answer = bool;

    fn name(new: &New) -> Option<&str> {
        Some(new.key.as_str())
    }

    fn bytes(new: &New) -> usize {
        new.text.len()
    }

    async fn carry_out(&self, news: &[New]) -> Vec<Result<bool, Error>> {
        if let [new] = news {
            return vec![self.0.create(new).await];
        }
        match self.0.create_many(news).await {
            Ok(created) => news.iter().map(|new| Ok(created.contains(new.key.as_str()))).collect(),
            Err(failure) if failure.refused => {
                let mut answers = Vec::with_capacity(news.len());
                for new in news {
                    answers.push(self.0.create(new).await);
                }
                answers
            }
            Err(failure) => news.iter().map(|_| Err(failure.error.again())).collect(),
        }
    }
}

impl Work for Replaces {
    type Question = Replacement;
    type Answer = Replaced;

    fn name(replacement: &Replacement) -> Option<&str> {
        Some(replacement.key.as_str())
    }

    fn bytes(replacement: &Replacement) -> usize {
        replacement.new.text.len() + replacement.seen.as_bytes().len()
    }

    async fn carry_out(&self, all: &[Replacement]) -> Vec<Result<Replaced, Error>> {
        if let [one] = all {
            return vec![self.0.replace(one).await];
        }
        match self.0.replace_many(all).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(failure) if failure.refused => {
                let mut answers = Vec::with_capacity(all.len());
                for one in all {
                    answers.push(self.0.replace(one).await);
                }
                answers
            }
            Err(failure) => all.iter().map(|_| Err(failure.error.again())).collect(),
        }
    }
}

impl Work for Deletes {
    type Question = SessionKey;
    type Answer = bool;

    fn name(key: &SessionKey) -> Option<&str> {
        Some(key.as_str())
    }

    async fn carry_out(&self, keys: &[SessionKey]) -> Vec<Result<bool, Error>> {
        if let [key] = keys {
            return vec![self.0.delete(key).await];
        }
        let gone = self.0.delete_many(keys).await;
        answers(keys, gone, |key, gone| gone.contains(key.as_str()))
    }
}

/// An answer for each key from what is known of all, or the error for each.
fn answers<T, A>(
    keys: &[SessionKey],
    known: Result<T, Error>,
    answer: impl Fn(&SessionKey, &T) -> A,
) -> Vec<Result<A, Error>> {
    match known {
        Ok(known) => keys.iter().map(|key| Ok(answer(key, &known))).collect(),
        Err(error) => keys.iter().map(|_| Err(error.again())).collect(),
    }
}

type Params<'a> = [&'a (dyn ToSql + Sync)];

impl Rows {
    /// The rows under these keys that end after `now`.
    async fn contents(
        &self,
        keys: &[SessionKey],
        now: SystemTime,
    ) -> Result<HashMap<String, Content>, Error> {
        const WHAT: &str = "load a session";
        let rows = if let [key] = keys {
            let params: &Params<'_> = &[&key.as_str(), &now];
            self.connections.query(WHAT, &self.sql.load, params).await?
        } else {
            let keys: Vec<&str> = keys.iter().map(SessionKey::as_str).collect();
            self.connections.query(WHAT, &self.sql.load_many, &[&keys, &now]).await?
        };
        let content = |row: Row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)));
        rows.into_iter().map(content).collect::<Result<_, _>>().map_err(other_columns)
    }

    /// Those of the keys that hold exactly this now: what a statement of ours wrote whose answer was lost.
    async fn ours<'a>(&self, news: impl IntoIterator<Item = &'a New>) -> Result<HashSet<&'a str>, Error> {
        let news: Vec<&New> = news.into_iter().collect();
        let keys: Vec<SessionKey> = news.iter().map(|new| new.key.clone()).collect();
        let there = self.contents(&keys, SystemTime::UNIX_EPOCH).await?;
        let ours = news.into_iter().filter(|new| {
            let content = there.get(new.key.as_str());
            content.is_some_and(|(text, expires)| **text == *new.text && *expires == new.expires)
        });
        Ok(ours.map(|new| new.key.as_str()).collect())
    }

    async fn create(&self, new: &New) -> Result<bool, Error> {
        let params: &Params<'_> = &[&new.key.as_str(), &&*new.text, &new.expires];
        let Changed { rows, repeated, .. } =
            self.connections.execute("create a session", &self.sql.create, params).await?;
        Ok(rows == 1 || (repeated && !self.ours([new]).await?.is_empty()))
    }

    /// The keys of those that were created.
    async fn create_many<'a>(&self, news: &'a [New]) -> Result<HashSet<&'a str>, Failure> {
        let keys: Vec<&str> = news.iter().map(|new| new.key.as_str()).collect();
        let texts: Vec<&str> = news.iter().map(|new| &*new.text).collect();
        let expires: Vec<SystemTime> = news.iter().map(|new| new.expires).collect();
        let params: &Params<'_> = &[&keys, &texts, &expires];
        let changed = self.connections.change("create a session", &self.sql.create_many, params).await?;
        let mut created = changed.among(&keys)?;
        if changed.repeated {
            let unsure = news.iter().filter(|new| !created.contains(new.key.as_str()));
            let ours = self.ours(unsure).await?;
            created.extend(ours);
        }
        Ok(created)
    }

    async fn replace(&self, one: &Replacement) -> Result<Replaced, Error> {
        let Replacement { key, seen, new } = one;
        let (what, now) = ("save a session", SystemTime::now());
        let all: [&(dyn ToSql + Sync); 6] =
            [&key.as_str(), &seen.as_str(), &now, &&*new.text, &new.expires, &new.key.as_str()];
        let changed = if *key == new.key {
            self.connections.execute(what, &self.sql.update, &all[..5]).await?
        } else {
            self.connections.execute(what, &self.sql.rename, &all).await?
        };
        if changed.duplicate {
            return Ok(Replaced::Taken);
        }
        if changed.rows == 1 || (changed.repeated && !self.ours([new]).await?.is_empty()) {
            return Ok(Replaced::Done);
        }
        let keys = std::slice::from_ref(key);
        Ok(Replaced::There(self.contents(keys, SystemTime::now()).await?.remove(key.as_str())))
    }

    async fn replace_many(&self, all: &[Replacement]) -> Result<Vec<Replaced>, Failure> {
        let column = |text: fn(&Replacement) -> &str| all.iter().map(text).collect::<Vec<&str>>();
        let keys = column(|one| one.key.as_str());
        let (seen, texts) = (column(|one| one.seen.as_str()), column(|one| &one.new.text));
        let expires: Vec<SystemTime> = all.iter().map(|one| one.new.expires).collect();
        let new_keys = column(|one| one.new.key.as_str());
        let renames = keys != new_keys;
        let params: [&(dyn ToSql + Sync); 6] =
            [&keys, &seen, &texts, &expires, &SystemTime::now(), &new_keys];
        let changed = if renames {
            self.connections.change("save a session", &self.sql.rename_many, &params).await?
        } else {
            self.connections.change("save a session", &self.sql.update_many, &params[..5]).await?
        };
        let mut done = changed.among(&keys)?;
        let left = || all.iter().filter(|one| !done.contains(one.key.as_str()));
        if changed.repeated {
            let ours = self.ours(left().map(|one| &one.new)).await?;
            let ours: Vec<&str> = left()
                .filter(|one| ours.contains(one.new.key.as_str()))
                .map(|one| one.key.as_str())
                .collect();
            done.extend(ours);
        }
        let left: Vec<SessionKey> =
            all.iter().filter(|one| !done.contains(one.key.as_str())).map(|one| one.key.clone()).collect();
        let mut there = match left.is_empty() {
            true => HashMap::new(),
            false => self.contents(&left, SystemTime::now()).await?,
        };
        let answers = all.iter().map(|one| match done.contains(one.key.as_str()) {
            true => Replaced::Done,
            false => Replaced::There(there.remove(one.key.as_str())),
        });
        Ok(answers.collect())
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        let params: &Params<'_> = &[&key.as_str()];
        let changed = self.connections.execute("delete a session", &self.sql.delete, params).await?;
        Ok(changed.rows == 1 || changed.repeated)
    }

    async fn delete_many<'a>(&self, keys: &'a [SessionKey]) -> Result<HashSet<&'a str>, Error> {
        let keys: Vec<&str> = keys.iter().map(SessionKey::as_str).collect();
        let changed = self.connections.change("delete a session", &self.sql.delete_many, &[&keys]).await?;
        if changed.repeated { Ok(keys.into_iter().collect()) } else { changed.among(&keys) }
    }
}
