//! The logins of a site: users, backends, password hashes and settings together.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    AuthBackend, AuthSettings, Authenticated, Credentials, LoginAttempt, LoginThrottle, ModelBackend,
    NewUser, User, Users,
    backends::DynAuthBackend,
    password::{PasswordCheck, PasswordHashers, unusable_password},
    session_hash::SessionHash,
    throttle::DynThrottle,
};
use crate::{Error, SecretKey, event_log::EventLog};

/// The logins of a site, as Django has them: users, authentication backends, password hashes. Cheap to clone.
///
/// ```no_run
/// # async fn site() -> Result<(), Box<dyn std::error::Error>> {
/// use actix_django_session::{
///     SecretKey, SessionMiddleware, Store,
///     auth::{Auth, AuthMiddleware, AuthSettings, Users},
/// };
/// use actix_web::App;
///
/// let secret = SecretKey::new(std::env::var("SECRET_KEY")?);
/// let store = Store::connect(&std::env::var("DATABASE_URL")?, secret.clone()).await?;
/// let auth = Auth::new(Users::of(&store)?, secret)?
///     .settings(AuthSettings::default().login_url("/accounts/login/"))?;
/// let session = SessionMiddleware::new(store);
/// let app = App::new()
///     .wrap(AuthMiddleware::new(auth)) // inside the session
///     .wrap(session);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Auth(Arc<Shared>);

#[derive(Clone)]
struct Shared {
    users: Users,
    hash: SessionHash,
    hashers: PasswordHashers,
    backends: Vec<Arc<dyn DynAuthBackend>>,
    throttle: Option<Arc<dyn DynThrottle>>,
    settings: AuthSettings,
    log: EventLog,
}

