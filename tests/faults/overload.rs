//! More of everything than there can be: connections, waiting requests; a database that is slow.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_django_session::{SecretKey, SessionSettings, Store, backend::Postgres};
use deadpool_postgres::{Manager, Pool};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_postgres::NoTls;

use super::SECRET;
use crate::support::{
    at_length,
    postgres::PrivateServer,
    proc::{PATIENCE, status_of},
    process::{self, Process},
    proxy::Proxy,
    site::Site,
    visitors::{Visitors, check_that_nothing_is_lost},
};

const SERVES: &str = "overload::ten_thousand_connections_at_once";

/// Two connections for a site of two workers, and a database behind a slow network: everybody is answered in
/// time, most with 503, memory is bounded, and afterwards all are served as if nothing had been.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn ten_thousand_connections_at_once() {
    if let Some(url) = process::asked_to_serve() {
        let site = Site::start(SessionSettings::default(), async move || {
            let manager = Manager::new(url.parse().unwrap(), NoTls);
            let pool = Pool::builder(manager).max_size(2).build().unwrap();
            let backend = Postgres::from_pool(pool).timeout(Duration::from_secs(1));
            Store::new(backend, SecretKey::new(SECRET))
        });
        return process::serve_until_orphaned(site.port(), || ());
    }
    let connections = if at_length() { 10_000 } else { 2_000 };
    raise_file_limit();
    let server = PrivateServer::with_table(&[]);
    let proxy = Proxy::start(server.port());
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());
    let site = Process::start(SERVES, &url);
    let ops = [site.url("/ops")];
    let before = {
        let visitors = Visitors::come(4, &ops);
        visitors.wait_for(50, PATIENCE);
        check_that_nothing_is_lost(visitors.leave(), &ops[0]);
        status_of(site.id(), "VmRSS:")
    };
    proxy.delay(Duration::from_millis(400));
    let port: u16 = ops[0].split(':').nth(2).unwrap().split('/').next().unwrap().parse().unwrap();
    let (ok, busy, slowest) = crowd(port, connections);
    let during = status_of(site.id(), "VmRSS:");
    proxy.delay(Duration::ZERO);
    println!(
        "{connections} at once: {ok} served, {busy} told to come again, the last after {slowest:?}; \
         {before} KiB before, {during} KiB with all of them"
    );
    assert_eq!(ok + busy, connections, "everybody was answered");
    assert!(busy > connections / 2, "this was no overload");
    assert!(slowest < Duration::from_secs(4), "the deadline is one second: {slowest:?}");
    assert!((during - before) / (connections as u64) < 64, "{before} KiB, then {during} KiB");

    let visitors = Visitors::come(16, &ops);
    visitors.wait_for(300, PATIENCE);
    assert!(visitors.seen().failed.is_empty(), "{:?}", visitors.seen());
    check_that_nothing_is_lost(visitors.leave(), &ops[0]);
    // Memory is reused: after more crowds, the next one needs no more of it.
    proxy.delay(Duration::from_millis(400));
    for _ in 0..3 {
        crowd(port, connections);
    }
    let during = status_of(site.id(), "VmRSS:");
    crowd(port, connections);
    let again = status_of(site.id(), "VmRSS:");
    assert!(again < during + during / 10, "{during} KiB, then {again} KiB");
}

/// Opens all connections, then requests a new session on all of them at once. Returns the number of
/// successes, the number of rejections, and the time of the slowest response.
fn crowd(port: u16, connections: usize) -> (usize, usize, Duration) {
    let body = r#"[["set","n",1]]"#;
    let request = format!(
        "POST /ops HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let visit = |mut stream: TcpStream| {
        let request = request.clone();
        async move {
            let start = Instant::now();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            (head[9..].to_owned(), start.elapsed())
        }
    };
    let answers = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let come = (0..connections).map(|_| TcpStream::connect(("127.0.0.1", port)));
        let streams = join_all(come).await.into_iter().map(Result::unwrap);
        tokio::time::timeout(PATIENCE, join_all(streams.map(visit)))
            .await
            .expect("everybody should be answered")
    });
    let count = |status: &[u8]| answers.iter().filter(|(answer, _)| answer == status).count();
    (count(b"200"), count(b"503"), answers.iter().map(|(_, took)| *took).max().unwrap())
}

fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
}

/// A pool of one for all that a site does: every operation takes its turn, and none waits for one that waits
/// for it.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_pool_of_one_is_enough() {
    let server = PrivateServer::with_table(&[]);
    let url = server.url();
    let site = Site::start_with(4, SessionSettings::default().save_every_request(true), async move || {
        let manager = Manager::new(url.parse().unwrap(), NoTls);
        let pool = Pool::builder(manager).max_size(1).build().unwrap();
        Store::new(Postgres::from_pool(pool), SecretKey::new(SECRET))
    });
    let ops = [site.url("/ops")];
    let visitors = Arc::new(Visitors::come(24, &ops));
    visitors.wait_for(2_000, PATIENCE);
    let seen = visitors.seen();
    assert!(seen.failed.is_empty(), "{seen:?}");
    check_that_nothing_is_lost(Arc::into_inner(visitors).unwrap().leave(), &ops[0]);
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()";
    assert_eq!(server.query(open)[0][0].as_deref(), Some("1"));
}
