//! `doctor`: finds what is wrong, and says what to do about it.

mod schema;
mod secrets;
mod server;
mod upkeep;

use serde_json::json;

use crate::{
    args::DoctorArgs,
    exit::{Exit, Failure},
    output::{Out, counted},
    site::Site,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Ok,
    Warning,
    Problem,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

struct Finding {
    level: Level,
    /// What was looked at: `index`, `clock`.
    about: &'static str,
    found: String,
    /// What to do about it.
    advice: Option<String>,
}

/// What was found so far.
#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn ok(&mut self, about: &'static str, found: impl Into<String>) {
        self.add_plain(Level::Ok, about, found);
    }

    fn add_plain(&mut self, level: Level, about: &'static str, found: impl Into<String>) {
        self.0.push(Finding { level, about, found: found.into(), advice: None });
    }

    fn note(&mut self, about: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.add(Level::Ok, about, found, advice);
    }

    fn warning(&mut self, about: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.add(Level::Warning, about, found, advice);
    }

    fn problem(&mut self, about: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.add(Level::Problem, about, found, advice);
    }

    fn add(
        &mut self,
        level: Level,
        about: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.0.push(Finding { level, about, found: found.into(), advice: Some(advice.into()) });
    }

    /// A look that failed is a finding too, and no reason not to look further.
    fn look(&mut self, about: &'static str, looked: Result<(), Failure>) -> Result<(), Failure> {
        match looked {
            Err(Failure::Text(why)) => {
                self.warning(about, format!("could not be checked: {why}"), "see what the database says");
                Ok(())
            }
            other => other,
        }
    }

    fn number(&self, level: Level) -> u64 {
        self.0.iter().filter(|finding| finding.level == level).count() as u64
    }

    fn print(&self, as_json: bool, out: &mut Out) -> Result<Exit, Failure> {
        let (problems, warnings) = (self.number(Level::Problem), self.number(Level::Warning));
        if as_json {
            let findings = self.0.iter().map(|Finding { level, about, found, advice }| {
                json!({"level": level.name(), "about": about, "found": found, "advice": advice})
            });
            let findings: Vec<_> = findings.collect();
            out.line(json!({"problems": problems, "warnings": warnings, "findings": findings}))?;
        } else {
            for Finding { level, about, found, advice } in &self.0 {
                out.line(format_args!("{:<8} {about:<11} {found}", level.name()))?;
                if let Some(advice) = advice {
                    out.line(format_args!("{:20} → {advice}", ""))?;
                }
            }
            out.line(format_args!("\n{}, {}", counted(problems, "problem"), counted(warnings, "warning")))?;
        }
        Ok(if problems == 0 { Exit::Done } else { Exit::Problems })
    }
}

pub(crate) async fn run(site: &Site, args: &DoctorArgs, out: &mut Out) -> Result<Exit, Failure> {
    let mut report = Report::default();
    examine(site, args, &mut report).await?;
    report.print(args.json, out)
}

/// An error is of the command line. What is wrong with the site is in the report.
async fn examine(site: &Site, args: &DoctorArgs, report: &mut Report) -> Result<(), Failure> {
    // Opened without a look at what it opens: here we say more.
    let store = match site.open_to_look().await? {
        Ok(store) => store,
        Err(why) => {
            report.problem(
                "connection",
                why,
                "see that the server runs, and that URL, user and password are right",
            );
            return Ok(());
        }
    };
    let database = match site.database().await {
        Ok(database) => database,
        Err(Failure::Text(why)) => {
            report.problem("connection", why, "see that the server runs, and takes another connection");
            return Ok(());
        }
        Err(pipe) => return Err(pipe),
    };
    if site.has_cache() || database.is_none() {
        match store.check().await {
            Ok(()) => report.ok("store", "it answers, and sessions can be kept in it"),
            Err(error) => {
                let why = error.with_causes();
                report.problem(
                    "store",
                    why,
                    "sessions cannot be kept: every request that needs one is a 503",
                );
            }
        }
    }
    let Some(database) = database else {
        let tried = secrets::of_store(site, &store, args.sample, report).await;
        return report.look("secrets", tried);
    };
    let looked = server::look(&database, report).await;
    report.look("connection", looked)?;
    let table = match schema::find(&database, report).await {
        Ok(table) => table,
        other => return report.look("table", other.map(drop)),
    };
    let Some(table) = table else { return Ok(()) };
    let looked = schema::look(&database, &table, report).await;
    report.look("table", looked)?;
    let may = server::rights(&database, &table, report).await;
    let may_read = *may.as_ref().unwrap_or(&false);
    report.look("rights", may.map(drop))?;
    if !may_read {
        return Ok(()); // the rest reads the table
    }
    let looked = upkeep::look(&database, &table, report).await;
    report.look("upkeep", looked)?;
    let tried = secrets::of_table(site, &database, args.sample, report).await;
    report.look("secrets", tried)
}
