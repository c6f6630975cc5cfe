//! Failed logins counted in the database of the users, for all hosts of a site together.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;

use super::{
    LoginAttempt, LoginThrottle,
    sql::{SWEPT_AT_ONCE, Sql},
};
use crate::{
    Error, SecretKey,
    auth::Users,
    backend::{
        Action,
        database::{Database, Executed, NotExecuted, TextStatement},
    },
    event_log::EventLog,
    metrics::Purpose,
};

const SALT: &str = "actix-django-session.login-throttle";

/// How often a process deletes old rows, in seconds.
const SWEEP_EVERY: u64 = 60;

/// Limits failed logins by counts in the database of the [`Users`]: PostgreSQL or SQLite. All hosts and
/// workers of a site count together.
///
/// Two counts are kept: of a login name from an address, and of an address whatever the name. IPv6 addresses
/// count by their /64 network. Nothing counts by the name alone, so a stranger cannot lock a user out. The
/// other side of that: guesses for one user from many addresses are limited for each address only. Against
/// such networks use strong passwords or a second factor.
///
/// Attempts count in a fixed window, which begins with the first one. When there are too many, further ones
/// answer 429 until the window ends, the right password too. A successful login forgets the count of name and
/// address, and takes itself out of the address's; those for other names still count there.
///
/// Names count without regard to case, blanks around them, and Unicode's compatible forms: stricter than the
/// login compares them. The table has hashes keyed with the `SECRET_KEY`, neither names nor addresses. Hosts
/// with different secrets count apart until the change of the secret has reached all of them.
///
/// An address must be known: without one the attempt is an error that answers 500. Behind proxies set
/// [`AuthSettings::trusted_proxies`](crate::auth::AuthSettings::trusted_proxies), or else all visitors have
/// the proxy's address, and share its limit. A database that is away answers 503: without a count, no
/// password is checked.
///
/// Each attempt is one statement; once a minute, it also deletes up to 1,000 rows whose window has ended.
///
/// ```no_run
/// # async fn site() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use actix_django_session::{SecretKey, Store, auth::{Auth, DatabaseThrottle, Users}};
///
/// let secret = SecretKey::new(std::env::var("SECRET_KEY")?);
/// let store = Store::connect(&std::env::var("DATABASE_URL")?, secret.clone()).await?;
/// let users = Users::of(&store)?;
/// let throttle = DatabaseThrottle::new(&users, &secret)?
///     .per_user_and_address(5, Duration::from_secs(15 * 60));
/// throttle.create_table().await?;
/// let auth = Auth::new(users, secret)?.throttle(throttle);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DatabaseThrottle {
    database: Database,
    mac: Hmac<Sha256>,
    user: Limit,
    address: Limit,
    sql: Arc<Sql>,
    /// When old rows are to be deleted next, in seconds since 1970.
    next_sweep: Arc<AtomicU64>,
    log: EventLog,
}

/// So many attempts in a window.
#[derive(Clone, Copy, Debug)]
struct Limit {
    attempts: u32,
    window: Duration,
}

impl Limit {
    fn new(attempts: u32, window: Duration) -> Self {
        let year = Duration::from_secs(365 * 86_400);
        Self { attempts: attempts.max(1), window: window.clamp(Duration::from_secs(1), year) }
    }
}

impl DatabaseThrottle {
    /// Counts in the database of these users. Errors if the secret is empty.
    pub fn new(users: &Users, secret: &SecretKey) -> Result<Self, Error> {
        secret.check()?;
        let current = secret.secrets().next().unwrap_or_default(); // there is always one
        let key = Sha256::new().chain_update(SALT).chain_update(current).finalize();
        let window = Duration::from_secs(5 * 60);
        Ok(Self {
            database: users.database().clone(),
            mac: keyed(&key),
            user: Limit::new(5, window),
            address: Limit::new(100, window),
            sql: Arc::new(Sql::new(users.database().dialect(), users.model().schema.as_deref())),
            next_sweep: Arc::default(),
            log: EventLog::new("the throttle of logins"),
        })
    }

    /// How many attempts one address has for one login name in a window. Default: 5 in 5 minutes. At least 1,
    /// in a window of a second to a year.
    #[must_use]
    pub fn per_user_and_address(mut self, attempts: u32, window: Duration) -> Self {
        self.user = Limit::new(attempts, window);
        self
    }

    /// How many attempts one address has for all login names together. Default: 100 in 5 minutes. Visitors of
    /// one company or mobile network may share an address. At least 1, in a window of a second to a year.
    #[must_use]
    pub fn per_address(mut self, attempts: u32, window: Duration) -> Self {
        self.address = Limit::new(attempts, window);
        self
    }

    /// Creates the table `actix_login_attempts` and its index, if they do not exist. It is in the schema of
    /// the [`UserModel`](crate::auth::UserModel), or else where the `search_path` leads.
    pub async fn create_table(&self) -> Result<(), Error> {
        self.database
            .script(
                Action::new("create the table of attempts to log in", Purpose::Throttle),
                self.sql.create.clone(),
            )
            .await
    }

