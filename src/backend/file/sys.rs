//! System calls that `std` lacks: opening without following links or waiting, and conditional renames.

#[cfg(not(unix))]
pub(super) use self::other::*;
#[cfg(unix)]
pub(super) use self::unix::*;

/// The condition of a rename, which errors otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RenameMode {
    /// Both files exist, and swap their names.
    Swap,
    /// The new name is free.
    NoReplace,
}

#[cfg(unix)]
mod unix {
    use std::{
        fs::{File, FileType, Metadata},
        io,
        os::unix::fs::{FileTypeExt as _, MetadataExt as _},
        path::Path,
    };

    use rustix::{
        fs::{CWD, Mode, OFlags, openat},
        io::Errno,
    };

    use super::RenameMode;

    /// Opens for reading, or also for writing, which locks need on NFS. Neither waits for a pipe nor follows
    /// a link.
    pub(crate) fn open(path: &Path, to_lock: bool) -> io::Result<File> {
        let access = if to_lock { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(openat(CWD, path, flags, Mode::empty())?.into())
    }

    /// Creates a file that only this user may read. Errors if the name is taken.
    pub(crate) fn create(path: &Path) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Device and inode.
    pub(crate) fn id(file: &Metadata) -> (u64, u64) {
        (file.dev(), file.ino())
    }

    /// The kind of something that is no file, for messages.
    pub(crate) fn kind(what: FileType) -> &'static str {
        match what {
            _ if what.is_dir() => "a directory",
            _ if what.is_symlink() => "a symbolic link",
            _ if what.is_fifo() => "a named pipe",
            _ if what.is_socket() => "a socket",
            _ => "a device",
        }
    }

    /// Whether this system, or this file system, lacks the call.
    pub(crate) fn is_unsupported(error: &io::Error) -> bool {
        let unsupported = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOTSUP];
        Errno::from_io_error(error).is_some_and(|errno| unsupported.contains(&errno))
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    pub(crate) fn rename(from: &Path, to: &Path, mode: RenameMode) -> io::Result<()> {
        use rustix::fs::{RenameFlags, renameat_with};
        let flags = match mode {
            RenameMode::Swap => RenameFlags::EXCHANGE,
            RenameMode::NoReplace => RenameFlags::NOREPLACE,
        };
        Ok(renameat_with(CWD, from, CWD, to, flags)?)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    pub(crate) fn rename(_: &Path, _: &Path, _: RenameMode) -> io::Result<()> {
        Err(Errno::NOSYS.into())
    }
}

/// Without POSIX files there is no file engine: opening a directory is an error.
#[cfg(not(unix))]
mod other {
    use std::{
        fs::{File, FileType, Metadata},
        io::{self, ErrorKind::Unsupported},
        path::Path,
    };

    pub(crate) fn open(_: &Path, _: bool) -> io::Result<File> {
        Err(Unsupported.into())
    }

    pub(crate) fn create(_: &Path) -> io::Result<File> {
        Err(Unsupported.into())
    }

    pub(crate) fn id(_: &Metadata) -> (u64, u64) {
        (0, 0)
    }

    pub(crate) fn kind(_: FileType) -> &'static str {
        "something else"
    }

    pub(crate) fn is_unsupported(_: &io::Error) -> bool {
        false
    }

    pub(crate) fn rename(_: &Path, _: &Path, _: super::RenameMode) -> io::Result<()> {
        Err(Unsupported.into())
    }
}
