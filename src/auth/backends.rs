//! Who a visitor is: Django's authentication backends.

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin};

use unicode_normalization::UnicodeNormalization as _;

use super::{Auth, NewUser, User, users::is_python_space};
use crate::Error;

/// Characters of Django's user names.
const MAX_NORMALIZED: usize = 150;

/// What a visitor proves to be somebody with: named texts, such as a user name and a password.
///
/// `Debug` shows the names, never the values.
///
/// ```
/// use actix_django_session::auth::Credentials;
///
/// let form = Credentials::password("ada", "a long password");
/// let token = Credentials::new().with("token", "abc");
/// assert_eq!(format!("{token:?}"), r#"Credentials(["token"])"#);
/// ```
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A login name and a password.
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::new().with("username", username).with("password", password)
    }

    /// The same as a visitor enters them in a form: blanks around the name do not count, and full-width and
    /// other variants of letters are the letters (NFKC). Django's `AuthenticationForm`.
    ///
    /// ```
    /// use actix_django_session::auth::Credentials;
    ///
    /// let entered = Credentials::form(" \u{ff41}da ", "a long password");
    /// assert_eq!(entered.get("username"), Some("ada"));
    /// ```
    pub fn form(username: &str, password: impl Into<String>) -> Self {
        let name = username.trim_matches(is_python_space);
        // Django leaves longer ones alone, since NFKC is slow.
        match name.chars().nth(MAX_NORMALIZED) {
            None => Self::password(name.nfkc().collect::<String>(), password),
            Some(_) => Self::password(name, password),
        }
    }

    /// Adds one.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Returns one by its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.0.keys().collect::<Vec<_>>()).finish()
    }
}

/// The answer of a backend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Authenticated {
    /// The visitor is this user.
    User(User),
    /// The backend does not know: the next one is tried. Django's `None`.
    Unknown,
    /// The visitor must not log in: no further backend is tried. Django's `PermissionDenied`.
    Denied,
}

/// A way to find out who a visitor is. Django's authentication backend.
///
/// ```
/// use actix_django_session::{Error, auth::{Auth, AuthBackend, Authenticated, Credentials}};
///
/// struct Tokens;
///
/// impl AuthBackend for Tokens {
///     fn path(&self) -> &str {
///         "site.tokens.TokenBackend" // as Django's AUTHENTICATION_BACKENDS names it
///     }
///
///     async fn authenticate(&self, auth: &Auth, credentials: &Credentials) -> Result<Authenticated, Error> {
///         let Some(token) = credentials.get("token") else { return Ok(Authenticated::Unknown) };
///         # let user_name_of = |_: &str| Some("ada");
///         let Some(name) = user_name_of(token) else { return Ok(Authenticated::Unknown) };
///         Ok(auth.users().get_by_username(name).await?.map_or(Authenticated::Unknown, Authenticated::User))
///     }
/// }
/// ```
pub trait AuthBackend: Send + Sync + 'static {
    /// The dotted path by which sessions name this backend. A Django site that lists the same path in
    /// `AUTHENTICATION_BACKENDS` accepts the login.
    fn path(&self) -> &str;

    /// Returns who the visitor is. An inactive user is not logged in, unless
    /// [`allows_inactive`](Self::allows_inactive) says so.
    ///
    /// Where this takes time that tells known from unknown users, spend it for both, as
    /// [`Auth::check_password`] does.
    fn authenticate(
        &self,
        auth: &Auth,
        credentials: &Credentials,
    ) -> impl Future<Output = Result<Authenticated, Error>> + Send;

    /// Whether inactive users may log in and stay logged in. Default: no. Django's `user_can_authenticate`.
    fn allows_inactive(&self) -> bool {
        false
    }
}

type Boxed<'a> = Pin<Box<dyn Future<Output = Result<Authenticated, Error>> + Send + 'a>>;

/// [`AuthBackend`] as a trait object.
pub(super) trait DynAuthBackend: Send + Sync {
    fn path(&self) -> &str;
    fn authenticate<'a>(&'a self, auth: &'a Auth, credentials: &'a Credentials) -> Boxed<'a>;
    fn allows_inactive(&self) -> bool;
}

impl<B: AuthBackend> DynAuthBackend for B {
    fn path(&self) -> &str {
        AuthBackend::path(self)
    }

    fn authenticate<'a>(&'a self, auth: &'a Auth, credentials: &'a Credentials) -> Boxed<'a> {
        Box::pin(AuthBackend::authenticate(self, auth, credentials))
    }

    fn allows_inactive(&self) -> bool {
        AuthBackend::allows_inactive(self)
    }
}

/// Users and passwords in the table of users. Django's `ModelBackend` and `AllowAllUsersModelBackend`.
#[derive(Clone, Debug)]
pub struct ModelBackend {
    path: String,
    allows_inactive: bool,
}

