//! `stats`: how many sessions there are, when they expire, how large they are and whose.
//!
//! Numbers and sizes are exact. Only users are counted in a sample, since each session must be read for that.

use std::time::SystemTime;

use actix_django_session::Store;
use indicatif::{DecimalBytes, HumanCount};
use serde_json::{Map, Value, json};

use crate::{
    args::StatsArgs,
    context::Context,
    database::Database,
    error::{Result, Status},
    output::{Output, percent},
    show::user_id,
};

/// Bounds in days from now, and a name for what is below each; the last name is for what is above all.
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
/// Index of the first name of live sessions.
const LIVE: usize = 5;

#[derive(Default)]
struct Statistics {
    /// Sessions by expiry date.
    expiry: [u64; NAMES.len()],
    /// Bytes: the median, the 90th percentile, the largest.
    sizes: [u64; 3],
    sample: UserCounts,
}

/// Of a sample of live sessions.
#[derive(Default)]
struct UserCounts {
    logged_in: u64,
    anonymous: u64,
    unreadable: u64,
}

pub(crate) async fn run(context: &Context, args: &StatsArgs, out: &mut Output) -> Result {
    let store = context.store().await?;
    context.note_unchecked_signatures();
    let statistics = match context.database().await? {
        Some(database) => of_table(context, &database, args.sample).await?,
        None => of_store(&store, args.sample).await?,
    };
    match args.json {
        true => out.line(statistics.json(context.signature_checked()))?,
        false => statistics.print(out)?,
    }
    Ok(Status::Success)
}

impl Statistics {
    /// Numbers of expired and of live sessions.
    fn sums(&self) -> (u64, u64) {
        let (expired, live) = self.expiry.split_at(LIVE);
        (expired.iter().sum(), live.iter().sum())
    }

    fn json(&self, signature_checked: Option<bool>) -> Value {
        let (expired, live) = self.sums();
        let expiry: Map<String, Value> =
            NAMES.iter().zip(self.expiry).map(|(name, number)| ((*name).to_owned(), number.into())).collect();
        let [median, p90, largest] = self.sizes;
        let UserCounts { logged_in, anonymous, unreadable } = self.sample;
        json!({
            "sessions": live + expired, "live": live, "expired": expired, "expiry": expiry,
            "stored_bytes": {"p50": median, "p90": p90, "max": largest},
            "signature_checked": signature_checked,
            "sample_of_live": {"anonymous": anonymous, "logged_in": logged_in, "unreadable": unreadable},
        })
    }

    fn print(&self, out: &mut Output) -> Result<()> {
        let (expired, live) = self.sums();
        let all = live + expired;
        let aligned = |number: u64, width: usize| format!("{:>width$}", HumanCount(number).to_string());
        out.line(format_args!("sessions {}", aligned(all, 28)))?;
        for (title, number, range) in [("live", live, LIVE..NAMES.len()), ("expired", expired, 0..LIVE)] {
            out.line(format_args!("{title:<8} {}  {}", aligned(number, 28), percent(number, all)))?;
            for (name, number) in NAMES.iter().zip(self.expiry).skip(range.start).take(range.len()) {
                if number > 0 {
                    out.line(format_args!("  {name:<22} {}", aligned(number, 12)))?;
                }
            }
        }
        let [median, p90, largest] = self.sizes.map(DecimalBytes);
        out.line(format_args!("size     half up to {median}, 90 % up to {p90}, the largest {largest}"))?;
        let UserCounts { logged_in, anonymous, unreadable } = self.sample;
        let sample = logged_in + anonymous + unreadable;
        out.line(format_args!(
            "users    in a sample of {} live: {} logged in, {} anonymous, {} cannot be read",
            HumanCount(sample),
            percent(logged_in, sample),
            percent(anonymous, sample),
            percent(unreadable, sample)
        ))?;
        Ok(())
    }
}

async fn of_table(context: &Context, database: &Database, sample: u32) -> Result<Statistics> {
    let mut statistics = Statistics::default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let sql = format!(
        "SELECT width_bucket((extract(epoch FROM expire_date)::float8 - $1::float8) / 86400, \
         ARRAY{BOUNDS:?}::float8[]), count(*) FROM {} GROUP BY 1",
        database.table
    );
    for row in database.rows(&sql, &[&now]).await? {
        let bucket = usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default();
        if let Some(number) = statistics.expiry.get_mut(bucket) {
            *number = row.try_get::<_, i64>(1)?.cast_unsigned();
        }
    }
    let sql = format!(
        "SELECT percentile_disc(ARRAY[0.5, 0.9, 1]) WITHIN GROUP (ORDER BY octet_length(session_data)) FROM \
         {}",
        database.table
    );
    let sizes: Option<Vec<Option<i32>>> = database.row(&sql, &[]).await?.try_get(0)?;
    for (size, bytes) in statistics.sizes.iter_mut().zip(sizes.into_iter().flatten()) {
        *size = u64::try_from(bytes.unwrap_or_default()).unwrap_or_default();
    }
    let (reader, users) = (context.reader(), &mut statistics.sample);
    let visit = |_: &str, text: Option<&str>| match text.map(|text| reader.decode(text)) {
        Some(Ok(decoded)) => users.add(Some(user_id(&decoded.data))),
        _ => users.add(None),
    };
    database.sample(sample, &format!("NOT ({})", Database::expired()), visit).await?;
    Ok(statistics)
}

async fn of_store(store: &Store, sample: u32) -> Result<Statistics> {
    let (mut statistics, mut sizes) = (Statistics::default(), Vec::new());
    let (mut sessions, now, mut sampled) = (store.sessions(), SystemTime::now(), 0);
    while let Some(session) = sessions.next().await? {
        let days = match session.expires.duration_since(now) {
            Ok(left) => left.as_secs_f64() / 86_400.0,
            Err(past) => -past.duration().as_secs_f64() / 86_400.0,
        };
        let bucket = BOUNDS.iter().filter(|bound| **bound <= days).count();
        if let Some(number) = statistics.expiry.get_mut(bucket) {
            *number += 1;
        }
        sizes.extend(session.value.as_ref().map(|value| value.len() as u64));
        if !session.is_expired() && sampled < sample {
            sampled += 1;
            statistics.sample.add(session.data.as_ref().ok().map(|_| session.user_id()));
        }
    }
    sizes.sort_unstable();
    let percentile = |part: usize| sizes.get((sizes.len() * part).div_ceil(100).saturating_sub(1));
    statistics.sizes = [50, 90, 100].map(|part| percentile(part).copied().unwrap_or_default());
    Ok(statistics)
}

impl UserCounts {
    /// The user of a session, or `None` if it cannot be read.
    fn add(&mut self, user: Option<Option<String>>) {
        match user {
            Some(Some(_)) => self.logged_in += 1,
            Some(None) => self.anonymous += 1,
            None => self.unreadable += 1,
        }
    }
}
