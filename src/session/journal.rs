//! The journal: changes that can be made again on what another writer stored meanwhile.

use std::sync::Arc;

use crate::{Error, codec::SessionData};

/// One change of the dictionary.
#[derive(Clone)]
pub(super) enum Change {
    Set(Arc<str>, Arc<str>),
    Update(Arc<str>, Updater),
    Remove(Arc<str>),
    Clear,
}

/// Computes the new JSON text of a value from the present one. `None` removes the value.
pub(super) type Updater = Arc<dyn Fn(Option<&str>) -> Result<Option<Arc<str>>, Error> + Send + Sync>;

impl Change {
    pub(super) fn apply(&self, data: &mut SessionData) -> Result<(), Error> {
        match self {
            Self::Set(key, value) => data.set(key, value.clone()),
            Self::Update(key, f) => match f(data.get_json(key))? {
                Some(value) => data.set(key, value),
                None => {
                    data.remove(key);
                }
            },
            Self::Remove(key) => {
                data.remove(key);
            }
            Self::Clear => data.clear(),
        }
        Ok(())
    }

    fn key(&self) -> Option<&str> {
        match self {
            Self::Set(key, _) | Self::Update(key, _) | Self::Remove(key) => Some(key),
            Self::Clear => None,
        }
    }
}

/// Whether a change depends on what is stored: made twice, it counts twice. Not so an update that follows a
/// change which sets or removes the same value.
pub(super) fn has_updates(changes: &[Change]) -> bool {
    let is_known = |earlier: &[Change], updated: &str| {
        earlier.iter().any(|change| match change {
            Change::Set(key, _) | Change::Remove(key) => &**key == updated,
            Change::Clear => true,
            Change::Update(..) => false,
        })
    };
    changes.iter().enumerate().any(|(at, change)| match change {
        Change::Update(key, _) => !is_known(&changes[..at], key),
        _ => false,
    })
}

/// Appends a change. It makes earlier changes of the same key pointless, and `Clear` all of them; an `Update`
/// needs what came before it.
pub(super) fn append(journal: &mut Vec<Change>, change: Change) {
    match &change {
        Change::Clear => journal.clear(),
        Change::Set(key, _) | Change::Remove(key) => {
            journal.retain(|earlier| earlier.key() != Some(key));
        }
        Change::Update(..) => {}
    }
    journal.push(change);
}
