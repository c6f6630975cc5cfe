//! `revoke`: ends sessions by their keys, those of a user, or all.

use std::io::{self, IsTerminal as _, Write as _};

use actix_django_session::store::AnyStore;

use crate::{
    args::RevokeArgs,
    database::{Database, explain},
    exit::{Exit, Failure},
    output::{Out, complain, counted, shown, tell},
    site::Site,
};

/// Rows deleted by one statement of `--all`.
const BATCH: i64 = 1000;

pub(crate) async fn run(
    site: &Site,
    args: &RevokeArgs,
    full_keys: bool,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let mut used = None;
    let (revoked, exit) = if args.all {
        if !args.yes && !confirmed()? {
            return Err(Failure::text("nothing was revoked"));
        }
        let store = used.insert(site.store_without_secret().await?);
        let database = if site.has_cache() { None } else { site.database().await? };
        let revoked = match &database {
            Some(database) => every_row(database).await?,
            None => every_session(store).await?,
        };
        (revoked, Exit::Done)
    } else if let Some(user) = &args.user {
        of_user(used.insert(site.store().await?), user).await?
    } else {
        by_key(used.insert(site.store_without_secret().await?), &args.keys, full_keys).await?
    };
    out.line(format_args!("revoked {}", counted(revoked, "session")))?;
    if let Some(store) = used.filter(|_| site.has_cache()) {
        // What the cache has not heard, it would show to a visitor; and nobody remembers it after us.
        store.check().await?;
    }
    Ok(exit)
}

fn confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::text("--all ends every session of the site: add --yes if that is meant"));
    }
    let _ = write!(
        io::stderr(),
        "End every session of the site, so that all users have to log in again? Type yes: "
    );
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(|error| Failure::text(format!("cannot read the answer: {error}")))?;
    Ok(answer.trim() == "yes")
}

async fn by_key(store: &AnyStore, keys: &[String], full_keys: bool) -> Result<(u64, Exit), Failure> {
    let (mut revoked, mut exit) = (0, Exit::Done);
    for argument in keys {
        let mut lines = Vec::new();
        if argument == "-" {
            for line in io::stdin().lines() {
                lines.push(
                    line.map_err(|error| Failure::text(format!("cannot read standard input: {error}")))?,
                );
            }
        } else {
            lines.push(argument.clone());
        }
        for key in lines.iter().map(|line| line.trim()).filter(|key| !key.is_empty()) {
            let there = match store.parse_key(key) {
                Some(key) => store.delete(&key).await?,
                None => false,
            };
            revoked += u64::from(there);
            if !there {
                exit = Exit::NotFound;
                complain(&format!("there is no session {}", shown(key, full_keys)));
            }
        }
    }
    Ok((revoked, exit))
}

async fn of_user(store: &AnyStore, user: &str) -> Result<(u64, Exit), Failure> {
    let (mut sessions, mut revoked, mut unreadable) = (store.sessions(), 0, 0);
    while let Some(session) = sessions.next().await? {
        if session.is_expired() {
            continue;
        }
        if session.data.is_err() {
            unreadable += 1;
        } else if session.user_id().as_deref() == Some(user) {
            revoked += u64::from(store.delete(&session.key).await?);
        }
    }
    if unreadable == 0 {
        return Ok((revoked, Exit::Done));
    }
    complain(&format!(
        "{} cannot be read and could be the user's: `doctor` tells why, and which secret is missing",
        counted(unreadable, "live session")
    ));
    Ok((revoked, Exit::Failed))
}

/// By keys from the first to the last: what is made meanwhile may stay, and there is an end.
async fn every_row(database: &Database) -> Result<u64, Failure> {
    let table = &database.table;
    let sql = format!(
        "WITH batch AS (SELECT session_key FROM {table} WHERE session_key > $1 ORDER BY session_key LIMIT $2), \
         gone AS (DELETE FROM {table} t USING batch WHERE t.session_key = batch.session_key RETURNING 1) \
         SELECT (SELECT max(session_key) FROM batch), (SELECT count(*) FROM gone)"
    );
    let (mut last, mut revoked) = (String::new(), 0);
    loop {
        let row = database.row(&sql, &[&last, &BATCH]).await;
        let row =
            row.inspect_err(|_| tell(&format!("revoked {} before this:", counted(revoked, "session"))))?;
        revoked += row.try_get::<_, i64>(1).map_err(explain)?.cast_unsigned();
        match row.try_get::<_, Option<String>>(0).map_err(explain)? {
            Some(key) => last = key,
            None => return Ok(revoked),
        }
    }
}

async fn every_session(store: &AnyStore) -> Result<u64, Failure> {
    let (mut sessions, mut revoked) = (store.sessions(), 0);
    while let Some(session) = sessions.next().await? {
        revoked += u64::from(store.delete(&session.key).await?);
    }
    Ok(revoked)
}
