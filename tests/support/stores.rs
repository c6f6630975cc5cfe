//! Every kind of store that several processes can share, with real servers.

use std::{any::Any, fmt};

use actix_django_session::{
    SecretKey, Store,
    backend::{Memory, Postgres},
    codec::{Codec, JsonSerializer},
};
use deadpool_postgres::{Manager, Pool};
use tokio_postgres::NoTls;

use super::{postgres::Database, proc::TempDir, redis::Redis};

/// A store, and the servers that it needs.
pub struct Kind {
    pub name: &'static str,
    pub store: Store,
    _servers: Box<dyn Any>,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

/// An empty store in this process's memory, whose values are JSON.
pub fn memory() -> Store {
    on(&Memory::new())
}

/// A store on this memory, for tests that look into it.
pub fn on(memory: &Memory) -> Store {
    Store::new(memory.clone(), Codec::unsigned(JsonSerializer))
}

/// The number of sessions in this memory.
pub fn len(memory: &Memory) -> usize {
    let text = format!("{memory:?}");
    let number = text.strip_prefix("Memory(").and_then(|rest| rest.strip_suffix(" sessions)"));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// The store of a URL, with its table.
pub async fn by_url(url: &str) -> Store {
    let store = Store::connect(url, secret()).await.unwrap();
    store.create_table().await.unwrap();
    store
}

/// One of each, empty.
pub async fn every() -> Vec<Kind> {
    let kind = |name, store, servers: Box<dyn Any>| Kind { name, store, _servers: servers };
    let mut all = vec![kind("memory", memory(), Box::new(()))];

    let dir = TempDir::new("files");
    let files = by_url(&format!("file://{}", dir.path().display())).await;
    all.push(kind("file", files, Box::new(dir)));

    let dir = TempDir::new("sqlite");
    let sqlite = by_url(&format!("sqlite://{}/db.sqlite3", dir.path().display())).await;
    all.push(kind("sqlite", sqlite, Box::new(dir)));

    let database = Database::fresh();
    all.push(kind("postgres", by_url(database.url()).await, Box::new(database)));

    let database = Database::fresh();
    by_url(database.url()).await;
    let pool = Pool::builder(Manager::new(database.url().parse().unwrap(), NoTls)).build().unwrap();
    let pooled = Store::new(Postgres::from_pool(pool), secret());
    all.push(kind("postgres, a pool of the application's", pooled, Box::new(database)));

    let redis = Redis::start(&[]);
    all.push(kind("redis", by_url(&redis.url()).await, Box::new(redis)));

    let (redis, database) = (Redis::start(&[]), Database::fresh());
    let cached = by_url(&format!("cached:{} {}", redis.url(), database.url())).await;
    all.push(kind("cached: redis, postgres", cached, Box::new((redis, database))));
    all
}
