//! Django's `PASSWORD_HASHERS`: which hasher is preferred, which are accepted, and the checks.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use super::{
    DjangoVersion, PasswordAlgorithm, PasswordCheck, PasswordHasher,
    column::Column,
    compute::new_column,
    limits::Limits,
    pool::{Bounds, Pool},
    secret::{MAX_PASSWORD_BYTES, Secret},
    verdict::Rules,
};
use crate::{Error, event_log::EventLog};

/// How passwords are hashed and checked: Django's `PASSWORD_HASHERS`.
///
/// The preferred hasher must have the parameters of the Django site that uses the same table. A right
/// password whose column has other parameters is hashed again, which ends the user's other sessions. Two
/// sites that differ do so at every login. Where that cannot be helped, switch it [off](Self::upgrade).
///
/// A hash takes a tenth of a second or more, so hashes run on threads that may block, few at once. Clones
/// share these threads: make one value, and clone it for each worker.
///
/// ```
/// use actix_django_session::auth::password::{PasswordHasher, PasswordHashers, PasswordCheck};
///
/// # #[actix_web::main]
/// # async fn main() -> Result<(), actix_django_session::Error> {
/// let hashers = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(2000));
/// let column = hashers.hash("correct horse").await?;
/// assert_eq!(hashers.check("correct horse", &column).await?, PasswordCheck::Right);
/// assert_eq!(hashers.check("battery staple", &column).await?, PasswordCheck::Wrong);
///
/// let stronger = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(3000));
/// let PasswordCheck::Upgrade(column) = stronger.check("correct horse", &column).await? else { panic!() };
/// assert!(column.starts_with("pbkdf2_sha256$3000$"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PasswordHashers {
    rules: Arc<Rules>,
    bounds: Bounds,
    /// Made when it is first used, with what the settings are then.
    pool: Arc<OnceLock<Pool>>,
}

/// Django 5.2, the newest release with long-term support.
impl Default for PasswordHashers {
    fn default() -> Self {
        Self::django(DjangoVersion::V5_2)
    }
}

/// # Settings
impl PasswordHashers {
    /// Hashes with the preferred hasher. Accepts columns of its algorithm and of those that Django accepts
    /// without settings: PBKDF2 with SHA-256 and SHA-1, Argon2, bcrypt of SHA-256, and scrypt.
    pub fn new(preferred: PasswordHasher) -> Self {
        Self {
            rules: Arc::new(Rules {
                preferred: preferred.0,
                accepted: PasswordAlgorithm::DJANGO.to_vec(),
                upgrade: true,
                limits: Limits { cost: 16, memory: 256 << 20 },
            }),
            bounds: Bounds::default(),
            pool: Arc::default(),
        }
    }

    /// The same as a site of this release without `PASSWORD_HASHERS`: PBKDF2 with SHA-256 is preferred.
    ///
    /// ```
    /// use actix_django_session::auth::password::{DjangoVersion, PasswordHashers};
    ///
    /// let hashers = PasswordHashers::django(DjangoVersion::V4_2);
    /// assert_eq!(hashers.preferred().to_string(), "pbkdf2_sha256, 600000 iterations");
    /// ```
    pub fn django(version: DjangoVersion) -> Self {
        Self::new(PasswordHasher::pbkdf2_sha256(version.iterations()))
    }

    /// Accepts columns of this algorithm too.
    ///
    /// ```
    /// use actix_django_session::auth::password::{PasswordAlgorithm, PasswordHashers};
    ///
    /// let hashers = PasswordHashers::default().accept(PasswordAlgorithm::Md5);
    /// ```
    #[must_use]
    pub fn accept(self, algorithm: PasswordAlgorithm) -> Self {
        self.with_rules(|rules| rules.accepted.push(algorithm))
    }

    /// Accepts columns of these algorithms and of the preferred hasher's, and of no other.
    #[must_use]
    pub fn accept_only(self, algorithms: impl IntoIterator<Item = PasswordAlgorithm>) -> Self {
        self.with_rules(|rules| rules.accepted = algorithms.into_iter().collect())
    }

