//! Every part, on every kind of table.

use crate::{
    parts, report,
    support::postgres::Database,
    tables::{self, Sharded},
    target::{Target, create, ok},
};

async fn serves(target: &Target) {
    let failures = report::run(target).await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn partitions_on_three_servers_serve() {
    let sharded = Sharded::start();
    serves(&sharded.target()).await;
}

/// It is no plain table in disguise: each server has its share of the sessions.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn sessions_are_spread_over_the_servers() {
    let sharded = Sharded::start();
    let store = sharded.target().store().await;
    for _ in 0..60 {
        create(&store).await;
    }
    let rows = sharded.rows();
    assert!(rows.iter().all(|rows| *rows > 5) && rows.iter().sum::<u64>() == 60, "{rows:?}");
    let ended = ok("list", store.sessions_of_user("7").await);
    assert!(ended.is_empty());
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn partitions_by_hash_serve() {
    let database = tables::hash_partitions();
    serves(&Target::new(database.url())).await;
}

/// The contract of a backend is not for this table: nothing keeps two rows from having one key.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn partitions_by_date_serve() {
    let database = tables::date_partitions();
    let parts: Vec<_> = parts::ALL.into_iter().filter(|part| part.name != "conformance").collect();
    let failures = report::run_parts(&Target::new(database.url()), &parts).await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_plain_table_serves_as_a_distributed_one() {
    let database = Database::fresh();
    let target = Target::new(format!("{}?distributed=true", database.url()));
    ok("create_table", target.store().await.create_table().await);
    serves(&target).await;
}
