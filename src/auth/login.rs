//! Login and logout: what `request.user`, `login()` and `logout()` are in Django.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Mutex;

use super::{Auth, Credentials, LoginAttempt, User, session_hash::MadeBy};
use crate::{Error, LazySession, Session};

const ID: &str = "_auth_user_id";
const BACKEND: &str = "_auth_user_backend";
const HASH: &str = "_auth_user_hash";

/// Seconds since 1970, for lifetimes. Django ignores them.
const LOGIN_AT: &str = "_auth_login_at";
const SEEN_AT: &str = "_auth_seen_at";
const FRESH_AT: &str = "_auth_fresh_at";

/// Who the visitor of a request is, with login and logout: Django's `request.user`, `login`, `logout`.
///
/// Nothing is loaded until it is asked for, and that once in a request.
///
/// ```
/// use actix_django_session::{Error, auth::{AuthSession, Credentials}};
/// use actix_web::{HttpResponse, Responder, http::header, web};
///
/// #[derive(serde::Deserialize)]
/// struct SignIn {
///     username: String,
///     password: String,
///     next: Option<String>,
/// }
///
/// async fn sign_in(auth: AuthSession, form: web::Form<SignIn>) -> Result<impl Responder, Error> {
///     let credentials = Credentials::password(&form.username, &form.password);
///     let Some(user) = auth.authenticate(&credentials).await? else {
///         return Ok(HttpResponse::Ok().body("Please enter a correct user name and password."));
///     };
///     auth.login(&user).await?;
///     let target = auth.next_url(form.next.as_deref());
///     Ok(HttpResponse::Found().insert_header((header::LOCATION, target)).finish())
/// }
///
/// async fn sign_out(auth: AuthSession) -> Result<impl Responder, Error> {
///     auth.logout().await?;
///     Ok("good bye")
/// }
/// ```
#[derive(Clone)]
pub struct AuthSession(Arc<RequestAuth>);

/// Who the visitor is, as far as it was asked for in this request.
pub(super) struct RequestAuth {
    pub(super) auth: Auth,
    pub(super) session: LazySession,
    pub(super) request: RequestFacts,
    user: Mutex<Option<Option<User>>>,
    /// The user could not be loaded, so that the response may be wrong.
    failed: AtomicBool,
    #[cfg(feature = "csrf")]
    pub(super) csrf: Option<crate::csrf::CsrfToken>,
}

/// What logins need to know of a request.
#[derive(Clone, Default)]
pub(super) struct RequestFacts {
    pub(super) secure: bool,
    /// `None`: not one of the site's.
    pub(super) host: Option<String>,
    /// Path and query, escaped as Django does.
    pub(super) full_path: String,
    /// The value of `next` in the query.
    pub(super) next: Option<String>,
    pub(super) address: Option<IpAddr>,
}

impl AuthSession {
    pub(super) fn new(
        auth: Auth,
        session: LazySession,
        request: RequestFacts,
        #[cfg(feature = "csrf")] csrf: Option<crate::csrf::CsrfToken>,
    ) -> Self {
        Self(Arc::new(RequestAuth {
            auth,
            session,
            request,
            user: Mutex::default(),
            failed: AtomicBool::new(false),
            #[cfg(feature = "csrf")]
            csrf,
        }))
    }

    /// Returns the logins of the site.
    pub fn auth(&self) -> &Auth {
        &self.0.auth
    }

    pub(super) fn facts(&self) -> &RequestFacts {
        &self.0.request
    }

    /// Whether the user could not be loaded, although an extractor made of it that nobody is logged in.
    pub(super) fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Relaxed)
    }
}

/// # Who it is
impl AuthSession {
    /// Returns the user who is logged in, `None` if nobody is. Loaded once in a request. Django's
    /// `request.user`.
    ///
    /// Nobody is logged in if the session names an unknown backend, or a user who is missing, inactive or
    /// cannot exist: the session stays as it is. If the session is not of the user's present password, it is
    /// flushed. If it was made with a fallback secret, its hash is renewed and its key rotated at the end of
    /// the request.
    ///
    /// Errors if session or user cannot be loaded.
    pub async fn user(&self) -> Result<Option<User>, Error> {
        let mut known = self.0.user.lock().await;
        if let Some(user) = &*known {
            return Ok(user.clone());
        }
        let found = self.find_user().await.inspect_err(|error| {
            self.0.failed.store(true, Ordering::Relaxed);
            error.log(self.0.auth.log());
        })?;
        self.0.failed.store(false, Ordering::Relaxed);
        *known = Some(found.clone());
        Ok(found)
    }

    async fn find_user(&self) -> Result<Option<User>, Error> {
        let session = self.0.session.load().await?;
        let Some((id, path)) = self.named_user(&session) else { return Ok(None) };
        let Some(backend) = self.0.auth.backend_at(&path) else { return Ok(None) };
        let Some(user) = self.0.auth.users().get_by_key(id).await? else { return Ok(None) };
        if !user.is_active() && !backend.allows_inactive() {
            return Ok(None);
        }
        let hash = session.get::<String>(HASH).ok().flatten().unwrap_or_default();
        match self.0.auth.hash().verify(&hash, user.password_column()) {
            MadeBy::Current => {}
            MadeBy::Fallback => {
                session.cycle_key()?;
                session.insert(HASH, &self.0.auth.hash().make(user.password_column()))?;
            }
            MadeBy::Nobody => {
                session.flush()?;
                return Ok(None);
            }
        }
        if !self.is_in_time(&session)? {
            session.flush()?;
            return Ok(None);
        }
        Ok(Some(user.with_backend(&path)))
    }

