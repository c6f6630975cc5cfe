//! The report on a server that somebody else started: `tests/run --against URL`.
//!
//! Everything happens in a schema of its own, which is dropped at the end.

use std::env;

use actix_django_session::SessionKey;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    report,
    support::postgres::Database,
    target::{Admin, Target},
};

const PREFIX: &str = "django_session_test_";

const SCHEMAS: &str = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^django_session_test_'";

/// Without a URL it is about the tests' own server, to test the report.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_report_on_a_server() {
    let (url, own) = match env::var("TEST_AGAINST") {
        Ok(url) => (url, None),
        Err(_) => {
            let database = Database::fresh();
            (database.url().to_owned(), Some(database))
        }
    };
    let prepare = env::var("TEST_AGAINST_PREPARE").unwrap_or_default();
    if let Some(database) = &own {
        database.query("CREATE TABLE django_session (theirs int); INSERT INTO django_session VALUES (1)");
    }
    let failures = report_on(&url, &prepare).await;
    if let Some(database) = &own {
        assert!(database.query(SCHEMAS).is_empty(), "the schema should be dropped");
        assert_eq!(database.query("SELECT theirs FROM django_session")[0][0].as_deref(), Some("1"));
    }
    assert!(failures.is_empty(), "{} of the parts failed", failures.len());
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_report_that_cannot_begin_leaves_nothing_behind() {
    let database = Database::fresh();
    let failures = report_on(database.url(), "SELECT no_such_function('{table}')").await;
    assert!(failures[0].contains("no_such_function"), "{failures:?}");
    assert!(database.query(SCHEMAS).is_empty(), "the schema should be dropped");
}

async fn report_on(url: &str, prepare: &str) -> Vec<String> {
    // The name is random, so that it is nobody else's; a schema that exists is an error.
    let schema = format!("{PREFIX}{}", SessionKey::generate().as_str());
    let target = Target::in_schema(url, &*schema);
    let admin = match target.admin().await {
        Ok(admin) => admin,
        Err(error) => panic!("cannot connect: {error}"),
    };
    println!("\nserver  {}", version(&admin).await);
    if let Err(error) = admin.sql(&format!("CREATE SCHEMA {schema}")).await {
        panic!("cannot create a schema: {error}");
    }
    println!("schema  {schema}, dropped at the end");
    let failures = tokio::select! {
        failures = prepare_and_run(&target, &admin, &schema, prepare) => failures,
        () = told_to_stop() => vec!["stopped by a signal".to_owned()],
    };
    drop_schema(&target, &schema).await;
    println!("{}", if failures.is_empty() { "all parts passed" } else { "NOT all parts passed" });
    failures
}

async fn prepare_and_run(target: &Target, admin: &Admin, schema: &str, prepare: &str) -> Vec<String> {
    let created = target.store().await.create_table().await;
    if let Err(error) = created {
        return vec![format!("create the table: {}", error.with_causes())];
    }
    let prepared = match prepare.is_empty() {
        true => Ok(Vec::new()),
        false => admin.sql(&prepare.replace("{schema}", schema)).await,
    };
    if let Err(error) = prepared {
        println!("FAILED  TEST_AGAINST_PREPARE: {error}");
        return vec![error];
    }
    println!("table   {}", kind(admin).await);
    report::run(target).await
}

/// Ctrl-C, or the end of `tests/run`.
async fn told_to_stop() {
    let [mut interrupt, mut terminate] =
        [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).unwrap());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// With a connection of its own: the other one may have been lost.
async fn drop_schema(target: &Target, schema: &str) {
    let drop = format!("DROP SCHEMA {schema} CASCADE");
    let dropped = match target.admin().await {
        Ok(admin) => admin.sql(&drop).await.map(std::mem::drop),
        Err(error) => Err(error),
    };
    if let Err(error) = dropped {
        println!("the schema could not be dropped, please run: {drop}\n{error}");
    }
}

async fn version(admin: &Admin) -> String {
    let text = async |sql| Some(admin.sql(sql).await.ok()?.first()?.first()?.clone()?);
    let version = text("SELECT version()").await.unwrap_or_else(|| "of an unknown version".into());
    match text("SELECT extversion FROM pg_extension WHERE extname = 'citus'").await {
        Some(citus) => format!("{version}, with Citus {citus}"),
        None => version,
    }
}

/// The kind of the table, by the server's catalog.
async fn kind(admin: &Admin) -> String {
    let citus = "SELECT 'distributed by Citus in ' || count(*) || ' shards' FROM pg_dist_shard \
                 WHERE logicalrelid = '{table}'::regclass HAVING count(*) > 0";
    let native = "SELECT CASE c.relkind WHEN 'r' THEN 'plain' WHEN 'f' THEN 'foreign' \
                  WHEN 'p' THEN 'partitioned by ' || pg_get_partkeydef(c.oid) || ', partitions: ' \
                  || count(i) || ', of which foreign: ' || count(*) FILTER (WHERE p.relkind = 'f') ELSE 'unknown' END \
                  FROM pg_class c LEFT JOIN pg_inherits i ON i.inhparent = c.oid \
                  LEFT JOIN pg_class p ON p.oid = i.inhrelid \
                  WHERE c.oid = '{table}'::regclass GROUP BY c.oid, c.relkind";
    for sql in [citus, native] {
        if let Ok(rows) = admin.sql(sql).await
            && let Some(Some(text)) = rows.into_iter().next().and_then(|row| row.into_iter().next())
        {
            return text;
        }
    }
    "of a kind that the server does not tell".to_owned()
}
