//! Exit codes, and the errors that end the program.

use std::{fmt, io, process::ExitCode};

use actix_django_session::Error;

/// The exit codes, as `--help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Success = 0,
    Failed = 1,
    Usage = 2,
    /// `doctor` found problems.
    Problems = 3,
    NotFound = 4,
    /// By Ctrl-C. As in a shell: 128 plus the number of the signal.
    Interrupted = 130,
    Terminated = 143,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

pub(crate) type Result<T = Status, E = CliError> = std::result::Result<T, E>;

/// Why the program ends early. The texts say what happened and what to do, without keys and secrets.
#[derive(Debug)]
pub(crate) enum CliError {
    Failed(String),
    /// The command line, or the keys on standard input, cannot be meant.
    Usage(String),
    /// The reader of the output has gone (`| head`), which is no failure.
    BrokenPipe,
}

impl CliError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// For an error of an input, since `?` takes every [`io::Error`] for one of the output.
    pub(crate) fn cannot_read(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Failed(format!("cannot read {what}: {error}"))
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        Self::Failed(error.with_causes())
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Failed(format!("cannot write the output: {error}")),
        }
    }
}
