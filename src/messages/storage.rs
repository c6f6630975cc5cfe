//! The three storages: where messages of a request come from, and where those for the next one go.

use std::sync::Arc;

use super::{
    MessageSettings, MessageStorage,
    cookie::{self, Content, Keep},
    session,
    settings::COOKIE_NAME,
    wire::{Listing, MAX_MESSAGES, StoredMessage},
};
use crate::{Error, LazySession, SessionSettings, codec::cookie_signer::CookieSigner, event_log::EventLog};

/// What all requests share.
pub(super) struct Config {
    pub(super) settings: MessageSettings,
    pub(super) signer: CookieSigner,
}

/// What a storage works with, for one request.
pub(super) struct Storage {
    pub(super) config: Arc<Config>,
    /// The value of the request's cookie.
    pub(super) cookie: Option<Vec<u8>>,
    pub(super) session: Option<LazySession>,
}

/// The messages of earlier requests.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) messages: Vec<StoredMessage>,
    /// Whether the cookie has to be replaced or deleted, since it is bad.
    pub(super) is_used: bool,
    from_cookie: bool,
    from_session: bool,
    /// The session could not be loaded, so that its messages are unknown.
    pub(super) is_degraded: bool,
}

/// The change of the visitor's cookie.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CookieChange {
    Keep,
    Set(String),
    Delete,
}

impl Storage {
    /// The log of the session's store, if there is one.
    pub(super) fn log(&self) -> &EventLog {
        self.session.as_ref().map_or(EventLog::general(), LazySession::log)
    }

    pub(super) async fn load(&self) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        let mut next = true;
        if self.config.settings.storage != MessageStorage::Session {
            next = false;
            match cookie::read(&self.config.signer, self.cookie.as_deref()) {
                Content::Nothing => {}
                Content::Bad(error) => {
                    // Anybody can send one with a bad signature, and each old one has it after a new secret.
                    if !error.is_bad_signature() {
                        warn(&format!("the messages of a visitor's cookie were ignored: {error}"));
                    }
                    loaded.is_used = self.config.settings.storage == MessageStorage::Cookie;
                }
                Content::Listing(list) => {
                    next = list.has_sentinel;
                    loaded.from_cookie = list.is_used();
                    loaded.add(list);
                }
            }
        }
        if next && self.config.settings.storage != MessageStorage::Cookie {
            let session = self.session()?.load().await?;
            loaded.is_degraded = session.is_degraded();
            match session::read(&session) {
                Ok(list) => {
                    loaded.from_session = list.is_used();
                    // The sentinel means nothing here.
                    loaded.add(Listing { ignored: list.ignored + usize::from(list.has_sentinel), ..list });
                }
                Err(error) => warn(&format!("the messages of a session were ignored: {error}")),
            }
        }
        drop_oldest(&mut loaded.messages);
        Ok(loaded)
    }

    /// Keeps these messages, and no others, for the next request. The session middleware saves the session's
    /// part.
    pub(super) async fn store(
        &self,
        messages: &[StoredMessage],
        loaded: Option<&Loaded>,
    ) -> Result<CookieChange, Error> {
        match self.config.settings.storage {
            MessageStorage::Session => {
                session::write(&self.session()?.load().await?, messages)?;
                Ok(CookieChange::Keep)
            }
            MessageStorage::Cookie if messages.is_empty() => Ok(CookieChange::Delete),
            MessageStorage::Cookie => {
                let (value, kept) = cookie::write(&self.config.signer, messages, Keep::Newest);
                if kept.len() < messages.len() {
                    warn(
                        "the oldest messages of a visitor were dropped, since the cookie is full: use \
                         MessageStorage::Fallback, or show messages on more pages",
                    );
                }
                Ok(CookieChange::Set(value))
            }
            MessageStorage::Fallback => {
                let (change, rest) = if messages.is_empty() {
                    let had = loaded.is_some_and(|loaded| loaded.from_cookie);
                    (if had { CookieChange::Delete } else { CookieChange::Keep }, messages)
                } else {
                    let (value, kept) = cookie::write(&self.config.signer, messages, Keep::Oldest);
                    (CookieChange::Set(value), messages.get(kept.end..).unwrap_or_default())
                };
                if !rest.is_empty() || loaded.is_some_and(|loaded| loaded.from_session) {
                    session::write(&self.session()?.load().await?, rest)?;
                }
                Ok(change)
            }
        }
    }

    /// The error of a change of the session, which could not be loaded.
    pub(super) async fn refuse_change(&self) -> Result<(), Error> {
        self.session()?.load().await?.set_modified()
    }

    /// The attributes of the cookie. Django gives it those of the session's, but for the path.
    pub(super) fn cookie_settings(&self) -> SessionSettings {
        match &self.session {
            Some(session) => session.settings().clone().cookie_name(COOKIE_NAME).cookie_path("/"),
            None => self.config.settings.cookie.clone(),
        }
    }

    fn session(&self) -> Result<&LazySession, Error> {
        self.session.as_ref().ok_or_else(no_session)
    }
}

impl Loaded {
    fn add(&mut self, list: Listing) {
        if list.ignored > 0 {
            warn(
                "what is no message was ignored among a visitor's messages: something else than Django's \
                  messages writes them",
            );
        }
        if list.dropped > 0 {
            warn_of_too_many();
        }
        self.messages.extend(list.messages);
    }
}

/// Keeps the newest [`MAX_MESSAGES`].
pub(super) fn drop_oldest(messages: &mut Vec<StoredMessage>) {
    if messages.len() > MAX_MESSAGES {
        messages.drain(..messages.len() - MAX_MESSAGES);
        warn_of_too_many();
    }
}

fn warn_of_too_many() {
    warn(&format!(
        "a visitor has more than {MAX_MESSAGES} messages, and the oldest were dropped: show messages on more \
         pages, or add fewer"
    ));
}

fn warn(text: &str) {
    EventLog::general().warn(text.to_owned());
}

pub(super) fn no_session() -> Error {
    Error::configuration(
        "the messages need sessions, and no SessionMiddleware is wrapped around MessagesMiddleware: call \
         .wrap(session) after .wrap(messages), or use MessageStorage::Cookie",
    )
}