    /// Whether a right password is hashed again if its column differs from the preferred hasher. Default:
    /// yes, as in Django.
    #[must_use]
    pub fn upgrade(self, yes: bool) -> Self {
        self.with_rules(|rules| rules.upgrade = yes)
    }

    /// How much one hash may cost, in multiples of the most expensive default of any Django: 1,500,000
    /// iterations of PBKDF2, bcrypt with 12 rounds, scrypt with N=16384 r=8 p=5, Argon2 with two passes over
    /// 100 MiB. Default: 16. A column that costs more fits no password.
    #[must_use]
    pub fn max_cost(self, times: u32) -> Self {
        self.with_rules(|rules| rules.limits.cost = times)
    }

    /// How much memory one hash may take, in bytes. Default: 256 MiB. A column that takes more fits no
    /// password.
    #[must_use]
    pub fn max_memory(self, bytes: u64) -> Self {
        self.with_rules(|rules| rules.limits.memory = bytes)
    }

    /// How many passwords are hashed at once. Default: the number of processors.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        self.with_bounds(|bounds| bounds.threads = threads)
    }

    /// How much memory all hashes at once may take, in bytes. Default: 512 MiB. A hash that takes more runs
    /// alone.
    #[must_use]
    pub fn total_memory(self, bytes: u64) -> Self {
        self.with_bounds(|bounds| bounds.memory = bytes)
    }

    /// How many may wait for their turn. Default: 64 for each processor. One more is an error, which as a
    /// response is a 503.
    #[must_use]
    pub fn max_waiting(self, waiting: usize) -> Self {
        self.with_bounds(|bounds| bounds.waiting = waiting)
    }

    fn with_rules(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(Arc::make_mut(&mut self.rules));
        self
    }

    fn with_bounds(mut self, change: impl FnOnce(&mut Bounds)) -> Self {
        change(&mut self.bounds);
        self.pool = Arc::default();
        self
    }

    /// Returns the hasher of new passwords.
    pub fn preferred(&self) -> PasswordHasher {
        PasswordHasher(self.rules.preferred)
    }

    /// Errors if the preferred hasher cannot work or exceeds the limits: a configuration error.
    ///
    /// ```
    /// use actix_django_session::auth::password::{PasswordHasher, PasswordHashers};
    ///
    /// let hashers = PasswordHashers::new(PasswordHasher::argon2(1 << 20, 2, 8)); // a GiB
    /// assert!(hashers.check_settings().unwrap_err().is_configuration());
    /// assert!(hashers.max_memory(1 << 30).check_settings().is_ok());
    /// ```
    pub fn check_settings(&self) -> Result<(), Error> {
        self.rules.limits.check(self.rules.preferred).map_err(|reason| {
            Error::configuration(format!("passwords cannot be hashed with {}: {reason}", self.preferred()))
        })
    }
}

/// # Passwords
impl PasswordHashers {
    /// Compares a password with the column of a user. Django's `check_password`.
    ///
    /// A column that Django cannot read is answered with [`PasswordCheck::Wrong`] and a warning in the log. A
    /// password of more than a MiB is wrong too.
    ///
    /// The time of a wrong answer does not show what the column is: it is that of one hash with the preferred
    /// hasher. Two kinds of columns are exceptions, as in Django: those of another slow algorithm, and those
    /// of Argon2 or scrypt with other parameters.
    ///
    /// The column in [`PasswordCheck::Upgrade`] is to be stored: `UPDATE auth_user SET password = …`.
    ///
    /// Errors if too many wait ([`max_waiting`](Self::max_waiting)), or if the settings cannot work.
    pub async fn check(&self, password: &str, column: &str) -> Result<PasswordCheck, Error> {
        let Some(secret) = secret(password) else {
            self.spend(password).await?;
            return Ok(PasswordCheck::Wrong);
        };
        let memory = self.rules.read(column).map_or(0, |column| column.scheme.memory());
        let column = column.to_owned();
        self.run(memory, move |rules| log(rules.check(secret.bytes(), &column))).await
    }

