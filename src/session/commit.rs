//! Saving: compare, then set; and if another writer was faster, make the changes again on what is there.

use std::{
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Session, expiry,
    group::{Group, Saved},
    state::{Change, Row, push},
};
use crate::{
    Error, SessionKey,
    codec::SessionData,
    store::{Outcome, Seen},
};

/// How often a save may find that another writer was faster. Some writer succeeds each time, and those of this
/// process take turns; the store's patience usually ends first. There is no pause between attempts: it would
/// stand between what was seen and the comparison with it, and let still others come first.
const ATTEMPTS: usize = 1000;

/// What a save has to do, worked out once from the session's state.
struct Plan {
    row: Row,
    key: Option<SessionKey>,
    data: SessionData,
    changes: Arc<Vec<Change>>,
    flushed: bool,
}

impl Session {
    /// Saves now. In a handler this is rarely needed, since the middleware saves when the handler has
    /// answered; outside a request it is the only way. The session stays usable.
    ///
    /// Changes that others made meanwhile to other keys stay, and closures given to
    /// [`update`](Self::update) run again on newer values. If nothing was changed, the expiry is counted anew.
    /// After [`flush`](Self::flush) without new data it deletes the row.
    ///
    /// Errors if the session was ended elsewhere ([`Error::is_interrupted`]), or the store could not be used
    /// ([`Error::is_store`]). Then the changes are still here and saving may be tried again; but nobody knows
    /// whether a statement without an answer was carried out, and if it was, an [`update`](Self::update) runs
    /// twice. The same is true of a save that is dropped before it ends.
    pub async fn save(&self) -> Result<(), Error> {
        let _one_at_a_time = self.shared.saving.lock().await;
        let (plan, changes, key_changes) = {
            let mut state = self.state();
            state.accessed = true;
            if state.key.is_none() && matches!(state.row, Row::None) {
                state.mark_modified(); // it comes into being, and the visitor must be told its key
            }
            if state.has_nothing_to_keep() {
                return Ok(());
            }
            let newer = mem::take(&mut state.journal);
            let saving = Arc::make_mut(&mut state.saving);
            newer.into_iter().for_each(|change| push(saving, change));
            let plan = Plan {
                row: state.row.clone(),
                key: state.key.clone(),
                data: state.data.clone(),
                changes: state.saving.clone(),
                flushed: state.flushed,
            };
            (plan, state.changes, state.key_changes)
        };
        let (row, data) = self.carry_out(plan).await?;
        let mut state = self.state();
        state.saving = Arc::default();
        state.saved = Some(changes);
        if state.key_changes == key_changes {
            // Unless a clone flushed or cycled it meanwhile, this is now the session.
            state.key = row.key().cloned();
            state.flushed = false;
        }
        state.row = row;
        if state.journal.is_empty() {
            state.data = data;
        } else {
            // A clone made changes meanwhile, which `state.data` shows. What others stored comes to them with
            // the next save, which finds that this is not what is stored, and makes them again on what is.
            state.row = state.row.outdated();
        }
        Ok(())
    }

    /// Saves what no save has carried out yet; with `always`, also if there is nothing.
    pub(crate) async fn commit(&self, always: bool) -> Result<(), Error> {
        let needed = {
            let state = self.state();
            state.is_unsaved() || (always && state.saved.is_none())
        };
        if needed { self.save().await } else { Ok(()) }
    }

    /// Lets a session that nobody changed live on, unless that was done within the interval. Whether it did.
    pub(crate) async fn touch(&self, interval: Duration) -> Result<bool, Error> {
        let _one_at_a_time = self.shared.saving.lock().await;
        let (row, until) = {
            let state = self.state();
            (state.row.clone(), self.expires(&state.data))
        };
        let Row::Stored { key, seen, expires } = row else { return Ok(false) };
        if until.duration_since(expires).unwrap_or_default() < interval {
            return Ok(false);
        }
        let (key, seen) = match self.shared.store.touch(&key, &seen, expires, until).await? {
            Outcome::Saved(seen) => (key, seen),
            Outcome::SavedAs(key, seen) => (key, seen),
            Outcome::Gone => return Err(Error::interrupted()),
            // Another writer has let it live on.
            _ => return Ok(true),
        };
        let mut state = self.state();
        if state.row.key() == state.key.as_ref() {
            state.key = Some(key.clone());
        }
        state.row = Row::Stored { key, seen, expires: until };
        Ok(true)
    }

    /// The row and the data as they are in the store afterwards.
    async fn carry_out(&self, plan: Plan) -> Result<(Row, SessionData), Error> {
        let Plan { row, key, data, changes, flushed } = plan;
        match row {
            Row::None => self.insert_row(key, data).await,
            Row::Unreadable(old) => {
                // A write starts a new session beside what we cannot read. Only an explicit end ends it.
                let saved = if flushed && key.is_none() && data.is_empty() {
                    (Row::None, data)
                } else {
                    self.insert_row(key.filter(|key| *key != old), data).await?
                };
                if flushed {
                    self.shared.store.delete(&old).await?;
                }
                Ok(saved)
            }
            Row::Stored { key: old, seen, .. } => {
                if key.is_none() && data.is_empty() {
                    self.shared.store.delete(&old).await?;
                    return Ok((Row::None, data));
                }
                match key {
                    Some(key) if key == old && !flushed => self.update_row(old, seen, data, changes).await,
                    key => {
                        let key = key.unwrap_or_else(|| self.draw_key(Some(&old)));
                        self.with_patience(self.replace_row(old, seen, key, data, &changes, flushed)).await
                    }
                }
            }
        }
    }

