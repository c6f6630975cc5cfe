//! The settings that a store passes to its backend.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A session of the default 16 MiB, in base64 and signed.
const MAX_VALUE_BYTES: usize = (16 << 20) * 4 / 3 + 256;

type Text = dyn Fn(&[u8], &str) -> Option<String> + Send + Sync;

type Expiry = dyn Fn(&[u8], SystemTime) -> Option<SystemTime> + Send + Sync;

/// The site's settings as far as they concern a backend. See
/// [`Backend::with_settings`](super::Backend::with_settings).
#[derive(Clone)]
#[non_exhaustive]
pub struct SiteSettings {
    /// Django's `SESSION_COOKIE_NAME`, with which the names of session files begin.
    pub cookie_name: Arc<str>,
    /// Django's `SESSION_COOKIE_AGE`.
    pub cookie_age: Duration,
    /// The length in bytes from which on a stored value need not be read: no session of the permitted size is
    /// as long.
    pub max_value_bytes: usize,
    /// Whether this backend caches a database (Django's `cached_db`) instead of being the only copy
    /// (`cache`).
    pub in_front: bool,
    expiry: Arc<Expiry>,
    text: Arc<Text>,
}

impl SiteSettings {
    pub(crate) fn new(
        cookie_name: &str,
        cookie_age: Duration,
        max_value_bytes: usize,
        expiry: impl Fn(&[u8], SystemTime) -> Option<SystemTime> + Send + Sync + 'static,
    ) -> Self {
        let expiry: Arc<Expiry> = Arc::new(expiry);
        let (cookie_name, text): (_, Arc<Text>) = (cookie_name.into(), Arc::new(|_, _| None));
        Self { cookie_name, cookie_age, max_value_bytes, in_front: false, expiry, text }
    }

    pub(crate) fn with_text(
        self,
        text: impl Fn(&[u8], &str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { text: Arc::new(text), ..self }
    }

    /// Returns the value under a key of the session that is stored as `value`: a string as it is, anything
    /// else as JSON. `None` if there is none, it is `null`, or `value` cannot be read. For backends that keep
    /// some values beside the session too.
    pub fn text(&self, value: &[u8], key: &str) -> Option<String> {
        (self.text)(value, key)
    }

    /// Returns when a session expires that was stored as `value` at `saved`; `None` if the value cannot be
    /// read. For backends that keep no expiry beside a value (files).
    pub fn expiry(&self, value: &[u8], saved: SystemTime) -> Option<SystemTime> {
        (self.expiry)(value, saved)
    }
}

/// Django's defaults, with sessions of 16 MiB.
impl Default for SiteSettings {
    fn default() -> Self {
        let cookie_age = Duration::from_secs(14 * 24 * 60 * 60);
        Self::new("sessionid", cookie_age, MAX_VALUE_BYTES, move |_, saved| saved.checked_add(cookie_age))
    }
}

impl fmt::Debug for SiteSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteSettings")
            .field("cookie_name", &self.cookie_name)
            .field("cookie_age", &self.cookie_age)
            .field("max_value_bytes", &self.max_value_bytes)
            .field("in_front", &self.in_front)
            .finish_non_exhaustive()
    }
}
