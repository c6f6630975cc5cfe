//! `clearsessions`: deletes expired sessions in batches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_django_session::Store;
use indicatif::HumanCount;

use crate::{
    args::ClearArgs,
    context::Context,
    database::Database,
    error::{CliError, Result, Status},
    interrupt::Interrupt,
    output::{Output, counted, error, info, span},
    progress::Progress,
};

/// Sessions cleared between two VACUUMs.
const VACUUM_EVERY: u64 = 1_000_000;

/// How long to count beforehand; after that the progress has no total.
const COUNTING: Duration = Duration::from_secs(3);

pub(crate) async fn run(context: &Context, args: &ClearArgs, out: &mut Output) -> Result {
    let store = context.store().await?;
    let database = context.database().await?;
    let up_to_limit = |number: u64| args.limit.map_or(number, |limit| limit.min(number));
    if args.dry_run {
        let expired = up_to_limit(count_expired(context, &store, database.as_ref()).await?);
        out.line(format_args!("would clear {}", counted(expired, "expired session")))?;
        return Ok(Status::Success);
    }
    let total = match &database {
        Some(database) => database.count(&Database::expired(), COUNTING).await?.map(up_to_limit),
        None => None,
    };
    let vacuum = database.filter(|_| args.vacuum);
    if args.vacuum && vacuum.is_none() {
        return Err(CliError::new("--vacuum is for PostgreSQL: leave it out"));
    }
    clear(&store, args, total, vacuum, out).await
}

async fn clear(
    store: &Store,
    args: &ClearArgs,
    total: Option<u64>,
    vacuum: Option<Database>,
    out: &mut Output,
) -> Result {
    let done = Arc::new(AtomicU64::new(0));
    let mut interrupt = Interrupt::listen(done.clone());
    let mut progress = Progress::new(total);
    let (mut cleared, mut vacuumed) = (0, 0);
    let result = loop {
        let left = args.limit.map_or(u64::MAX, |limit| limit.saturating_sub(cleared));
        let batch = u32::try_from(left).unwrap_or(u32::MAX).min(args.batch);
        if batch == 0 {
            break Ok(Status::Success);
        }
        let deleted = match store.clear_batch(batch).await {
            Ok(deleted) => deleted,
            Err(error) => break Err(error),
        };
        cleared += deleted;
        done.store(cleared, Ordering::Relaxed);
        progress.set(cleared);
        if deleted < u64::from(batch) {
            break Ok(Status::Success);
        }
        if let Some(database) = vacuum.as_ref().filter(|_| cleared - vacuumed >= VACUUM_EVERY) {
            vacuumed = cleared;
            run_vacuum(database).await;
        }
        interrupt.pause(args.pause).await;
        if let Some(status) = interrupt.received() {
            break Ok(status);
        }
    };
    if let (Some(database), Ok(Status::Success)) = (&vacuum, &result)
        && cleared > vacuumed
    {
        run_vacuum(database).await;
    }
    let took = span(progress.finish());
    out.line(format_args!("cleared {} in {took}", counted(cleared, "expired session")))?;
    out.flush()?;
    if let (Ok(_), Some(left)) = (&result, store.uncleared()) {
        return Err(left.into());
    }
    match result {
        Ok(Status::Success) if args.limit == Some(cleared) => {
            info("stopped at --limit; there may be more");
            Ok(Status::Success)
        }
        Ok(status) => {
            if status != Status::Success {
                info("stopped early: run it again to continue");
            }
            Ok(status)
        }
        Err(error) => Err(CliError::new(format!(
            "{}; {} had been cleared before. Run it again to continue, with a smaller --batch or a longer \
             --deadline \
             if it took too long",
            error.with_causes(),
            HumanCount(cleared)
        ))),
    }
}

/// A failure is reported, and changes nothing about what was cleared.
async fn run_vacuum(database: &Database) {
    match database.vacuum().await {
        Ok(true) | Err(CliError::BrokenPipe) => {}
        Ok(false) => error(
            "no VACUUM: this role is not the table's owner, nor has it the right MAINTAIN; autovacuum will",
        ),
        Err(CliError::Failed(why) | CliError::Usage(why)) => error(&format!("no VACUUM: {why}")),
    }
}

/// The exact number of expired sessions, however long counting takes.
async fn count_expired(context: &Context, store: &Store, database: Option<&Database>) -> Result<u64> {
    if let Some(database) = database {
        let count = database.count(&Database::expired(), context.deadline).await?;
        return count.ok_or_else(|| {
            let text = format!("counting took longer than {:?}: give a longer --deadline", context.deadline);
            CliError::new(text)
        });
    }
    let (mut sessions, mut expired) = (store.sessions(), 0);
    while let Some(session) = sessions.next().await? {
        expired += u64::from(session.is_expired());
    }
    Ok(expired)
}
