//! The URL of a database: the driver's parameters, and this crate's.

use std::{borrow::Cow, time::Duration};

use tokio_postgres::{
    Config,
    config::{Host, LoadBalanceHosts, SslMode},
};

use super::{
    hosts::{Hosts, Primary},
    password,
    table::{TABLE, TableName},
    tls::Transport,
};
use crate::{
    Error,
    backend::parameters::{Parameters, check_at_sign},
};

/// The default timeout of an operation.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// This crate's parameters. The others are the driver's.
const OURS: [&str; 9] = [
    "table",
    "schema",
    "deadline",
    "pgbouncer",
    "distributed",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
];

const SCHEMES: [&str; 7] =
    ["postgres", "postgresql", "psql", "pgsql", "postgis", "timescale", "timescalegis"];

/// A parsed URL.
pub(super) struct Url {
    pub(super) hosts: Hosts,
    pub(super) table: TableName,
    pub(super) timeout: Duration,
    pub(super) pgbouncer: bool,
    pub(super) distributed: Option<bool>,
}

impl Url {
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        check_at_sign(url)?;
        let (address, mut ours) = split(&with_driver_scheme(url));
        check_password(&address)?;
        let mut config: Config = address.parse().map_err(|cause| {
            Error::configuration(format!(
                "the database URL is not of the form postgres://user:password@host:port/database{}",
                hint(&cause)
            ))
        })?;
        let (table, schema): (Option<String>, Option<String>) = (ours.take("table")?, ours.take("schema")?);
        let table = TableName::new(table.as_deref().unwrap_or(TABLE), schema.as_deref())?;
        let timeout = ours.seconds("deadline")?.unwrap_or(TIMEOUT);
        let pgbouncer = ours.take("pgbouncer")?.unwrap_or(false);
        let distributed = ours.take("distributed")?;
        let (transport, driver) = Transport::take(&mut ours, config.get_ssl_mode())?;
        config.ssl_mode(driver);
        if config.get_application_name().is_none() {
            config.application_name("actix-django-session");
        }
        let configs = one_by_one(&config)?;
        let configs = configs.into_iter().map(password::complete).collect();
        let any_first = config.get_load_balance_hosts() == LoadBalanceHosts::Random;
        let hosts = Hosts { configs, any_first, transport, primary: Primary::default() };
        Ok(Self { hosts, table, timeout, pgbouncer, distributed })
    }
}

/// Returns whether a URL with this scheme names a PostgreSQL: libpq's, and those that Django's URL parsers
/// (django-environ, dj-database-url) have besides.
pub(super) fn is_postgres(scheme: &str) -> bool {
    SCHEMES.contains(&scheme)
}

/// The driver knows libpq's schemes alone.
fn with_driver_scheme(url: &str) -> Cow<'_, str> {
    match url.split_once("://") {
        Some((scheme, rest)) if is_postgres(scheme) => format!("postgres://{rest}").into(),
        _ => url.into(),
    }
}

/// Errors if a password seems to have an `@` in it, which would be taken for the end of the password.
fn check_password(address: &str) -> Result<(), Error> {
    let address = address.split('?').next().unwrap_or_default();
    if address.contains("://") && address.matches('@').count() > 1 {
        return Err(Error::configuration(
            "the database URL has more than one @: in a user name or password write @ as %40",
        ));
    }
    Ok(())
}

/// Splits this crate's parameters off. A text of the form `host=… user=…` has none.
fn split(url: &str) -> (String, Parameters) {
    if !url.contains("://") {
        return (url.to_owned(), Parameters::none());
    }
    let (address, mut theirs) = Parameters::of(url);
    let ours = theirs.split_off(&OURS);
    (theirs.put_back(address), ours)
}

/// One configuration for each host. Given several, the driver lets a silent host use up the whole timeout; so
/// the hosts are tried one at a time, each with a share of it.
fn one_by_one(all: &Config) -> Result<Vec<Config>, Error> {
    let (hosts, addresses, ports) = (all.get_hosts(), all.get_hostaddrs(), all.get_ports());
    let count = hosts.len().max(addresses.len());
    if count == 0
        || (!hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len())
        || (ports.len() > 1 && ports.len() != count)
    {
        return Err(Error::configuration(
            "the database URL needs a host; if it names several, as many ports, or one for all",
        ));
    }
    let one = |n: usize| {
        let mut one = without_hosts(all);
        match hosts.get(n) {
            Some(Host::Tcp(host)) => drop(one.host(host)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(one.host_path(path).ssl_mode(SslMode::Disable)),
            // The name for which the certificate is verified.
            None => drop(addresses.get(n).map(|address| one.host(address.to_string()))),
        }
        if let Some(address) = addresses.get(n) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(n).or(ports.first()) {
            one.port(*port);
        }
        one
    };
    Ok((0..count).map(one).collect())
}

/// The driver's configuration cannot be cleared of its hosts, so everything else is copied.
fn without_hosts(all: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(name) = all.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    if let Some(timeout) = all.get_connect_timeout() {
        one.connect_timeout(*timeout);
    }
    if let Some(timeout) = all.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = all.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = all.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle())
        .target_session_attrs(all.get_target_session_attrs())
        .channel_binding(all.get_channel_binding())
        .load_balance_hosts(all.get_load_balance_hosts());
    one
}

/// The parser's error, unless it could quote a password.
fn hint(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) if !cause.to_string().contains("password") => format!(" ({cause})"),
        _ => String::new(),
    }
}