/// # Making one
impl Auth {
    /// The users of a site with its `SECRET_KEY`, Django's default backend and default settings. Errors if
    /// the secret is empty.
    ///
    /// Make it once, outside the App's factory, and clone it: clones share the threads that hash passwords.
    pub fn new(users: Users, secret: SecretKey) -> Result<Self, Error> {
        Ok(Self(Arc::new(Shared {
            users,
            hash: SessionHash::new(&secret)?,
            hashers: PasswordHashers::default(),
            backends: vec![Arc::new(ModelBackend::new())],
            throttle: None,
            settings: AuthSettings::default(),
            log: EventLog::new("logins"),
        })))
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Uses these settings. Errors if one of them cannot be right.
    pub fn settings(self, settings: AuthSettings) -> Result<Self, Error> {
        settings.check()?;
        Ok(self.with(|shared| shared.settings = settings))
    }

    /// `PASSWORD_HASHERS`: the preferred hasher and the others that are accepted. Say what the Django site
    /// beside it says, or else both rewrite each other's hashes. Errors if they cannot work.
    pub fn hashers(self, hashers: PasswordHashers) -> Result<Self, Error> {
        hashers.check_settings()?;
        Ok(self.with(|shared| shared.hashers = hashers))
    }

    /// Replaces the list of backends by this one alone. Add more by [`backend`](Self::backend).
    #[must_use]
    pub fn only_backend(self, backend: impl AuthBackend) -> Self {
        self.with(|shared| shared.backends = vec![Arc::new(backend)])
    }

    /// Adds a backend after those that are there: `AUTHENTICATION_BACKENDS`.
    #[must_use]
    pub fn backend(self, backend: impl AuthBackend) -> Self {
        self.with(|shared| shared.backends.push(Arc::new(backend)))
    }

    /// Limits failed logins. Default: no limit, as in Django.
    #[must_use]
    pub fn throttle(self, throttle: impl LoginThrottle) -> Self {
        self.with(|shared| shared.throttle = Some(Arc::new(throttle)))
    }

    /// Returns the table of users.
    pub fn users(&self) -> &Users {
        &self.0.users
    }

    pub(crate) fn get_settings(&self) -> &AuthSettings {
        &self.0.settings
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn hash(&self) -> &SessionHash {
        &self.0.hash
    }

    pub(super) fn log(&self) -> &EventLog {
        &self.0.log
    }

    /// The backend with this path, if it is in the list.
    pub(super) fn backend_at(&self, path: &str) -> Option<&dyn DynAuthBackend> {
        self.0.backends.iter().map(|backend| &**backend).find(|backend| backend.path() == path)
    }

    /// The path of the only backend; `None` if there are several.
    pub(super) fn only_path(&self) -> Option<&str> {
        match &self.0.backends[..] {
            [backend] => Some(backend.path()),
            _ => None,
        }
    }
}

/// # Users and passwords
impl Auth {
    /// Asks the backends in turn who this is. Returns `None` if no backend knows, or one forbids it, or the
    /// user is inactive. Neither session nor request are touched. Django's `authenticate`.
    ///
    /// Attempts are not counted: [`AuthSession::authenticate`](super::AuthSession::authenticate) does that.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, Error> {
        for backend in &self.0.backends {
            match backend.authenticate(self, credentials).await? {
                Authenticated::User(user) if user.is_active() || backend.allows_inactive() => {
                    return Ok(Some(user.with_backend(backend.path())));
                }
                Authenticated::User(_) | Authenticated::Unknown => {}
                Authenticated::Denied => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Returns the user if this is the password, whether active or not. Without a user it takes as long as
    /// with one. If the hash is made by another algorithm or with other parameters than the preferred ones,
    /// it is renewed, unless another password was set meanwhile. Django's `check_password`.
    pub async fn check_password(&self, user: Option<&User>, password: &str) -> Result<Option<User>, Error> {
        let Some(user) = user else {
            self.0.hashers.spend(password).await?;
            return Ok(None);
        };
        let column = match self.0.hashers.check(password, user.password_column()).await? {
            PasswordCheck::Wrong => return Ok(None),
            PasswordCheck::Right => return Ok(Some(user.clone())),
            PasswordCheck::Upgrade(column) => column,
        };
        match self.0.users.set_password(user, &column, Some(user.password_column())).await {
            Ok(true) => Ok(Some(user.with_password(column))),
            // It was changed meanwhile, perhaps by the same upgrade elsewhere: what is stored now counts.
            Ok(false) => match self.0.users.get(user.id()).await? {
                Some(now) if self.0.hashers.check(password, now.password_column()).await?.is_right() => {
                    Ok(Some(now))
                }
                _ => Ok(None),
            },
            Err(error) => Err(error),
        }
    }

    /// Stores a new password, and returns the user with it. All sessions of the user end with their next
    /// request, also the one that calls this: there, use
    /// [`AuthSession::change_password`](super::AuthSession::change_password). Django's `set_password` and
    /// `save`.
    pub async fn set_password(&self, user: &User, password: &str) -> Result<User, Error> {
        let column = self.0.hashers.hash(password).await?;
        self.store_password(user, column).await
    }

    /// Takes the user's password away, so that none is right. Django's `set_unusable_password` and `save`.
    pub async fn set_unusable_password(&self, user: &User) -> Result<User, Error> {
        self.store_password(user, unusable_password()).await
    }

    async fn store_password(&self, user: &User, column: String) -> Result<User, Error> {
        match self.0.users.set_password(user, &column, None).await? {
            true => Ok(user.with_password(column)),
            false => Err(Error::value("cannot set a password: the user does not exist any more")),
        }
    }

    /// Creates a user; without a password, none is right. Errors if the login name is taken
    /// ([`Error::is_taken`]). Django's `create_user`.
    pub async fn create_user(&self, new: NewUser, password: Option<&str>) -> Result<User, Error> {
        let column = match password {
            Some(password) => self.0.hashers.hash(password).await?,
            None => unusable_password(),
        };
        self.0.users.create(&new, &column).await
    }

    /// All visitors behind a proxy have one address, and so one limit.
    pub(super) fn warn_of_proxy(&self) {
        if self.0.throttle.is_some() {
            self.0.log.warn(
                "logins come through a proxy (X-Forwarded-For), and all of them count as one address: set \
                 AuthSettings::trusted_proxies"
                    .to_owned(),
            );
        }
    }

    /// Counts an attempt. Errors if it must not be made.
    pub(super) async fn begin_attempt(&self, attempt: &LoginAttempt) -> Result<(), Error> {
        let Some(throttle) = &self.0.throttle else { return Ok(()) };
        match throttle.begin(attempt).await? {
            None => Ok(()),
            Some(wait) => Err(Error::throttled(wait.max(Duration::from_secs(1)))),
        }
    }

    pub(super) async fn attempt_succeeded(&self, attempt: &LoginAttempt) {
        if let Some(throttle) = &self.0.throttle
            && let Err(error) = throttle.succeeded(attempt).await
        {
            error.log(&self.0.log); // the login is right all the same
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<&str> = self.0.backends.iter().map(|backend| backend.path()).collect();
        f.debug_struct("Auth").field("users", &self.0.users).field("backends", &paths).finish_non_exhaustive()
    }
}
