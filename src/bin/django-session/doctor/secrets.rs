//! How many sessions each secret signed, which Django wrote them, and why the others cannot be read.

use std::collections::BTreeMap;

use actix_django_session::{SessionKey, Store};
use indicatif::HumanCount;

use super::report::{Report, Severity};
use crate::{
    context::Context,
    database::Database,
    error::Result,
    output::{counted, percent},
    reader::{DecodeError, TextReader, secret_name},
    text_format::{TextFormat, is_compressed},
};

const LEGACY: &str = "Django 4.0 and later starts new sessions instead; Codec::read_legacy(true) reads them";
const PICKLED: &str =
    "Django 5.0 and later cannot read them; Codec::serializer(PickleSerializer::new()) does";

/// Counts of a sample of texts.
#[derive(Default)]
struct SecretTally {
    reader: TextReader,
    rows: u64,
    /// By secret.
    signed: Vec<u64>,
    /// By format, with the advice about it.
    formats: BTreeMap<String, (u64, Vec<&'static str>)>,
    compressed: u64,
    other_secret: u64,
    broken: u64,
    too_large: u64,
    unknown_format: u64,
    /// Keys that cannot be in a cookie.
    odd_keys: u64,
}

impl SecretTally {
    fn new(reader: TextReader) -> Self {
        Self { signed: vec![0; reader.secrets()], reader, ..Self::default() }
    }

    /// `text` is `None` if it is too large to be read.
    fn add(&mut self, key: &str, text: Option<&str>) {
        self.rows += 1;
        self.odd_keys += u64::from(SessionKey::parse(key).is_none());
        let text = match text {
            None => return self.too_large += 1,
            Some("") => return self.unknown_format += 1,
            Some(text) => text,
        };
        let format = TextFormat::of(text);
        let mut count = |serializer: &str, advice: Vec<&'static str>| {
            let format = format!("{}, {serializer}", format.written_by());
            self.formats.entry(format).or_insert((0, advice)).0 += 1;
        };
        match self.reader.decode(text) {
            Ok(decoded) => {
                let advice = [(format.is_legacy(), LEGACY), (decoded.pickled, PICKLED)];
                count(
                    decoded.serializer(),
                    advice.iter().filter(|(yes, _)| *yes).map(|(_, text)| *text).collect(),
                );
                self.compressed += u64::from(is_compressed(text));
                if let Some(signed) = decoded.secret.and_then(|secret| self.signed.get_mut(secret)) {
                    *signed += 1;
                }
            }
            Err(DecodeError::OtherSecret(_)) => {
                count("not decoded", Vec::new());
                self.other_secret += 1;
            }
            Err(DecodeError::Broken(_)) => self.broken += 1,
            Err(DecodeError::TooLarge(_)) => self.too_large += 1,
            Err(DecodeError::UnknownFormat) => self.unknown_format += 1,
        }
    }

    fn report(&self, noun: &str, report: &mut Report) {
        let share = |number: u64| share(number, self.rows, noun);
        let none = self.signed.iter().all(|signed| *signed == 0);
        for (secret, signed) in self.signed.iter().enumerate() {
            let found = format!("{} signed {}", secret_name(secret), share(*signed));
            match (secret, signed) {
                (_, 0) if none => {
                    report.problem(
                        "secrets",
                        found,
                        "is it the SECRET_KEY of this site, or is --salt-class missing?",
                    );
                }
                (0, 0) => {
                    let advice = "is it the site's current SECRET_KEY? New sessions are signed with that";
                    report.warning("secrets", found, advice);
                }
                (_, 0) => report.note("secrets", found, "this sample does not need it: it may be removed"),
                _ => report.ok("secrets", found),
            }
        }
        if self.other_secret > 0 {
            let found =
                format!("none of the secrets given signed {}: bad signature", share(self.other_secret));
            let advice = "give the other SECRET_KEY as a fallback, or the engine class (--salt-class); \
                 without it \
                          these visitors get new sessions";
            report.add(if none { Severity::Problem } else { Severity::Warning }, "secrets", found, advice);
        }
        for (format, (number, advice)) in &self.formats {
            let found = format!("{format}: {}", share(*number));
            match advice.is_empty() {
                true => report.ok("formats", found),
                false => report.warning("formats", found, advice.join(". ")),
            }
        }
        if self.compressed > 0 {
            report.ok("formats", format!("compressed with zlib: {}", share(self.compressed)));
        }
        for (number, why, advice) in [
            (self.broken, "signed with a secret given here, but broken", "is it another SESSION_SERIALIZER?"),
            (self.too_large, "too large", "find out what stores so much in a session; see `stats`"),
            (self.unknown_format, "not in a format of any Django", "find out what else writes to this table"),
            (
                self.odd_keys,
                "with a key that cannot be in a cookie (8 to 40 visible characters)",
                "delete it",
            ),
        ] {
            if number > 0 {
                report.warning("sessions", format!("{why}: {}", share(number)), advice);
            }
        }
    }
}

pub(super) fn share(number: u64, all: u64, noun: &str) -> String {
    format!("{} of {} ({})", HumanCount(number), counted(all, noun), percent(number, all))
}

fn report_no_secret(report: &mut Report) {
    let advice = "give --secret-key-file or the variable SECRET_KEY, and its fallbacks";
    report.warning("secrets", "no secret was given, so no signature was checked", advice);
}

pub(super) async fn check_table(
    context: &Context,
    database: &Database,
    sample: u32,
    report: &mut Report,
) -> Result<()> {
    if !context.has_secret() {
        report_no_secret(report);
        return Ok(());
    }
    let expired = Database::expired();
    // Expired sessions matter less, but tell something where no live one is left.
    for (condition, noun) in [(format!("NOT ({expired})"), "live session"), (expired, "expired session")] {
        let mut tally = SecretTally::new(context.reader());
        database.sample(sample, &condition, |key, text| tally.add(key, text)).await?;
        if tally.rows > 0 {
            tally.report(noun, report);
            return Ok(());
        }
    }
    report.ok("secrets", "there is no session to try them on");
    Ok(())
}

/// For stores other than PostgreSQL: the first sessions that are listed.
pub(super) async fn check_store(
    context: &Context,
    store: &Store,
    sample: u32,
    report: &mut Report,
) -> Result<()> {
    let (mut sessions, mut readable, mut reasons) = (store.sessions(), 0, BTreeMap::<String, u64>::new());
    let mut tally = SecretTally::new(context.reader());
    while tally.rows < u64::from(sample) {
        let Some(session) = sessions.next().await? else { break };
        let text = session.value.as_deref().map(String::from_utf8_lossy);
        tally.add(session.key.as_str(), text.as_deref());
        match &session.data {
            Ok(_) => readable += 1,
            Err(error) => *reasons.entry(error.to_string()).or_default() += 1,
        }
    }
    let (all, noun) = (tally.rows, "session");
    let found = format!("{} can be read", share(readable, all, noun));
    match all > 0 && readable == 0 {
        true => report.problem("sessions", found, "see below why"),
        false => report.ok("sessions", found),
    }
    for (why, number) in reasons {
        let advice = "check the SECRET_KEY, its fallbacks and the engine class (--salt-class)";
        report.warning("sessions", format!("{}: {why}", share(number, all, noun)), advice);
    }
    match context.signature_checked() {
        Some(true) => tally.report(noun, report),
        Some(false) => report_no_secret(report),
        None => {}
    }
    Ok(())
}
