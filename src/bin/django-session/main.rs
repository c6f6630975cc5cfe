//! `django-session`: clears, checks, shows, lists and revokes the sessions of a site, whoever wrote them.

mod args;
mod clear;
mod context;
mod createuser;
mod database;
mod doctor;
mod error;
mod interrupt;
mod json;
mod output;
mod password;
mod progress;
mod reader;
mod revoke;
mod show;
mod stats;
mod text;
mod text_format;
mod user_args;
mod users;

use std::process::ExitCode;

use clap::{
    CommandFactory as _, Parser as _,
    error::{ContextKind, ContextValue},
};

use self::{
    args::{Args, Command},
    context::Context,
    error::{CliError, Result, Status},
    output::{Output, error, shortened},
};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            error(&format!("cannot start: {cause}"));
            return Status::Failed.into();
        }
    };
    let mut out = Output::new();
    let done = runtime.block_on(run(args, &mut out)).and_then(|status| {
        out.flush()?;
        Ok(status)
    });
    // An abandoned statement must not delay the exit.
    runtime.shutdown_background();
    let (text, status) = match done {
        Ok(status) => return status.into(),
        Err(CliError::BrokenPipe) => return Status::Success.into(),
        Err(CliError::Failed(text)) => (text, Status::Failed),
        Err(CliError::Usage(text)) => (text, Status::Usage),
    };
    let _ = out.flush(); // what was found before the error
    error(&text);
    status.into()
}

async fn run(args: Args, out: &mut Output) -> Result {
    let context = Context::new(&args.context)?;
    match args.command {
        Command::Clearsessions(args) => clear::run(&context, &args, out).await,
        Command::Doctor(args) => doctor::run(&context, &args, out).await,
        Command::Show(args) => show::show(&context, &args, out).await,
        Command::List(args) => show::list(&context, &args, out).await,
        Command::Revoke(args) => revoke::run(&context, &args, out).await,
        Command::Encode(args) => text::encode(&context, &args, out),
        Command::Decode => text::decode(&context, out),
        Command::Createtable => create_table(&context, out).await,
        Command::Createuser(args) => createuser::run(&context, &args, out).await,
        Command::Stats(args) => stats::run(&context, &args, out).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "django-session", &mut script);
            out.bytes(&script)?;
            Ok(Status::Success)
        }
    }
}

async fn create_table(context: &Context, out: &mut Output) -> Result {
    if !context.has_table()? {
        return Err(CliError::new(
            "only PostgreSQL and SQLite have a table of sessions: give its URL, postgres://… or sqlite://…",
        ));
    }
    context.store().await?.create_table().await?;
    out.line("the table of sessions exists, with its indexes")?;
    Ok(Status::Success)
}

/// Prints the help, the version or a usage error, without anything that could be a key or a secret.
fn usage(mut error: clap::Error) -> ExitCode {
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        if let Some(ContextValue::String(text)) = error.get(kind)
            && !text.is_empty()
            && !text.contains([' ', '<'])
            && !text.starts_with("--")
        {
            let short = shortened(text);
            error.insert(kind, ContextValue::String(short));
        }
    }
    let _ = error.print(); // the reader may have gone
    if error.use_stderr() { Status::Usage.into() } else { Status::Success.into() }
}
