//! Django's `MESSAGE_*` settings.

use std::collections::BTreeMap;

use cookie::SameSite;

use super::MessageLevel;
use crate::SessionSettings;

/// Django's name of the cookie.
pub(super) const COOKIE_NAME: &str = "messages";

/// Where messages are kept until a page shows them. Django's `MESSAGE_STORAGE`.
///
/// Use what the Django site uses: neither reads what the other one keeps elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageStorage {
    /// In the cookie, and the newest in the session where they do not fit. Django's default. The session is
    /// loaded only if the cookie says that there are messages in it.
    #[default]
    Fallback,
    /// In the cookie alone. The oldest are lost where they do not fit (2048 characters).
    Cookie,
    /// In the session alone. Every page that shows messages loads it.
    Session,
}

/// How messages are kept and tagged: Django's `MESSAGE_*` settings.
///
/// ```
/// use actix_django_session::messages::{MessageLevel, MessageSettings, MessageStorage};
///
/// let settings = MessageSettings::default()
///     .storage(MessageStorage::Session)
///     .level(MessageLevel::DEBUG)
///     .tag(MessageLevel::ERROR, "danger"); // as Bootstrap calls it
/// ```
#[derive(Clone, Debug)]
pub struct MessageSettings {
    pub(super) storage: MessageStorage,
    pub(super) level: MessageLevel,
    pub(super) tags: BTreeMap<MessageLevel, String>,
    pub(super) cookie: SessionSettings,
}

impl Default for MessageSettings {
    fn default() -> Self {
        Self {
            storage: MessageStorage::default(),
            level: MessageLevel::INFO,
            tags: BTreeMap::new(),
            cookie: SessionSettings::default().cookie_name(COOKIE_NAME),
        }
    }
}

impl MessageSettings {
    /// `MESSAGE_STORAGE`. Default: [`MessageStorage::Fallback`].
    #[must_use]
    pub fn storage(mut self, storage: MessageStorage) -> Self {
        self.storage = storage;
        self
    }

    /// `MESSAGE_LEVEL`: less important messages are not added. Default: [`MessageLevel::INFO`].
    #[must_use]
    pub fn level(mut self, level: MessageLevel) -> Self {
        self.level = level;
        self
    }

    /// An entry of `MESSAGE_TAGS`: the tag of a level, for a `class` attribute. An empty one is left out.
    #[must_use]
    pub fn tag(mut self, level: MessageLevel, tag: impl Into<String>) -> Self {
        self.tags.insert(level, tag.into());
        self
    }

    pub(super) fn level_tag(&self, level: MessageLevel) -> &str {
        self.tags.get(&level).map_or_else(|| level.default_tag(), String::as_str)
    }
}

/// # The cookie, without sessions
///
/// As in Django, the cookie has the attributes of the session's: the middleware takes them from
/// [`SessionSettings`]. Only where no [`SessionMiddleware`](crate::SessionMiddleware) is around it
/// ([`MessageStorage::Cookie`]) do these count. The path is always `/`.
impl MessageSettings {
    /// `SESSION_COOKIE_DOMAIN`. Default: none, so that only this host gets the cookie.
    #[must_use]
    pub fn cookie_domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie = self.cookie.cookie_domain(domain);
        self
    }

    /// `SESSION_COOKIE_SECURE`. Default: no, as in Django; say yes wherever the site is served over HTTPS.
    #[must_use]
    pub fn cookie_secure(mut self, yes: bool) -> Self {
        self.cookie = self.cookie.cookie_secure(yes);
        self
    }

    /// `SESSION_COOKIE_HTTPONLY`. Default: yes.
    #[must_use]
    pub fn cookie_httponly(mut self, yes: bool) -> Self {
        self.cookie = self.cookie.cookie_httponly(yes);
        self
    }

    /// `SESSION_COOKIE_SAMESITE`. Default: `Lax`. `None` leaves the attribute out, as Django's `False`.
    #[must_use]
    pub fn cookie_samesite(mut self, samesite: Option<SameSite>) -> Self {
        self.cookie = self.cookie.cookie_samesite(samesite);
        self
    }
}
