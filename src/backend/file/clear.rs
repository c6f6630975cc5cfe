//! Looking at all files: to remove what is over, and to list what there is.

use std::{
    collections::BinaryHeap,
    fs::{self, File, ReadDir},
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    disk::{self, Name, is_at},
    meaning::Inner,
    trouble::Trouble,
};
use crate::{SessionKey, store::Listed};

/// From when on a file that is being written is one that nobody writes any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// How long one step of clearing takes: between two, others get their turn.
const STEP: Duration = Duration::from_millis(200);

/// A page ends with the first of these.
const PAGE_SESSIONS: usize = 500;
const PAGE_BYTES: usize = 4 << 20;

/// Names that one pass over the directory gives: about a megabyte.
const NAMES: usize = 10_000;

/// A pass over the directory that clears.
#[derive(Debug)]
pub(super) struct Clearing {
    entries: ReadDir,
    pub(super) cleared: u64,
    pub(super) skipped: u64,
    pub(super) first_trouble: Option<Trouble>,
}

impl Clearing {
    pub(super) fn begin(inner: &Inner) -> Result<Self, Trouble> {
        let entries = fs::read_dir(&inner.disk.dir)?;
        Ok(Self { entries, cleared: 0, skipped: 0, first_trouble: None })
    }

    /// Goes on for a while. Whether there is more.
    pub(super) fn step(&mut self, inner: &Inner) -> Result<bool, Trouble> {
        let until = Instant::now() + STEP;
        while Instant::now() < until {
            let Some(entry) = self.entries.next().transpose()? else { return Ok(false) };
            let name = entry.file_name();
            let removed = match name.to_str().map_or(Name::NotOurs, |name| inner.disk.name(name)) {
                Name::Session(key) => clear_session(inner, &key),
                Name::Temporary => sweep(&entry.path()).map(|()| false),
                Name::NotOurs => Ok(false),
            };
            match removed {
                Ok(removed) => self.cleared += u64::from(removed),
                Err(trouble) => {
                    self.skipped += 1;
                    self.first_trouble.get_or_insert(trouble);
                }
            }
        }
        Ok(true)
    }
}

/// Removes a session if its time has come; whether it was removed. Not what cannot be read: that has no time of its
/// own that we know.
fn clear_session(inner: &Inner, key: &SessionKey) -> Result<bool, Trouble> {
    let over = |content| {
        let (data, expires) = inner.dated(content);
        data.is_ok() && expires <= SystemTime::now()
    };
    let Some(content) = inner.disk.read(key)? else { return Ok(false) };
    if !over(content) {
        return Ok(false);
    }
    match inner.disk.lock(key, Instant::now()) {
        // It was looked at without a lock.
        Ok(Some(file)) if over(inner.disk.read_from(&file)?) => Ok(disk::remove(&inner.disk.path(key))?),
        // Whoever has it will end it, or has made it live again.
        Ok(_) | Err(Trouble::Locked) => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

/// Removes a file whose writer was killed. One at work here holds its lock, and Django is quick.
fn sweep(path: &Path) -> Result<(), Trouble> {
    let abandoned = |file: &File| -> Result<bool, Trouble> {
        let age = SystemTime::now().duration_since(file.metadata()?.modified()?);
        Ok(age.is_ok_and(|age| age > ABANDONED))
    };
    let Some(file) = disk::open(path, false)? else { return Ok(()) };
    if !abandoned(&file)? {
        return Ok(());
    }
    let Some(file) = disk::open(path, true)? else { return Ok(()) };
    match disk::lock(&file, Instant::now()) {
        Ok(()) => {}
        Err(Trouble::Locked) => return Ok(()),
        Err(trouble) => return Err(trouble),
    }
    if abandoned(&file)? && is_at(&file, path)? == Some(true) {
        disk::remove(path)?;
    }
    Ok(())
}

/// Names that a pass over the directory found, for the pages to come. A page alone would need a pass of its own.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The page to come goes on after this.
    after: String,
    /// The last one comes first.
    names: Vec<String>,
    /// Whether there were more in the directory.
    more: bool,
}

impl Ahead {
    /// The first names after this one.
    fn look(inner: &Inner, after: String) -> Result<Self, Trouble> {
        let (mut first, mut more) = (BinaryHeap::new(), false);
        for entry in fs::read_dir(&inner.disk.dir)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            let Name::Session(key) = inner.disk.name(&name) else { continue };
            if key.as_str() > after.as_str() {
                first.push(key.as_str().to_owned());
            }
            if first.len() > NAMES {
                first.pop();
                more = true;
            }
        }
        let mut names = first.into_sorted_vec();
        names.reverse();
        Ok(Self { after, names, more })
    }
}

/// The sessions after that key, in the order of their keys, and the key after which to go on.
pub(super) fn page(inner: &Inner, after: String) -> Result<(Vec<Listed>, Option<String>), Trouble> {
    let kept = inner.ahead().take().filter(|ahead| ahead.after == after && !ahead.names.is_empty());
    let mut ahead = match kept {
        Some(ahead) => ahead,
        None => Ahead::look(inner, after)?,
    };
    let (mut sessions, mut bytes) = (Vec::new(), 0);
    while sessions.len() < PAGE_SESSIONS && bytes < PAGE_BYTES {
        let Some(name) = ahead.names.pop() else { break };
        let Some(key) = SessionKey::parse(&name) else { continue };
        ahead.after = name;
        match inner.disk.read(&key) {
            Ok(None) | Err(Trouble::NotAFile(_)) => {}
            Ok(Some(content)) => {
                bytes += content.bytes.as_ref().map_or(0, Vec::len);
                let (data, expires) = inner.dated(content);
                sessions.push(Listed { key, expires, data: data.map(|(data, _)| data) });
            }
            // It is there, and neither it nor those after it may be passed over in silence.
            Err(trouble) => {
                let error = trouble.explain("read a session", &inner.disk.dir);
                let expires = SystemTime::now() + inner.cookie_age;
                sessions.push(Listed { key, expires, data: Err(Arc::new(error)) });
            }
        }
    }
    let next = (ahead.more || !ahead.names.is_empty()).then(|| ahead.after.clone());
    if next.is_some() {
        *inner.ahead() = Some(ahead);
    }
    Ok((sessions, next))
}
