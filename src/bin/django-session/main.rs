//! `django-session`: looks after the sessions of a site, whoever wrote them.

mod args;
mod clear;
mod database;
mod doctor;
mod encode;
mod exit;
mod interrupt;
mod json;
mod list;
mod output;
mod progress;
mod reader;
mod revoke;
mod shape;
mod show;
mod site;
mod stats;
mod table;

use std::process::ExitCode;

use clap::{
    CommandFactory as _, Parser as _,
    error::{ContextKind, ContextValue},
};

use self::{
    args::{Args, Command},
    exit::{Exit, Failure},
    output::{Out, complain, shortened},
    site::Site,
};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::Failed.into();
        }
    };
    let mut out = Out::new();
    let done = runtime.block_on(run(args, &mut out)).and_then(|exit| {
        out.flush()?;
        Ok(exit)
    });
    // A statement that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    match done {
        Ok(exit) => exit.into(),
        Err(Failure::Pipe) => Exit::Done.into(),
        Err(Failure::Text(text)) => {
            let _ = out.flush(); // what was found before it failed
            complain(&text);
            Exit::Failed.into()
        }
    }
}

async fn run(args: Args, out: &mut Out) -> Result<Exit, Failure> {
    let site = Site::new(&args.site)?;
    let full_keys = args.site.full_keys;
    match args.command {
        Command::Clearsessions(args) => clear::run(&site, &args, out).await,
        Command::Doctor(args) => doctor::run(&site, &args, out).await,
        Command::Show(args) => show::run(&site, &args, full_keys, out).await,
        Command::List(args) => list::run(&site, &args, full_keys, out).await,
        Command::Revoke(args) => revoke::run(&site, &args, full_keys, out).await,
        Command::Encode(args) => encode::encode(&site, &args, out),
        Command::Decode => encode::decode(&site, out),
        Command::Createtable => table::run(&site, out).await,
        Command::Stats(args) => stats::run(&site, &args, out).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "django-session", &mut script);
            out.bytes(&script)?;
            Ok(Exit::Done)
        }
    }
}

/// Help and version, or what is wrong with the command line: without what could be a key or a secret.
fn usage(mut error: clap::Error) -> ExitCode {
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        if let Some(ContextValue::String(text)) = error.get(kind)
            && !text.contains([' ', '<'])
            && !text.starts_with("--")
        {
            let short = shortened(text);
            error.insert(kind, ContextValue::String(short));
        }
    }
    let _ = error.print(); // to a reader who has gone, perhaps
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}
