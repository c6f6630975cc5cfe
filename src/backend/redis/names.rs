//! The names of sessions in Redis, made by Django's key function.

use std::sync::Arc;

use crate::{Error, SessionKey};

/// The prefixes of a session's key in Django's engines `cache` and `cached_db`.
const CACHE: &str = "django.contrib.sessions.cache";
const CACHED_DB: &str = "django.contrib.sessions.cached_db";

/// Django's own `KEY_FUNCTION`.
pub(super) const DEFAULT_HEAD: &str = "{prefix}:{version}:";

/// Returns what comes before the key in a template such as `{prefix}:{key}`.
pub(super) fn head(template: &str) -> Result<Arc<str>, Error> {
    let head = template.strip_suffix("{key}").filter(|head| {
        let rest = head.replacen("{prefix}", "", 1).replacen("{version}", "", 1);
        !rest.contains(['{', '}'])
    });
    head.map(Into::into).ok_or_else(|| {
        Error::configuration(
            "a key template ends with {key} and may have {prefix} and {version} before it, once each: write \
             \"{prefix}:{version}:{key}\" for Django's own KEY_FUNCTION",
        )
    })
}

/// How a site names its sessions.
#[derive(Clone, Debug)]
pub(super) struct KeyNames {
    pub(super) key_prefix: Arc<str>,
    pub(super) version: u32,
    /// The text before the key in the site's `KEY_FUNCTION`, with `{prefix}` and `{version}`.
    pub(super) head: Arc<str>,
    /// Whether the engine is `cached_db` and not `cache`.
    pub(super) in_front: bool,
}

impl KeyNames {
    /// Returns what all names begin with.
    pub(super) fn prefix(&self) -> String {
        let engine = if self.in_front { CACHED_DB } else { CACHE };
        let head = self.head.replace("{version}", &self.version.to_string());
        head.replace("{prefix}", &self.key_prefix) + engine
    }

    /// Returns the name of a session; `None` if it is that of a session of the other engine, as `…cache` and
    /// `d_db…` are `…cached_db` and `…`.
    pub(super) fn name(&self, key: &SessionKey) -> Option<String> {
        let foreign = !self.in_front && key.as_str().starts_with("d_db");
        (!foreign).then(|| self.prefix() + key.as_str())
    }

    /// The same, where a foreign key is a mistake. Django's keys never are.
    pub(super) fn own_name(&self, key: &SessionKey) -> Result<String, Error> {
        self.name(key).ok_or_else(|| {
            Error::configuration(
                "a session key that begins with d_db names a session of the cached_db engine: use another \
                 key, \
                 as generate_key returns it",
            )
        })
    }

    /// Returns the key of a session by its name; `None` if no session of this engine has this name.
    pub(super) fn key(&self, name: &str) -> Option<SessionKey> {
        let key = SessionKey::parse(name.strip_prefix(&self.prefix())?)?;
        self.name(&key).is_some().then_some(key)
    }
}
