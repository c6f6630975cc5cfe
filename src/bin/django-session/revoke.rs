//! `revoke`: deletes sessions by their keys, those of a user, or all.

use std::io::{self, IsTerminal as _, Write as _};

use actix_django_session::{SessionKey, Store};

use crate::{
    context::Context,
    database::Database,
    error::{CliError, Result, Status},
    output::{Output, counted, error, info},
    user_args::RevokeArgs,
    users,
};

/// Rows deleted by one statement of `--all`.
const BATCH: i64 = 1000;

/// How often `--all` deletes everything: a session that changes its key meanwhile escapes one pass.
const PASSES: usize = 10;

pub(crate) async fn run(context: &Context, args: &RevokeArgs, out: &mut Output) -> Result {
    if args.all && !args.yes && !confirmed()? {
        return Err(CliError::new("nothing was revoked"));
    }
    let keys = read_keys(&args.keys)?;
    let store = context.store().await?;
    let status = if args.all {
        all(context, &store, out).await?
    } else if let Some(name) = &args.username {
        let Some(user) = users::id_of(&store, &args.model.user_model, name).await? else {
            return Ok(Status::NotFound);
        };
        context.note_unchecked_signatures();
        of_user(&store, &user, out).await?
    } else if let Some(user) = &args.user {
        context.note_unchecked_signatures();
        of_user(&store, user, out).await?
    } else {
        by_key(context, &store, &keys, out).await?
    };
    if context.has_cache() {
        // A cache that missed a deletion would go on serving the session, and only this process knows.
        store.check().await?;
    }
    Ok(status)
}

fn revoked(number: u64, out: &mut Output) -> io::Result<()> {
    out.line(format_args!("revoked {}", counted(number, "session")))
}

fn confirmed() -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(CliError::new("--all deletes every session of the site: add --yes to confirm"));
    }
    let question = "Delete every session of the site, so that all users have to log in again? Type yes: ";
    let _ = write!(io::stderr(), "{question}");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(CliError::cannot_read("the answer"))?;
    Ok(answer.trim() == "yes")
}

/// The keys of the command line, with the lines of standard input for `-`.
fn read_keys(arguments: &[String]) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for argument in arguments {
        if argument != "-" {
            keys.push(argument.trim().to_owned());
            continue;
        }
        let before = keys.len();
        for line in io::stdin().lines() {
            let line = line.map_err(CliError::cannot_read("standard input"))?;
            keys.extend(Some(line.trim().to_owned()).filter(|key| !key.is_empty()));
        }
        if keys.len() == before {
            return Err(CliError::Usage("there is no key on standard input: give one per line".to_owned()));
        }
    }
    Ok(keys)
}

async fn by_key(context: &Context, store: &Store, keys: &[String], out: &mut Output) -> Result {
    let (mut deleted, mut status) = (0, Status::Success);
    for key in keys {
        let existed = match SessionKey::parse(key) {
            Some(key) => store.delete(&key).await,
            None => Ok(false),
        };
        if existed.is_err() {
            revoked(deleted, out)?;
        }
        let existed = existed?;
        deleted += u64::from(existed);
        if !existed {
            status = Status::NotFound;
            error(&format!("there is no session {}", context.key(key)));
        }
    }
    revoked(deleted, out)?;
    Ok(status)
}

/// The library looks until none is left. A session that it cannot read may be the user's too.
async fn of_user(store: &Store, user: &str, out: &mut Output) -> Result {
    let deleted = store.end_sessions_of_user(user, None).await?;
    revoked(deleted, out)?;
    let (mut sessions, mut left, mut unreadable) = (store.sessions(), 0, 0);
    while let Some(session) = sessions.next().await? {
        if !session.is_expired() {
            left += u64::from(session.user_id().as_deref() == Some(user));
            unreadable += u64::from(session.data.is_err());
        }
    }
    if left > 0 {
        let left = counted(left, "live session");
        error(&format!(
            "the user has {left} again: deactivate the user or stop the user's requests, then run it again"
        ));
    }
    if unreadable > 0 {
        let unreadable = counted(unreadable, "live session");
        error(&format!(
            "{unreadable} cannot be read and could be the user's: `doctor` says why, and which secret is \
             missing"
        ));
    }
    Ok(if left + unreadable == 0 { Status::Success } else { Status::Failed })
}

async fn all(context: &Context, store: &Store, out: &mut Output) -> Result {
    let database = if context.has_cache() { None } else { context.database().await? };
    let (mut deleted, mut result) = (0, Ok(0));
    for _ in 0..PASSES {
        result = match &database {
            Some(database) => every_row(database, &mut deleted).await,
            None => every_session(store, &mut deleted).await,
        };
        if !matches!(result, Ok(1..)) {
            break;
        }
    }
    revoked(deleted, out)?;
    if result? > 0 {
        info("sessions are still being created: those of the last moments were not deleted");
    }
    Ok(Status::Success)
}

/// One pass from the first key to the last, so that it terminates even where sessions are created all the
/// time.
async fn every_row(database: &Database, deleted: &mut u64) -> Result<u64> {
    let table = &database.table;
    let sql = format!(
        "WITH batch AS (SELECT session_key FROM {table} WHERE session_key > $1 ORDER BY session_key LIMIT \
         $2), \
         deleted AS (DELETE FROM {table} t USING batch WHERE t.session_key = batch.session_key RETURNING 1) \
         SELECT (SELECT max(session_key) FROM batch), (SELECT count(*) FROM deleted)"
    );
    let (mut last, before) = (String::new(), *deleted);
    loop {
        let row = database.row(&sql, &[&last, &BATCH]).await?;
        *deleted += row.try_get::<_, i64>(1)?.cast_unsigned();
        match row.try_get::<_, Option<String>>(0)? {
            Some(key) => last = key,
            None => return Ok(*deleted - before),
        }
    }
}

async fn every_session(store: &Store, deleted: &mut u64) -> Result<u64> {
    let (mut sessions, before) = (store.sessions(), *deleted);
    while let Some(session) = sessions.next().await? {
        *deleted += u64::from(store.delete(&session.key).await?);
    }
    Ok(*deleted - before)
}
