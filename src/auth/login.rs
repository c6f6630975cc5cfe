//! Login and logout: what `request.user`, `login()` and `logout()` are in Django.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::http::Uri;
use tokio::sync::Mutex;

use super::{
    Auth, Credentials, LoginAttempt, User, next_url,
    session_user::{BACKEND, HASH, ID, SessionUser},
};
use crate::{Error, LazySession, Session, metrics::auth as metrics};

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
///     let credentials = Credentials::form(&form.username, &form.password);
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
struct RequestAuth {
    auth: Auth,
    session: LazySession,
    request: RequestFacts,
    user: Mutex<Option<Option<User>>>,
    /// The user could not be loaded, so that the response may be wrong.
    failed: AtomicBool,
    /// Once its middleware has seen the request.
    #[cfg(feature = "csrf")]
    csrf: std::sync::OnceLock<crate::csrf::CsrfToken>,
}

/// What logins need to know of a request.
#[derive(Clone, Default)]
pub(super) struct RequestFacts {
    pub(super) secure: bool,
    /// `None`: not one of the site's.
    pub(super) host: Option<String>,
    /// Its path and query, which are read only where a login leads somewhere.
    pub(super) uri: Uri,
    pub(super) address: Option<IpAddr>,
    /// A proxy is in front, and the settings do not say so.
    pub(super) is_behind_a_proxy: bool,
}

impl AuthSession {
    pub(super) fn new(auth: Auth, session: LazySession, request: RequestFacts) -> Self {
        Self(Arc::new(RequestAuth {
            auth,
            session,
            request,
            user: Mutex::default(),
            failed: AtomicBool::new(false),
            #[cfg(feature = "csrf")]
            csrf: std::sync::OnceLock::new(),
        }))
    }

    #[cfg(feature = "csrf")]
    pub(super) fn set_csrf(&self, csrf: Option<crate::csrf::CsrfToken>) {
        if let Some(csrf) = csrf {
            let _ = self.0.csrf.set(csrf); // the first middleware's stays
        }
    }

    /// Returns the logins of the site.
    pub fn auth(&self) -> &Auth {
        &self.0.auth
    }

    pub(super) fn session(&self) -> &LazySession {
        &self.0.session
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
    /// Errors if session or user cannot be loaded. With
    /// [`StoreFailure::Anonymous`](crate::StoreFailure::Anonymous), a request that only reads gets `None`
    /// instead. The extractors and [`LoginRequired`](super::LoginRequired) err all the same: who may be logged
    /// in must not be sent to the login page.
    pub async fn user(&self) -> Result<Option<User>, Error> {
        let mut known = self.0.user.lock().await;
        if let Some(user) = &*known {
            return Ok(user.clone());
        }
        let found = match self.find_user().await {
            Err(error) if error.is_store() && self.0.session.degrade(&error) => None,
            found => found.inspect_err(|error| {
                self.0.failed.store(true, Ordering::Relaxed);
                error.log(self.0.auth.log());
            })?,
        };
        self.0.failed.store(false, Ordering::Relaxed);
        *known = Some(found.clone());
        Ok(found)
    }

    /// As [`user`](Self::user), but errs if it is not known whether somebody is logged in: for all that turns
    /// away a visitor without a user.
    pub(super) async fn known_user(&self) -> Result<Option<User>, Error> {
        let user = self.user().await?;
        if user.is_none() && self.0.session.is_degraded() {
            return Err(Error::store(
                "it is not known who is logged in, since the session or the user could not be loaded; \
                 retry when the store works again",
            ));
        }
        Ok(user)
    }

    async fn find_user(&self) -> Result<Option<User>, Error> {
        let (session, auth) = (self.0.session.load().await?, &self.0.auth);
        let user = match auth.session_user(&session).await? {
            SessionUser::Known(user) => Some(user),
            SessionUser::ByFallback(user) => {
                session.cycle_key_unrequested()?;
                session.insert_unrequested(HASH, &auth.hash().make(user.password_column()))?;
                Some(user)
            }
            SessionUser::Expired => {
                session.flush()?;
                None
            }
            SessionUser::Nobody => None,
        };
        if user.is_some() {
            auth.note_visit(&session)?;
        }
        Ok(user)
    }

    /// Whether the password was entered within [`AuthSettings::fresh_for`](super::AuthSettings::fresh_for).
    /// A login made by Django is not fresh. Errors without that setting.
    pub async fn is_fresh(&self) -> Result<bool, Error> {
        let is_fresh = self.0.auth.is_fresh(&self.0.session.load().await?)?;
        // A degraded session looks like one that is not fresh.
        Ok((is_fresh || self.0.session.is_degraded()) && self.known_user().await?.is_some())
    }
}

/// # Login and logout
impl AuthSession {
    /// Asks the backends who this is, if the throttle admits the attempt. See [`Auth::authenticate`]. The
    /// session is not touched: call [`login`](Self::login) with the user.
    ///
    /// Errors if there were too many attempts ([`Error::is_throttled`]), which answers 429.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, Error> {
        let result = self.authenticate_once(credentials).await;
        metrics::login_attempt(&result);
        result
    }