    /// The key of the user and the path of the backend that the session names.
    fn named_user(&self, session: &Session) -> Option<(String, String)> {
        let id = session.get_json(ID)?;
        let path = session.get::<String>(BACKEND).ok().flatten()?;
        let key = self.0.auth.users().model().key.1.of_json(&id);
        if key.is_none() && id != "null" {
            self.0.auth.log().warn("a session names a user by a key that no user can have: ignored".into());
        }
        Some((key?, path))
    }

    /// Whether the login has not expired by the settings; notes that the visitor was here.
    fn is_in_time(&self, session: &Session) -> Result<bool, Error> {
        let (settings, now) = (self.0.auth.get_settings(), now());
        let at = |key: &str| session.get::<u64>(key).ok().flatten();
        if let Some(lifetime) = settings.lifetime {
            match at(LOGIN_AT) {
                Some(at) if now.saturating_sub(at) >= lifetime.as_secs() => return Ok(false),
                Some(_) => {}
                None => session.insert(LOGIN_AT, &now)?, // a login made by Django
            }
        }
        if let Some(timeout) = settings.idle_timeout {
            match at(SEEN_AT) {
                Some(at) if now.saturating_sub(at) >= timeout.as_secs() => return Ok(false),
                Some(at) if now.saturating_sub(at) <= timeout.as_secs() / 20 => {}
                _ => session.insert(SEEN_AT, &now)?,
            }
        }
        Ok(true)
    }

    /// Whether the password was entered within [`AuthSettings::fresh_for`](super::AuthSettings::fresh_for).
    /// A login made by Django is not fresh. Errors without that setting.
    pub async fn is_fresh(&self) -> Result<bool, Error> {
        let Some(time) = self.0.auth.get_settings().fresh_for else {
            return Err(Error::configuration("say how long a login is fresh: AuthSettings::fresh_for"));
        };
        if self.user().await?.is_none() {
            return Ok(false);
        }
        let at: Option<u64> = self.0.session.load().await?.get(FRESH_AT).ok().flatten();
        Ok(at.is_some_and(|at| now().saturating_sub(at) < time.as_secs()))
    }
}

