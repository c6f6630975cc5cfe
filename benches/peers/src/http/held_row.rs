//! One session's row is locked by another transaction, and requests for that session wait: what the others
//! lose.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rand::seq::SliceRandom;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Stage, throughput};
use crate::{
    Result,
    client::Client,
    contender::{Contender, Running},
    content,
    figures::Spread,
    load::Turn,
    rows,
    workload::Workload,
};

pub const COLUMNS: [&str; 8] =
    ["contender", "clients", "waiting", "free", "locked", "locked_by_free", "lowest", "highest"];

/// Clients who write to sessions of their own, which are counted.
const OTHERS: usize = 64;

/// Clients who write to the locked session, and wait.
const WAITING: usize = 4;

/// Requests per second in the rounds, without and with the lock.
type Rates = Vec<(f64, f64)>;

pub fn measure(stage: &Stage<'_>) -> Result<Value> {
    let mut entrants = Vec::new();
    for contender in stage.takes_part(Workload::HeldRow) {
        entrants.push((contender, stage.start(contender)?, Rates::new()));
    }
    for _ in 0..stage.options.rounds {
        entrants.shuffle(&mut rand::rng());
        for (contender, server, rates) in &mut entrants {
            let free = others(stage, server)?;
            rates.push((free, locked(stage, contender, server)?));
        }
        rows::tidy(&stage.postgres)?;
    }
    let named = |name| entrants.iter().find(|(contender, ..)| contender.name == name);
    let in_order = stage.takes_part(Workload::HeldRow).filter_map(|contender| named(contender.name));
    Ok(in_order.filter_map(|(contender, _, rates)| row(contender, rates)).collect())
}

fn row(contender: &Contender, rates: &Rates) -> Option<Value> {
    let of = |value: fn(&(f64, f64)) -> f64| Spread::of(rates.iter().map(value).collect());
    let ratio = of(|(free, locked)| locked / free)?;
    Some(json!({
        "contender": contender.name,
        "clients": OTHERS,
        "waiting": WAITING,
        "free": of(|(free, _)| *free)?.median.round() as u64,
        "locked": of(|(_, locked)| *locked)?.median.round() as u64,
        "locked_by_free": ratio.median,
        "lowest": ratio.min,
        "highest": ratio.max,
    }))
}

/// The requests per second of those who have sessions of their own.
fn others(stage: &Stage<'_>, server: &Running) -> Result<f64> {
    let turn = Turn::new(server.port, Workload::Write, OTHERS, stage.options.time);
    let sample = throughput::sample(&turn, server)?;
    match sample.errors {
        0 => Ok(sample.per_second),
        errors => Err(format!("{errors} wrong replies").into()),
    }
}

/// The same while the row of one more session is locked, and requests for that session wait.
fn locked(stage: &Stage<'_>, contender: &Contender, server: &Running) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cookie = runtime.block_on(async {
        let mut client = Client::connect(server.port).await?;
        client.ask("POST", &format!("/create/{}/0", content::FIRST_USER + OTHERS)).await?;
        Result::<String>::Ok(client.cookie)
    })?;
    let key = cookie.split_once('=').ok_or("a session without a cookie")?.1;
    stage.postgres.script("BEGIN")?;
    stage.postgres.row(&rows::lock(contender, key))?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (port, cookie, done) = (server.port, &cookie, &done);
        let waiting = scope.spawn(move || runtime.block_on(wait_in_vain(port, cookie, done)));
        let rate = others(stage, server);
        done.store(true, Ordering::Relaxed);
        let saved = waiting.join().map_err(|_| "the waiting clients failed")?;
        stage.postgres.script("ROLLBACK")?;
        if saved { Err("a save went through the lock".into()) } else { rate }
    })
}

/// Writes to the locked session until the turn is over. Some servers reply with an error, some wait. Returns
/// whether a write was confirmed, which the lock must prevent.
async fn wait_in_vain(port: u16, cookie: &str, done: &AtomicBool) -> bool {
    let saved = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..WAITING {
        let (cookie, saved) = (cookie.to_owned(), saved.clone());
        clients.spawn(async move {
            let Ok(mut client) = Client::connect(port).await else { return };
            client.cookie = cookie;
            loop {
                match client.ask("POST", "/write").await {
                    Ok(answer) if answer.status == 200 => saved.store(true, Ordering::Relaxed),
                    Ok(_) => {}
                    Err(_) => {
                        if client.connect_again().await.is_err() {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    }
                }
            }
        });
    }
    while !done.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    saved.load(Ordering::Relaxed)
}