    async fn authenticate_once(&self, credentials: &Credentials) -> Result<Option<User>, Error> {
        let login = &self.0.auth.users().model().login;
        let username = credentials.get("username").or_else(|| credentials.get(login)).unwrap_or_default();
        let attempt = self.attempt(username);
        self.0.auth.begin_attempt(&attempt).await?;
        let user = self.0.auth.authenticate(credentials).await?;
        if user.is_some() {
            self.0.auth.attempt_succeeded(&attempt).await;
        }
        Ok(user)
    }

    fn attempt(&self, username: &str) -> LoginAttempt {
        let RequestFacts { address, is_behind_a_proxy, .. } = self.0.request;
        if is_behind_a_proxy {
            self.0.auth.warn_of_proxy();
        }
        LoginAttempt { username: username.to_owned(), address }
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
        if !user.is_of(auth.users()) {
            return Err(Error::configuration("cannot log in a user of another table than that of this Auth"));
        }
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
        session.refuse_if_degraded()?; // before anything is written
        auth.users().note_login(user).await?;
        let is_present = session.contains_key(ID);
        let is_same = is_present
            && auth.is_session_of(&session, user, user.password_column())
            && auth.is_in_time(&session);
        match (is_present, is_same) {
            (false, _) => session.cycle_key_or_new()?,
            // A key that was known before must not become fresh.
            (true, true) if auth.get_settings().fresh_for.is_some() => session.cycle_key_or_new()?,
            (true, true) => {}
            (true, false) => session.flush()?,
        }
        session.insert(ID, user.id())?;
        session.insert(BACKEND, path)?;
        session.insert(HASH, &auth.hash().make(user.password_column()))?;
        auth.note_login(&session)?;
        #[cfg(feature = "csrf")]
        if let Some(csrf) = self.0.csrf.get() {
            csrf.rotate();
        }
        *known = Some(Some(user.clone().with_backend(path)));
        metrics::logged_in();
        Ok(())
    }

    /// Logs out: the session and all its data are deleted at the end of the request, whatever its status. Data
    /// that is stored afterwards goes into a new session. Django's `logout`.
    ///
    /// Call it for a POST: any page can make a browser send a GET.
    pub async fn logout(&self) -> Result<(), Error> {
        let mut known = self.0.user.lock().await;
        self.0.session.log_out()?;
        metrics::logged_out();
        *known = Some(None);
        Ok(())
    }

