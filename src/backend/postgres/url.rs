//! What the URL of a database says: to the driver, and to us.

use std::{path::PathBuf, time::Duration};

use tokio_postgres::{
    Config,
    config::{Host, LoadBalanceHosts, SslMode},
};

use super::{
    primary::Primary,
    table::{TABLE, Table},
    tls::{self, Tls},
};
use crate::{Error, store::parameters::Parameters};

/// How long an operation may take where nobody says.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// Parameters of ours.
const OURS: [&str; 8] =
    ["table", "schema", "deadline", "pgbouncer", "sslmode", "sslrootcert", "sslcert", "sslkey"];

/// A database to connect to.
pub(super) struct Target {
    /// One for each host, in their order.
    pub(super) hosts: Vec<Config>,
    /// Whether the first is not preferred to the others.
    pub(super) any_first: bool,
    pub(super) tls: Tls,
    /// Whether it may be another server by now.
    pub(super) primary: Primary,
    /// Connections are ours alone, with settings of ours.
    pub(super) own: bool,
    /// Between us and the database is a pooler that has a connection only for the length of a transaction.
    pub(super) pgbouncer: bool,
}

/// All that the URL says.
pub(super) struct Url {
    pub(super) target: Target,
    pub(super) table: Table,
    pub(super) deadline: Duration,
}

impl Url {
    /// For connections of a store's `own`, or for others.
    pub(super) fn parse(url: &str, own: bool) -> Result<Self, Error> {
        let (address, mut ours) = split(url);
        let mut config: Config = address.parse().map_err(|cause| {
            Error::configuration(format!(
                "the database URL is not of the form postgres://user:password@host:port/database{}",
                hint(&cause)
            ))
        })?;
        let (table, schema): (Option<String>, Option<String>) = (ours.take("table")?, ours.take("schema")?);
        let table = Table::new(table.as_deref().unwrap_or(TABLE), schema.as_deref())?;
        let deadline = ours.seconds("deadline")?.unwrap_or(DEADLINE);
        let pgbouncer = ours.take("pgbouncer")?.unwrap_or(false);
        let mode: Option<String> = ours.take("sslmode")?;
        let mode = match mode {
            Some(name) => Some(tls::Mode::named(&name)?),
            // In a text of the form `host=… sslmode=…` it was the driver's.
            None => match config.get_ssl_mode() {
                SslMode::Disable => Some(tls::Mode::Disable),
                SslMode::Require => Some(tls::Mode::Require),
                _ => None,
            },
        };
        let mut file = |name| ours.take::<PathBuf>(name);
        let files =
            tls::Named { roots: file("sslrootcert")?, certificate: file("sslcert")?, key: file("sslkey")? };
        let (tls, driver) = Tls::new(mode, &files)?;
        config.ssl_mode(driver);
        if config.get_application_name().is_none() {
            config.application_name("actix-django-session");
        }
        let any_first = config.get_load_balance_hosts() == LoadBalanceHosts::Random;
        let hosts = one_by_one(&config)?;
        let own = own && !pgbouncer;
        let target = Target { hosts, any_first, tls, primary: Primary::default(), own, pgbouncer };
        Ok(Self { target, table, deadline })
    }
}

/// The URL without ours. A text of the form `host=… user=…` is all the driver's.
fn split(url: &str) -> (String, Parameters) {
    if !url.contains("://") {
        return (url.to_owned(), Parameters::none());
    }
    let (address, mut theirs) = Parameters::of(url);
    let ours = theirs.split_off(&OURS);
    (theirs.put_back(address), ours)
}

/// The driver gives a host that takes the connection and then says nothing all the time there is; so we ask one after
/// the other ourselves.
fn one_by_one(all: &Config) -> Result<Vec<Config>, Error> {
    let (hosts, addresses, ports) = (all.get_hosts(), all.get_hostaddrs(), all.get_ports());
    let count = hosts.len().max(addresses.len());
    let odd = |several: usize| several > 1 && several != count;
    if count == 0
        || (!hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len())
        || odd(ports.len())
    {
        return Err(Error::configuration(
            "the database URL needs a host; where it names several, as many ports, or one for all",
        ));
    }
    let one = |n: usize| {
        let mut one = like(all);
        match hosts.get(n) {
            Some(Host::Tcp(host)) => drop(one.host(host)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(one.host_path(path).ssl_mode(SslMode::Disable)),
            // What its certificate is for.
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

/// All but the hosts.
fn like(all: &Config) -> Config {
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

/// What the parser says, unless it could quote a password.
fn hint(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) if !cause.to_string().contains("password") => format!(" ({cause})"),
        _ => String::new(),
    }
}
