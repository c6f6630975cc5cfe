//! The URL of a Redis: servers, login, and how keys are named.

use std::{fmt, path::PathBuf, time::Duration};

use super::{stream::Address, tls::TlsClient};
use crate::{Error, backend::parameters::Parameters};

const PARAMETERS: &[&str] =
    &["ca", "db", "deadline", "key_template", "prefix", "ssl_ca_certs", "ssl_cert_reqs", "version"];

const FORMS: &str = "a Redis URL has the form redis://user:password@host:port/db, rediss://… (TLS), \
     unix:///path, redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/master";

/// Everything that a URL says.
#[derive(Debug)]
pub(super) struct RedisUrl {
    pub(super) config: RedisConfig,
    pub(super) prefix: String,
    pub(super) version: u32,
    pub(super) key_template: Option<String>,
    pub(super) timeout: Option<Duration>,
}

/// Where to connect, and as whom.
#[derive(Default)]
pub(super) struct RedisConfig {
    pub(super) layout: Layout,
    /// The server, or some servers of the cluster, or the sentinels.
    pub(super) servers: Vec<Address>,
    pub(super) tls: Option<TlsClient>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: u32,
}

/// How the server of a key is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Layout {
    #[default]
    Server,
    Cluster,
    /// With the name that the sentinels have for the master.
    Sentinel(String),
}

/// Without user and password.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("layout", &self.layout)
            .field("servers", &self.servers)
            .field("tls", &self.tls.is_some())
            .field("db", &self.db)
            .finish_non_exhaustive()
    }
}

/// Errors repeat nothing of the URL but names of parameters: any other part may be a password.
pub(super) fn parse(url: &str) -> Result<RedisUrl, Error> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| Error::configuration(FORMS))?;
    let (with_tls, layout) = match scheme {
        // The second one is django-environ's.
        "redis" | "rediscache" | "redis+unix" | "unix" => (false, Layout::Server),
        "rediss" => (true, Layout::Server),
        "redis+cluster" => (false, Layout::Cluster),
        "rediss+cluster" => (true, Layout::Cluster),
        "redis+sentinel" => (false, Layout::Sentinel(String::new())),
        "rediss+sentinel" => (true, Layout::Sentinel(String::new())),
        _ => return Err(Error::configuration(FORMS)),
    };
    let (place, mut parameters) = Parameters::of(rest);
    if rest.contains('#') || rest[place.len()..].contains('@') {
        return Err(misplaced());
    }
    let (mut config, path) = match scheme.ends_with("unix") {
        true => (unix(place)?, ""),
        false => network(place, layout)?,
    };
    config.db = match (path, parameters.take("db")?) {
        ("", db) => db.unwrap_or(0),
        (_, Some(_)) => {
            return Err(Error::configuration("the Redis URL names a database twice: in its path and as db"));
        }
        (path, None) => path.parse().map_err(|_| {
            let text = "the database in the Redis URL is no number: write redis://host:6379/0 or ?db=0";
            Error::configuration(text)
        })?,
    };
    if config.layout == Layout::Cluster && config.db != 0 {
        return Err(Error::configuration("a Redis Cluster has only database 0: leave the number out"));
    }
    let tls = tls(&mut parameters, with_tls)?;
    let key_template = parameters.take("key_template")?;
    // Django's defaults for `KEY_PREFIX` and `VERSION`.
    let (prefix, version) =
        (parameters.take("prefix")?.unwrap_or_default(), parameters.take("version")?.unwrap_or(1));
    let timeout = parameters.seconds("deadline")?;
    parameters.end("Redis", PARAMETERS)?;
    config.tls = tls.map(|(ca, verify)| TlsClient::new(ca.as_deref(), verify)).transpose()?;
    Ok(RedisUrl { config, prefix, version, key_template, timeout })
}

/// The file of trusted authorities, and whether the server's certificate is verified. redis-py's names too.
fn tls(parameters: &mut Parameters, with_tls: bool) -> Result<Option<(Option<PathBuf>, bool)>, Error> {
    let (ours, theirs): (Option<PathBuf>, _) = (parameters.take("ca")?, parameters.take("ssl_ca_certs")?);
    let requirement: Option<String> = parameters.take("ssl_cert_reqs")?;
    let verify = match requirement.as_deref() {
        None | Some("required" | "CERT_REQUIRED") => true,
        Some("none" | "CERT_NONE") => false,
        Some(_) => {
            return Err(Error::configuration("the URL's parameter ssl_cert_reqs is required or none"));
        }
    };
    if ours.is_some() && theirs.is_some() {
        return Err(Error::configuration("ca and ssl_ca_certs are the same parameter: write one of them"));
    }
    let ca = ours.or(theirs);
    if !with_tls && (ca.is_some() || requirement.is_some()) {
        return Err(Error::configuration(
            "the parameters ca, ssl_ca_certs and ssl_cert_reqs are for TLS: write rediss:// instead of \
             redis://",
        ));
    }
    if ca.is_some() && !verify {
        return Err(Error::configuration(
            "ssl_cert_reqs=none trusts every certificate: leave it out, or leave out the file of authorities",
        ));
    }
    Ok(with_tls.then_some((ca, verify)))
}

