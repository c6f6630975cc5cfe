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
    /// On the same servers, with another SECRET_KEY or serializer: it can read nothing.
    pub misled: Store,
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
    let kind = |name, store, misled, servers: Box<dyn Any>| Kind { name, store, misled, _servers: servers };
    let wrong = || SecretKey::new("another secret");
    let misled = async |url: &str| Store::connect(url, wrong()).await.unwrap();
    let in_memory = Memory::new();
    let mut all = vec![kind("memory", on(&in_memory), Store::new(in_memory, wrong()), Box::new(()))];

    let dir = TempDir::new("files");
    let url = format!("file://{}", dir.path().display());
    all.push(kind("file", by_url(&url).await, misled(&url).await, Box::new(dir)));

    let dir = TempDir::new("sqlite");
    let url = format!("sqlite:///{}/db.sqlite3", dir.path().display());
    all.push(kind("sqlite", by_url(&url).await, misled(&url).await, Box::new(dir)));

    let database = Database::fresh();
    let url = database.url().to_owned();
    all.push(kind("postgres", by_url(&url).await, misled(&url).await, Box::new(database)));

    let database = Database::fresh();
    by_url(database.url()).await;
    let pool = Pool::builder(Manager::new(database.url().parse().unwrap(), NoTls)).build().unwrap();
    let [pooled, other] = [secret(), wrong()].map(|key| Store::new(Postgres::from_pool(pool.clone()), key));
    all.push(kind("postgres, a pool of the application's", pooled, other, Box::new(database)));

    let redis = Redis::start(&[]);
    let json = |redis: &Redis| format!("{}?serializer=json", redis.url());
    let other = misled(&json(&redis)).await;
    all.push(kind("redis", by_url(&redis.url()).await, other, Box::new(redis)));

    let (redis, database) = (Redis::start(&[]), Database::fresh());
    let cached = by_url(&format!("cached:{} {}", redis.url(), database.url())).await;
    let other = misled(&format!("cached:{} {}", json(&redis), database.url())).await;
    all.push(kind("cached: redis, postgres", cached, other, Box::new((redis, database))));
    all
}
