//! Sessions in the cookie itself. Django's `signed_cookies` engine.

use std::time::{Duration, SystemTime};

use super::record::{Loaded, Record, Saved, Version};
use crate::{
    Error, SessionKey,
    codec::{Codec, SessionData, expiry},
};

/// The size of a cookie, with name and attributes, that every browser keeps (RFC 6265, 6.1). Larger ones are
/// dropped unseen.
pub(crate) const MAX_COOKIE_BYTES: usize = 4096;

/// The key is the data: no server has the session.
#[derive(Clone)]
pub(super) struct SignedCookies {
    codec: Codec,
    cookie_age: Duration,
}

impl SignedCookies {
    pub(super) fn new(codec: Codec, cookie_age: Duration) -> Self {
        Self { codec: codec.for_cookies(), cookie_age }
    }

    pub(super) fn with_cookie_age(&self, cookie_age: Duration) -> Self {
        Self { codec: self.codec.clone(), cookie_age }
    }

    /// Errors without a secret key: any visitor could write a cookie of any user.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.codec.is_verified() {
            return self.codec.check();
        }
        Err(Error::configuration(
            "sessions in cookies must be signed: give Store::signed_cookies a SecretKey, or a Codec with one",
        ))
    }

    pub(super) fn parse_key(text: &str) -> Option<SessionKey> {
        let possible = (8..=MAX_COOKIE_BYTES).contains(&text.len());
        (possible && text.bytes().all(|b| b.is_ascii_graphic())).then(|| SessionKey::from_text(text))
    }

    pub(super) fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        self.check()?;
        let (mut data, saved) = match self.codec.decode_stamped(key.as_str().as_bytes()) {
            Ok(found) => found,
            Err(error) => return Ok(Loaded::Unreadable(error)),
        };
        // The stamp has no fraction: what Django accepts in the last second is accepted here too.
        let expires = expiry::date(&data, self.cookie_age, saved);
        if expires < SystemTime::now() {
            return Ok(Loaded::Missing);
        }
        expiry::resolve_naive(&mut data, expires);
        Ok(Loaded::Found(Record { data, version: Version::Unknown, expires }))
    }

    pub(super) fn save(&self, data: &SessionData) -> Result<Saved, Error> {
        self.check()?;
        let text = String::from_utf8(self.codec.encode(data)?).unwrap_or_default(); // signed text is ASCII
        if text.len() > MAX_COOKIE_BYTES {
            return Err(Error::too_large_for_a_cookie(text.len(), MAX_COOKIE_BYTES));
        }
        Ok(Saved::Done(SessionKey::from_text(&text), Version::Unknown))
    }
}