/// Reads `user:password@host:port,host:port/path`. Returns what of the path names a database.
fn network(place: &str, layout: Layout) -> Result<(RedisConfig, &str), Error> {
    let (authority, mut path) = place.split_once('/').unwrap_or((place, ""));
    let ((user, password), mut hosts) = credentials(authority)?;
    if path.contains('@') {
        return Err(misplaced());
    }
    if hosts.is_empty() && layout == Layout::Server {
        hosts = "localhost"; // as in redis-py
    }
    let port = if matches!(layout, Layout::Sentinel(_)) { 26_379 } else { 6379 };
    let servers = hosts.split(',').map(|host| server(host, port)).collect::<Result<Vec<_>, _>>()?;
    let layout = match layout {
        Layout::Server if servers.len() > 1 => {
            return Err(Error::configuration(
                "the URL names several servers: write redis+cluster:// or redis+sentinel://, or name one",
            ));
        }
        Layout::Sentinel(_) => {
            let (master, rest) = path.split_once('/').unwrap_or((path, ""));
            if master.is_empty() {
                return Err(Error::configuration(
                    "a Sentinel URL ends with the name of the master: \
                     redis+sentinel://host:port,host:port/mymaster",
                ));
            }
            path = rest;
            Layout::Sentinel(decode(master)?)
        }
        other => other,
    };
    let config = RedisConfig { layout, servers, user, password, ..RedisConfig::default() };
    Ok((config, path.strip_suffix('/').unwrap_or(path)))
}

/// Reads `user:password@/path`.
fn unix(place: &str) -> Result<RedisConfig, Error> {
    let start = place.find('/').ok_or_else(|| Error::configuration(FORMS))?;
    let (authority, path) = place.split_at(start);
    let ((user, password), host) = credentials(authority)?;
    if path.contains('@') || !host.is_empty() || path.len() < 2 {
        return Err(Error::configuration(
            "a Unix socket has the form unix:///path or unix://user:password@/path; write \
             characters of user and password other than letters, digits and -._~ as %XX",
        ));
    }
    let servers = vec![Address::Unix(PathBuf::from(decode(path)?))];
    Ok(RedisConfig { servers, user, password, ..RedisConfig::default() })
}

/// For a password with a `/`, say, which would be cut in two.
fn misplaced() -> Error {
    Error::configuration(
        "the Redis URL has an @ or # where none can be: write characters of user and password other than \
         letters, digits and -._~ as %XX (@ as %40, / as %2F, # as %23, ? as %3F)",
    )
}

type UserAndPassword = (Option<String>, Option<String>);

