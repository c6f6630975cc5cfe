//! Rows that another transaction keeps locked, and are requested all the time: nobody else waits for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use actix_django_session::{
    Error, SessionKey,
    backend::{Backend, Postgres, Replaced},
};
use futures_util::future::join_all;

use super::{inserted, locks::locked, n, pooled, postgres, touch, update};
use crate::support::{at_length, pgbouncer::PgBouncer, postgres::PrivateServer};

const VISITORS: usize = 32;

/// Phases with and without locked rows alternate.
const ROUNDS: u32 = 4;

/// A phase of load, in which the others have their rows for themselves.
#[derive(Default)]
struct Phase {
    saves: f64,
    loads: f64,
}

/// Saves and loads by visitors who have nothing to do with the locked rows. Each of them must succeed.
async fn load(postgres: &Postgres, keys: &[SessionKey], numbers: &mut [usize], time: Duration) -> Phase {
    let (end, saves, loads) = (Instant::now() + time, AtomicUsize::new(0), AtomicUsize::new(0));
    join_all(keys.iter().zip(numbers).map(async |(key, number)| {
        while Instant::now() < end {
            assert_eq!(update(postgres, key, *number, *number + 1).await.unwrap(), Replaced::Done);
            *number += 1;
            saves.fetch_add(1, SeqCst);
        }
    }))
    .await;
    let end = Instant::now() + time / 2;
    join_all(keys.iter().map(async |key| {
        while Instant::now() < end {
            assert!(n(postgres, key).await.is_some());
            loads.fetch_add(1, SeqCst);
        }
    }))
    .await;
    let per_second = |count: AtomicUsize, time: Duration| count.into_inner() as f64 / time.as_secs_f64();
    Phase { saves: per_second(saves, time), loads: per_second(loads, time / 2) }
}

