//! How the program ends.

use std::{io, process::ExitCode};

use actix_django_session::Error;

/// The exit codes, as `--help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    /// The doctor found problems.
    Problems = 3,
    NotFound = 4,
    /// By Ctrl-C, as a shell has it: 128 and the signal's number.
    Interrupted = 130,
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the program ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What went wrong and what to do, without keys and secrets.
    Text(String),
    /// Nobody reads the output any more (`| head`), which is no error.
    Pipe,
}

impl Failure {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Text(error.with_causes())
    }
}

/// Of the output. Other files have their errors explained where they are read.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Pipe,
            _ => Self::Text(format!("cannot write the output: {error}")),
        }
    }
}
