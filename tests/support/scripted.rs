//! A backend that answers what a script says, and counts what it is called for.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_django_session::{
    Error, SessionKey, Store,
    backend::{Backend, Cursor, Insert, Inserted, Memory, Page, Replace, Replaced, Row, SiteSettings},
    codec::{Codec, JsonSerializer},
};

/// The behavior of one call.
#[derive(Clone)]
pub enum Step {
    /// Its work.
    Pass,
    /// Its work, after this time.
    Slow(Duration),
    /// Nothing: it never returns.
    Never,
    /// Nothing: it fails. Each call makes an error of its own, as a server's failures are.
    Fail(fn() -> Error),
    /// Nothing: the result of an insert or a replace is this one.
    Answer(Replaced),
}

/// Passes calls on to its backend, unless the script says something else. Clones share the script.
///
/// Operations are `"get"`, `"insert"`, `"update"`, `"rename"`, `"touch"`, `"delete"`, `"list"` and `"clear"`;
/// `"write"` is an insert, update, rename or touch.
#[derive(Clone)]
pub struct Scripted<B = Memory> {
    backend: B,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    next: Vec<(&'static str, VecDeque<Step>)>,
    always: HashMap<&'static str, Step>,
    calls: Vec<&'static str>,
    conflicts: usize,
}

impl Scripted {
    /// Over an empty memory.
    pub fn memory() -> Self {
        Self::new(Memory::new())
    }
}

impl<B> Scripted<B> {
    pub fn new(backend: B) -> Self {
        Self { backend, script: Arc::default() }
    }

    /// The next call of `operation` does this; further ones for the same operation follow in order.
    pub fn then(&self, operation: &'static str, step: Step) -> &Self {
        let next = &mut self.script.lock().unwrap().next;
        match next.iter_mut().find(|(known, _)| *known == operation) {
            Some((_, steps)) => steps.push_back(step),
            None => next.push((operation, VecDeque::from([step]))),
        }
        self
    }

    /// Every call of `operation` does this from now on.
    pub fn always(&self, operation: &'static str, step: Step) -> &Self {
        self.script.lock().unwrap().always.insert(operation, step);
        self
    }

    /// The calls so far, in order.
    pub fn calls(&self) -> Vec<&'static str> {
        self.script.lock().unwrap().calls.clone()
    }

    pub fn count(&self, operation: &str) -> usize {
        self.script.lock().unwrap().calls.iter().filter(|call| matches(operation, call)).count()
    }

    /// How often a replace found the bytes of another writer.
    pub fn conflicts(&self) -> usize {
        self.script.lock().unwrap().conflicts
    }

    /// Forgets the calls so far.
    pub fn reset(&self) {
        self.script.lock().unwrap().calls.clear();
    }

    pub fn backend(&self) -> &B {
        &self.backend
    }

    async fn call(&self, operation: &'static str) -> Result<Option<Replaced>, Error> {
        let step = self.script.lock().unwrap().step(operation);
        match step {
            Step::Pass => Ok(None),
            Step::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(None)
            }
            Step::Never => std::future::pending().await,
            Step::Fail(error) => Err(error()),
            Step::Answer(result) => Ok(Some(result)),
        }
    }
}

impl<B: Backend + Clone> Scripted<B> {
    /// A store of JSON on it.
    pub fn store(&self) -> Store {
        Store::new(self.clone(), Codec::unsigned(JsonSerializer))
    }
}

impl Script {
    fn step(&mut self, operation: &'static str) -> Step {
        self.calls.push(operation);
        let next = self.next.iter_mut().filter(|(of, _)| matches(of, operation));
        let step = next.filter_map(|(_, steps)| steps.pop_front()).next();
        let always =
            || self.always.iter().find(|(of, _)| matches(of, operation)).map(|(_, step)| step.clone());
        step.or_else(always).unwrap_or(Step::Pass)
    }
}

fn matches(operation: &str, call: &str) -> bool {
    operation == call || operation == "write" && ["insert", "update", "rename", "touch"].contains(&call)
}

impl<B: Backend + Clone> Backend for Scripted<B> {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        self.call("get").await?;
        self.backend.get(key).await
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        match self.call("insert").await? {
            None => self.backend.insert(new).await,
            Some(Replaced::KeyTaken) => Ok(Inserted::KeyTaken),
            Some(other) => panic!("no insert answers {other:?}"),
        }
    }

    async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
        let operation = match (&change.new_key, &change.value) {
            (Some(_), _) => "rename",
            (None, Some(_)) => "update",
            (None, None) => "touch",
        };
        let result = match self.call(operation).await? {
            Some(result) => result,
            None => self.backend.replace(change).await?,
        };
        if let Replaced::Conflict(_) = result {
            self.script.lock().unwrap().conflicts += 1;
        }
        Ok(result)
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.call("delete").await?;
        self.backend.delete(key).await
    }

    async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
        self.call("list").await?;
        self.backend.list(after).await
    }

    async fn clear_expired(&self, limit: u32) -> Result<u64, Error> {
        self.call("clear").await?;
        self.backend.clear_expired(limit).await
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        self.backend.exists(key).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.backend.check().await
    }

    fn save_timeout(&self) -> Duration {
        self.backend.save_timeout()
    }

    fn with_settings(&self, settings: &SiteSettings) -> Result<Option<Self>, Error> {
        let adapted = self.backend.with_settings(settings)?;
        Ok(adapted.map(|backend| Self { backend, script: self.script.clone() }))
    }
}

impl<B> fmt::Debug for Scripted<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scripted({:?})", self.calls())
    }
}
