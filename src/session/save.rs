//! Saving: compare, then set. If another writer was faster, the journal is replayed on what is stored now.

use std::{
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Session,
    coalesce::{Coalesced, WriteQueue},
    expiry,
    journal::{Change, push},
    state::Stored,
};
use crate::{
    Error, SessionKey,
    codec::SessionData,
    store::record::{Saved, Update, Version},
};

/// Attempts of one save. Some writer succeeds each time, and those of this process take turns; the timeout
/// usually comes first. There is no pause between attempts: it would only let still others come first.
const ATTEMPTS: usize = 1000;

/// The work of a save, computed once from the session's state.
struct Plan {
    stored: Stored,
    key: Option<SessionKey>,
    data: SessionData,
    changes: Arc<Vec<Change>>,
    flushed: bool,
}

/// The stored state after a save, with the data.
type Outcome = (Stored, SessionData);

impl Session {
    /// Saves now. A handler rarely needs it, since the middleware saves when the handler has returned;
    /// outside a request it is the only way. The session stays usable. Django's `save`.
    ///
    /// Changes that others made meanwhile to other keys stay, and closures given to [`update`](Self::update)
    /// run again on newer values. If nothing was changed, the expiry is renewed. After [`flush`](Self::flush)
    /// without new data it deletes the row.
    ///
    /// Errors if the session was deleted elsewhere ([`Error::is_interrupted`]), or the store could not be
    /// used ([`Error::is_store`]). The changes are kept then, and saving may be tried again. But a statement
    /// whose reply was lost may have been carried out, and then the closure of an [`update`](Self::update)
    /// runs twice. The same is true of a save that is dropped before it completes.
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// session.insert("k1", "v1")?;
    /// session.save().await?;
    /// assert!(session.session_key().is_some());
    /// # Ok(()) }
    /// ```
    pub async fn save(&self) -> Result<(), Error> {
        let _one_at_a_time = self.shared.saving.lock().await;
        let (plan, changes, key_changes) = {
            let mut state = self.state();
            state.accessed = true;
            if state.key.is_none() && matches!(state.stored, Stored::Nothing) {
                state.mark_modified(); // it is created, and the visitor must be told its key
            }
            if state.has_nothing_to_keep() {
                return Ok(());
            }
            let newer = mem::take(&mut state.journal);
            let saving = Arc::make_mut(&mut state.saving);
            newer.into_iter().for_each(|change| push(saving, change));
            let plan = Plan {
                stored: state.stored.clone(),
                key: state.key.clone(),
                data: state.data.clone(),
                changes: state.saving.clone(),
                flushed: state.flushed,
            };
            (plan, state.changes, state.key_changes)
        };
        let (stored, data) = self.carry_out(plan).await?;
        let mut state = self.state();
        state.saving = Arc::default();
        state.saved = Some(changes);
        if state.key_changes == key_changes {
            // Unless a clone flushed or cycled it meanwhile, this is the session now.
            state.key = stored.key().cloned();
            state.flushed = false;
        }
        state.stored = stored;
        if state.journal.is_empty() {
            state.data = data;
        } else {
            // A clone made changes meanwhile, which `state.data` shows. The next save finds that this is not
            // what is stored, and replays them on what is.
            state.stored = state.stored.outdated();
        }
        Ok(())
    }

    /// Saves what no save has written yet; with `always`, also if there is nothing.
    pub(crate) async fn commit(&self, always: bool) -> Result<(), Error> {
        let needed = {
            let state = self.state();
            state.is_unsaved() || (always && state.saved.is_none())
        };
        if needed { self.save().await } else { Ok(()) }
    }

    /// Renews the expiry of a session that nobody changed, unless that was done within the interval. Returns
    /// whether it did.
    pub(crate) async fn touch(&self, interval: Duration) -> Result<bool, Error> {
        let _one_at_a_time = self.shared.saving.lock().await;
        let (stored, data) = {
            let state = self.state();
            (state.stored.clone(), state.data.clone())
        };
        let Stored::Row { key, version, expires } = stored else { return Ok(false) };
        let until = self.expires(&data);
        if until.duration_since(expires).unwrap_or_default() < interval {
            return Ok(false);
        }
        let (key, version) = match self.shared.store.touch(&key, &version, until, &data).await? {
            Saved::Done(key, version) => (key, version),
            Saved::Gone => return Err(Error::interrupted()),
            // Another writer has renewed it.
            _ => return Ok(true),
        };
        let mut state = self.state();
        if state.stored.key() == state.key.as_ref() {
            state.key = Some(key.clone());
        }
        state.stored = Stored::Row { key, version, expires: until };
        Ok(true)
    }