fn credentials(authority: &str) -> Result<(UserAndPassword, &str), Error> {
    let Some((credentials, hosts)) = authority.split_once('@') else {
        return Ok(((None, None), authority));
    };
    if hosts.contains('@') {
        return Err(misplaced());
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
    let port = port.map_or(Ok(default_port), str::parse).map_err(|_| {
        Error::configuration("the Redis URL has a port that is no number from 1 to 65535; IPv6 is [::1]:6379")
    })?;
    if name.is_empty() || port == 0 {
        return Err(Error::configuration(FORMS));
    }
    Ok(Address::Tcp(decode(name)?, port))
}

/// Decodes `%XX`. A plus stays a plus.
fn decode(text: &str) -> Result<String, Error> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| Error::configuration("the Redis URL has %XX that are not UTF-8"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn servers(url: &str) -> (Layout, Vec<String>, u32) {
        let config = parse(url).unwrap().config;
        (config.layout, config.servers.iter().map(ToString::to_string).collect(), config.db)
    }

    fn one(server: &str, db: u32) -> (Layout, Vec<String>, u32) {
        (Layout::Server, vec![server.to_owned()], db)
    }

    #[test]
    fn forms() {
        assert_eq!(servers("redis://h"), one("h:6379", 0));
        assert_eq!(servers("redis://h:1234/"), one("h:1234", 0));
        assert_eq!(servers("redis://[::1]:1234/5"), one("[::1]:1234", 5));
        assert_eq!(servers("redis://[::1]?db=5"), one("[::1]:6379", 5));
        assert_eq!(servers("redis://"), one("localhost:6379", 0));
        assert_eq!(servers("redis:///3"), one("localhost:6379", 3));
        assert_eq!(servers("rediscache://h/1"), one("h:6379", 1));
        assert_eq!(servers("unix:///run/redis.sock?db=2"), one("/run/redis.sock", 2));
        assert_eq!(servers("redis+unix:///run/redis.sock?db=2"), one("/run/redis.sock", 2));
        let both = vec!["a:1".to_owned(), "b:26379".to_owned()];
        assert_eq!(servers("redis+sentinel://a:1,b/main/3"), (Layout::Sentinel("main".to_owned()), both, 3));
        let both = vec!["a:1".to_owned(), "b:6379".to_owned()];
        assert_eq!(servers("redis+cluster://a:1,b"), (Layout::Cluster, both, 0));
    }

    #[test]
    fn credentials() {
        let of = |url: &str| {
            let config = parse(url).unwrap().config;
            (config.user.unwrap_or_default(), config.password.unwrap_or_default())
        };
        assert_eq!(of("redis://h"), (String::new(), String::new()));
        assert_eq!(of("redis://:p@h"), (String::new(), "p".to_owned()));
        assert_eq!(of("redis://u:p%40%2f:x@h"), ("u".to_owned(), "p@/:x".to_owned()));
        assert_eq!(of("redis+unix://u:p@/path"), ("u".to_owned(), "p".to_owned()));
        assert_eq!(of("redis+cluster://u:p@a,b"), ("u".to_owned(), "p".to_owned()));
    }

    #[test]
    fn parameters() {
        let url = parse("redis://h?prefix=a%3Ab+c&version=7&deadline=0.25").unwrap();
        assert_eq!(
            (url.prefix.as_str(), url.version, url.timeout),
            ("a:b+c", 7, Some(Duration::from_millis(250)))
        );
        let url = parse("redis://h").unwrap();
        assert_eq!((url.prefix.as_str(), url.version), ("", 1));
    }

    #[test]
    fn mistakes_are_named_and_no_password_is_repeated() {
        for (url, says) in [
            ("", "has the form"),
            ("localhost", "has the form"),
            ("http://secret@h", "has the form"),
            ("redis://:1", "has the form"),
            ("redis://:secret@h:port", "port"),
            ("redis://:secret@h:99999", "port"),
            ("redis://:secret", "port"),
            ("redis://::1", "port"),
            ("redis://secret@h", "no password"),
            ("redis://:secr/et@h", "%2F"),
            ("redis://:secr?et=x@h", "%3F"),
            ("redis://:secr@et@h", "%40"),
            ("redis://:secr#et@h", "%23"),
            ("redis://:%ffsecret@h", "UTF-8"),
            ("redis://:secr?et=x%40h", "port"),
            ("redis://:secret@h/secret", "no number"),
            ("redis://:secret@h/1?db=1", "twice"),
            ("redis://:secret@h?db=1&db=1", "parameter db twice"),
            ("redis://:secret@h?db=secret", "parameter db cannot be that"),
            ("redis://:secret@h?deadline=0", "deadline"),
            ("redis://:secret@h?deadline=-1", "deadline"),
            ("redis://:secret@h?deadline=1e300", "deadline"),
            ("redis://:secret@h?deadline=secret", "deadline"),
            ("redis://:secret@h?perfix=a", "\"perfix\": it may have ca, db, deadline, key_template, prefix"),
            ("redis://:secret@h?ca=/secret", "rediss://"),
            ("redis://:secret@a,b", "several"),
            ("redis+cluster://:secret@a/1", "only database 0"),
            ("redis+sentinel://:secret@a", "name of the master"),
            ("rediss://:secret@h?ssl_cert_reqs=secret", "required or none"),
            ("rediss://:secret@h?ssl_cert_reqs=none&ca=/secret", "trusts every certificate"),
            ("rediss://:secret@h?ssl_ca_certs=/secret&ca=/secret", "one of them"),
            ("redis://:secret@h?ssl_cert_reqs=none", "rediss://"),
            ("redis+unix://:secret@h/path", "unix:///path"),
            ("redis+unix://:secret", "has the form"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.is_configuration(), "{url}: {error}");
            let text = error.with_causes();
            assert!(text.contains(says), "{url}: {text}");
            assert!(!text.contains("secr") && !text.contains("et="), "{url}: {text}");
        }
    }
}
