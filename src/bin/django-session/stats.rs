//! `stats`: how many sessions there are, how old, how large and whose.

use std::time::SystemTime;

use actix_django_session::store::AnyStore;
use serde_json::{Value, json};

use crate::{
    args::StatsArgs,
    database::{Database, explain},
    exit::{Exit, Failure},
    output::{Out, bytes, count, percent},
    site::Site,
};

/// Bounds in days from now, and what lies below each; the last name is for what lies above all.
const BOUNDS: [f64; 9] = [-90.0, -30.0, -7.0, -1.0, 0.0, 1.0, 7.0, 14.0, 30.0];
const NAMES: [&str; 10] = [
    "more than 90 days ago",
    "30 to 90 days ago",
    "7 to 30 days ago",
    "1 to 7 days ago",
    "within the last day",
    "within 1 day",
    "in 1 to 7 days",
    "in 7 to 14 days",
    "in 14 to 30 days",
    "in more than 30 days",
];
/// The first of the names that is of a live session.
const LIVE: usize = 5;

/// A table of more rows is estimated from a part of it.
const EXACT: u64 = 2_000_000;
const PART: u32 = 250_000;

#[derive(Default)]
struct Stats {
    /// From part of the table.
    estimated: bool,
    ends: [u64; NAMES.len()],
    /// Median, 90 of 100, largest.
    sizes: [u64; 3],
    users: Option<Users>,
}

/// Of live sessions in a sample.
#[derive(Default)]
struct Users {
    anonymous: u64,
    logged_in: u64,
    unreadable: u64,
}

pub(crate) async fn run(site: &Site, args: &StatsArgs, out: &mut Out) -> Result<Exit, Failure> {
    let store = site.store_without_secret().await?;
    let stats = match site.database().await? {
        Some(database) => of_table(site, &database, args.sample).await?,
        None => of_store(site, &store).await?,
    };
    let sum = |ends: &[u64]| ends.iter().sum::<u64>();
    let (expired, live) = stats.ends.split_at(LIVE);
    if args.json {
        let histogram: serde_json::Map<String, Value> =
            NAMES.iter().zip(stats.ends).map(|(name, number)| ((*name).to_owned(), number.into())).collect();
        let [median, p90, largest] = stats.sizes;
        let users = stats.users.map(
            |users| json!({"anonymous": users.anonymous, "logged_in": users.logged_in, "unreadable": users.unreadable}),
        );
        out.line(json!({
            "estimated": stats.estimated, "sessions": sum(&stats.ends), "live": sum(live), "expired": sum(expired),
            "ends": histogram, "stored_bytes": {"p50": median, "p90": p90, "max": largest}, "sample_of_live": users,
        }))?;
        return Ok(Exit::Done);
    }
    plain(&stats, sum(live), sum(expired), out)
}

fn plain(stats: &Stats, live: u64, expired: u64, out: &mut Out) -> Result<Exit, Failure> {
    let all = live + expired;
    let how = if stats.estimated { "  (estimated from a part of the table)" } else { "" };
    out.line(format_args!("sessions {:>28}{how}", count(all)))?;
    for (title, number, range) in [("live", live, LIVE..NAMES.len()), ("expired", expired, 0..LIVE)] {
        out.line(format_args!("{title:<8} {:>28}  {}", count(number), percent(number, all)))?;
        for (name, number) in NAMES.iter().zip(stats.ends).skip(range.start).take(range.len()) {
            if number > 0 {
                out.line(format_args!("  {name:<22} {:>12}", count(number)))?;
            }
        }
    }
    let [median, p90, largest] = stats.sizes.map(bytes);
    out.line(format_args!("size     half up to {median}, 90 % up to {p90}, the largest {largest}"))?;
    match &stats.users {
        Some(Users { anonymous, logged_in, unreadable }) => {
            let sample = anonymous + logged_in + unreadable;
            out.line(format_args!(
                "users    of {} live: {} logged in, {} anonymous, {} cannot be read",
                count(sample),
                percent(*logged_in, sample),
                percent(*anonymous, sample),
                percent(*unreadable, sample)
            ))?;
        }
        None => out.line("users    not looked for, since no secret key was given")?,
    }
    Ok(Exit::Done)
}

