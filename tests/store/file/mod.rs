//! The file backend, in directories of its own and in Django's.

mod clearing;
mod django;
mod errors;
mod processes;
mod waiting;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, SecretKey, Session, SessionKey, SessionSettings, Store,
    backend::{
        Backend, Cursor, Files, Insert, Inserted, Page, Replace, Replaced, Row, SiteSettings, conformance,
    },
    codec::{Codec, SessionData},
};

use crate::support::proc::TempDir;

const HOUR: Duration = Duration::from_secs(3600);
const TWO_WEEKS: Duration = Duration::from_secs(14 * 24 * 3600);

fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

/// A directory of sessions with its backend, adapted as a store adapts it, and its store.
struct Directory {
    dir: TempDir,
    files: Files,
    store: Store,
}

impl Directory {
    async fn new() -> Self {
        Self::with(Codec::new(secret()), SessionSettings::default()).await
    }

    async fn with(codec: Codec, settings: SessionSettings) -> Self {
        let dir = TempDir::new("file");
        let files = Files::open(dir.path()).await.unwrap();
        let store = Store::new(files.clone(), codec.clone()).with_settings(&settings).unwrap();
        let files = files.with_settings(&site(codec, &settings)).unwrap().unwrap();
        Self { dir, files, store }
    }

    fn path(&self, key: &SessionKey) -> PathBuf {
        self.dir.path().join(format!("sessionid{}", key.as_str()))
    }

    /// The names of the files without Django's prefix.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names.iter().map(|name| name.strip_prefix("sessionid").unwrap_or(name).to_owned()).collect()
    }

    /// A new session that expires in an hour, and its bytes.
    async fn insert(&self, json: &str) -> (SessionKey, Vec<u8>) {
        let (key, value) = (SessionKey::generate(), encoded(json));
        self.insert_as(&key, json, SystemTime::now() + HOUR).await;
        (key, value)
    }

    async fn insert_as(&self, key: &SessionKey, json: &str, expires: SystemTime) {
        let inserted = self.files.insert(Insert::new(key, encoded(json), expires)).await.unwrap();
        assert_eq!(inserted, Inserted::Done);
    }

    async fn found(&self, key: &SessionKey) -> Row {
        self.files.get(key).await.unwrap().expect("the session is live")
    }

    /// The dictionary of a live session.
    async fn data(&self, key: &SessionKey) -> SessionData {
        self.store.entry(key).await.unwrap().expect("the session is live").data.unwrap()
    }
}

fn encoded(json: &str) -> Vec<u8> {
    Codec::new(secret()).encode(&SessionData::from_json(json).unwrap()).unwrap()
}

fn new_key() -> SessionKey {
    SessionKey::generate()
}

fn age(path: &Path, by: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - by).unwrap();
}

/// Counts the session's `n` up, as handlers do.
async fn count(dir: &Path, key: &SessionKey, times: usize) -> Result<(), Error> {
    let store = Store::new(Files::open(dir).await?, secret());
    for _ in 0..times {
        let session = Session::open(&store, key).await?.expect("the session is live");
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        session.save().await?;
    }
    Ok(())
}

/// The site that a store with this codec and these settings passes to its backend.
fn site(codec: Codec, settings: &SessionSettings) -> SiteSettings {
    let told = Arc::default();
    Store::new(Listener(Arc::clone(&told)), codec).with_settings(settings).unwrap();
    told.lock().unwrap().clone().expect("a store adapts its backend")
}

/// A backend that only listens to its store.
struct Listener(Arc<Mutex<Option<SiteSettings>>>);

impl Backend for Listener {
    fn with_settings(&self, site: &SiteSettings) -> Result<Option<Self>, Error> {
        *self.0.lock().unwrap() = Some(site.clone());
        Ok(None)
    }

    async fn get(&self, _: &SessionKey) -> Result<Option<Row>, Error> {
        unreachable!()
    }

    async fn insert(&self, _: Insert<'_>) -> Result<Inserted, Error> {
        unreachable!()
    }

    async fn replace(&self, _: Replace<'_>) -> Result<Replaced, Error> {
        unreachable!()
    }

    async fn delete(&self, _: &SessionKey) -> Result<bool, Error> {
        unreachable!()
    }

    async fn list(&self, _: Option<Cursor>) -> Result<Page, Error> {
        unreachable!()
    }
}

#[actix_web::test]
async fn the_conformance_suite_passes() {
    let dir = TempDir::new("file");
    conformance::check(Files::open(dir.path()).await.unwrap()).await;
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

/// Its values are no session's text: the codec cannot read them.
#[actix_web::test]
async fn rows_of_another_codec_have_the_cookie_age() {
    let directory = Directory::new().await;
    let (key, then) = (new_key(), SystemTime::now() + HOUR);
    directory.files.insert(Insert::new(&key, &b"a1"[..], then)).await.unwrap();
    let row = directory.found(&key).await;
    assert_eq!(row.value.as_deref(), Some(&b"a1"[..]));
    assert!(row.expires.duration_since(then).unwrap_or_else(|e| e.duration()) < Duration::from_millis(1));
}
