//! What a URL says about Redis: which servers, who we are to them, and how names are made.

use std::{path::PathBuf, time::Duration};

use super::{server::Address, tls::Tls};
use crate::Error;

/// What may stand behind the `?`.
pub(crate) const PARAMETERS: &[&str] = &["ca", "db", "deadline", "prefix", "version"];

const FORMS: &str = "a Redis URL has the form redis://user:password@host:port/db, rediss://… (TLS), \
     redis+unix:///path, redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/master";

/// Everything that a URL says.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) target: Target,
    pub(super) prefix: String,
    pub(super) version: u32,
    pub(super) deadline: Duration,
}

/// Where to connect, and as whom.
pub(super) struct Target {
    pub(super) kind: Kind,
    /// The server, or those of a cluster to ask first, or the sentinels.
    pub(super) servers: Vec<Address>,
    pub(super) tls: Option<Tls>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: u32,
}

/// How the server of a key is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Server,
    Cluster,
    /// The name that the sentinels have for the master.
    Sentinel(String),
}

/// Without user and password.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("kind", &self.kind)
            .field("servers", &self.servers)
            .field("tls", &self.tls.is_some())
            .field("db", &self.db)
            .finish_non_exhaustive()
    }
}

/// Nothing of the URL is repeated in an error but names of parameters: any other part may be a password.
pub(super) fn parse(url: &str) -> Result<Settings, Error> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| Error::configuration(FORMS))?;
    let (with_tls, kind) = match scheme {
        "redis" => (false, Kind::Server),
        "rediss" => (true, Kind::Server),
        "redis+unix" | "unix" => return parse_unix(rest),
        "redis+cluster" => (false, Kind::Cluster),
        "rediss+cluster" => (true, Kind::Cluster),
        "redis+sentinel" => (false, Kind::Sentinel(String::new())),
        "rediss+sentinel" => (true, Kind::Sentinel(String::new())),
        _ => return Err(Error::configuration(FORMS)),
    };
    let (place, query) = split_query(rest)?;
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let (credentials, hosts) = split_credentials(authority)?;
    if path.contains('@') {
        return Err(encode_it());
    }
    let port = if matches!(kind, Kind::Sentinel(_)) { 26_379 } else { 6379 };
    let servers = hosts.split(',').map(|host| server(host, port)).collect::<Result<Vec<_>, _>>()?;
    if kind == Kind::Server && servers.len() > 1 {
        return Err(Error::configuration(
            "the URL names several servers: write redis+cluster:// or redis+sentinel://, or name one",
        ));
    }
    let parameters = Parameters::parse(query)?;
    let (kind, path) = match kind {
        Kind::Sentinel(_) => {
            let (master, path) = path.split_once('/').unwrap_or((path, ""));
            if master.is_empty() {
                return Err(Error::configuration(
                    "a Sentinel URL ends with the name of the master: redis+sentinel://host:port,host:port/mymaster",
                ));
            }
            (Kind::Sentinel(decode(master)?), path)
        }
        other => (other, path),
    };
    let db = database(path.strip_suffix('/').unwrap_or(path), &parameters)?;
    if kind == Kind::Cluster && db != 0 {
        return Err(Error::configuration("a Redis Cluster has only database 0: leave the number out"));
    }
    let tls = match (with_tls, &parameters.ca) {
        (true, ca) => Some(Tls::new(ca.as_deref())?),
        (false, None) => None,
        (false, Some(_)) => {
            return Err(Error::configuration(
                "the parameter ca is for TLS: write rediss:// instead of redis://",
            ));
        }
    };
    let (user, password) = credentials;
    parameters.settings(Target { kind, servers, tls, user, password, db })
}

fn parse_unix(rest: &str) -> Result<Settings, Error> {
    let (place, query) = split_query(rest)?;
    let start = place.find('/').ok_or_else(|| Error::configuration(FORMS))?;
    let (authority, path) = place.split_at(start);
    let ((user, password), host) = split_credentials(authority)?;
    if path.contains('@') || !host.is_empty() || path.len() < 2 {
        return Err(Error::configuration(
            "a Unix socket has the form redis+unix:///path or redis+unix://user:password@/path; write other \
             characters than letters, digits and -._~ of user and password as %XX",
        ));
    }
    let parameters = Parameters::parse(query)?;
    if parameters.ca.is_some() {
        return Err(Error::configuration("the parameter ca is for rediss://: a Unix socket needs no TLS"));
    }
    let servers = vec![Address::Unix(PathBuf::from(decode(path)?))];
    let db = database("", &parameters)?;
    parameters.settings(Target { kind: Kind::Server, servers, tls: None, user, password, db })
}

