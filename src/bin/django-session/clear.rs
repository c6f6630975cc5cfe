//! `clearsessions`: deletes what has expired, a batch at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_django_session::store::AnyStore;

use crate::{
    args::ClearArgs,
    database::Database,
    exit::{Exit, Failure},
    interrupt::Interrupt,
    output::{Out, complain, count, counted, span, tell},
    progress::Progress,
    site::Site,
};

/// Sessions cleared between two VACUUMs.
const VACUUM_EVERY: u64 = 1_000_000;

/// How long counting may take before the planner's estimate has to do.
const COUNTING: Duration = Duration::from_secs(3);

pub(crate) async fn run(site: &Site, args: &ClearArgs, out: &mut Out) -> Result<Exit, Failure> {
    if site.needs_secret_to_clear()? {
        return Err(Failure::text(
            "a session file says itself when it ends: give the secret key, to read it",
        ));
    }
    let store = site.store_without_secret().await?;
    let database = site.database().await?;
    if args.dry_run {
        let expired = expired(site, &store, database.as_ref()).await?;
        let wanted = args.limit.map_or(expired, |limit| limit.min(expired));
        out.line(format_args!("would clear {}", counted(wanted, "expired session")))?;
        return Ok(Exit::Done);
    }
    let total = match &database {
        Some(database) => Some(about(database).await?),
        None => None,
    };
    let total = total.map(|total| args.limit.map_or(total, |limit| limit.min(total)));
    let vacuum = database.filter(|_| args.vacuum);
    if args.vacuum && vacuum.is_none() {
        return Err(Failure::text("--vacuum is for PostgreSQL: leave it out"));
    }
    clear(&store, args, total, vacuum, out).await
}

async fn clear(
    store: &AnyStore,
    args: &ClearArgs,
    total: Option<u64>,
    vacuum: Option<Database>,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let done = Arc::new(AtomicU64::new(0));
    let mut interrupt = Interrupt::listen(done.clone())?;
    let mut progress = Progress::new(total);
    let (mut cleared, mut vacuumed, mut after) = (0, 0, None);
    let end = loop {
        let left = args.limit.map_or(u64::MAX, |limit| limit.saturating_sub(cleared));
        let batch = u32::try_from(left).unwrap_or(u32::MAX).min(args.batch);
        if batch == 0 {
            break Ok(Exit::Done);
        }
        match store.clear_some(batch, after).await {
            Ok(some) => {
                cleared += some.sessions;
                after = some.until;
                done.store(cleared, Ordering::Relaxed);
                progress.at(cleared);
                if some.sessions < u64::from(batch) {
                    break Ok(Exit::Done);
                }
                if let Some(database) = &vacuum
                    && cleared - vacuumed >= VACUUM_EVERY
                {
                    vacuumed = cleared;
                    take_away(database).await;
                }
            }
            Err(error) => break Err(error),
        }
        interrupt.pause(args.pause).await;
        if let Some(exit) = interrupt.asked() {
            break Ok(exit);
        }
    };
    if let (Some(database), Ok(Exit::Done)) = (&vacuum, &end)
        && cleared > vacuumed
    {
        take_away(database).await;
    }
    let took = progress.end();
    out.line(format_args!("cleared {} in {}", counted(cleared, "expired session"), span(took)))?;
    out.flush()?;
    match end {
        Ok(Exit::Done) if args.limit == Some(cleared) => {
            tell("this was the --limit; there may be more");
            Ok(Exit::Done)
        }
        Ok(exit) => {
            if exit != Exit::Done {
                tell("ended before it was done: run it again to go on");
            }
            Ok(exit)
        }
        Err(error) => Err(Failure::text(format!(
            "{}; after {} had been cleared. Run it again to go on, with a smaller --batch or a longer --deadline if it \
             took too long",
            error.with_causes(),
            count(cleared)
        ))),
    }
}

/// That it fails is told, and changes nothing about what was cleared.
async fn take_away(database: &Database) {
    match database.vacuum().await {
        Ok(true) => {}
        Ok(false) => complain("no VACUUM: only the table's owner may; autovacuum will come"),
        Err(Failure::Text(why)) => complain(&format!("no VACUUM: {why}")),
        Err(Failure::Pipe) => {}
    }
}

/// What is to be cleared, for the progress: exact where that is quick.
async fn about(database: &Database) -> Result<u64, Failure> {
    let condition = Database::expired();
    match database.counted(&condition, COUNTING).await? {
        Some(counted) => Ok(counted),
        None => database.expected(&condition).await,
    }
}

/// The number of expired sessions, however long it takes to count them.
async fn expired(site: &Site, store: &AnyStore, database: Option<&Database>) -> Result<u64, Failure> {
    if let Some(database) = database {
        let counted = database.counted(&Database::expired(), site.deadline).await?;
        return counted.ok_or_else(|| {
            Failure::text(format!("counting took longer than {:?}: give a longer --deadline", site.deadline))
        });
    }
    let (mut sessions, mut expired) = (store.sessions(), 0);
    while let Some(session) = sessions.next().await? {
        expired += u64::from(session.is_expired());
    }
    Ok(expired)
}
