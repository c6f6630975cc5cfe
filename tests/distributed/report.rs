//! Runs all parts on a table, and says of each what became of it.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::Once,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;

use crate::{
    parts::{self, Part},
    target::{Admin, Target},
};

/// A part that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs every part, prints a line for each, and returns the failures.
pub(crate) async fn run(target: &Target) -> Vec<String> {
    run_parts(target, &parts::ALL).await
}

/// The same for some of the parts.
pub(crate) async fn run_parts(target: &Target, parts: &[Part]) -> Vec<String> {
    let mut failures = Vec::new();
    let mut witness = target.admin().await.unwrap_or_else(|error| panic!("{error}"));
    for &part in parts {
        if let Err(error) = witness.sql("DELETE FROM {table}").await {
            panic!("cannot empty the table: {error}");
        }
        let start = Instant::now();
        let outcome = run_part(part, target).await;
        let took = start.elapsed().as_secs_f64();
        let name = part.name;
        match outcome {
            Ok(0) => println!("passed  {name:<20} {took:6.1} s"),
            Ok(operations) => {
                let rate = operations as f64 / took;
                println!("passed  {name:<20} {took:6.1} s  {operations} operations, {rate:.0} a second");
            }
            Err(error) => {
                println!("FAILED  {name:<20} {took:6.1} s  {error}");
                failures.push(format!("{name}: {error}"));
            }
        }
        if !witness.is_alive().await {
            println!("LOST    a connection that only waited was lost in {name:?}: did the server crash?");
            failures.push(format!("{name}: the server has ended other connections too"));
            witness = reconnect(target).await;
        }
    }
    failures
}

async fn run_part(part: Part, target: &Target) -> Result<u64, String> {
    record_panics();
    PANIC.set(Some(String::new()));
    let work = tokio::time::timeout(LIMIT, (part.run)(target));
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    let panicked = PANIC.take().unwrap_or_default();
    match outcome {
        Ok(Ok(operations)) => Ok(operations),
        Ok(Err(_)) => Err(format!("not done within {LIMIT:?}")),
        Err(_) => Err(panicked),
    }
}

/// A server that has crashed takes a moment to come back.
async fn reconnect(target: &Target) -> Admin {
    let start = Instant::now();
    loop {
        match target.admin().await {
            Ok(admin) => return admin,
            Err(error) if start.elapsed() > Duration::from_secs(60) => panic!("the server is away: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

thread_local! {
    /// The panic of the part that this thread runs.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the message of a part's panic, which the report prints. Other panics are printed as ever.
fn record_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let recorded = PANIC.with_borrow_mut(|panic| panic.as_mut().map(|text| *text = describe(info)));
            if recorded.is_none() {
                print(info);
            }
        }));
    });
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
    let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
    format!("{text}{}", place.unwrap_or_default())
}
