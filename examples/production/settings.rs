//! The settings, from the environment. All problems are found at once.

use std::{env, fmt::Display, net::SocketAddr, str::FromStr, time::Duration};

use actix_django_session::{SecretKey, StoreFailure};
use tracing_subscriber::filter::LevelFilter;

/// As in Django's `check --deploy`.
const MIN_SECRET_LENGTH: usize = 50;

pub(crate) struct Settings {
    /// `ADDRESS`. Default: `127.0.0.1:8080`.
    pub(crate) address: SocketAddr,
    /// `METRICS_ADDRESS`, which visitors must not reach. Default: `127.0.0.1:9090`.
    pub(crate) metrics_address: SocketAddr,
    /// `DATABASE_URL`, such as `postgres://app@db.example/site?deadline=2`.
    pub(crate) database_url: String,
    /// `SECRET_KEY`, and earlier ones in `SECRET_KEY_FALLBACKS`, separated by spaces. A Django site beside
    /// this service has the same.
    pub(crate) secret: SecretKey,
    /// `COOKIE_NAME`. Default: `__Host-sessionid`. A Django site that shares the sessions has the same name.
    pub(crate) cookie_name: String,
    /// `INSECURE_COOKIES=1` for a trial without HTTPS.
    pub(crate) cookie_secure: bool,
    /// `WHEN_STORE_FAILS`: `unavailable` (default) or `anonymous`.
    pub(crate) when_store_fails: StoreFailure,
    /// `DRAIN_SECONDS` between the signal to stop and the stop: longer than the load balancer takes to see
    /// that this process is not ready. Default: 10.
    pub(crate) drain: Duration,
    /// `LOG_LEVEL`. Default: `info`.
    pub(crate) log_level: LevelFilter,
}

impl Settings {
    /// Returns the settings, or one sentence for each problem. None quotes the secret key or the URL.
    pub(crate) fn from_env() -> Result<Self, Vec<String>> {
        let mut read = Reader::default();
        let cookie_secure = match &*read.text("INSECURE_COOKIES", "0") {
            "0" => true,
            "1" => false,
            other => read.problem(format!("INSECURE_COOKIES has to be 0 or 1, not {other:?}"), true),
        };
        let when_store_fails = match &*read.text("WHEN_STORE_FAILS", "unavailable") {
            "unavailable" => StoreFailure::Unavailable,
            "anonymous" => StoreFailure::Anonymous,
            other => {
                let problem = format!("WHEN_STORE_FAILS has to be unavailable or anonymous, not {other:?}");
                read.problem(problem, StoreFailure::Unavailable)
            }
        };
        let secret =
            read.required("SECRET_KEY", "a random text of 50 characters or more, Django's if there is one");
        if !secret.is_empty() && secret.chars().count() < MIN_SECRET_LENGTH {
            let problem = format!(
                "SECRET_KEY has {} characters: use {MIN_SECRET_LENGTH} or more",
                secret.chars().count()
            );
            read.problem(problem, ());
        }
        let fallbacks = read.text("SECRET_KEY_FALLBACKS", "");
        // The prefix __Host- has browsers keep the cookie from other hosts of the domain. It needs HTTPS.
        let cookie_name = if cookie_secure { "__Host-sessionid" } else { "sessionid" };
        let settings = Self {
            address: read.parsed("ADDRESS", "127.0.0.1:8080", "an IP address with a port"),
            metrics_address: read.parsed("METRICS_ADDRESS", "127.0.0.1:9090", "an IP address with a port"),
            database_url: read
                .required("DATABASE_URL", "the URL of the database, postgres://user@host/database"),
            secret: SecretKey::new(secret).with_fallbacks(fallbacks.split_whitespace()),
            cookie_name: read.text("COOKIE_NAME", cookie_name),
            cookie_secure,
            when_store_fails,
            drain: Duration::from_secs(read.parsed("DRAIN_SECONDS", "10", "a number of seconds")),
            log_level: read.parsed("LOG_LEVEL", "info", "error, warn, info, debug or trace"),
        };
        if read.problems.is_empty() { Ok(settings) } else { Err(read.problems) }
    }
}

#[derive(Default)]
struct Reader {
    problems: Vec<String>,
}

impl Reader {
    fn text(&mut self, name: &str, default: &str) -> String {
        match env::var(name) {
            Ok(text) => text,
            Err(env::VarError::NotPresent) => default.to_owned(),
            Err(env::VarError::NotUnicode(_)) => {
                self.problem(format!("{name} is not UTF-8"), default.to_owned())
            }
        }
    }

    /// A setting without a default. Its value is not quoted.
    fn required(&mut self, name: &str, meaning: &str) -> String {
        let text = self.text(name, "");
        if text.is_empty() {
            self.problem(format!("{name} is not set: it has to be {meaning}"), ());
        }
        text
    }

    /// `default` has to be right.
    fn parsed<T: FromStr>(&mut self, name: &str, default: &str, meaning: &str) -> T
    where
        T::Err: Display,
    {
        let text = self.text(name, default);
        match text.parse() {
            Ok(value) => value,
            Err(error) => {
                let default = default.parse().unwrap_or_else(|_| unreachable!("{default} is right"));
                self.problem(format!("{name} has to be {meaning}, not {text:?}: {error}"), default)
            }
        }
    }

    /// Notes a problem, and goes on with a value that is not used.
    fn problem<T>(&mut self, problem: String, instead: T) -> T {
        self.problems.push(problem);
        instead
    }
}