    /// For what may take more than one operation.
    async fn with_patience<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let patience = self.shared.store.patience();
        tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
            Err(Error::store(format!("cannot save a session: it did not come about within {patience:?}")))
        })
    }

    async fn insert_row(
        &self,
        key: Option<SessionKey>,
        data: SessionData,
    ) -> Result<(Row, SessionData), Error> {
        let mut key = key.unwrap_or_else(|| self.draw_key(None));
        for _ in 0..ATTEMPTS {
            let expires = self.expires(&data);
            match self.shared.store.create(&key, &data, expires).await? {
                Outcome::Saved(seen) => return Ok((Row::Stored { key, seen, expires }, data)),
                Outcome::SavedAs(key, seen) => return Ok((Row::Stored { key, seen, expires }, data)),
                _ => key = self.draw_key(None),
            }
        }
        Err(Error::store(format!("the store says that {ATTEMPTS} random keys in a row are taken")))
    }

    /// Changes what the session holds, and neither its key nor where it began.
    async fn update_row(
        &self,
        key: SessionKey,
        seen: Seen,
        data: SessionData,
        changes: Arc<Vec<Change>>,
    ) -> Result<(Row, SessionData), Error> {
        let (store, group) = (&self.shared.store, Group::new(&self.shared.store, &key));
        let mut latest = None;
        if !group.has_met() {
            let expires = self.expires(&data);
            match store.update(&key, &seen, &data, expires).await? {
                Outcome::Saved(seen) => return Ok((Row::Stored { key, seen, expires }, data)),
                Outcome::SavedAs(key, seen) => return Ok((Row::Stored { key, seen, expires }, data)),
                Outcome::Gone => return Err(Error::interrupted()),
                Outcome::Unreadable(error) => return self.begin_beside(&error, None, data).await,
                Outcome::Changed(record) => latest = Some(record.into_seen()),
                Outcome::KeyTaken => {} // no new key was asked for
            }
        }
        match self.with_patience(group.save(changes, self.shared.policy, latest)).await? {
            Saved::Done(row, data) => Ok((row, data)),
            Saved::Unreadable(error) => self.begin_beside(&error, None, data).await,
        }
    }

    /// Changes the key, or begins anew after a flush.
    async fn replace_row(
        &self,
        old: SessionKey,
        mut seen: Seen,
        mut key: SessionKey,
        mut data: SessionData,
        changes: &[Change],
        flushed: bool,
    ) -> Result<(Row, SessionData), Error> {
        let (store, group) = (&self.shared.store, Group::new(&self.shared.store, &old));
        let mut turn = if group.has_met() { group.turn().await } else { None };
        for _ in 0..ATTEMPTS {
            let expires = self.expires(&data);
            let outcome = if key == old {
                store.update(&old, &seen, &data, expires).await?
            } else {
                store.rename(&old, &seen, &key, &data, expires).await?
            };
            match outcome {
                Outcome::Saved(seen) => return Ok((Row::Stored { key, seen, expires }, data)),
                Outcome::SavedAs(key, seen) => return Ok((Row::Stored { key, seen, expires }, data)),
                Outcome::KeyTaken => key = self.draw_key(Some(&old)),
                Outcome::Changed(record) => {
                    if turn.is_none() {
                        turn = group.turn().await;
                    }
                    (seen, data) = record.into_seen();
                    changes.iter().try_for_each(|change| change.apply(&mut data))?;
                }
                // It was to end anyway; what was stored since begins a new one.
                Outcome::Gone if flushed => return self.insert_row(Some(key), data).await,
                Outcome::Gone => return Err(Error::interrupted()),
                Outcome::Unreadable(error) => {
                    let saved = self.begin_beside(&error, (key != old).then_some(key), data).await?;
                    if flushed {
                        store.delete(&old).await?;
                    }
                    return Ok(saved);
                }
            }
        }
        Err(Error::store(format!("another writer of the same session was faster {ATTEMPTS} times in a row")))
    }

    /// Another writer stored something that we cannot read: it stays, and what we have becomes a new session.
    async fn begin_beside(
        &self,
        unreadable: &Error,
        key: Option<SessionKey>,
        data: SessionData,
    ) -> Result<(Row, SessionData), Error> {
        tracing::warn!("Session data corrupted: {unreadable}");
        self.insert_row(key, data).await
    }

    fn draw_key(&self, old: Option<&SessionKey>) -> SessionKey {
        self.shared.store.draw_key(old)
    }

    fn expires(&self, data: &SessionData) -> SystemTime {
        expiry::stored_date(data, self.shared.policy, SystemTime::now())
    }
}
