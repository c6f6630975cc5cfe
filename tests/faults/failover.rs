//! A primary dies, and what followed it takes its place.

use std::{
    thread,
    time::{Duration, Instant, SystemTime},
};

use actix_django_session::{
    SessionKey,
    backend::{Backend as _, Insert, Postgres, Replace, Replaced},
};

use super::{backend, outage::Outage, refused, value};
use crate::support::{
    postgres::{PrivateServer, TABLE},
    proc::{PATIENCE, wait_until},
    proxy::Proxy,
};

/// A primary, and a standby that has everything before it is confirmed.
fn pair() -> (PrivateServer, PrivateServer) {
    let primary = PrivateServer::start(&[("wal_keep_size", "64MB")]);
    primary.query(TABLE);
    let standby = primary.standby("follower", &[]);
    primary.query("ALTER SYSTEM SET synchronous_standby_names = 'follower'");
    primary.query("SELECT pg_reload_conf()");
    wait_until("the standby should be synchronous", PATIENCE, || {
        primary.query("SELECT sync_state FROM pg_stat_replication")[0][0].as_deref() == Some("sync")
    });
    (primary, standby)
}

fn both(primary: &PrivateServer, standby: &PrivateServer, parameters: &str) -> String {
    format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?{parameters}",
        standby.port(),
        primary.port()
    )
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_promoted_standby_is_found_and_no_confirmed_write_is_lost() {
    let (mut primary, standby) = pair();
    // The standby stands first: it is passed by as long as it takes no writes.
    let outage = Outage::of(both(&primary, &standby, "target_session_attrs=read-write"));
    primary.kill();
    outage.lasts();
    let start = Instant::now();
    standby.promote();
    outage.is_over();
    println!("served {:?} after the command to promote", start.elapsed());
    outage.ends("failover");
}

/// Nobody tells us that a primary which says nothing any more is dead: whoever waits for it has a share of
/// the deadline for it, and then asks the next.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_hanging_primary_is_abandoned_for_the_new_one() {
    let (primary, standby) = pair();
    let outage = Outage::of(both(&primary, &standby, "target_session_attrs=read-write"));
    primary.pause();
    outage.lasts();
    standby.promote();
    outage.is_over();
    // It comes back, and does not know.
    thread::sleep(Duration::from_secs(1));
    outage.visitors.wait_for(200, PATIENCE);
    outage.ends("a primary that hangs");
}

/// A primary that becomes a standby without an end of its connections, as one behind a proxy or a virtual
/// address does.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn connections_to_a_read_only_server_are_replaced() {
    let (primary, standby) = pair();
    let proxy = Proxy::start(primary.port());
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres?target_session_attrs=any", proxy.port());
    let outage = Outage::of(url);
    // Open connections stay, and are read-only from now on. New ones go to the new primary.
    primary.query("ALTER SYSTEM SET default_transaction_read_only = on");
    primary.query("SELECT pg_reload_conf()");
    // Two writable primaries would each have changes that the other lacks.
    wait_until("nobody should write to the old one any more", PATIENCE, || {
        let before = outage.visitors.seen().confirmed;
        thread::sleep(Duration::from_millis(300));
        outage.visitors.seen().confirmed == before
    });
    standby.promote();
    proxy.lead_to(standby.port());
    outage.is_over();
    let failed = outage.visitors.seen().failed;
    outage.visitors.wait_for(200, PATIENCE);
    let seen = outage.ends("read-only");
    assert_eq!(seen.failed, failed, "none of those connections is used again");
}

/// One worker finds out that the primary is another one, and no other goes on reading what the old one has.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_failover_found_by_one_worker_is_known_to_all() {
    let (old, new) = (PrivateServer::with_table(&[]), PrivateServer::with_table(&[]));
    let proxy = Proxy::start(old.port());
    let [writer, reader] = [(); 2].map(|()| tokio::runtime::Runtime::new().unwrap());
    let later = SystemTime::now() + Duration::from_secs(1000);
    let key = SessionKey::generate();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());
    let backend = writer.block_on(backend(&url));
    writer.block_on(backend.insert(Insert::new(&key, value(1), later))).unwrap();
    let read = || reader.block_on(backend.get(&key)).unwrap().unwrap().value.unwrap();
    assert_eq!(read(), value(1));
    let row = &old.query("SELECT session_key, session_data, expire_date FROM django_session")[0];
    let row =
        row.iter().map(|column| format!("'{}'", column.as_ref().unwrap())).collect::<Vec<_>>().join(", ");
    new.query(&format!("INSERT INTO django_session VALUES ({row})"));
    old.query("ALTER SYSTEM SET default_transaction_read_only = on");
    old.query("SELECT pg_reload_conf()");
    let insert = || writer.block_on(backend.insert(Insert::new(&SessionKey::generate(), value(0), later)));
    // Nobody takes writes for a while, so that the first that is taken is on a connection that knows nothing
    // of the old one.
    wait_until("the old one should have heard of it", PATIENCE, || insert().is_err());
    assert_eq!(read(), value(1));
    proxy.lead_to(new.port());
    insert().unwrap();
    assert_eq!(new.query("SELECT count(*) FROM django_session")[0][0].as_deref(), Some("2"));
    let update = Replace::new(&key, value(1), later).value(value(2));
    assert_eq!(writer.block_on(backend.replace(update)).unwrap(), Replaced::Done);
    assert_eq!(read(), value(2));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_standby_alone_is_named_as_such() {
    let (primary, standby) = pair();
    let alone = format!("{}?target_session_attrs=read-write", standby.url());
    let error = refused(&alone).await;
    assert!(error.contains("database"), "{error}");
    let standby = Postgres::connect(&standby.url()).await.unwrap();
    let error = standby.check().await.unwrap_err().with_causes();
    assert!(error.contains("a standby is") && error.contains("target_session_attrs=read-write"), "{error}");
    drop(primary);
}