impl ModelBackend {
    /// Django's default backend.
    pub fn new() -> Self {
        Self::named("django.contrib.auth.backends.ModelBackend")
    }

    /// The same for inactive users too: Django's `AllowAllUsersModelBackend`.
    pub fn all_users() -> Self {
        let path = "django.contrib.auth.backends.AllowAllUsersModelBackend".to_owned();
        Self { path, allows_inactive: true }
    }

    /// A subclass that the site lists under another path, such as
    /// `allauth.account.auth_backends.AuthenticationBackend`.
    pub fn named(path: impl Into<String>) -> Self {
        Self { path: path.into(), allows_inactive: false }
    }
}

impl Default for ModelBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl AuthBackend for ModelBackend {
    fn path(&self) -> &str {
        &self.path
    }

    async fn authenticate(&self, auth: &Auth, credentials: &Credentials) -> Result<Authenticated, Error> {
        let login = &auth.users().model().login;
        let name = credentials.get("username").or_else(|| credentials.get(login));
        let (Some(name), Some(password)) = (name, credentials.get("password")) else {
            return Ok(Authenticated::Unknown);
        };
        let user = auth.users().get_by_username(name).await?;
        Ok(match auth.check_password(user.as_ref(), password).await? {
            Some(user) => Authenticated::User(user),
            None => Authenticated::Unknown,
        })
    }

    fn allows_inactive(&self) -> bool {
        self.allows_inactive
    }
}

/// Users whom a server in front has authenticated. Django's `RemoteUserBackend` and
/// `AllowAllUsersRemoteUserBackend`: the credential `remote_user`.
///
/// Pass the credential only from a header that the server in front sets in every request. Never make it of a
/// form: anybody could be anybody. A login stays when the header is gone; Django's `RemoteUserMiddleware`,
/// which ends it then, is not here.
#[derive(Clone, Debug)]
pub struct RemoteUserBackend {
    path: String,
    allows_inactive: bool,
    create_unknown_user: bool,
}

impl RemoteUserBackend {
    /// Django's `RemoteUserBackend`, which creates unknown users.
    pub fn new() -> Self {
        let path = "django.contrib.auth.backends.RemoteUserBackend".to_owned();
        Self { path, allows_inactive: false, create_unknown_user: true }
    }

    /// The same for inactive users too: Django's `AllowAllUsersRemoteUserBackend`.
    pub fn all_users() -> Self {
        let path = "django.contrib.auth.backends.AllowAllUsersRemoteUserBackend".to_owned();
        Self { path, allows_inactive: true, ..Self::new() }
    }

    /// Whether unknown users are created, without a usable password. Django's `create_unknown_user`.
    #[must_use]
    pub fn create_unknown_user(mut self, yes: bool) -> Self {
        self.create_unknown_user = yes;
        self
    }
}

impl Default for RemoteUserBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl AuthBackend for RemoteUserBackend {
    fn path(&self) -> &str {
        &self.path
    }

    async fn authenticate(&self, auth: &Auth, credentials: &Credentials) -> Result<Authenticated, Error> {
        let Some(name) = credentials.get("remote_user").filter(|name| !name.is_empty()) else {
            return Ok(Authenticated::Unknown);
        };
        let mut user = auth.users().get_by_username(name).await?;
        if user.is_none() && self.create_unknown_user {
            user = match auth.create_user(NewUser::exactly(name), None).await {
                Ok(user) => Some(user),
                // By another request, a moment ago.
                Err(error) if error.is_taken() => auth.users().get_by_username(name).await?,
                Err(error) => return Err(error),
            };
        }
        Ok(user.map_or(Authenticated::Unknown, Authenticated::User))
    }

    fn allows_inactive(&self) -> bool {
        self.allows_inactive
    }
}

/// A backend of the Django site whose logins are accepted here, without a way to log in by it here.
#[derive(Clone, Debug)]
pub struct AcceptedBackend {
    path: String,
    allows_inactive: bool,
}

impl AcceptedBackend {
    /// By its path in `AUTHENTICATION_BACKENDS`.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), allows_inactive: false }
    }

    /// Whether its inactive users stay logged in. Default: no.
    #[must_use]
    pub fn inactive_users(mut self, yes: bool) -> Self {
        self.allows_inactive = yes;
        self
    }
}

impl AuthBackend for AcceptedBackend {
    fn path(&self) -> &str {
        &self.path
    }

    async fn authenticate(&self, _: &Auth, _: &Credentials) -> Result<Authenticated, Error> {
        Ok(Authenticated::Unknown)
    }

    fn allows_inactive(&self) -> bool {
        self.allows_inactive
    }
}
