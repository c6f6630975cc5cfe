//! Sessions in the cookie itself. Django's `signed_cookies` engine.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Loaded, Outcome, Record, Seen, SessionData, SessionStore};
use crate::{
    Error, SessionKey,
    codec::{Codec, expiry},
};

/// What every browser keeps of a cookie with its name and attributes (RFC 6265, 6.1). They drop larger ones unseen.
pub(crate) const MAX_COOKIE_BYTES: usize = 4096;

/// The salt of Django's engine, which is the name of its module and not of its class.
const CLASS: &str = "backends.signed_cookies";

/// Keeps a session in its cookie, signed: no server has it. Django's `django.contrib.sessions.backends.signed_cookies`.
///
/// What that means is the same as in Django. The visitor can read the session. Of two requests at once the one whose
/// response comes last wins. Ending a session deletes the cookie, and a copy of it that somebody made goes on
/// until its time has come. It cannot be larger than a cookie: saving one that is answers an error that says so.
///
/// One that was tampered with, or whose time has come, is an empty session.
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{SecretKey, Session, store::CookieStore};
///
/// let session = Session::create(&CookieStore::new(SecretKey::new("…"))?);
/// session.insert("k1", "v1")?;
/// session.save().await?;
/// let cookie = session.session_key().expect("what is saved has a key, which here is all of it");
/// assert!(cookie.as_str().starts_with("eyJrMSI6InYxIn0:"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct CookieStore {
    codec: Codec,
    max_age: Duration,
}

impl CookieStore {
    /// Sessions of two weeks. Errors if the secret is empty.
    pub fn new(codec: impl Into<Codec>) -> Result<Self, Error> {
        let codec: Codec = codec.into();
        codec.check()?;
        // Every byte of a cookie travels with every request.
        let codec = codec.engine_class(CLASS).compress_well();
        Ok(Self { codec, max_age: Duration::from_secs(14 * 24 * 3600) })
    }

    /// How long a session without an expiry of its own is taken after it was saved: Django's SESSION_COOKIE_AGE, to be
    /// the same as [`SessionSettings::cookie_age`](crate::SessionSettings::cookie_age).
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    fn save(&self, data: &SessionData) -> Result<Outcome, Error> {
        let text = self.codec.encode(data)?;
        if text.len() > MAX_COOKIE_BYTES {
            return Err(Error::too_large_for_a_cookie(text.len(), MAX_COOKIE_BYTES));
        }
        Ok(Outcome::SavedAs(SessionKey::of_text(&text), Seen::new(text)))
    }
}

impl SessionStore for CookieStore {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        let (data, saved) = match self.codec.decode_stamped(key.as_str()) {
            Ok(found) => found,
            Err(error) => return Ok(Loaded::Unreadable(Arc::new(error))),
        };
        // The stamp has no fraction: what Django takes on its last second is taken here too.
        let expires = expiry::date(&data, self.max_age, saved);
        if expires < SystemTime::now() {
            return Ok(Loaded::Missing);
        }
        Ok(Loaded::Found(Record { data, seen: Seen::new(key.as_str()), expires }))
    }

    async fn create(&self, _: &SessionKey, data: &SessionData, _: SystemTime) -> Result<Outcome, Error> {
        self.save(data)
    }

    async fn update(
        &self,
        _: &SessionKey,
        _: &Seen,
        data: &SessionData,
        _: SystemTime,
    ) -> Result<Outcome, Error> {
        self.save(data)
    }

    async fn rename(
        &self,
        _: &SessionKey,
        _: &Seen,
        _: &SessionKey,
        data: &SessionData,
        _: SystemTime,
    ) -> Result<Outcome, Error> {
        self.save(data)
    }

    /// The cookie's own deletion is the middleware's.
    async fn delete(&self, _: &SessionKey) -> Result<bool, Error> {
        Ok(false)
    }

    /// Django's answer: no server has a session.
    async fn exists(&self, _: &SessionKey) -> Result<bool, Error> {
        Ok(false)
    }

    async fn clear_expired(&self) -> Result<u64, Error> {
        Ok(0)
    }

    fn parse_key(&self, text: &str) -> Option<SessionKey> {
        let possible = (8..=MAX_COOKIE_BYTES).contains(&text.len());
        (possible && text.bytes().all(|b| b.is_ascii_graphic())).then(|| SessionKey::of_text(text))
    }
}
