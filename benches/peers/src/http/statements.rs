//! The database's work for a request: statements, bytes of WAL, and updates that need no work on indexes
//! (HOT).

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Stage, throughput};
use crate::{
    Result,
    contender::{Contender, Running},
    load::Turn,
    postgres::Postgres,
    process, rows,
    workload::Workload,
};

pub const COLUMNS: [&str; 8] = [
    "contender",
    "workload",
    "clients",
    "statements_per_request",
    "wal_bytes_per_request",
    "hot_updates_percent",
    "table_bytes_per_request",
    "index_bytes_per_request",
];

const BEGIN: &str = "SELECT 'the window begins'";
const END: &str = "SELECT 'the window ends'";

pub fn measure(stage: &Stage<'_>) -> Result<Value> {
    let clients = if stage.options.quick { vec![64] } else { vec![1, 64] };
    let mut found = Vec::new();
    for workload in [Workload::Read, Workload::User, Workload::Write, Workload::Create] {
        for &clients in &clients {
            for contender in stage.takes_part(Workload::Statements).filter(|one| one.takes_part(workload)) {
                // A process of its own: its connections tell what they counted when they end.
                match stage
                    .start(contender)
                    .and_then(|running| count(stage, contender, running, workload, clients))
                {
                    Ok(row) => found.push(row),
                    Err(error) => println!("{}, statements of {}: {error}", contender.name, workload.name()),
                }
            }
            rows::tidy(&stage.postgres)?;
        }
    }
    Ok(Value::Array(found))
}

fn count(
    stage: &Stage<'_>,
    contender: &Contender,
    running: Running,
    workload: Workload,
    clients: usize,
) -> Result<Value> {
    let postgres = &stage.postgres;
    let time = stage.options.time.min(Duration::from_secs(1));
    let turn = Turn { warm_up: time / 2, ..Turn::new(running.port, workload, clients, time) };
    let updates_before = updates(postgres)?;
    let sizes_before = sizes(postgres)?;
    let logged_before = postgres.log()?.len();
    watch_closely(postgres, true)?;
    let marks = throughput::watched(&turn, || Some(mark(postgres)));
    watch_closely(postgres, false)?;
    let (seen, Some(before), Some(after)) = marks? else { return Err("no load came".into()) };
    let (before, after) = (before?, after?);
    // On a busy machine a look may be late: what counts is the time between the two.
    let between = after.from.duration_since(before.to).as_secs_f64();
    let requests = seen.micros.len() as f64 / time.as_secs_f64() * between;
    if requests < 1.0 {
        return Err("no request was answered while the server was looked at".into());
    }

    // The server's connections end with it, and tell what they counted.
    drop(running);
    wait_until_alone(postgres)?;
    let updates_after = updates(postgres)?;
    let (all, hot) = (updates_after.0 - updates_before.0, updates_after.1 - updates_before.1);
    // Over the whole turn: what grows does so by pages, and not all the time.
    let in_all = seen.micros.len() as f64 * 1.5 + clients as f64;
    let grown = sizes(postgres)?;
    let [table, indexes] = [0, 1].map(|which| (grown[which] - sizes_before[which]) as f64 / in_all);

    let changes = !matches!(workload, Workload::Read | Workload::User);
    let log = postgres.log()?;
    let statements = log.get(logged_before..).and_then(within).map(statements_in);
    Ok(json!({
        "contender": contender.name,
        "workload": workload.name(),
        "clients": clients,
        "statements_per_request": statements.map(|statements| statements as f64 / requests),
        "wal_bytes_per_request": ((after.wal - before.wal) as f64 / requests).round() as u64,
        "table_bytes_per_request": changes.then_some(table),
        "index_bytes_per_request": changes.then_some(indexes),
        "hot_updates_percent": (workload == Workload::Write).then(|| 100.0 * hot as f64 / all as f64),
    }))
}

/// One look at the server, between two lines in its log.
struct Mark {
    wal: i64,
    from: Instant,
    to: Instant,
}

fn mark(postgres: &Postgres) -> Result<Mark> {
    let from = Instant::now();
    postgres.script(BEGIN)?;
    let wal = postgres.wal_bytes()?;
    postgres.script(END)?;
    Ok(Mark { wal, from, to: Instant::now() })
}

fn watch_closely(postgres: &Postgres, yes: bool) -> Result<()> {
    let value = if yes { "0" } else { "-1" };
    postgres.script(&format!("ALTER SYSTEM SET log_min_duration_statement = {value}"))?;
    // An image of each page that is written for the first time since the last checkpoint is chance, and
    // large.
    let images = if yes { "off" } else { "on" };
    postgres.script(&format!("ALTER SYSTEM SET full_page_writes = {images}"))?;
    postgres.script("SELECT pg_reload_conf()")?;
    thread::sleep(Duration::from_millis(50)); // each process of the server reads it when it gets to it
    Ok(())
}

/// The log between the first look and the second.
fn within(log: &str) -> Option<&str> {
    let (_, rest) = log.split_once(&format!("statement: {END}"))?;
    Some(rest.split_once(&format!("statement: {BEGIN}"))?.0)
}

fn statements_in(log: &str) -> usize {
    // A prepared one is logged when it is bound too, which is not counted.
    let statement = |line: &&str| line.contains(" ms  execute ") || line.contains(" ms  statement: ");
    log.lines().filter(statement).count()
}

/// Rows updated, and those among them that needed no work on indexes.
fn updates(postgres: &Postgres) -> Result<(i64, i64)> {
    let sums = "sum(n_tup_upd)::int8, sum(n_tup_hot_upd)::int8";
    let row = postgres.row(&format!("SELECT {sums} FROM pg_stat_user_tables"))?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Bytes of the tables, and of their indexes.
fn sizes(postgres: &Postgres) -> Result<[i64; 2]> {
    let sums = "sum(pg_table_size(relid))::int8, sum(pg_indexes_size(relid))::int8";
    let row = postgres.row(&format!("SELECT {sums} FROM pg_stat_user_tables"))?;
    Ok([row.try_get(0)?, row.try_get(1)?])
}

fn wait_until_alone(postgres: &Postgres) -> Result<()> {
    let start = Instant::now();
    let others = "SELECT count(*) FROM pg_stat_activity \
                  WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    while postgres.row(others)?.try_get::<_, i64>(0)? > 0 {
        if start.elapsed() > process::PATIENCE {
            return Err("connections to PostgreSQL stay open after their server has ended".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
