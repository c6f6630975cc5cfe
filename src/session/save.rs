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
    journal::{self, Change},
    state::Stored,
};
use crate::{
    Error, SessionKey,
    codec::SessionData,
    store::record::{Loaded, Record, Saved, Update, Version},
};

/// Safety limit of one save; the timeout usually comes first. There is no backoff, since each conflict means
/// that another writer succeeded.
const MAX_ATTEMPTS: usize = 1000;

/// The work of a save, computed once from the session's state.
struct Plan {
    stored: Stored,
    key: Option<SessionKey>,
    data: SessionData,
    journal: Arc<Vec<Change>>,
    flushed: bool,
    new_if_gone: bool,
}

/// The result of a save.
struct Outcome {
    stored: Stored,
    data: SessionData,
    /// The data may be from an earlier run of the journal than the last one.
    of_earlier_run: bool,
}

impl Outcome {
    fn new(stored: Stored, data: SessionData) -> Self {
        Self { stored, data, of_earlier_run: false }
    }
}

impl Session {
    /// Saves now. A handler rarely needs it, since the middleware saves when the handler has returned;
    /// outside a request it is the only way. The session stays usable. Django's `save`.
    ///
    /// Changes that others made meanwhile to other keys stay, and closures given to [`update`](Self::update)
    /// run again on newer values. If nothing was changed, the expiry is renewed. After [`flush`](Self::flush)
    /// without new data it deletes the row.
    ///
    /// Errors if the session was deleted elsewhere ([`Error::is_interrupted`]), or the store could not be
    /// used ([`Error::is_store`]). The changes are kept then, and saving may be tried again. But if the reply
    /// to an [`update`](Self::update) was lost, nobody knows whether it is stored ([`Error::is_in_doubt`]),
    /// and another save would make it twice: then it errs as well, until the session is loaded again or
    /// [`flush`](Self::flush)ed. The same is true of such a save that was dropped before it completed.
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
        self.save_and_tell().await.map(drop)
    }

    /// Returns whether what is stored may be from an earlier run of an update than the last one.
    pub(super) async fn save_and_tell(&self) -> Result<bool, Error> {
        let _one_at_a_time = self.shared.save_lock.lock().await;
        let (plan, change_count, key_change_count) = {
            let mut state = self.state();
            state.accessed = true; // as Django's save, which reads the data
            state.refuse_if_degraded()?;
            if state.stays_ended() {
                return Ok(false);
            }
            if state.key.is_none() && matches!(state.stored, Stored::Nothing) {
                state.mark_modified(); // it is created, and the visitor must be told its key
            }
            if state.has_nothing_to_save() {
                return Ok(false);
            }
            // The changes stay in `in_flight` until the save succeeds: a failed or cancelled one loses
            // nothing.
            let newer = mem::take(&mut state.journal);
            let in_flight = match state.in_flight.take() {
                None => Arc::new(newer),
                Some(mut earlier) => {
                    let all = Arc::make_mut(&mut earlier);
                    newer.into_iter().for_each(|change| journal::append(all, change));
                    earlier
                }
            };
            state.in_flight = Some(in_flight.clone());
            let has_updates = journal::has_updates(&in_flight);
            if state.in_doubt && has_updates {
                return Err(Error::in_doubt());
            }
            // Until the result is known: this future may be dropped.
            state.in_doubt = has_updates && matches!(state.stored, Stored::Row { .. });
            let plan = Plan {
                stored: state.stored.clone(),
                key: state.key.clone(),
                data: state.data.clone(),
                journal: in_flight,
                flushed: state.flushed,
                new_if_gone: state.new_if_gone,
            };
            (plan, state.change_count, state.key_change_count)
        };
        let outcome = self.execute(plan).await;
        let mut state = self.state();
        state.in_doubt &= matches!(&outcome, Err(error) if error.is_in_doubt());
        let Outcome { stored, data, of_earlier_run } = outcome?;
        state.in_flight = None;
        state.renamed |= matches!((&state.stored, &stored),
            (Stored::Row { key: old, .. }, Stored::Row { key: new, .. }) if old != new);
        state.saved_count = Some(change_count);
        if state.key_change_count == key_change_count {
            // Unless a clone flushed or cycled it meanwhile, this is its key. The visitor must learn a new
            // one.
            let key = stored.key().cloned();
            state.modified |= state.key != key || self.shared.store.is_in_cookies();
            state.ended &= key.is_none();
            state.key = key;
            state.flushed = false;
            state.new_if_gone = false;
            state.logged_out = false;
        }
        state.stored = stored;
        if state.journal.is_empty() {
            state.data = data;
        } else {
            // `state.data` shows changes that a clone made meanwhile. With an unknown version the next save
            // loads the row and replays them.
            state.stored = state.stored.outdated();
        }
        Ok(of_earlier_run)
    }

    /// Saves changes that no save has written yet. With `always`, also saves an unchanged session, once.
    pub(crate) async fn commit(&self, always: bool) -> Result<(), Error> {
        let needed = {
            let state = self.state();
            state.is_unsaved() || (always && state.saved_count.is_none())
        };
        if needed { self.save().await } else { Ok(()) }
    }

    /// Renews the expiry of an unchanged session, unless that was done within the interval. Returns whether
    /// the expiry is new, by this request or a concurrent one.
    pub(crate) async fn touch(&self, interval: Duration) -> Result<bool, Error> {
        let _one_at_a_time = self.shared.save_lock.lock().await;
        let (stored, data) = {
            let state = self.state();
            (state.stored.clone(), state.data.clone())
        };
        let Stored::Row { key, version, expires } = stored else { return Ok(false) };
        // Rounded dates may differ soon after a renewal, when a step ends. A statement that changes nothing
        // is not spared: its reply tells whether the session still exists.
        let exact = expiry::date(&data, self.policy(), SystemTime::now());
        if exact.duration_since(expires).unwrap_or_default() < interval {
            return Ok(false);
        }
        let until = self.expires(&data);
        let (key, version) = match self.shared.store.touch(&key, &version, until, &data).await? {
            Saved::Done(key, version) => (key, version),
            Saved::Gone => return Err(Error::interrupted()),
            Saved::Unknown => return Err(Error::in_doubt()),
            // Another writer has saved it, and so renewed it.
            Saved::Conflict(_) | Saved::Unreadable(_) | Saved::KeyTaken => return Ok(true),
        };
        let mut state = self.state();
        if state.stored.key() == state.key.as_ref() {
            state.key = Some(key.clone());
        }
        state.stored = Stored::Row { key, version, expires: until };
        Ok(true)
    }

    /// Rare paths are boxed: their futures are large, and every request would carry that size.
    async fn execute(&self, plan: Plan) -> Result<Outcome, Error> {
        let Plan { stored, key, data, journal, flushed, new_if_gone } = plan;
        match stored {
            Stored::Nothing => self.insert_row(key, data).await,
            Stored::Unreadable(old) => {
                // A write never replaces an unreadable row: it starts a new session. Only a flush deletes the
                // row.
                let saved = if flushed && key.is_none() && data.is_empty() {
                    Outcome::new(Stored::Nothing, data)
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
                    return Ok(Outcome::new(Stored::Nothing, data));
                }
                match key {
                    Some(key) if key == old && !flushed => {
                        self.save_same_key(old, version, data, journal).await
                    }
                    key => {
                        let key = key.unwrap_or_else(|| self.generate_key(Some(&old)));
                        let save =
                            self.save_new_key(old, version, key, data, &journal, (flushed, new_if_gone));
                        Box::pin(self.within_timeout(save)).await
                    }
                }
            }
        }
    }

    /// Limits a save that may take several operations, one of which may be under way at the end.
    async fn within_timeout<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let timeout = self.shared.store.save_timeout();
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(Error::in_doubt()))
    }

    async fn insert_row(&self, key: Option<SessionKey>, data: SessionData) -> Result<Outcome, Error> {
        let mut key = key.unwrap_or_else(|| self.generate_key(None));
        for _ in 0..MAX_ATTEMPTS {
            let expires = self.expires(&data);
            match self.shared.store.insert(&key, &data, expires).await? {
                Saved::Done(key, version) => {
                    return Ok(Outcome::new(Stored::Row { key, version, expires }, data));
                }
                _ => key = self.generate_key(None),
            }
        }
        Err(Error::store(format!(
            "cannot create a session: the store says that {MAX_ATTEMPTS} random keys are taken"
        )))
    }

    /// Saves under the same key.
    async fn save_same_key(
        &self,
        key: SessionKey,
        version: Version,
        data: SessionData,
        journal: Arc<Vec<Change>>,
    ) -> Result<Outcome, Error> {
        let store = &self.shared.store;
        let mut latest = None;
        if !WriteQueue::is_contended(store, &key) {
            let expires = self.expires(&data);
            let update = Update { key: &key, version: &version, new_key: None, data: &data, expires };
            match store.update(update).await? {
                Saved::Done(key, version) => {
                    return Ok(Outcome::new(Stored::Row { key, version, expires }, data));
                }
                Saved::Gone => return Err(Error::interrupted()),
                Saved::Unknown if journal::has_updates(&journal) => return Err(Error::in_doubt()),
                Saved::Unreadable(error) => return Box::pin(self.insert_instead(&error, None, data)).await,
                Saved::Conflict(record) => latest = Some((record.version, record.data)),
                // Changes that may be made twice are made on what is stored now.
                Saved::Unknown => {}
                Saved::KeyTaken => {} // cannot happen without a new key
            }
        }
        let queue = WriteQueue::of(store, &key);
        match Box::pin(self.within_timeout(queue.save(journal, self.policy(), latest))).await? {
            Coalesced::Saved(stored, data) => Ok(Outcome::new(stored, data)),
            Coalesced::Unreadable(error) => Box::pin(self.insert_instead(&error, None, data)).await,
        }
    }

    /// Saves under a new key (`cycle_key`), or stores the data that followed a flush.
    async fn save_new_key(
        &self,
        mut old: SessionKey,
        mut version: Version,
        mut key: SessionKey,
        mut data: SessionData,
        journal: &[Change],
        (flushed, new_if_gone): (bool, bool),
    ) -> Result<Outcome, Error> {
        let (store, queue) = (&self.shared.store, WriteQueue::of(&self.shared.store, &old));
        let mut in_doubt = false;
        // Keeps other writers of this worker from competing.
        let mut exclusive =
            if WriteQueue::is_contended(store, &old) { queue.exclusive().await } else { None };
        for _ in 0..MAX_ATTEMPTS {
            let expires = self.expires(&data);
            let new_key = (key != old).then_some(&key);
            let update = Update { key: &old, version: &version, new_key, data: &data, expires };
            // After an attempt without a reply, no later failure is certain either.
            let certain = |error| if in_doubt { Error::in_doubt() } else { error };
            match store.update(update).await.map_err(certain)? {
                Saved::Done(key, version) => {
                    return Ok(Outcome::new(Stored::Row { key, version, expires }, data));
                }
                Saved::KeyTaken => key = self.generate_key(Some(&old)),
                Saved::Conflict(record) => {
                    if exclusive.is_none() {
                        exclusive = queue.exclusive().await;
                    }
                    (version, data) = (record.version, record.data);
                    journal.iter().try_for_each(|change| change.apply(&mut data))?;
                }
                Saved::Unknown if new_key.is_none() && journal::has_updates(journal) => {
                    return Err(Error::in_doubt());
                }
                Saved::Unknown => (in_doubt, version) = (true, Version::Unknown),
                // A row under the new key, which nobody else knows, proves that it was renamed.
                Saved::Gone => {
                    let renamed = match new_key {
                        Some(key) => store.load(key).await.map_err(certain)?,
                        None => Loaded::Missing,
                    };
                    match renamed {
                        Loaded::Found(Record { data, version, expires }) if in_doubt => {
                            let stored = Stored::Row { key, version, expires };
                            return Ok(Outcome { stored, data, of_earlier_run: true });
                        }
                        // By an earlier save that failed, whose changes may be fewer.
                        Loaded::Found(record) => {
                            (old, version, data) = (key.clone(), record.version, record.data);
                            journal.iter().try_for_each(|change| change.apply(&mut data))?;
                        }
                        // Deleted already, or renamed by a concurrent login.
                        _ if flushed || new_if_gone => return self.insert_row(Some(key), data).await,
                        _ => return Err(Error::interrupted()),
                    }
                }
                Saved::Unreadable(error) => {
                    let saved = self.insert_instead(&error, (key != old).then_some(key), data).await?;
                    if flushed {
                        store.delete(&old).await?;
                    }
                    return Ok(saved);
                }
            }
        }
        Err(Error::store(format!(
            "cannot save a session: other writers were faster {MAX_ATTEMPTS} times in a row"
        )))
    }

    /// Another writer stored something that cannot be read: it stays, and the data goes under a new key.
    async fn insert_instead(
        &self,
        unreadable: &Error,
        key: Option<SessionKey>,
        data: SessionData,
    ) -> Result<Outcome, Error> {
        self.shared.store.log().warn(format!("Session data corrupted: {unreadable}")); // Django's words
        self.insert_row(key, data).await.map(|outcome| Outcome { of_earlier_run: true, ..outcome })
    }

    fn generate_key(&self, old: Option<&SessionKey>) -> SessionKey {
        self.shared.store.generate_key(old)
    }

    fn expires(&self, data: &SessionData) -> SystemTime {
        expiry::stored_date(data, self.policy(), SystemTime::now())
    }
}
