//! The session as a dictionary: reading and changing its values.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Session,
    state::{Change, Updater},
};
use crate::{Error, codec::json};

/// # The dictionary
impl Session {
    /// The value under `key`, if there is one; a JSON `null` is none, unless `T` takes it.
    ///
    /// Errors if it is not a `T`; integers beyond 128 bits, a `NaN` inside a list and lone surrogates have no
    /// Rust type: ask for a [`serde_json::value::RawValue`].
    #[doc(alias = "__getitem__")]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.text(key).map_or(Ok(None), |text| parse(key, &text))
    }

    /// The JSON text under `key`, copied, since parsing runs code of the application and must not hold the lock.
    fn text(&self, key: &str) -> Option<String> {
        let mut state = self.state();
        state.accessed = true;
        state.data.get_json(key).map(str::to_owned)
    }

    /// Sets the value under `key`. Keys that begin with `_` are Django's own.
    ///
    /// Errors if JSON cannot hold it. As everywhere in serde, a float that is not finite becomes `null`.
    #[doc(alias = "__setitem__")]
    #[doc(alias = "set")]
    pub fn insert<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), Error> {
        let value = to_text(key, value)?;
        self.state().change(Change::Set(key.into(), value))
    }

    /// Makes a new value from the present one and answers it.
    ///
    /// This is the way to change a value that depends on itself (a counter, a list): if another request
    /// changed the session meanwhile, `f` runs again on the newer value, so nothing is lost. `f` may
    /// therefore run more than once and should do nothing else. The answer is the value as this request sees it;
    /// two requests at once may be given the same, though both count.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// session.update("cart", |cart: Option<Vec<u32>>| {
    ///     let mut cart = cart.unwrap_or_default();
    ///     cart.push(7);
    ///     cart
    /// })?;
    /// assert_eq!(session.get("cart")?, Some(vec![7]));
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn update<T, V, F>(&self, key: &str, f: F) -> Result<V, Error>
    where
        T: DeserializeOwned,
        V: Serialize,
        F: Fn(Option<T>) -> V + Send + Sync + 'static,
    {
        let name: Arc<str> = key.into();
        let f = Arc::new(f);
        let run = {
            let (name, f) = (name.clone(), f.clone());
            move |old: Option<&str>| -> Result<(V, Arc<str>), Error> {
                let value = f(old.map_or(Ok(None), |text| parse(&name, text))?);
                let text = to_text(&name, &value)?;
                Ok((value, text))
            }
        };
        let updater: Updater = {
            let run = run.clone();
            Arc::new(move |old| run(old).map(|(_, text)| text))
        };
        loop {
            // `f` is the application's: it runs without the lock, and again if a clone of this session
            // changed the value meanwhile.
            let before = {
                let state = self.state();
                state.refuse_if_closed()?;
                state.data.get_json(key).map(str::to_owned)
            };
            let (value, text) = run(before.as_deref())?;
            let mut state = self.state();
            state.refuse_if_closed()?;
            if state.data.get_json(key) == before.as_deref() {
                state.data.set(key, text);
                state.note(Change::Update(name, updater));
                return Ok(value);
            }
        }
    }

    /// The value under `key`; if there is none, stores and answers `value`. Django's `setdefault`.
    #[doc(alias = "setdefault")]
    pub fn get_or_insert<T>(&self, key: &str, value: T) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        match self.get(key)? {
            Some(present) => Ok(present),
            None => self.update(key, move |newer: Option<T>| newer.unwrap_or_else(|| value.clone())),
        }
    }

    /// Sets several values at once. Django's `update(dict)`.
    pub fn extend<K, V>(&self, items: impl IntoIterator<Item = (K, V)>) -> Result<(), Error>
    where
        K: AsRef<str>,
        V: Serialize,
    {
        let changes: Vec<Change> = items
            .into_iter()
            .map(|(key, value)| Ok(Change::Set(key.as_ref().into(), to_text(key.as_ref(), &value)?)))
            .collect::<Result<_, Error>>()?;
        let mut state = self.state();
        state.refuse_if_closed()?;
        state.mark_modified(); // in Django also for an empty dict
        changes.into_iter().try_for_each(|change| state.change(change))
    }

    /// Removes the value under `key` and answers it. If it is not a `T`, it stays.
    #[doc(alias = "pop")]
    #[doc(alias = "__delitem__")]
    pub fn remove<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let value = parse(key, &text)?;
        self.discard(key)?;
        Ok(value)
    }

    /// Removes `key`, whatever its value is; whether it was there. Django's `del session[key]`.
    #[doc(alias = "del")]
    pub fn discard(&self, key: &str) -> Result<bool, Error> {
        let mut state = self.state();
        state.accessed = true;
        let there = state.data.get_json(key).is_some();
        if there {
            state.change(Change::Remove(key.into()))?;
        }
        Ok(there)
    }

    /// Whether there is a value under `key`.
    #[doc(alias = "has_key")]
    #[doc(alias = "__contains__")]
    pub fn contains_key(&self, key: &str) -> bool {
        let mut state = self.state();
        state.accessed = true;
        state.data.get_json(key).is_some()
    }

    /// The keys, in the order in which they were first set.
    pub fn keys(&self) -> Vec<String> {
        let mut state = self.state();
        state.accessed = true;
        state.data.keys()
    }

    /// Keys and values, in the order of the keys, without those that [`get`](Self::get) takes for none. Errors if
    /// a value is not a `T`.
    pub fn items<T: DeserializeOwned>(&self) -> Result<Vec<(String, T)>, Error> {
        let items: Vec<(String, String)> = {
            let mut state = self.state();
            state.accessed = true;
            state.data.items().into_iter().map(|(key, text)| (key, text.to_owned())).collect()
        };
        let parsed = items.into_iter().filter_map(|(key, text)| {
            let value = parse(&key, &text).transpose()?;
            Some(value.map(|value| (key, value)))
        });
        parsed.collect()
    }

    /// Removes all data and keeps the session and its key. To end it, [`flush`](Self::flush) it.
    pub fn clear(&self) -> Result<(), Error> {
        self.state().change(Change::Clear)
    }
}

/// A value as a `T`; `null` is no value to a `T` that does not know it, as `None` is to Python's `get`.
fn parse<T: DeserializeOwned>(key: &str, text: &str) -> Result<Option<T>, Error> {
    match json::from_json(text) {
        Ok(value) => Ok(Some(value)),
        Err(_) if text == "null" => Ok(None),
        Err(error) => {
            let (wanted, column) = (std::any::type_name::<T>(), error.column());
            Err(Error::value(format!(
                "the session's value under {key:?} is not a {wanted} (from its character {column} on)"
            )))
        }
    }
}

fn to_text<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Arc<str>, Error> {
    json::to_json(value).map(Into::into).map_err(|_| {
        Error::value(format!(
            "the value for {key:?} cannot be written as JSON: keys of maps have to be strings or numbers"
        ))
    })
}
