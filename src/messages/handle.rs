//! The messages of one request, as handlers see them.

use std::{
    fmt,
    future::{Ready, ready},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};

use super::{
    Message, MessageLevel, MessageSettings, MessageStorage, MessageText,
    cookie::SALT,
    storage::{Config, CookieChange, Loaded, Storage, drop_oldest},
    wire::{MAX_MESSAGES, StoredMessage},
};
use crate::{Error, SecretKey, SessionSettings, codec::cookie_signer::CookieSigner, event_log::EventLog};

/// The visitor's messages. Django's `request._messages`, and the functions of `django.contrib.messages`.
///
/// Take it as a handler's argument. Nothing is read until [`take`](Self::take), [`peek`](Self::peek) or
/// [`len`](Self::len) is called; only these await, since messages can be in the session. Clones are the same
/// messages.
///
/// Messages stay until a page takes them, however many redirects, JSON responses and errors come between. Of
/// more than 500 messages the oldest are dropped, and the log says so.
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::messages::Messages;
///
/// let messages = Messages::detached();
/// messages.success("Saved.");
/// let taken = messages.take().await?;
/// assert_eq!((taken[0].text.as_str(), taken[0].tags.as_str()), ("Saved.", "success"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Messages(Arc<Shared>);

struct Shared {
    storage: Storage,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loaded: Option<Loaded>,
    /// Added in this request, and not taken since.
    queued: Vec<StoredMessage>,
    /// Django's flags.
    used: bool,
    added_new: bool,
    level: Option<MessageLevel>,
    /// The response has begun.
    closed: bool,
    /// The cookie was looked at: the response depends on it.
    cookie_read: bool,
}

/// # Adding
impl Messages {
    /// Adds a message. An empty text and a level below the least one (see [`set_level`](Self::set_level)) are
    /// ignored. Once the response has begun, the message is dropped and the log says so. Django's
    /// `add_message`.
    ///
    /// ```
    /// use actix_django_session::messages::{MessageLevel, Messages};
    ///
    /// fn tell(messages: &Messages, failed: bool) {
    ///     let level = if failed { MessageLevel::ERROR } else { MessageLevel::SUCCESS };
    ///     messages.add(level, "The import is done.");
    /// }
    /// # tell(&Messages::detached(), true);
    /// ```
    pub fn add(&self, level: MessageLevel, text: impl Into<MessageText>) {
        self.add_with_tags(level, text, "");
    }

    /// Adds a message with tags of its own, separated by spaces. Django's `extra_tags`.
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::messages::{MessageLevel, Messages};
    ///
    /// let messages = Messages::detached();
    /// messages.add_with_tags(MessageLevel::INFO, "New here?", "tour sticky");
    /// assert_eq!(messages.peek().await?[0].tags, "tour sticky info");
    /// # Ok(()) }
    /// ```
    pub fn add_with_tags(
        &self,
        level: MessageLevel,
        text: impl Into<MessageText>,
        extra_tags: impl Into<String>,
    ) {
        let MessageText { text, is_safe } = text.into();
        let mut state = self.state();
        if state.closed {
            Error::closed_messages().log(EventLog::general()); // the message is dropped
        } else if !text.is_empty() && level >= state.level.unwrap_or(self.settings().level) {
            state.added_new = true;
            state.queued.push(StoredMessage { is_safe, level, text, extra_tags: Some(extra_tags.into()) });
            drop_oldest(&mut state.queued);
        }
    }

    /// Adds a message for developers, which [`MessageSettings::level`] leaves out by default.
    pub fn debug(&self, text: impl Into<MessageText>) {
        self.add(MessageLevel::DEBUG, text);
    }

    /// Adds a message for the visitor's information.
    pub fn info(&self, text: impl Into<MessageText>) {
        self.add(MessageLevel::INFO, text);
    }

    /// Adds a message about something that succeeded.
    pub fn success(&self, text: impl Into<MessageText>) {
        self.add(MessageLevel::SUCCESS, text);
    }

    /// Adds a message about something that may go wrong.
    pub fn warning(&self, text: impl Into<MessageText>) {
        self.add(MessageLevel::WARNING, text);
    }

    /// Adds a message about something that failed.
    pub fn error(&self, text: impl Into<MessageText>) {
        self.add(MessageLevel::ERROR, text);
    }

    /// Sets the least level for the rest of this request; `None` is that of the settings. Django's
    /// `set_level`.
    pub fn set_level(&self, level: Option<MessageLevel>) {
        self.state().level = level;
    }

    /// Returns the least level of messages that are added. Django's `get_level`.
    pub fn level(&self) -> MessageLevel {
        self.state().level.unwrap_or(self.settings().level)
    }
}

/// # Showing
impl Messages {
    /// Returns all messages, oldest first, to be shown: after this response they are gone. Django's iteration
    /// over `get_messages`.
    ///
    /// A second call returns them again, with what was added since. Errors if the session has to be loaded
    /// and cannot be, or if the response has begun ([`is_closed`](Error::is_closed)).
    pub async fn take(&self) -> Result<Vec<Message>, Error> {
        self.load().await?;
        let mut state = self.state();
        if state.closed {
            return Err(Error::closed_messages()); // nobody would remove them
        }
        state.used = true;
        let State { loaded, queued, .. } = &mut *state;
        let loaded = loaded.get_or_insert_default();
        loaded.messages.append(queued);
        drop_oldest(&mut loaded.messages);
        Ok(loaded.messages.iter().map(|message| message.to_message(self.settings())).collect())
    }

