//! What the files need of the system that `std` does not have: opening without following or waiting, and putting a
//! file in place on a condition.

#[cfg(not(unix))]
pub(super) use self::other::*;
#[cfg(unix)]
pub(super) use self::unix::*;

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

    /// Opens for reading, or for writing too, which locks need on NFS. A pipe is not waited for, a link not followed.
    pub(crate) fn open(path: &Path, to_lock: bool) -> io::Result<File> {
        let access = if to_lock { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(openat(CWD, path, flags, Mode::empty())?.into())
    }

    /// Creates a file that nobody else may read. Errors if anything is there.
    pub(crate) fn create(path: &Path) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Device and number.
    pub(crate) fn identity(file: &Metadata) -> (u64, u64) {
        (file.dev(), file.ino())
    }

    /// What is there instead of a file.
    pub(crate) fn kind(what: FileType) -> &'static str {
        match what {
            _ if what.is_dir() => "a directory",
            _ if what.is_symlink() => "a symbolic link",
            _ if what.is_fifo() => "a named pipe",
            _ if what.is_socket() => "a socket",
            _ => "a device",
        }
    }

    /// Whether this file system, or this system, cannot do what was asked at all.
    pub(crate) fn is_unsupported(error: &io::Error) -> bool {
        let unsupported = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOTSUP];
        Errno::from_io_error(error).is_some_and(|errno| unsupported.contains(&errno))
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn rename(from: &Path, to: &Path, flags: rustix::fs::RenameFlags) -> io::Result<()> {
        Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
    }

    /// Swaps two files. Errors if one is not there.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
        rename(one, other, rustix::fs::RenameFlags::EXCHANGE)
    }

    /// Renames a file. Errors if anything is there under the new name.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
        rename(from, to, rustix::fs::RenameFlags::NOREPLACE)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    pub(crate) fn exchange(_: &Path, _: &Path) -> io::Result<()> {
        Err(Errno::NOSYS.into())
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    pub(crate) fn rename_new(_: &Path, _: &Path) -> io::Result<()> {
        Err(Errno::NOSYS.into())
    }
}

/// Without POSIX files there is no file engine: opening one says so.
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

    pub(crate) fn identity(_: &Metadata) -> (u64, u64) {
        (0, 0)
    }

    pub(crate) fn kind(_: FileType) -> &'static str {
        "something else"
    }

    pub(crate) fn is_unsupported(_: &io::Error) -> bool {
        false
    }

    pub(crate) fn exchange(_: &Path, _: &Path) -> io::Result<()> {
        Err(Unsupported.into())
    }

    pub(crate) fn rename_new(_: &Path, _: &Path) -> io::Result<()> {
        Err(Unsupported.into())
    }
}
