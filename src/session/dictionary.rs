//! The session as a dictionary: reading and changing its values.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Session,
    journal::{Change, Updater},
};
use crate::{
    Error,
    codec::{SessionData, json},
};

/// # The dictionary
impl Session {
    /// Returns the value under `key`, if there is one. A JSON `null` is none, unless `T` accepts it.
    ///
    /// Errors if it is not a `T`. Integers beyond 128 bits, a `NaN` inside a list and lone surrogates have no
    /// Rust type: [`get_json`](Self::get_json) returns them as text.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// session.insert("n", &7)?;
    /// assert_eq!(session.get::<u32>("n")?, Some(7));
    /// assert_eq!(session.get::<u32>("missing")?, None);
    /// assert!(session.get::<Vec<String>>("n").unwrap_err().is_value());
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.text(key).map_or(Ok(None), |text| parse(key, &text))
    }

    /// Returns the value under `key` as JSON text, as it is stored: Python's JSON, in which `NaN`, `Infinity`
    /// and integers of any size are values.
    ///
    /// A pickled object without a JSON form is `<its class>`.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// session.insert_json("list", "[1, NaN, 123456789012345678901234567890123456789012]")?;
    /// assert!(session.get::<Vec<f64>>("list").is_err());
    /// let text = session.get_json("list").expect("it was inserted");
    /// assert_eq!(text, "[1, NaN, 123456789012345678901234567890123456789012]");
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn get_json(&self, key: &str) -> Option<String> {
        self.text(key)
    }

    /// Sets the value under `key`, given as JSON text in Python's sense (see [`get_json`](Self::get_json)).
    ///
    /// Errors if the text is not one JSON value.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// session.insert_json("cart", r#"{"7": 2}"#)?;
    /// assert!(session.insert_json("cart", "{7: 2}").unwrap_err().is_value());
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn insert_json(&self, key: &str, json: &str) -> Result<(), Error> {
        let mut checked = SessionData::default();
        let value = match checked.set_json(key, json) {
            Ok(()) => checked.get_json(key).unwrap_or_default(),
            Err(_) => return Err(Error::value(format!("the text for {key:?} is not one JSON value"))),
        };
        self.state().change(Change::Set(key.into(), value.into()))
    }

    /// The JSON text under `key`, copied: parsing runs code of the application, which must not run under the
    /// lock.
    fn text(&self, key: &str) -> Option<String> {
        let mut state = self.state();
        state.accessed = true;
        state.data.get_json(key).map(str::to_owned)
    }

    /// Sets the value under `key`. Keys that begin with `_` are Django's own.
    ///
    /// Errors if the value cannot be written as JSON. As everywhere in serde, a float that is not finite
    /// becomes `null`.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// session.insert("name", "Ada")?;
    /// session.insert("cart", &[3, 5])?;
    /// assert_eq!(session.keys(), ["name", "cart"]);
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    #[doc(alias = "__setitem__")]
    #[doc(alias = "set")]
    pub fn insert<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), Error> {
        let value = to_text(key, value)?;
        self.state().change(Change::Set(key.into(), value))
    }

    /// Stores a value that the application did not request. If the session is gone, the value is dropped, and
    /// the request does not fail for it.
    #[cfg(feature = "auth")]
    pub(crate) fn insert_unrequested<T: Serialize>(&self, key: &str, value: &T) -> Result<(), Error> {
        let value = to_text(key, value)?;
        self.state().make_unrequested_change(|state| state.change(Change::Set(key.into(), value)))
    }

    /// Computes a new value from the present one, and returns it.
    ///
    /// This is the way to change a value that depends on itself (a counter, a list): if another request
    /// changed the session meanwhile, `f` runs again on the newer value, so that no change is lost. `f` may
    /// therefore run more than once and should have no side effects. The returned value is provisional: two
    /// concurrent requests can get the same one, although both count.
    /// [`update_and_save`](Self::update_and_save) returns what was stored.
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
        let key: Arc<str> = key.into();
        let run = runner(key.clone(), f);
        let updater = {
            let run = run.clone();
            move |old: Option<&str>| run(old).map(|(_, text)| Some(text))
        };
        self.apply_update(key, run, Arc::new(updater))
    }

    /// Computes a new value from the present one, saves the session at once, and returns the value that was
    /// stored.
    ///
    /// Unlike that of [`update`](Self::update), the returned value is final: of concurrent increments each
    /// gets a number of its own. It costs a save, and other changes of this session are saved with it. With
    /// signed cookies, which no server has, concurrent requests can get the same number.
    ///
    /// Errors as [`save`](Self::save); the change is then kept, and is saved with the response unless that is
    /// a 5xx.
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// let ticket = session.update_and_save("ticket", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
    /// assert_eq!(ticket, 1);
    /// # Ok(()) }
    /// ```
    pub async fn update_and_save<T, V, F>(&self, key: &str, f: F) -> Result<V, Error>
    where
        T: DeserializeOwned,
        V: Serialize + Send + 'static,
        F: Fn(Option<T>) -> V + Send + Sync + 'static,
    {
        let key: Arc<str> = key.into();
        let run = runner(key.clone(), f);
        let runs: Arc<Mutex<Runs<V>>> = Arc::default();
        let updater = {
            let (run, runs) = (run.clone(), runs.clone());
            move |old: Option<&str>| {
                let (value, text) = run(old)?;
                runs.lock().unwrap_or_else(PoisonError::into_inner).push((text.clone(), value));
                Ok(Some(text))
            }
        };
        let first = self.apply_update(key.clone(), run, Arc::new(updater))?;
        let of_earlier_run = self.save_and_tell().await?;
        let mut runs = runs.lock().unwrap_or_else(PoisonError::into_inner);
        if !of_earlier_run {
            return Ok(runs.pop().map_or(first, |(_, value)| value));
        }
        let stored = self.state().data.get_json(&key).map(str::to_owned);
        let run = runs.iter().rposition(|(text, _)| Some(&**text) == stored.as_deref());
        Ok(run.map_or(first, |run| runs.swap_remove(run).1))
    }

    /// Runs an update on the value as it is now, and journals it.
    fn apply_update<V>(
        &self,
        key: Arc<str>,
        run: impl Fn(Option<&str>) -> Result<(V, Arc<str>), Error>,
        updater: Updater,
    ) -> Result<V, Error> {
        loop {
            // The application's closure runs without the lock, and again if a clone of this session changed
            // the value.
            let before = {
                let mut state = self.state();
                state.refuse_if_read_only()?;
                state.data.get_json(&key).map(str::to_owned)
            };
            let (value, text) = run(before.as_deref())?;
            let mut state = self.state();
            state.refuse_if_read_only()?;
            if state.data.get_json(&key) == before.as_deref() {
                state.data.set(&key, text);
                state.note(Change::Update(key, updater));
                return Ok(value);
            }
        }
    }

    /// Computes a new value, as JSON text, from the text of the present one, or removes it. As with
    /// [`update`](Self::update), `f` runs again if another request changed the value meanwhile.
    #[cfg(feature = "messages")]
    pub(crate) fn update_json<F>(&self, key: &str, f: F) -> Result<(), Error>
    where
        F: Fn(Option<&str>) -> Option<Arc<str>> + Send + Sync + 'static,
    {
        let mut state = self.state();
        state.change(Change::Update(key.into(), Arc::new(move |old| Ok(f(old)))))
    }

    /// Returns the value under `key`; if there is none, stores and returns `value`. Django's `setdefault`.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// assert_eq!(session.get_or_insert("theme", "dark".to_owned())?, "dark");
    /// assert_eq!(session.get_or_insert("theme", "light".to_owned())?, "dark");
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
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

    /// Sets several values. Django's `update(dict)`.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// session.extend([("a", 1), ("b", 2)])?;
    /// assert_eq!(session.items::<u32>()?, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
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
        state.refuse_if_read_only()?;
        state.mark_modified(); // in Django also for an empty dict
        changes.into_iter().try_for_each(|change| state.change(change))
    }

    /// Removes the value under `key` and returns it. If it is not a `T`, it stays. Django's `pop`.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// session.insert("next", "/cart")?;
    /// assert_eq!(session.remove::<String>("next")?.as_deref(), Some("/cart"));
    /// assert_eq!(session.remove::<String>("next")?, None);
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    #[doc(alias = "pop")]
    #[doc(alias = "__delitem__")]
    pub fn remove<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let value = self.text(key).map(|text| parse(key, &text)).transpose()?.flatten();
        self.discard(key)?;
        Ok(value)
    }

    /// Removes `key`, whatever its value is, and returns whether it was there. Django's `del session[key]`.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// session.insert("k1", "v1")?;
    /// assert!(session.discard("k1")? && !session.discard("k1")?);
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    #[doc(alias = "del")]
    pub fn discard(&self, key: &str) -> Result<bool, Error> {
        let mut state = self.state();
        state.accessed = true;
        state.refuse_if_degraded()?; // the stored session may have it
        let there = state.data.get_json(key).is_some();
        if there {
            state.change(Change::Remove(key.into()))?;
        }
        Ok(there)
    }

    /// Returns whether there is a value under `key`.
    #[doc(alias = "has_key")]
    #[doc(alias = "__contains__")]
    pub fn contains_key(&self, key: &str) -> bool {
        let mut state = self.state();
        state.accessed = true;
        state.data.get_json(key).is_some()
    }

    /// Returns the keys, in the order in which they were first set.
    pub fn keys(&self) -> Vec<String> {
        let mut state = self.state();
        state.accessed = true;
        state.data.keys()
    }

    /// Returns keys and values in the order of the keys, without those that [`get`](Self::get) takes for
    /// none. Errors if a value is not a `T`.
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

    /// Removes all data and keeps the session and its key. [`flush`](Self::flush) deletes it.
    pub fn clear(&self) -> Result<(), Error> {
        self.state().change(Change::Clear)
    }
}

/// The values that an updater returned, each with its JSON text.
type Runs<V> = Vec<(Arc<str>, V)>;

/// From a value's JSON text to the new value and its text.
fn runner<T, V, F>(
    key: Arc<str>,
    f: F,
) -> impl Fn(Option<&str>) -> Result<(V, Arc<str>), Error> + Clone + Send + Sync + 'static
where
    T: DeserializeOwned,
    V: Serialize,
    F: Fn(Option<T>) -> V + Send + Sync + 'static,
{
    let f = Arc::new(f);
    move |old| {
        let value = f(old.map_or(Ok(None), |text| parse(&key, text))?);
        let text = to_text(&key, &value)?;
        Ok((value, text))
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
                "the session's value under {key:?} is not a {wanted} (from its character {column} on); \
                 get_json \
                 returns it as text"
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
