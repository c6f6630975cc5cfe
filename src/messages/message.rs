//! A message as pages see it.

use std::{borrow::Cow, fmt};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::MessageLevel;

/// A message to show. Django's `Message`.
///
/// Templates get it through serde: an object with the fields below.
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::messages::Messages;
///
/// let messages = Messages::detached();
/// messages.warning("5 < 6");
/// let message = &messages.take().await?[0];
/// assert_eq!((message.level_tag.as_str(), message.html().as_ref()), ("warning", "5 &lt; 6"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// How important it is.
    pub level: MessageLevel,
    /// The text. Show it through [`html`](Self::html), or through a template that escapes it.
    pub text: String,
    /// The tags that it was added with; `None` if Django stored it without.
    pub extra_tags: Option<String>,
    /// The tag of its level: `debug`, `info`, `success`, `warning`, `error`, or what
    /// [`MessageSettings::tag`](super::MessageSettings::tag) says. Empty for other levels. It comes from the
    /// settings, never from visitors.
    pub level_tag: String,
    /// The extra tags and the level's, separated by a space: for a `class` attribute. Escape it there.
    pub tags: String,
    /// Whether the text is HTML, to be shown without escaping. Django's `SafeString`.
    pub is_safe: bool,
}

impl Message {
    /// Returns the text for an HTML page: escaped, unless it is marked as safe.
    pub fn html(&self) -> Cow<'_, str> {
        if self.is_safe || !self.text.contains(['&', '<', '>', '"', '\'']) {
            return Cow::Borrowed(&self.text);
        }
        let mut html = String::with_capacity(self.text.len() + 16);
        for c in self.text.chars() {
            match c {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#x27;"),
                c => html.push(c),
            }
        }
        Cow::Owned(html)
    }
}

/// The plain text.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Message", 6)?;
        fields.serialize_field("level", &self.level)?;
        fields.serialize_field("text", &self.text)?;
        fields.serialize_field("extra_tags", &self.extra_tags)?;
        fields.serialize_field("level_tag", &self.level_tag)?;
        fields.serialize_field("tags", &self.tags)?;
        fields.serialize_field("is_safe", &self.is_safe)?;
        fields.end()
    }
}

/// The text of a new message: plain, from a `&str` or `String`, or [`safe`](Self::safe) HTML.
///
/// ```
/// use actix_django_session::messages::{MessageText, Messages};
///
/// let messages = Messages::detached();
/// messages.info("Tom & Jerry"); // escaped when it is shown
/// messages.info(MessageText::safe("<a href=\"/undo\">Undo</a>"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText {
    pub(super) text: String,
    pub(super) is_safe: bool,
}

impl MessageText {
    /// Takes HTML, which pages show without escaping: escape first what comes from visitors. Django's
    /// `mark_safe`.
    pub fn safe(html: impl Into<String>) -> Self {
        Self { text: html.into(), is_safe: true }
    }
}

impl From<&str> for MessageText {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<String> for MessageText {
    fn from(text: String) -> Self {
        Self { text, is_safe: false }
    }
}
