//! The file store, in directories of its own and in Django's.

mod clearing;
mod django;
mod errors;
mod processes;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, SecretKey, Session, SessionKey,
    store::{FileStore, Loaded, Outcome, Record, Seen, SessionData, SessionStore as _, conformance},
};

use crate::support::proc::TempDir;

const HOUR: Duration = Duration::from_secs(3600);
const TWO_WEEKS: Duration = Duration::from_secs(14 * 24 * 3600);

fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

/// A directory of sessions and its store.
struct Files {
    dir: TempDir,
    store: FileStore,
}

impl Files {
    async fn new() -> Self {
        let dir = TempDir::new("file");
        let store = FileStore::open(dir.path(), secret()).await.unwrap();
        Self { dir, store }
    }

    fn path(&self, key: &SessionKey) -> PathBuf {
        self.dir.path().join(format!("sessionid{}", key.as_str()))
    }

    /// What is in the directory, but for Django's prefix.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names.iter().map(|name| name.strip_prefix("sessionid").unwrap_or(name).to_owned()).collect()
    }

    /// A new session that ends in an hour.
    async fn create(&self, json: &str) -> (SessionKey, Seen) {
        let key = SessionKey::generate();
        match self.store.create(&key, &data(json), SystemTime::now() + HOUR).await.unwrap() {
            Outcome::Saved(seen) => (key, seen),
            other => panic!("{other:?}"),
        }
    }

    async fn found(&self, key: &SessionKey) -> Record {
        match self.store.load(key).await.unwrap() {
            Loaded::Found(record) => record,
            other => panic!("{other:?}"),
        }
    }
}

fn data(json: &str) -> SessionData {
    SessionData::from_json(json).unwrap()
}

fn new_key() -> SessionKey {
    SessionKey::generate()
}

fn age(path: &Path, by: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - by).unwrap();
}

/// Counts the session's `n` up, as handlers do.
async fn count(dir: &Path, key: &SessionKey, times: usize) -> Result<(), Error> {
    let store = FileStore::open(dir, secret()).await?;
    for _ in 0..times {
        let session = Session::open(&store, key).await?;
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        session.save().await?;
    }
    Ok(())
}

#[actix_web::test]
async fn the_conformance_suite_passes() {
    let files = Files::new().await;
    conformance::check(files.store.clone()).await;
    assert_eq!(files.names(), [""; 0], "nothing is left behind");
}
