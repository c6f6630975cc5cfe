//! `doctor`: checks everything that sessions depend on, and says what to do.

mod indexes;
mod logins;
mod references;
mod report;
mod schema;
mod secrets;
mod server;
mod updates;
mod upkeep;
mod version;

use self::report::Report;
use crate::{
    args::DoctorArgs,
    context::Context,
    error::{CliError, Result},
    output::Output,
};

pub(crate) async fn run(context: &Context, args: &DoctorArgs, out: &mut Output) -> Result {
    let mut report = Report::default();
    examine(context, args, &mut report).await?;
    report.print(args.json, out)
}

/// Errors are about the command line. Faults of the site are in the report.
async fn examine(context: &Context, args: &DoctorArgs, report: &mut Report) -> Result<()> {
    let sample = args.sample;
    let store = match context.connect().await? {
        Ok(store) => store,
        Err(error) => {
            let advice = "check that the server runs, and that URL, user and password are right";
            report.problem("connection", error.with_causes(), advice);
            return Ok(());
        }
    };
    let database = match context.database().await {
        Ok(database) => database,
        Err(CliError::Failed(why)) => {
            report.problem("connection", why, "check that the server runs and accepts another connection");
            return Ok(());
        }
        Err(other) => return Err(other),
    };
    if context.has_cache() || database.is_none() {
        match store.check().await {
            Ok(()) => report.ok("store", "it is available, and sessions can be saved"),
            Err(error) => {
                let advice = "sessions cannot be saved: every request that needs one gets a 503";
                report.problem("store", error.with_causes(), advice);
            }
        }
    }
    let Some(database) = database else {
        let checked = secrets::check_store(context, &store, sample, report).await;
        report.note_failure("secrets", checked)?;
        let checked = logins::check(context, &store, args, report).await;
        return report.note_failure("logins", checked);
    };
    let checked = server::check(&database, report).await;
    report.note_failure("connection", checked)?;
    let checked = version::check(&database, report).await;
    report.note_failure("version", checked)?;
    let table = match schema::find(&database, report).await {
        Ok(Some(table)) => table,
        other => return report.note_failure("table", other.map(drop)),
    };
    let checked = schema::check(&database, &table, report).await;
    report.note_failure("table", checked)?;
    let rights = server::check_rights(&database, &table, report).await;
    let may_select = matches!(rights, Ok(true));
    report.note_failure("rights", rights.map(drop))?;
    if !may_select {
        return Ok(()); // the other checks read the table
    }
    let checked = upkeep::check(&database, &table, report).await;
    report.note_failure("upkeep", checked)?;
    let checked = updates::check(&database, &table, report).await;
    report.note_failure("updates", checked)?;
    let checked = secrets::check_table(context, &database, sample, report).await;
    report.note_failure("secrets", checked)?;
    let checked = logins::check(context, &store, args, report).await;
    report.note_failure("logins", checked)
}
