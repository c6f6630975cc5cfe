//! Errors of files, with what to do about them.

use std::{io, path::Path};

use crate::Error;

/// Why an operation on a file failed.
#[derive(Debug)]
pub(super) enum FileError {
    System(io::Error),
    /// The change may have been made, or may not be on the disk.
    InDoubt(io::Error),
    /// Something of this kind has the name of a session's file.
    NotAFile(&'static str),
    /// Another process holds the lock. Nothing was changed.
    Locked,
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl FileError {
    /// The error of a rename. The system refuses some before it does anything; others can mean that the reply
    /// of a network's disk was lost.
    pub(super) fn of_a_rename(error: io::Error) -> Self {
        use io::ErrorKind::{
            AlreadyExists, InvalidInput, NotADirectory, NotFound, PermissionDenied, QuotaExceeded,
            ReadOnlyFilesystem, StorageFull, Unsupported,
        };
        match error.kind() {
            AlreadyExists | InvalidInput | NotADirectory | NotFound | PermissionDenied | QuotaExceeded
            | ReadOnlyFilesystem | StorageFull | Unsupported => Self::System(error),
            _ => Self::InDoubt(error),
        }
    }

    /// Names the directory, never the file: its name contains the session key.
    pub(super) fn explain(self, what: &str, dir: &Path) -> Error {
        use io::ErrorKind::{
            FileTooLarge, NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem,
            StorageFull, Unsupported,
        };
        let dir = dir.display();
        let error = match self {
            Self::System(error) | Self::InDoubt(error) => error,
            Self::NotAFile(kind) => {
                return Error::store(format!(
                    "cannot {what}: {kind} is in {dir} instead of the session's file; it is neither followed \
                     nor overwritten: find out who put it there, and remove it"
                ));
            }
            Self::Locked => {
                return Error::store(format!(
                    "cannot {what}: another process has kept the session's file in {dir} locked for too long"
                ));
            }
        };
        let advice = match error.kind() {
            NotFound => format!("{dir} is not there: create the directory, or set the right one"),
            NotADirectory => format!("{dir} is not a directory: set one (Django's SESSION_FILE_PATH)"),
            PermissionDenied => format!(
                "this user lacks a right in {dir}: run as the user that owns the sessions (Django's), and \
                 let it read, write and enter the directory"
            ),
            ReadOnlyFilesystem => format!("{dir} is mounted read-only"),
            StorageFull => format!("the disk with {dir} is full; the stored sessions are unchanged"),
            QuotaExceeded => {
                format!("this user's quota on the disk with {dir} is full; the stored sessions are unchanged")
            }
            FileTooLarge => format!(
                "the file would be larger than this process or the disk with {dir} allows (ulimit -f); the \
                 stored sessions are unchanged"
            ),
            Unsupported => {
                format!("this system, or the file system of {dir}, lacks what sessions in files need")
            }
            _ => format!("the system refused it in {dir}"),
        };
        Error::store_caused_by(format!("cannot {what}: {advice}"), error)
    }
}