    /// Checks the password of the user who is logged in, and makes the login fresh if it is right: see
    /// [`FreshLogin`](super::FreshLogin). The session gets a new key then: whoever knew the old one has no
    /// fresh login. Counts as an attempt to log in.
    pub async fn confirm_password(&self, password: &str) -> Result<bool, Error> {
        let Some(user) = self.known_user().await? else { return Ok(false) };
        let attempt = self.attempt(user.username());
        self.0.auth.begin_attempt(&attempt).await?;
        let Some(now_known) = self.0.auth.check_password(Some(&user), password).await? else {
            return Ok(false);
        };
        self.0.auth.attempt_succeeded(&attempt).await;
        let session = self.0.session.load().await?;
        if now_known.password_column() != user.password_column() {
            self.note_hash(&mut *self.0.user.lock().await, &session, &now_known)?;
            // The column has a new hash: another request that finds the old one in the session flushes it.
            // The key stays until the end, so that this request loses nothing if it fails or is cancelled.
            match session.save().await {
                Err(error) if error.is_interrupted() => {} // saved under the new key, below
                saved => saved?,
            }
        }
        session.cycle_key_or_new()?;
        self.0.auth.note_password(&session)?;
        Ok(true)
    }

    /// Sets a new password for the user who is logged in, without asking for the old one: see
    /// [`confirm_password`](Self::confirm_password). This session stays, with a new key, and is saved now; all
    /// others of the user end with their next request. Errors if nobody is logged in.
    ///
    /// A user who logs out in the meantime stays logged out, with the new password.
    pub async fn change_password(&self, password: &str) -> Result<(), Error> {
        let user = self.known_user().await?.ok_or_else(|| Error::login_required(None))?;
        let user = self.0.auth.set_password(&user, password).await?;
        self.update_session_auth_hash(&user).await?;
        // The password is changed: a concurrent request of this browser must not find the old hash for long.
        match self.0.session.load().await?.save().await {
            Err(error) if error.is_interrupted() => self.logout().await,
            saved => saved,
        }
    }

    /// Keeps this session although the password was changed: it gets a new key, and the hash of the user's
    /// present password if it is this user's. Django's `update_session_auth_hash`, except that the user whom
    /// the request began with counts, so that nobody is logged out by the order of calls.
    ///
    /// Call it right after [`Auth::set_password`], or call [`change_password`](Self::change_password), which
    /// does both. If another request flushes the session in between, since the hash is old or the user logs
    /// out, it stays flushed, and this request is answered 400.
    pub async fn update_session_auth_hash(&self, user: &User) -> Result<(), Error> {
        let mut known = self.0.user.lock().await;
        let session = self.0.session.load().await?;
        session.cycle_key()?; // no proof of the password: a session that is gone stays gone
        let of_the_user = match &*known {
            Some(known) => known.as_ref() == Some(user),
            // Not looked at yet: the session's hash is of the password before the change.
            None if self.0.auth.was_session_of(&session, user) => true,
            None => {
                let found = self.find_user().await?;
                let is_user = found.as_ref() == Some(user);
                *known = Some(found);
                is_user
            }
        };
        if of_the_user {
            self.note_hash(&mut known, &session, user)?;
        }
        Ok(())
    }

    /// Notes the hash of the user's present password, and that this is the user.
    fn note_hash(
        &self,
        known: &mut Option<Option<User>>,
        session: &Session,
        user: &User,
    ) -> Result<(), Error> {
        let path = match known {
            Some(Some(known)) => known.backend().map(str::to_owned),
            _ => session.get::<String>(BACKEND).ok().flatten(),
        };
        session.insert(HASH, &self.0.auth.hash().make(user.password_column()))?;
        *known = Some(Some(match path {
            Some(path) => user.clone().with_backend(&path),
            None => user.clone(),
        }));
        Ok(())
    }

    /// Returns where a login leads: `next`, if it is safe, else [`login_redirect_url`]. `next` comes from the
    /// form; without it, from the query. Django's `LoginView.get_success_url`.
    ///
    /// [`login_redirect_url`]: super::AuthSettings::login_redirect_url
    pub fn next_url(&self, next: Option<&str>) -> String {
        let (settings, request) = (self.0.auth.get_settings(), &self.0.request);
        let hosts: Vec<&str> = request.host.as_deref().into_iter().collect();
        let field = |query| next_url::field_value(query, &settings.redirect_field_name);
        let in_query = request.uri.query().and_then(field);
        next_url::next_target(next, in_query.as_deref(), &hosts, request.secure)
            .unwrap_or_else(|| settings.login_redirect_url.clone())
    }
}

impl fmt::Debug for AuthSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthSession")
    }
}
