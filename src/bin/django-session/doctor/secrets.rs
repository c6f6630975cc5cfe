//! Which secret opens how many sessions, which Django wrote them, and why the others do not open.

use std::collections::BTreeMap;

use actix_django_session::{SessionKey, store::AnyStore};

use super::{Level, Report};
use crate::{
    database::{Database, Sampled},
    exit::Failure,
    output::{count, counted, percent},
    reader::{Closed, Reader, secret_name},
    shape::Shape,
    site::Site,
};

const LEGACY: &str =
    "Django 4.0 and later takes these visitors for new ones; Codec::read_legacy(true) reads them";
const PICKLED: &str =
    "Django 5.0 and later cannot read them; Codec::serializer(PickleSerializer::new()) does";

/// What a sample of texts came to.
#[derive(Default)]
struct Tally {
    rows: u64,
    /// By secret.
    opened: Vec<u64>,
    /// By what wrote them, and whether it is of the past.
    formats: BTreeMap<String, (u64, Past)>,
    compressed: u64,
    other_secret: u64,
    broken: u64,
    too_large: u64,
    foreign: u64,
    /// Keys that no cookie can bring.
    odd_keys: u64,
}

/// What later Djangos do not read any more.
#[derive(Clone, Copy, Default)]
struct Past {
    legacy: bool,
    pickled: bool,
}

impl Tally {
    fn new(reader: &Reader) -> Self {
        Self { opened: vec![0; reader.secrets()], ..Self::default() }
    }

    fn add(&mut self, reader: &Reader, key: &str, text: Option<&str>) {
        self.rows += 1;
        self.odd_keys += u64::from(SessionKey::parse(key).is_none());
        let Some(text) = text else {
            self.too_large += 1;
            return;
        };
        let shape = Shape::of(text);
        match reader.open(text) {
            Ok(opened) => {
                if let Some(number) = self.opened.get_mut(opened.secret) {
                    *number += 1;
                }
                self.compressed += u64::from(shape == Shape::Compressed);
                let serializer = if opened.pickled { "pickle" } else { "JSON" };
                let format = format!("{}, {serializer}", shape.django(opened.legacy));
                let past = Past { legacy: opened.legacy, pickled: opened.pickled };
                self.formats.entry(format).or_insert((0, past)).0 += 1;
            }
            Err(Closed::OtherSecret(_)) => {
                self.other_secret += 1;
                let format = format!("{}, not opened", shape.django(false));
                self.formats.entry(format).or_default().0 += 1;
            }
            Err(Closed::Broken(_)) => self.broken += 1,
            Err(Closed::TooLarge(_)) => self.too_large += 1,
            Err(Closed::Foreign) => self.foreign += 1,
        }
    }
}

pub(super) async fn of_table(
    site: &Site,
    database: &Database,
    sample: u32,
    report: &mut Report,
) -> Result<(), Failure> {
    if !site.has_secret() {
        return no_secret(report);
    }
    let reader = site.reader()?;
    let (mut tally, mut what) = (Tally::new(&reader), "live session");
    let expired = Database::expired();
    let visit = |row: Sampled| tally.add(&reader, &row.key, row.text.as_deref());
    database.sample(sample, &format!("NOT ({expired})"), visit).await?;
    if tally.rows == 0 {
        // What is wrong with these is over, but it is better than nothing.
        what = "expired session";
        let visit = |row: Sampled| tally.add(&reader, &row.key, row.text.as_deref());
        database.sample(sample, &expired, visit).await?;
    }
    if tally.rows == 0 {
        report.ok("secrets", "there is no session to try them on");
        return Ok(());
    }
    tell(&tally, what, report);
    Ok(())
}

fn no_secret(report: &mut Report) -> Result<(), Failure> {
    let advice = "give --secret-key-file or the variable SECRET_KEY, and its fallbacks";
    report.warning("secrets", "none was given: not tried on any session", advice);
    Ok(())
}

