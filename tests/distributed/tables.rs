//! Tables of sessions that are not one heap.

use crate::{
    support::postgres::{Database, PrivateServer},
    target::Target,
};

pub(crate) const COLUMNS: &str =
    "session_key varchar(40) NOT NULL, session_data text NOT NULL, expire_date timestamptz NOT NULL";

/// A table whose partitions, by hash of the key, are on three servers. A fourth one knows where.
#[derive(Debug)]
pub(crate) struct Sharded {
    pub(crate) coordinator: PrivateServer,
    pub(crate) shards: [PrivateServer; 3],
}

impl Sharded {
    pub(crate) fn start() -> Self {
        let shards = [(); 3].map(|()| PrivateServer::start(&[("max_connections", "200")]));
        let coordinator = PrivateServer::start(&[("max_connections", "200")]);
        // Unique within each shard, and so everywhere: a key belongs to one shard. PostgreSQL cannot have a
        // primary key over partitions of other servers.
        coordinator.query(&format!(
            "CREATE EXTENSION postgres_fdw; \
             CREATE TABLE django_session ({COLUMNS}) PARTITION BY HASH (session_key)"
        ));
        for (n, shard) in shards.iter().enumerate() {
            shard.query(&format!(
                "CREATE TABLE django_session ({COLUMNS}, PRIMARY KEY (session_key)); \
                 CREATE INDEX ON django_session (expire_date)"
            ));
            coordinator.query(&format!(
                "CREATE SERVER shard{n} FOREIGN DATA WRAPPER postgres_fdw \
                 OPTIONS (host '127.0.0.1', port '{}', dbname 'postgres'); \
                 CREATE USER MAPPING FOR postgres SERVER shard{n} \
                 OPTIONS (user 'postgres', password_required 'false'); \
                 CREATE FOREIGN TABLE django_session_{n} PARTITION OF django_session \
                 FOR VALUES WITH (MODULUS 3, REMAINDER {n}) SERVER shard{n} \
                 OPTIONS (table_name 'django_session')",
                shard.port()
            ));
        }
        Self { coordinator, shards }
    }

    pub(crate) fn target(&self) -> Target {
        Target::new(self.coordinator.url())
    }

    /// The rows of each shard, counted there.
    pub(crate) fn rows(&self) -> [u64; 3] {
        self.shards.each_ref().map(|shard| {
            shard.query("SELECT count(*) FROM django_session")[0][0].as_deref().unwrap().parse().unwrap()
        })
    }
}

/// Eight partitions by hash of the key, with Django's primary key.
pub(crate) fn hash_partitions() -> Database {
    let database = Database::fresh();
    let partition = |n| {
        format!(
            "CREATE TABLE django_session_{n} PARTITION OF django_session \
             FOR VALUES WITH (MODULUS 8, REMAINDER {n});"
        )
    };
    let partitions: String = (0..8).map(partition).collect();
    database.query(&format!(
        "CREATE TABLE django_session ({COLUMNS}, PRIMARY KEY (session_key)) PARTITION BY HASH (session_key); \
         CREATE INDEX ON django_session (expire_date); {partitions}"
    ));
    database
}

/// Partitions of a quarter of a second by date, so that a save moves its row. The primary key must have both
/// columns, so no constraint keeps two rows from having one key.
pub(crate) fn date_partitions() -> Database {
    let database = Database::fresh();
    database.query(&format!(
        "CREATE TABLE django_session ({COLUMNS}, PRIMARY KEY (session_key, expire_date)) \
         PARTITION BY RANGE (expire_date); \
         CREATE TABLE others PARTITION OF django_session DEFAULT; \
         DO $$ DECLARE start timestamptz := date_trunc('second', now()) + interval '14 days'; BEGIN \
         FOR n IN 0..79 LOOP EXECUTE format('CREATE TABLE part%s PARTITION OF django_session \
         FOR VALUES FROM (%L) TO (%L)', n, start + n * interval '0.25 seconds', \
         start + (n + 1) * interval '0.25 seconds'); END LOOP; END $$"
    ));
    database
}