    /// Returns all messages and keeps them for the next page.
    ///
    /// Errors if the session has to be loaded and cannot be.
    pub async fn peek(&self) -> Result<Vec<Message>, Error> {
        self.load().await?;
        let state = self.state();
        let earlier = state.loaded.as_ref().map_or(&[][..], |loaded| &loaded.messages);
        let too_many = (earlier.len() + state.queued.len()).saturating_sub(MAX_MESSAGES);
        let all = earlier.iter().chain(&state.queued).skip(too_many);
        Ok(all.map(|message| message.to_message(self.settings())).collect())
    }

    /// Returns how many messages there are, and keeps them. Django's `len(storage)`.
    ///
    /// Errors if the session has to be loaded and cannot be.
    #[allow(clippy::len_without_is_empty)] // it awaits
    pub async fn len(&self) -> Result<usize, Error> {
        self.load().await?;
        let state = self.state();
        let earlier = state.loaded.as_ref().map_or(0, |loaded| loaded.messages.len());
        Ok((earlier + state.queued.len()).min(MAX_MESSAGES))
    }

    /// Keeps what [`take`](Self::take) returned for the next page too. Django's `storage.used = False`.
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::messages::Messages;
    ///
    /// let messages = Messages::detached();
    /// messages.info("Welcome.");
    /// messages.take().await?;
    /// messages.keep(); // the page turned out to have no place for them
    /// # Ok(()) }
    /// ```
    pub fn keep(&self) {
        self.state().used = false;
    }
}

impl Messages {
    pub(super) fn new(storage: Storage) -> Self {
        Self(Arc::new(Shared { storage, state: Mutex::default() }))
    }

    /// Messages without a request, for tests of handlers.
    pub fn detached() -> Self {
        Self::new(Storage {
            config: Arc::new(Config {
                settings: MessageSettings::default().storage(MessageStorage::Cookie),
                signer: CookieSigner::new(SecretKey::new("detached"), SALT),
            }),
            cookie: None,
            session: None,
        })
    }

    /// Returns the messages of a request, for middleware and helper functions. Errors if no
    /// [`MessagesMiddleware`](super::MessagesMiddleware) is around.
    ///
    /// ```
    /// use actix_django_session::{Error, messages::Messages};
    /// use actix_web::HttpRequest;
    ///
    /// fn warn(request: &HttpRequest) -> Result<(), Error> {
    ///     Messages::of(request)?.warning("Your trial ends tomorrow.");
    ///     Ok(())
    /// }
    /// ```
    pub fn of(request: &impl HttpMessage) -> Result<Self, Error> {
        let found = request.extensions().get::<Self>().cloned();
        found.ok_or_else(|| {
            let error = Error::configuration(
                "no MessagesMiddleware is wrapped around this handler: add \
                 .wrap(MessagesMiddleware::new(secret)) to the App or scope, before .wrap(session)",
            );
            error.log(EventLog::general()); // there is no middleware to do it
            error
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is locked.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> &MessageSettings {
        &self.0.storage.config.settings
    }

    pub(super) fn cookie_settings(&self) -> SessionSettings {
        self.0.storage.cookie_settings()
    }

    pub(super) fn log(&self) -> &EventLog {
        self.0.storage.log()
    }

    async fn load(&self) -> Result<(), Error> {
        if self.state().loaded.is_some() {
            return Ok(());
        }
        let loaded = self.0.storage.load().await.inspect_err(|error| error.log(self.log()))?;
        let mut state = self.state();
        if state.loaded.is_none() {
            state.cookie_read = self.settings().storage != MessageStorage::Session;
            state.used |= loaded.is_used;
            state.loaded = Some(loaded);
        }
        Ok(())
    }

    /// Whether the response depends on the visitor's cookie, for caches.
    pub(super) fn cookie_read(&self) -> bool {
        self.state().cookie_read
    }

    /// Stores what is left for the next request. Django's `storage.update(response)`.
    pub(super) async fn finish(&self) -> Result<CookieChange, Error> {
        let (used, added_new) = {
            let mut state = self.state();
            state.closed = true;
            (state.used, state.added_new)
        };
        if !used && !added_new {
            return Ok(CookieChange::Keep);
        }
        self.load().await?;
        let (loaded, queued) = {
            let mut state = self.state();
            (state.loaded.take().unwrap_or_default(), mem::take(&mut state.queued))
        };
        if loaded.is_degraded {
            // All messages stay where they are. A new one that was not shown would be lost.
            if added_new && !(used && queued.is_empty()) {
                self.0.storage.refuse_change().await?;
            }
            return Ok(CookieChange::Keep);
        }
        let earlier = if used { &[] } else { loaded.messages.as_slice() };
        let mut messages: Vec<StoredMessage> = earlier.iter().cloned().chain(queued).collect();
        drop_oldest(&mut messages);
        self.0.storage.store(&messages, Some(&loaded)).await
    }
}

impl FromRequest for Messages {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(req))
    }
}

/// Shows no text: messages hold personal data.
impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(
            f,
            "Messages({} added, {})",
            state.queued.len(),
            if state.used { "taken" } else { "not taken" }
        )
    }
}