fn tell(tally: &Tally, what: &str, report: &mut Report) {
    let all = counted(tally.rows, what);
    let share = |number: u64| format!("{} of {all} ({})", count(number), percent(number, tally.rows));
    let none = tally.opened.iter().all(|opened| *opened == 0);
    for (secret, opened) in tally.opened.iter().enumerate() {
        let found = format!("{} opens {}", secret_name(secret), share(*opened));
        if secret > 0 && *opened == 0 {
            report.note("secrets", found, "it may be taken out, as far as this sample tells");
        } else if secret == 0 && *opened == 0 && !none {
            let advice = "is it the site's present SECRET_KEY? What it writes is signed with that";
            report.warning("secrets", found, advice);
        } else {
            report.add_plain(if none { Level::Problem } else { Level::Ok }, "secrets", found);
        }
    }
    if tally.other_secret > 0 {
        let found = format!("no secret given here opens {}: bad signature", share(tally.other_secret));
        let advice = "another SECRET_KEY (give it as a fallback) or engine class (--salt-class); or else they begin anew";
        if none { report.problem("secrets", found, advice) } else { report.warning("secrets", found, advice) }
    }
    for (format, (number, past)) in &tally.formats {
        let found = format!("{format}: {}", share(*number));
        match (past.legacy, past.pickled) {
            (false, false) => report.ok("formats", found),
            (true, false) => report.warning("formats", found, LEGACY),
            (false, true) => report.warning("formats", found, PICKLED),
            (true, true) => report.warning("formats", found, format!("{LEGACY}. {PICKLED}")),
        }
    }
    if tally.compressed > 0 {
        report.ok("formats", format!("compressed with zlib: {}", share(tally.compressed)));
    }
    for (number, why, advice) in [
        (tally.broken, "signed with a secret given here, but broken", "an unknown SESSION_SERIALIZER?"),
        (tally.too_large, "too large", "what puts so much into a session? See `stats`"),
        (tally.foreign, "no text of any Django", "what else writes to this table?"),
        (
            tally.odd_keys,
            "under a key that no cookie brings (8 to 40 visible characters)",
            "it can be deleted",
        ),
    ] {
        if number > 0 {
            report.warning("sessions", format!("{why}: {}", share(number)), advice);
        }
    }
}

/// Of a store that we cannot look into: how many sessions it reads, and where they are signed with which secret.
pub(super) async fn of_store(
    site: &Site,
    store: &AnyStore,
    sample: u32,
    report: &mut Report,
) -> Result<(), Failure> {
    if !site.has_secret() {
        return no_secret(report);
    }
    let (all, readable, refused) = read(store, sample).await?;
    let share =
        |number: u64| format!("{} of {} ({})", count(number), counted(all, "session"), percent(number, all));
    let level = if all > 0 && readable == 0 { Level::Problem } else { Level::Ok };
    report.add_plain(level, "sessions", format!("{} can be read", share(readable)));
    for (why, number) in refused {
        let advice = "is the SECRET_KEY right, and the class (--salt-class)? Give former keys as fallbacks";
        report.warning("sessions", format!("{}: {why}", share(number)), advice);
    }
    for (secret, alone) in site.one_secret_each().iter().enumerate().filter(|_| site.is_signed()) {
        let (_, opened, _) = read(&alone.store().await?, sample).await?;
        report.ok("secrets", format!("{} opens {}", secret_name(secret), share(opened)));
    }
    Ok(())
}

/// How many sessions there are (at most `sample`), how many can be read, and why not the others.
async fn read(store: &AnyStore, sample: u32) -> Result<(u64, u64, BTreeMap<String, u64>), Failure> {
    let (mut sessions, mut all, mut readable, mut refused) = (store.sessions(), 0, 0, BTreeMap::new());
    while all < u64::from(sample) {
        let Some(session) = sessions.next().await? else { break };
        all += 1;
        match &session.data {
            Ok(_) => readable += 1,
            Err(error) => *refused.entry(error.to_string()).or_default() += 1,
        }
    }
    Ok((all, readable, refused))
}