    /// The keys of an attempt: name and address, and the address alone.
    fn keys(&self, attempt: &LoginAttempt) -> Result<[String; 2], Error> {
        let address = attempt.address.ok_or_else(|| {
            Error::configuration(
                "the address of a visitor is not known, so attempts to log in cannot be counted: set \
                 AuthSettings::trusted_proxies to the number of proxies in front, each of which must append \
                 to X-Forwarded-For",
            )
        })?;
        let network = match address.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => (Ipv6Addr::to_bits(address) >> 64).to_be_bytes().to_vec(),
        };
        let name: String = attempt.username.nfkc().flat_map(char::to_lowercase).collect();
        // The length of the network, and the one text at the end, make the bytes unambiguous.
        let start =
            |kind: u8| self.mac.clone().chain_update([kind, network.len() as u8]).chain_update(&network);
        let text = |mac: Hmac<Sha256>| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        Ok([text(start(b'u').chain_update(name.trim())), text(start(b'a'))])
    }

    async fn run(&self, statement: &TextStatement, params: &[&str]) -> Result<Executed, NotExecuted> {
        let params: Vec<Option<&str>> = params.iter().map(|param| Some(*param)).collect();
        self.database.execute(statement, &params).await
    }

    /// Deletes old rows if that is due. A failure is logged: the attempt is counted all the same.
    async fn sweep(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let due = |next: u64| (next <= now).then_some(now + SWEEP_EVERY);
        if self.next_sweep.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_err() {
            return;
        }
        match self.run(&self.sql.sweep, &[]).await {
            // There may be more: the next attempt goes on.
            Ok(swept) if swept.affected >= SWEPT_AT_ONCE => self.next_sweep.store(0, Ordering::Relaxed),
            Ok(_) => {}
            Err(failed) => failed.error.log(&self.log),
        }
    }
}

impl LoginThrottle for DatabaseThrottle {
    async fn begin(&self, attempt: &LoginAttempt) -> Result<Option<Duration>, Error> {
        let [user, address] = self.keys(attempt)?;
        let mut counted = [(&user, self.user), (&address, self.address)];
        // Statements that lock their rows in one order cannot deadlock.
        counted.sort_by_key(|(key, _)| *key);
        let [first, second] = counted.map(|(_, limit)| limit.window.as_millis().to_string());
        let params = [&**counted[0].0, &*first, &**counted[1].0, &*second];
        let executed = self.run(&self.sql.count, &params).await?;
        let rows: HashMap<String, (u64, u64)> = executed.rows.into_iter().filter_map(read).collect();
        let mut wait = None;
        for (key, limit) in counted {
            let (attempts, left) = rows.get(key).copied().ok_or_else(|| {
                Error::store(
                    "cannot count attempts to log in: the table has other columns than create_table makes",
                )
            })?;
            if attempts > u64::from(limit.attempts) {
                wait = wait.max(Some(Duration::from_millis(left)));
            }
        }
        self.sweep().await;
        Ok(wait)
    }

    async fn succeeded(&self, attempt: &LoginAttempt) -> Result<(), Error> {
        let [user, address] = self.keys(attempt)?;
        self.run(&self.sql.reset, &[&user, &address]).await?;
        Ok(())
    }
}

impl fmt::Debug for DatabaseThrottle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseThrottle")
            .field("per_user_and_address", &self.user)
            .field("per_address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Key, attempts, and milliseconds to the end of the window.
fn read(row: Vec<Option<String>>) -> Option<(String, (u64, u64))> {
    let mut columns = row.into_iter().flatten();
    let key = columns.next()?;
    let attempts = columns.next()?.parse().ok()?;
    let left: i64 = columns.next()?.parse().ok()?;
    Some((key, (attempts, u64::try_from(left).unwrap_or(0))))
}

#[allow(clippy::expect_used)] // HMAC takes keys of any length
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "postgres")]
    #[test]
    fn keys_are_of_name_and_network() {
        let postgres = crate::backend::Postgres::connect_lazy("postgres://app@127.0.0.1:1/x").unwrap();
        let users = Users::postgres(&postgres);
        let throttle = DatabaseThrottle::new(&users, &SecretKey::new("secret")).unwrap();
        let keys = |name: &str, address: &str| {
            throttle.keys(&LoginAttempt::new(name, Some(address.parse().unwrap()))).unwrap()
        };
        let ann = keys("ann", "10.0.0.1");
        for same in ["Ann", " ann\n", "\u{ff21}NN"] {
            assert_eq!(keys(same, "10.0.0.1"), ann, "{same:?}");
        }
        assert_eq!(keys("ann", "::ffff:10.0.0.1"), ann);
        assert_eq!(keys("ann", "2001:db8:1:2::1"), keys("ann", "2001:db8:1:2:ffff::"));
        for (name, address) in [("ann\0", "10.0.0.1"), ("", "10.0.0.1"), ("a nn", "10.0.0.1")] {
            let others = keys(name, address);
            assert!(others[0] != ann[0] && others[1] == ann[1], "{name:?}");
        }
        for address in ["10.0.0.2", "2001:db8:1:2::1", "2001:db8:1:3::1", "::1"] {
            let others = keys("ann", address);
            assert!(others[0] != ann[0] && others[1] != ann[1], "{address}");
        }
        let other = DatabaseThrottle::new(&users, &SecretKey::new("another")).unwrap();
        assert_ne!(other.keys(&LoginAttempt::new("ann", Some([10, 0, 0, 1].into()))).unwrap(), ann);
        assert!(throttle.keys(&LoginAttempt::new("ann", None)).unwrap_err().is_configuration());
        assert!(DatabaseThrottle::new(&users, &SecretKey::new("")).is_err());
    }
}