fn split_query(rest: &str) -> Result<(&str, &str), Error> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if rest.contains('#') || query.contains('@') {
        return Err(encode_it());
    }
    Ok((place, query))
}

/// A password with a `/`, say, that would be cut in two.
fn encode_it() -> Error {
    Error::configuration(
        "the Redis URL has an @ or # in a place where none can be: write characters of user and password other \
         than letters, digits and -._~ as %XX (@ as %40, / as %2F, # as %23, ? as %3F)",
    )
}

type Credentials = (Option<String>, Option<String>);

fn split_credentials(authority: &str) -> Result<(Credentials, &str), Error> {
    let Some((credentials, hosts)) = authority.split_once('@') else {
        return Ok(((None, None), authority));
    };
    if hosts.contains('@') {
        return Err(encode_it());
    }
    let (user, password) = credentials.split_once(':').ok_or_else(|| {
        Error::configuration("the Redis URL has a user and no password: write user:password@ or :password@")
    })?;
    let some = |text: &str| Ok::<_, Error>(Some(decode(text)?).filter(|text| !text.is_empty()));
    Ok(((some(user)?, some(password)?), hosts))
}

fn server(host: &str, default_port: u16) -> Result<Address, Error> {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, port)) => (name, port.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let port = match port {
        None => default_port,
        Some(port) => port.parse().map_err(|_| {
            Error::configuration(
                "the Redis URL has a port that is no number from 1 to 65535; IPv6 is [::1]:6379",
            )
        })?,
    };
    if name.is_empty() || port == 0 {
        return Err(Error::configuration(FORMS));
    }
    Ok(Address::Tcp(decode(name)?, port))
}

fn database(path: &str, parameters: &Parameters) -> Result<u32, Error> {
    let wrong = || {
        Error::configuration("the database in the Redis URL is no number: write redis://host:6379/0 or ?db=0")
    };
    match (path, parameters.db) {
        ("", db) => Ok(db.unwrap_or(0)),
        (_, Some(_)) => {
            Err(Error::configuration("the Redis URL names a database twice: in its path and as db"))
        }
        (path, None) => path.parse().map_err(|_| wrong()),
    }
}

#[derive(Default)]
struct Parameters {
    ca: Option<PathBuf>,
    db: Option<u32>,
    deadline: Option<Duration>,
    prefix: Option<String>,
    version: Option<u32>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, Error> {
        let mut all = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            let number = || {
                value.parse().map_err(|_| {
                    Error::configuration(format!("the parameter {name} of the Redis URL is no whole number"))
                })
            };
            let before = match name.as_str() {
                "ca" => all.ca.replace(PathBuf::from(value)).is_some(),
                "db" => all.db.replace(number()?).is_some(),
                "deadline" => all.deadline.replace(seconds(&value)?).is_some(),
                "prefix" => all.prefix.replace(value).is_some(),
                "version" => all.version.replace(number()?).is_some(),
                unknown => {
                    let known = PARAMETERS.join(", ");
                    return Err(Error::configuration(format!(
                        "the Redis URL has an unknown parameter {unknown}: the known ones are {known}"
                    )));
                }
            };
            if before {
                return Err(Error::configuration(format!("the Redis URL has the parameter {name} twice")));
            }
        }
        Ok(all)
    }

    /// With Django's defaults for `KEY_PREFIX` and `VERSION`.
    fn settings(self, target: Target) -> Result<Settings, Error> {
        Ok(Settings {
            target,
            prefix: self.prefix.unwrap_or_default(),
            version: self.version.unwrap_or(1),
            deadline: self.deadline.unwrap_or(Duration::from_secs(5)),
        })
    }
}

fn seconds(text: &str) -> Result<Duration, Error> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|seconds| !seconds.is_zero()).ok_or_else(|| {
        Error::configuration(
            "the parameter deadline of the Redis URL is a number of seconds above 0, like 5 or 0.5",
        )
    })
}

/// `%XX` to what it stands for. A plus is a plus.
fn decode(text: &str) -> Result<String, Error> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| Error::configuration("the Redis URL has %XX that are no UTF-8"))?;
    Ok(text.into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
