//! Servers of a distributed table that fail, rows that are locked, and tables that change.

use std::time::{Duration, SystemTime};

use actix_django_session::{
    Error, SecretKey, Session, SessionKey, Store,
    backend::{Backend as _, Postgres, Replace, Replaced},
};
use futures_util::future::{join, join_all};

use crate::{
    support::postgres::{Database, PrivateServer, TABLE},
    tables::{COLUMNS, Sharded},
    target::{SECRET, Target, counter, create, ok, open},
};

const WAIT: Duration = Duration::from_millis(500);

fn is_on(shard: &PrivateServer, key: &SessionKey) -> bool {
    let sql = format!("SELECT FROM django_session WHERE session_key = '{}'", key.as_str());
    !shard.query(&sql).is_empty()
}

async fn set(server: &PrivateServer, setting: &str) {
    server.query(&format!("ALTER SYSTEM {setting}"));
    server.query("SELECT pg_reload_conf()");
    tokio::time::sleep(WAIT).await;
}

/// The server of the row commits, and the coordinator does not wait for it.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_save_that_is_cancelled_in_the_commit_of_its_server_counts_once() {
    let sharded = Sharded::start();
    let store = sharded.target().store().await;
    let key = create(&store).await;
    let shard = sharded.shards.iter().find(|shard| is_on(shard, &key)).unwrap();
    let session = open(&store, &key).await.unwrap();
    session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).unwrap();
    set(shard, "SET synchronous_standby_names = 'nobody'").await;
    let cancel = async {
        tokio::time::sleep(WAIT).await;
        sharded.coordinator.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE state = 'active' \
             AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
        );
    };
    let (saved, ()) = join(session.save(), cancel).await;
    set(shard, "RESET synchronous_standby_names").await;
    assert!(saved.unwrap_err().is_in_doubt());
    assert_eq!(counter(&store, &key).await, 1, "it was carried out");
    assert!(session.save().await.is_err(), "nobody knows, so it is not made again");
    assert_eq!(counter(&store, &key).await, 1);
}

/// The coordinator is as good as before, and so are the connections to it.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_server_that_is_dead_or_read_only_costs_no_connection() {
    let mut sharded = Sharded::start();
    let store = sharded.target().store().await;
    let keys = join_all((0..30).map(|_| create(&store))).await;
    let (first, others): (Vec<_>, Vec<_>) = keys.iter().partition(|key| is_on(&sharded.shards[0], key));
    set(&sharded.coordinator, "SET log_connections = on").await;
    let opened = |sharded: &Sharded| sharded.coordinator.log().matches("connection received").count();

    set(&sharded.shards[0], "SET default_transaction_read_only = on").await;
    fails_alone(&store, &first, &others, opened, &sharded).await;
    set(&sharded.shards[0], "RESET default_transaction_read_only").await;
    sharded.shards[0].kill();
    fails_alone(&store, &first, &others, opened, &sharded).await;
    sharded.shards[0].start_again();
    for key in &keys {
        ok("save a session", change(&store, key).await);
    }
}

async fn fails_alone(
    store: &Store,
    failing: &[&SessionKey],
    others: &[&SessionKey],
    opened: impl Fn(&Sharded) -> usize,
    sharded: &Sharded,
) {
    let before = opened(sharded);
    for _ in 0..3 {
        for key in failing {
            assert!(change(store, key).await.unwrap_err().is_store());
        }
        for key in others {
            ok("save a session of another server", change(store, key).await);
        }
    }
    let new = opened(sharded) - before;
    assert!(new < 5, "{new} connections for {} failed saves", 3 * failing.len());
}