async fn of_table(site: &Site, database: &Database, sample: u32) -> Result<Stats, Failure> {
    let mut stats = Stats::default();
    let rows = database.expected("true").await?;
    let part = if rows > EXACT { database.tablesample(PART, "true").await? } else { String::new() };
    stats.estimated = !part.is_empty();
    let from = format!(
        "FROM (SELECT (extract(epoch FROM expire_date) - $1) / 86400 AS days, octet_length(session_data) AS size \
         FROM {} {part}) AS sessions",
        database.table
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let bounds: Vec<String> = BOUNDS.iter().map(f64::to_string).collect();
    let sql = format!(
        "SELECT width_bucket(days::float8, ARRAY[{}]::float8[]), count(*) {} GROUP BY 1",
        bounds.join(","),
        from.replace("$1", "$1::float8")
    );
    for row in database.rows(&sql, &[&now]).await? {
        let bucket: i32 = row.try_get(0).map_err(explain)?;
        if let Some(end) = stats.ends.get_mut(usize::try_from(bucket).unwrap_or_default()) {
            *end = row.try_get::<_, i64>(1).map_err(explain)?.cast_unsigned();
        }
    }
    let seen: u64 = stats.ends.iter().sum();
    if stats.estimated && seen > 0 {
        stats.ends = stats.ends.map(|number| (number as f64 * rows as f64 / seen as f64) as u64);
    }
    let sql = format!(
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY size), percentile_disc(0.9) WITHIN GROUP (ORDER BY size), \
         max(size) FROM (SELECT octet_length(session_data) AS size FROM {} {part}) AS sizes",
        database.table
    );
    let row = database.row(&sql, &[]).await?;
    for (index, size) in stats.sizes.iter_mut().enumerate() {
        let bytes: Option<i32> = row.try_get(index).map_err(explain)?;
        *size = u64::try_from(bytes.unwrap_or_default()).unwrap_or_default();
    }
    if site.has_secret() && sample > 0 {
        let (reader, mut users) = (site.reader()?, Users::default());
        let live = format!("NOT ({})", Database::expired());
        let visit = |row: crate::database::Sampled| match row.text.map(|text| reader.open(&text)) {
            Some(Ok(opened)) if opened.data.get_json("_auth_user_id").is_some() => users.logged_in += 1,
            Some(Ok(_)) => users.anonymous += 1,
            _ => users.unreadable += 1,
        };
        database.sample(sample, &live, visit).await?;
        stats.users = Some(users);
    }
    Ok(stats)
}

async fn of_store(site: &Site, store: &AnyStore) -> Result<Stats, Failure> {
    let (mut stats, mut users, mut sizes) = (Stats::default(), Users::default(), Vec::new());
    let (mut sessions, now) = (store.sessions(), SystemTime::now());
    while let Some(session) = sessions.next().await? {
        let days = match session.expires.duration_since(now) {
            Ok(left) => left.as_secs_f64() / 86_400.0,
            Err(past) => -past.duration().as_secs_f64() / 86_400.0,
        };
        let bucket = BOUNDS.iter().filter(|bound| **bound <= days).count();
        if let Some(end) = stats.ends.get_mut(bucket) {
            *end += 1;
        }
        if let Ok(data) = &session.data {
            sizes.push(data.to_json().len() as u64);
        }
        if !session.is_expired() {
            match (&session.data, session.user_id()) {
                (Err(_), _) => users.unreadable += 1,
                (Ok(_), Some(_)) => users.logged_in += 1,
                (Ok(_), None) => users.anonymous += 1,
            }
        }
    }
    sizes.sort_unstable();
    let at = |part: usize| sizes.get((sizes.len() * part / 100).min(sizes.len().saturating_sub(1)));
    stats.sizes = [50, 90, 100].map(|part| at(part).copied().unwrap_or_default());
    stats.users = site.has_secret().then_some(users);
    Ok(stats)
}
