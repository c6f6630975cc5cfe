//! What a [`Backend`] does, by the batchers and the other operations of the runtime that calls.

use std::time::{Duration, SystemTime};

use super::{
    Postgres, check, clear, list,
    ops::{NewRow, Replacement},
    rows::text,
    runtimes::PostgresSettings,
};
use crate::{
    Error, SessionKey,
    backend::{Action, Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row, SiteSettings},
    datetime::{from_micros, micros},
    metrics::Purpose,
};

impl Backend for Postgres {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        self.runtimes.current()?.gets.submit(key.clone()).await
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        let texts = self.runtimes.settings.columns.texts(&new.value);
        let (value, expires) = (text(new.value)?, to_precision(new.expires));
        self.runtimes.current()?.inserts.submit(NewRow { key: new.key.clone(), value, expires, texts }).await
    }

    async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
        let columns = &self.runtimes.settings.columns;
        let replacement = Replacement {
            texts: change.value.as_ref().and_then(|value| columns.texts(value)),
            key: change.key.clone(),
            expected: text(change.expected)?,
            new_key: change.new_key.unwrap_or(change.key).clone(),
            value: change.value.map(text).transpose()?,
            expires: to_precision(change.expires),
        };
        self.runtimes.current()?.replaces.submit(replacement).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.runtimes.current()?.deletes.submit(key.clone()).await
    }

    async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
        let after = after.as_ref().map_or("", Cursor::as_str);
        list::page(&self.runtimes.current()?.rows, after).await
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        Ok(self.runtimes.current()?.rows.exists(key).await?)
    }

    /// Leaves out rows that are locked, so that several hosts may clear at the same time, and rows that
    /// cannot be deleted.
    async fn clear_expired(&self, limit: u32) -> Result<u64, Error> {
        let (rows, progress) = (&self.runtimes.current()?.rows, &self.clearing);
        let clear = clear::Clear { connections: &rows.connections, sql: &rows.sql, progress };
        match rows.connections.is_distributed(clear::ACTION).await? {
            true => clear.slices(limit).await,
            false => clear.batch(limit).await,
        }
    }

    fn uncleared(&self) -> Option<Error> {
        self.clearing.left()
    }

    async fn check(&self) -> Result<(), Error> {
        let mirrored = self.runtimes.settings.columns.names();
        check::table(&self.runtimes.current()?.rows, &mirrored).await
    }

    async fn create_table(&self) -> Result<(), Error> {
        const ACTION: Action = Action::new("create the table of sessions", Purpose::Other);
        let (runtime, sql) = (self.runtimes.current()?, self.sql());
        // Where the table exists, an engine may refuse its indexes.
        if runtime.rows.connections.is_distributed(ACTION).await?
            && !self.run(ACTION, &sql.distributed.has_table, &[&sql.table]).await?.rows.is_empty()
        {
            return Ok(());
        }
        self.run(ACTION, &sql.create_table, &[]).await.map(drop)
    }

    fn save_timeout(&self) -> Duration {
        self.runtimes.settings.timeout
    }

    fn indexes_expiry(&self) -> bool {
        true
    }

    fn with_settings(&self, site: &SiteSettings) -> Result<Option<Self>, Error> {
        let max = max_value_bytes(site);
        let columns = &self.runtimes.settings.columns;
        let same = max == self.runtimes.settings.max_value_bytes && columns.is_empty();
        let columns = columns.with_settings(site);
        let adapt = |settings: &mut PostgresSettings| {
            (settings.max_value_bytes, settings.columns) = (max, columns);
        };
        Ok((!same).then(|| self.with(adapt)))
    }
}

/// PostgreSQL has no longer values than an `i32` says.
pub(super) fn max_value_bytes(site: &SiteSettings) -> i32 {
    i32::try_from(site.max_value_bytes).unwrap_or(i32::MAX)
}

/// PostgreSQL stores microseconds. A time that is compared with a stored one must have no more.
fn to_precision(time: SystemTime) -> SystemTime {
    from_micros(micros(time))
}