    async fn carry_out(&self, plan: Plan) -> Result<Outcome, Error> {
        let Plan { stored, key, data, changes, flushed } = plan;
        match stored {
            Stored::Nothing => self.insert_row(key, data).await,
            Stored::Unreadable(old) => {
                // A write starts a new session beside the unreadable one. Only a flush deletes that.
                let saved = if flushed && key.is_none() && data.is_empty() {
                    (Stored::Nothing, data)
                } else {
                    self.insert_row(key.filter(|key| *key != old), data).await?
                };
                if flushed {
                    self.shared.store.delete(&old).await?;
                }
                Ok(saved)
            }
            Stored::Row { key: old, version, .. } => {
                if key.is_none() && data.is_empty() {
                    self.shared.store.delete(&old).await?;
                    return Ok((Stored::Nothing, data));
                }
                match key {
                    Some(key) if key == old && !flushed => self.update_row(old, version, data, changes).await,
                    key => {
                        let key = key.unwrap_or_else(|| self.generate_key(Some(&old)));
                        self.within_timeout(self.replace_row(old, version, key, data, &changes, flushed))
                            .await
                    }
                }
            }
        }
    }

    /// For what may take more than one operation.
    async fn within_timeout<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let timeout = self.shared.store.save_timeout();
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
            Err(Error::store(format!("cannot save a session: other writers were faster for {timeout:?}")))
        })
    }

    async fn insert_row(&self, key: Option<SessionKey>, data: SessionData) -> Result<Outcome, Error> {
        let mut key = key.unwrap_or_else(|| self.generate_key(None));
        for _ in 0..ATTEMPTS {
            let expires = self.expires(&data);
            match self.shared.store.insert(&key, &data, expires).await? {
                Saved::Done(key, version) => return Ok((Stored::Row { key, version, expires }, data)),
                _ => key = self.generate_key(None),
            }
        }
        Err(Error::store(format!(
            "cannot create a session: the store says that {ATTEMPTS} random keys are taken"
        )))
    }

    /// Changes the row's data, and neither its key nor its identity.
    async fn update_row(
        &self,
        key: SessionKey,
        version: Version,
        data: SessionData,
        changes: Arc<Vec<Change>>,
    ) -> Result<Outcome, Error> {
        let (store, queue) = (&self.shared.store, WriteQueue::new(&self.shared.store, &key));
        let mut latest = None;
        if !queue.is_contended() {
            let expires = self.expires(&data);
            let update = Update { key: &key, version: &version, new_key: None, data: &data, expires };
            match store.update(update).await? {
                Saved::Done(key, version) => return Ok((Stored::Row { key, version, expires }, data)),
                Saved::Gone => return Err(Error::interrupted()),
                Saved::Unreadable(error) => return self.start_beside(&error, None, data).await,
                Saved::Conflict(record) => latest = Some((record.version, record.data)),
                Saved::KeyTaken => {} // no new key was requested
            }
        }
        match self.within_timeout(queue.save(changes, self.policy(), latest)).await? {
            Coalesced::Saved(stored, data) => Ok((stored, data)),
            Coalesced::Unreadable(error) => self.start_beside(&error, None, data).await,
        }
    }

    /// Changes the key, or starts anew after a flush.
    async fn replace_row(
        &self,
        old: SessionKey,
        mut version: Version,
        mut key: SessionKey,
        mut data: SessionData,
        changes: &[Change],
        flushed: bool,
    ) -> Result<Outcome, Error> {
        let (store, queue) = (&self.shared.store, WriteQueue::new(&self.shared.store, &old));
        let mut exclusive = if queue.is_contended() { queue.exclusive().await } else { None };
        for _ in 0..ATTEMPTS {
            let expires = self.expires(&data);
            let new_key = (key != old).then_some(&key);
            let update = Update { key: &old, version: &version, new_key, data: &data, expires };
            match store.update(update).await? {
                Saved::Done(key, version) => return Ok((Stored::Row { key, version, expires }, data)),
                Saved::KeyTaken => key = self.generate_key(Some(&old)),
                Saved::Conflict(record) => {
                    if exclusive.is_none() {
                        exclusive = queue.exclusive().await;
                    }
                    (version, data) = (record.version, record.data);
                    changes.iter().try_for_each(|change| change.apply(&mut data))?;
                }
                // It was to be deleted anyway; what was stored since starts a new session.
                Saved::Gone if flushed => return self.insert_row(Some(key), data).await,
                Saved::Gone => return Err(Error::interrupted()),
                Saved::Unreadable(error) => {
                    let saved = self.start_beside(&error, (key != old).then_some(key), data).await?;
                    if flushed {
                        store.delete(&old).await?;
                    }
                    return Ok(saved);
                }
            }
        }
        Err(Error::store(format!(
            "cannot save a session: other writers were faster {ATTEMPTS} times in a row"
        )))
    }

    /// Another writer stored something that cannot be read: it stays, and this session becomes a new one.
    async fn start_beside(
        &self,
        unreadable: &Error,
        key: Option<SessionKey>,
        data: SessionData,
    ) -> Result<Outcome, Error> {
        tracing::warn!("Session data corrupted: {unreadable}");
        self.insert_row(key, data).await
    }

    fn generate_key(&self, old: Option<&SessionKey>) -> SessionKey {
        self.shared.store.generate_key(old)
    }

    fn expires(&self, data: &SessionData) -> SystemTime {
        expiry::stored_date(data, self.policy(), SystemTime::now())
    }
}