/// Requests for the locked rows, ten a second for each, until the test says so. Returns what became of them.
async fn request(
    postgres: Postgres,
    keys: Vec<SessionKey>,
    stop: Arc<AtomicBool>,
) -> Vec<Result<Replaced, Error>> {
    let mut requests = Vec::new();
    while !stop.load(SeqCst) {
        for (at, key) in keys.iter().enumerate() {
            let (postgres, key) = (postgres.clone(), key.clone());
            requests.push(actix_web::rt::spawn(async move {
                match at % 3 {
                    0 | 1 => update(&postgres, &key, at, at + 1000).await,
                    _ => touch(&postgres, &key, at).await,
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    join_all(requests).await.into_iter().map(Result::unwrap).collect()
}

async fn others_are_served(name: &str, url: &str, postgres: Postgres) {
    let postgres = postgres.timeout(Duration::from_secs(1));
    let time = Duration::from_millis(if at_length() { 2000 } else { 300 });
    let keys = inserted(&postgres, VISITORS).await;
    let mut numbers: Vec<usize> = (0..VISITORS).collect();
    load(&postgres, &keys, &mut numbers, time).await;
    for rows in [1, 3, 8] {
        let (mut free, mut busy) = (Phase::default(), Phase::default());
        for round in 0..ROUNDS {
            let stuck = inserted(&postgres, rows).await;
            // In both phases: an open transaction costs everybody something, since dead rows stay.
            let holder = locked(url, &stuck.iter().collect::<Vec<_>>()).await;
            for is_busy in [round % 2 == 0, round % 2 == 1] {
                let phase = if is_busy { &mut busy } else { &mut free };
                let stop = Arc::new(AtomicBool::new(!is_busy));
                let requests = actix_web::rt::spawn(request(postgres.clone(), stuck.clone(), stop.clone()));
                tokio::time::sleep(Duration::from_millis(50)).await;
                let measured = load(&postgres, &keys, &mut numbers, time).await;
                (phase.saves, phase.loads) = (phase.saves + measured.saves, phase.loads + measured.loads);
                stop.store(true, SeqCst);
                let outcomes = requests.await.unwrap();
                // A locked row is known to be unchanged: nothing about it is in doubt, unless a busy machine
                // lets the time run out in the middle of an attempt.
                let refused = |outcome: &&Result<Replaced, Error>| {
                    outcome.as_ref().is_err_and(|error| error.to_string().contains("locked"))
                };
                let others: Vec<_> = outcomes.iter().filter(|outcome| !refused(outcome)).collect();
                assert!(others.len() * 5 <= outcomes.len(), "{name}: {others:?}");
                assert!(others.iter().all(|other| !matches!(other, Ok(Replaced::Done))), "{others:?}");
            }
            drop(holder);
        }
        let (saves, loads) = (busy.saves / free.saves, busy.loads / free.loads);
        println!(
            "{name}, {rows} locked rows: {:.0} saves a second are {saves:.2} of {:.0}, \
             {:.0} loads {loads:.2} of {:.0}",
            busy.saves / f64::from(ROUNDS),
            free.saves / f64::from(ROUNDS),
            busy.loads / f64::from(ROUNDS),
            free.loads / f64::from(ROUNDS),
        );
        // A machine may be busy with other things; without the mend it was less than a hundredth.
        assert!(saves > 0.4 && loads > 0.4, "{name}, {rows} rows: {saves:.2}, {loads:.2}");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn locked_rows_delay_no_other_on_own_connections() {
    let server = PrivateServer::start(&[]);
    others_are_served("own connections", &server.url(), postgres(&server.url()).await).await;
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn locked_rows_delay_no_other_on_the_applications_pool() {
    let server = PrivateServer::with_table(&[]);
    others_are_served("a pool", &server.url(), pooled(&server.url())).await;
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and PgBouncer: run tests/run"]
async fn locked_rows_delay_no_other_behind_pgbouncer() {
    let server = PrivateServer::with_table(&[]);
    let pooler = PgBouncer::start(server.port(), &[("default_pool_size", "20")]);
    let postgres = postgres(&format!("{}?pgbouncer=true", pooler.url())).await;
    others_are_served("PgBouncer", &server.url(), postgres).await;
}

/// A request that waits for a locked row until the timeout costs no connection, and leaves none behind.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_lock_beyond_the_timeout_keeps_the_connections() {
    let server = PrivateServer::start(&[]);
    let postgres = postgres(&server.url()).await.timeout(Duration::from_secs(1));
    let keys = inserted(&postgres, 20).await;
    join_all(keys.iter().map(|key| n(&postgres, key))).await;
    let backends = "SELECT pid FROM pg_stat_activity \
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state = 'idle'";
    let holder = locked(&server.url(), &[&keys[0]]).await;
    assert!(update(&postgres, &keys[0], 0, 1).await.unwrap_err().is_store());
    let before = server.query(backends);
    let (error, _) = futures_util::future::join(
        async { update(&postgres, &keys[0], 0, 1).await.unwrap_err() },
        join_all(keys[1..].iter().enumerate().map(|(n, key)| update(&postgres, key, n + 1, n + 2))),
    )
    .await;
    assert!(error.to_string().contains("locked"), "{error}");
    let after = server.query(backends);
    assert!(!before.is_empty() && before.iter().all(|pid| after.contains(pid)), "{before:?}, {after:?}");
    drop(holder);
}

/// Loads of large sessions run by themselves, on connections that no locked row uses.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn large_sessions_are_loaded_while_rows_are_locked() {
    let server = PrivateServer::start(&[]);
    let postgres = postgres(&server.url()).await.timeout(Duration::from_secs(4));
    let keys = inserted(&postgres, 40).await;
    server.query("UPDATE django_session SET session_data = repeat('x', 100000)");
    let stuck: Vec<&SessionKey> = keys[..12].iter().collect();
    let holder = locked(&server.url(), &stuck).await;
    let deletes: Vec<_> = stuck
        .iter()
        .map(|key| {
            let (postgres, key) = (postgres.clone(), (*key).clone());
            actix_web::rt::spawn(async move { postgres.delete(&key).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let since = Instant::now();
    for _ in 0..5 {
        let rows = join_all(keys.iter().map(|key| postgres.get(key))).await;
        assert!(rows.into_iter().all(|row| row.unwrap().unwrap().value.unwrap().len() == 100_000));
    }
    assert!(deletes.iter().all(|delete| !delete.is_finished()), "it took {:?}", since.elapsed());
    drop(holder);
    for delete in deletes {
        assert!(delete.await.unwrap().unwrap());
    }
}

/// Thousands of equal requests are one statement, and thousands for one key keep no other from its turn.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn many_requests_for_one_key_delay_no_other() {
    let server = PrivateServer::start(&[("log_statement", "all")]);
    let postgres = postgres(&server.url()).await;
    let keys = inserted(&postgres, 3).await;
    let statements = |text: &str| server.log().lines().filter(|line| line.contains(text)).count();
    let (deletes, saves) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let made_up = SessionKey::generate();
    let all_deletes = (0..8000).map(async |_| {
        assert!(!postgres.delete(&made_up).await.unwrap());
        deletes.fetch_add(1, SeqCst);
    });
    let all_saves = (0..3000).map(async |n| {
        update(&postgres, &keys[0], 0, n + 1).await.unwrap();
        saves.fetch_add(1, SeqCst);
    });
    let others = async {
        assert!(postgres.delete(&keys[1]).await.unwrap());
        assert_eq!(update(&postgres, &keys[2], 2, 7).await.unwrap(), Replaced::Done);
        (deletes.load(SeqCst), saves.load(SeqCst))
    };
    let (_, _, (_, saved)) =
        futures_util::future::join3(join_all(all_deletes), join_all(all_saves), others).await;
    assert!(saved < 100, "another session was saved after {saved} of the 3000");
    let deletes = statements("DELETE FROM");
    assert!(deletes < 10, "{deletes} statements for equal deletes");
}