    /// Does the work of a check for a user who does not exist, so that the time does not tell.
    pub async fn spend(&self, password: &str) -> Result<(), Error> {
        let used = &password.as_bytes()[..password.len().min(MAX_PASSWORD_BYTES)];
        let secret = Secret::new(used);
        self.run(0, move |rules| rules.spend(secret.bytes())).await
    }

    /// Returns the column of a new password. Django's `make_password`.
    ///
    /// Errors if the password has more than a MiB, or more than 72 bytes for plain bcrypt: a
    /// [value error](Error::is_value). And as [`check`](Self::check) does.
    pub async fn hash(&self, password: &str) -> Result<String, Error> {
        let secret = secret(password).ok_or_else(too_long)?;
        let new = self.run(0, move |rules| new_column(rules.preferred, secret.bytes())).await?;
        new.map_err(cannot_hash)
    }

    /// The same as [`check`](Self::check), on this thread and without a turn: for programs without a runtime.
    pub fn check_blocking(&self, password: &str, column: &str) -> Result<PasswordCheck, Error> {
        self.check_settings()?;
        if password.len() > MAX_PASSWORD_BYTES {
            self.rules.spend(&password.as_bytes()[..MAX_PASSWORD_BYTES]);
            return Ok(PasswordCheck::Wrong);
        }
        Ok(log(self.rules.check(password.as_bytes(), column)))
    }

    /// The same as [`hash`](Self::hash), on this thread and without a turn.
    pub fn hash_blocking(&self, password: &str) -> Result<String, Error> {
        self.check_settings()?;
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(too_long());
        }
        new_column(self.rules.preferred, password.as_bytes()).map_err(cannot_hash)
    }

    /// Whether the column of a right password is to be replaced. Django's `must_update`, and no where no
    /// password fits.
    ///
    /// ```
    /// use actix_django_session::auth::password::PasswordHashers;
    ///
    /// let hashers = PasswordHashers::default(); // Django 5.2
    /// assert!(hashers.must_update("pbkdf2_sha256$600000$abcdefghijklmnopqrstuv$eA=="));
    /// assert!(!hashers.must_update("pbkdf2_sha256$1000000$abcdefghijklmnopqrstuv$eA=="));
    /// ```
    pub fn must_update(&self, column: &str) -> bool {
        self.rules.read(column).is_ok_and(|column: Column<'_>| self.rules.must_update(&column))
    }

    /// Runs the work on the pool. Every answer may come with a hash of the preferred hasher.
    async fn run<T: Send + 'static>(
        &self,
        memory: u64,
        work: impl FnOnce(&Rules) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.check_settings()?;
        let memory = memory.max(self.rules.preferred.memory());
        let rules = self.rules.clone();
        let pool = self.pool.get_or_init(|| Pool::new(self.bounds));
        pool.run(memory, move || work(&rules)).await
    }
}

fn secret(password: &str) -> Option<Secret> {
    (password.len() <= MAX_PASSWORD_BYTES).then(|| Secret::new(password.as_bytes()))
}

fn too_long() -> Error {
    Error::value("the password has more than 1,048,576 bytes: refuse it in the form")
}

fn cannot_hash(reason: &str) -> Error {
    Error::value(format!("the password cannot be hashed: {reason}"))
}

fn log((check, warning): (PasswordCheck, Option<String>)) -> PasswordCheck {
    if let Some(warning) = warning {
        EventLog::general().warn(warning);
    }
    check
}

impl fmt::Debug for PasswordHashers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rules { preferred, accepted, upgrade, .. } = &*self.rules;
        f.debug_struct("PasswordHashers")
            .field("preferred", preferred)
            .field("accepted", accepted)
            .field("upgrade", upgrade)
            .finish_non_exhaustive()
    }
}
