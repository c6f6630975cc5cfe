//! What can be wrong with a file, and what to do about it.

use std::{io, path::Path};

use crate::Error;

/// Why something could not be done.
#[derive(Debug)]
pub(super) enum Trouble {
    System(io::Error),
    /// There is something else where a session's file would be.
    NotAFile(&'static str),
    /// Another process holds the lock.
    Locked,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Trouble {
    /// Names the directory, never the file: a session's key is in its name.
    pub(super) fn explain(self, what: &str, dir: &Path) -> Error {
        use io::ErrorKind::{
            FileTooLarge, NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem,
            StorageFull, Unsupported,
        };
        let dir = dir.display();
        let error = match self {
            Self::System(error) => error,
            Self::NotAFile(kind) => {
                return Error::store(format!(
                    "cannot {what}: {kind} is in {dir} where the session's file would be; nothing of that is \
                     followed or overwritten: see who put it there, and remove it"
                ));
            }
            Self::Locked => {
                return Error::store(format!(
                    "cannot {what}: another process has kept the session's file in {dir} locked for too long"
                ));
            }
        };
        let advice = match error.kind() {
            NotFound => format!("{dir} is not there: create the directory, or give the right one"),
            NotADirectory => format!("{dir} is not a directory: give one (Django's SESSION_FILE_PATH)"),
            PermissionDenied => format!(
                "this user lacks a right in {dir}: run as the user whose sessions they are (Django's), and let that user \
                 read, write and enter the directory"
            ),
            ReadOnlyFilesystem => format!("{dir} is mounted read-only"),
            StorageFull => format!("the disk with {dir} is full; what was there before is still there"),
            QuotaExceeded => {
                format!(
                    "this user's share of the disk with {dir} is full; what was there before is still there"
                )
            }
            FileTooLarge => format!(
                "the file would be larger than this process or the disk with {dir} allows (ulimit -f); what was there \
                 before is still there"
            ),
            Unsupported => {
                format!("the system, or the file system of {dir}, lacks what sessions in files need")
            }
            _ => format!("the system refused it in {dir}"),
        };
        Error::store_caused_by(format!("cannot {what}: {advice}"), error)
    }
}
