//! The password of a URL that has none: `PGPASSWORD` and the password file, as in libpq.

use std::{
    borrow::Cow,
    env, fs,
    path::{Path, PathBuf},
};

use tokio_postgres::{Config, config::Host};

/// Directories of the server's socket where libpq says "localhost".
const SOCKET_DIRECTORIES: [&str; 2] = ["/tmp", "/var/run/postgresql"];

/// Adds the password to the configuration of one host, if it has none and one is found.
pub(super) fn complete(mut config: Config) -> Config {
    if config.get_password().is_some_and(|password| !password.is_empty()) {
        return config;
    }
    let variable = env::var("PGPASSWORD").ok().filter(|password| !password.is_empty());
    if let Some(password) = variable.or_else(|| from_file(&config)) {
        config.password(password);
    }
    config
}

fn from_file(config: &Config) -> Option<String> {
    let user = config.get_user().map(str::to_owned).or_else(|| env::var("USER").ok())?;
    let text = read(&path()?)?;
    let host = match config.get_hosts().first()? {
        Host::Tcp(name) => name.into(),
        #[cfg(unix)]
        Host::Unix(path) if SOCKET_DIRECTORIES.iter().any(|directory| path == Path::new(directory)) => {
            "localhost".into()
        }
        #[cfg(unix)]
        Host::Unix(path) => path.to_string_lossy(),
    };
    let port = config.get_ports().first().unwrap_or(&5432).to_string();
    find(&text, [&host, &port, config.get_dbname().unwrap_or(&user), &user])
}

fn path() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("PGPASSFILE").or_else(|| variable("HOME").map(|home| home.join(".pgpass")))
}

/// Ignores a file that others may read, and says so.
fn read(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() {
        tracing::warn!("the password file {} is not a plain file: it is ignored", path.display());
        return None;
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        tracing::warn!(
            "the password file {} may be read by others: it is ignored; chmod 600 it",
            path.display()
        );
        return None;
    }
    match fs::read(path) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => {
            tracing::warn!("the password file {} cannot be read: {error}", path.display());
            None
        }
    }
}

/// Returns the password of the first line `host:port:database:user:password` that matches.
fn find(text: &str, wanted: [&str; 4]) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line.trim_end_matches('\r');
        for value in wanted {
            let (field, after) = field(rest);
            rest = after.filter(|_| field == "*" || unescaped(field) == value)?;
        }
        // Without a backslash before it, a colon ends the password too.
        Some(unescaped(field(rest).0).into_owned()).filter(|password| !password.is_empty())
    })
}

/// Splits off the text before the first colon that has no backslash before it.
fn field(line: &str) -> (&str, Option<&str>) {
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        match character {
            ':' if !escaped => return (&line[..at], Some(&line[at + 1..])),
            character => escaped = character == '\\' && !escaped,
        }
    }
    (line, None)
}

fn unescaped(field: &str) -> Cow<'_, str> {
    if !field.contains('\\') {
        return field.into();
    }
    let (mut text, mut characters) = (String::new(), field.chars());
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('\\', Some(next)) => {
                text.push(next);
                characters.next();
            }
            _ => text.push(character),
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_matches_counts() {
        let text = "# db:5432:site:app:comment\n\
                    db:5432:site:other:not this user\n\
                    db:5433:*:app:a port of its own\r\n\
                    db:*:si\\:te:a\\\\pp:with\\:colon and \\\\\n\
                    a line without fields\n\
                    db:5432:site:app:right:behind a colon\n\
                    *:*:*:*:anything else\n";
        for (wanted, password) in [
            (["db", "5432", "site", "app"], "right"),
            (["db", "5433", "site", "app"], "a port of its own"),
            (["db", "1", "si:te", "a\\pp"], "with:colon and \\"),
            (["[::1]", "5432", "site", "app"], "anything else"),
        ] {
            assert_eq!(find(text, wanted).as_deref(), Some(password), "{wanted:?}");
        }
        assert_eq!(find("db:5432:site:app", ["db", "5432", "site", "app"]), None);
        assert_eq!(find("\\*:*:*:*:x", ["db", "1", "a", "b"]), None);
        assert_eq!(find("\\*:*:*:*:x", ["*", "1", "a", "b"]).as_deref(), Some("x"));
    }
}