async fn change(store: &Store, key: &SessionKey) -> Result<(), Error> {
    let session = Session::open(store, key).await?.expect("a live session is found");
    session.insert("changed", &SystemTime::now())?;
    session.save().await
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn clearing_goes_round_locked_rows() {
    let database = Database::fresh();
    database.query(TABLE);
    database.query(
        "INSERT INTO django_session SELECT md5(n::text), 'e30:', now() - n * interval '1 minute' \
         FROM generate_series(1, 1200) n",
    );
    let target = Target::new(format!("{}?distributed=true", database.url()));
    let (backend, admin) = (target.backend().await, target.admin().await.unwrap());
    let lock = "BEGIN; SELECT FROM {table} ORDER BY expire_date LIMIT 3 FOR UPDATE";
    admin.sql(lock).await.unwrap();
    let first = ok("clear", backend.clear_expired(1000).await);
    let rest = ok("clear", backend.clear_expired(1000).await);
    assert_eq!((first, rest), (1000, 197));
    let left = backend.uncleared().expect("three are left").to_string();
    assert!(left.contains("3 expired sessions could not be deleted"), "{left}");
    admin.sql("ROLLBACK").await.unwrap();
    assert_eq!(ok("clear", backend.clear_expired(1000).await), 3);
}

/// A new key takes all columns along, those that were there at the first connection and others.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn further_columns_come_and_go() {
    let database = Database::fresh();
    database.query(TABLE);
    database.query(
        r#"ALTER TABLE django_session ADD COLUMN old text DEFAULT 'x', ADD COLUMN "a""b" text,
        ADD COLUMN """ab""" text, ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY,
        ADD COLUMN length int GENERATED ALWAYS AS (length(session_data)) STORED"#,
    );
    let url = format!("{}?distributed=true", database.url());
    let backend = Postgres::connect_lazy(&url).unwrap().column("a\"b", "n").unwrap();
    let key = SessionKey::generate();
    database.query(&format!(
        r#"INSERT INTO django_session (session_key, session_data, expire_date, "a""b", """ab""")
        VALUES ('{}', 'e30:', now() + interval '1 day', 'mirrored', 'kept')"#,
        key.as_str()
    ));
    let row = r#"SELECT "a""b", """ab""", id, to_jsonb(s) -> 'ip' FROM django_session s"#;
    let later = SystemTime::now() + Duration::from_secs(99);
    let rename = async |old: &SessionKey| {
        let new = SessionKey::generate();
        let replaced = backend.replace(Replace::new(old, "e30:", later).new_key(&new)).await;
        assert_eq!(ok("rename", replaced), Replaced::Done);
        new
    };
    let key = rename(&key).await;
    let expected = |ip: Option<&str>| {
        let row = [Some("mirrored"), Some("kept"), Some("1"), ip];
        vec![row.map(|text| text.map(str::to_owned)).to_vec()]
    };
    assert_eq!(database.query(row), expected(None), "the first statement of a backend");
    database.query("ALTER TABLE django_session ADD COLUMN ip text DEFAULT 'none'");
    database.query("UPDATE django_session SET ip = '10.0.0.1'");
    let key = rename(&key).await;
    assert_eq!(database.query(row), expected(Some("\"10.0.0.1\"")), "a new column");
    database.query("ALTER TABLE django_session DROP COLUMN old");
    rename(&key).await;
    assert_eq!(database.query(row), expected(Some("\"10.0.0.1\"")), "a column that is gone");
}

/// Otherwise a new key would delete what refers to the session.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_right_that_comes_later_makes_no_table_distributed() {
    let database = Database::fresh();
    let role = format!("{}_app", database.url().rsplit_once('/').unwrap().1);
    database.query(&format!(
        "CREATE ROLE {role} LOGIN; CREATE SCHEMA accounts; \
         CREATE TABLE accounts.django_session ({COLUMNS}, PRIMARY KEY (session_key))"
    ));
    database.query(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON accounts.django_session TO {role}"));
    database.query(
        "CREATE TABLE cart (session_key varchar(40) \
         REFERENCES accounts.django_session ON UPDATE CASCADE ON DELETE CASCADE)",
    );
    let url = database.url().replacen("postgres@", &format!("{role}@"), 1) + "?schema=accounts";
    let store = Store::connect_lazy(&url, SecretKey::new(SECRET)).unwrap();
    assert!(Session::open(&store, &SessionKey::generate()).await.is_err(), "no right to the schema");
    database.query(&format!("GRANT USAGE ON SCHEMA accounts TO {role}"));
    let key = create(&store).await;
    database.query(&format!("INSERT INTO cart VALUES ('{}')", key.as_str()));
    let session = open(&store, &key).await.unwrap();
    session.cycle_key().unwrap();
    ok("rename", session.save().await);
    assert_eq!(database.query("SELECT count(*) FROM cart")[0][0].as_deref(), Some("1"));
    drop(store);
    database.query(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