/// # Login and logout
impl AuthSession {
    /// Asks the backends who this is, if the throttle admits the attempt. See [`Auth::authenticate`]. The
    /// session is not touched: call [`login`](Self::login) with the user.
    ///
    /// Errors if there were too many attempts ([`Error::is_throttled`]), which answers 429.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, Error> {
        let Some(username) = credentials.get("username") else {
            return self.0.auth.authenticate(credentials).await;
        };
        let attempt = LoginAttempt { username: username.to_owned(), address: self.0.request.address };
        self.0.auth.begin_attempt(&attempt).await?;
        let user = self.0.auth.authenticate(credentials).await?;
        if user.is_some() {
            self.0.auth.attempt_succeeded(&attempt).await;
        }
        Ok(user)
    }

    /// Logs the user in: at the end of the request, the session has a new key and holds the user. Django's
    /// `login`.
    ///
    /// Data of an anonymous visitor is kept. Data of another user is not; nor is that of the same user with
    /// another password. Who is logged in already, and with the same password, keeps the key. Sets
    /// `last_login`, and renews the secret of [`csrf`](crate::csrf), if that is there.
    ///
    /// A response with a 5xx logs nobody in, and the visitor's session stays as it was: Django would have
    /// lost it.
    ///
    /// Errors if the user is inactive and the backend does not allow that, or if it is not known which of
    /// several backends the user belongs to: a user of [`authenticate`](Self::authenticate) has one.
    pub async fn login(&self, user: &User) -> Result<(), Error> {
        let auth = &self.0.auth;
        let path = user.backend().or_else(|| auth.only_path()).ok_or_else(|| {
            Error::configuration(
                "there are several authentication backends: log in a user whom AuthSession::authenticate returned",
            )
        })?;
        let allows_inactive = auth.backend_at(path).is_some_and(|backend| backend.allows_inactive());
        if !user.is_active() && !allows_inactive {
            return Err(Error::forbidden("the user is inactive and cannot log in"));
        }
        let mut known = self.0.user.lock().await;
        let session = self.0.session.load().await?;
        auth.users().note_login(user).await?;
        let is_present = session.contains_key(ID);
        let is_same = is_present && self.is_session_of(&session, user);
        match (is_present, is_same) {
            (false, _) => session.cycle_key_or_new()?,
            (true, true) => {}
            (true, false) => session.flush()?,
        }
        session.insert(ID, user.id())?;
        session.insert(BACKEND, path)?;
        session.insert(HASH, &auth.hash().make(user.password_column()))?;
        self.note_times(&session)?;
        #[cfg(feature = "csrf")]
        if let Some(csrf) = &self.0.csrf {
            csrf.rotate();
        }
        *known = Some(Some(user.clone().with_backend(path)));
        Ok(())
    }

    fn is_session_of(&self, session: &Session, user: &User) -> bool {
        let key = session.get_json(ID).and_then(|id| self.0.auth.users().model().key.1.of_json(&id));
        let hash = session.get::<String>(HASH).ok().flatten().unwrap_or_default();
        key.as_deref() == Some(user.id())
            && self.0.auth.hash().verify(&hash, user.password_column()) == MadeBy::Current
    }

    fn note_times(&self, session: &Session) -> Result<(), Error> {
        let (settings, now) = (self.0.auth.get_settings(), now());
        for (key, is_set) in [
            (LOGIN_AT, settings.lifetime.is_some()),
            (SEEN_AT, settings.idle_timeout.is_some()),
            (FRESH_AT, settings.fresh_for.is_some()),
        ] {
            if is_set {
                session.insert(key, &now)?;
            }
        }
        Ok(())
    }

    /// Logs out: the session and all its data are deleted at the end of the request. Django's `logout`.
    pub async fn logout(&self) -> Result<(), Error> {
        let mut known = self.0.user.lock().await;
        self.0.session.flush()?;
        *known = Some(None);
        Ok(())
    }

    /// Checks the password of the user who is logged in, and makes the login fresh if it is right: see
    /// [`FreshLogin`](super::FreshLogin). Counts as an attempt to log in.
    pub async fn confirm_password(&self, password: &str) -> Result<bool, Error> {
        let Some(user) = self.user().await? else { return Ok(false) };
        let attempt = LoginAttempt { username: user.username().to_owned(), address: self.0.request.address };
        self.0.auth.begin_attempt(&attempt).await?;
        let Some(now_known) = self.0.auth.check_password(Some(&user), password).await? else {
            return Ok(false);
        };
        self.0.auth.attempt_succeeded(&attempt).await;
        if now_known.password_column() != user.password_column() {
            self.update_session_auth_hash(&now_known).await?;
        }
        self.0.session.load().await?.insert(FRESH_AT, &now())?;
        Ok(true)
    }

    /// Sets a new password for the user who is logged in. This session stays, with a new key; all others of
    /// the user end with their next request. Errors if nobody is logged in.
    pub async fn change_password(&self, password: &str) -> Result<(), Error> {
        let user = self.user().await?.ok_or_else(|| Error::login_required(None))?;
        let user = self.0.auth.set_password(&user, password).await?;
        self.update_session_auth_hash(&user).await
    }

    /// Keeps this session although the password was changed: it gets a new key, and the hash of the user's
    /// present password if it is this user's. Django's `update_session_auth_hash`, except that the user whom
    /// the request began with counts, so that nobody is logged out by the order of calls.
    pub async fn update_session_auth_hash(&self, user: &User) -> Result<(), Error> {
        let mut known = self.0.user.lock().await;
        let session = self.0.session.load().await?;
        let of_the_user = match &*known {
            Some(known) => known.as_ref() == Some(user),
            // Not looked at yet: the session's hash is of the password before the change.
            None => {
                self.is_session_of(&session, user)
                    || user.previous_password_column().is_some_and(|previous| {
                        self.is_session_of(&session, &user.with_password(previous.to_owned()))
                    })
            }
        };
        session.cycle_key()?;
        if of_the_user {
            session.insert(HASH, &self.0.auth.hash().make(user.password_column()))?;
            let path = match &*known {
                Some(Some(known)) => known.backend().map(str::to_owned),
                _ => session.get::<String>(BACKEND).ok().flatten(),
            };
            *known = Some(Some(match path {
                Some(path) => user.clone().with_backend(&path),
                None => user.clone(),
            }));
        }
        Ok(())
    }

    /// Deletes all other sessions of the user who is logged in, and returns how many. See
    /// [`Store::end_sessions_of_user`](crate::Store::end_sessions_of_user).
    pub async fn end_other_sessions(&self) -> Result<u64, Error> {
        let user = self.user().await?.ok_or_else(|| Error::login_required(None))?;
        let key = self.0.session.stored_key();
        self.0.session.store().end_sessions_of_user(user.id(), key.as_ref()).await
    }

    /// Returns where a login leads: `next`, if it is safe, else [`login_redirect_url`]. `next` comes from the
    /// form; without it, from the query. Django's `LoginView.get_success_url`.
    ///
    /// [`login_redirect_url`]: super::AuthSettings::login_redirect_url
    pub fn next_url(&self, next: Option<&str>) -> String {
        let (settings, request) = (self.0.auth.get_settings(), &self.0.request);
        let hosts: Vec<&str> = request.host.as_deref().into_iter().collect();
        super::next_url::next_target(next, request.next.as_deref(), &hosts, request.secure)
            .unwrap_or_else(|| settings.login_redirect_url.clone())
    }
}

impl fmt::Debug for AuthSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthSession")
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
