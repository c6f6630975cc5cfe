//! The session's key in a header, for clients without cookies.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};

use super::cookie;
use crate::{SessionKey, SessionSettings};

/// The token header of a request.
pub(super) enum RequestToken<'a> {
    /// There is none, or no such setting: the cookie counts.
    Absent,
    /// Its value. Empty: a client without a session that takes no cookies.
    One(HeaderValue),
    /// Several with different values.
    Several(&'a HeaderName),
}

/// Finds the header that the settings name.
pub(super) fn find<'a>(headers: &HeaderMap, settings: &'a SessionSettings) -> RequestToken<'a> {
    let Some(name) = settings.token_header_name() else { return RequestToken::Absent };
    let mut values = headers.get_all(name);
    match values.next() {
        None => RequestToken::Absent,
        Some(first) if values.all(|value| value == first) => RequestToken::One(first.clone()),
        Some(_) => RequestToken::Several(name),
    }
}

/// The answer to several tokens. Of cookies the last one counts, since browsers send those of other paths
/// too; a client with two tokens is broken, or somebody has added one.
pub(super) fn refuse_several(name: &HeaderName) -> HttpResponse {
    let text = format!("The request has several {name} headers: send one.");
    HttpResponse::BadRequest().content_type("text/plain; charset=utf-8").body(text)
}

/// Tells the client its key, or with `None` that its session is gone.
pub(super) fn send(headers: &mut HeaderMap, name: &HeaderName, key: Option<&SessionKey>) {
    let text = key.map_or("", SessionKey::as_str);
    // Keys are visible ASCII.
    if let Ok(mut value) = HeaderValue::from_str(text) {
        value.set_sensitive(true); // so that Debug does not show it
        headers.insert(name.clone(), value);
    }
}

/// Marks a response that depends on the session: for caches, and against them where they cannot know that
/// this header is a secret.
pub(super) fn vary(headers: &mut HeaderMap, settings: &SessionSettings, by_token: bool) {
    if !by_token {
        cookie::vary_on_cookie(headers);
    }
    if let Some(name) = settings.token_header_name() {
        cookie::vary_on(headers, name.as_str());
    }
    if by_token {
        forbid_storing(headers);
    }
}

/// Replaces what the handler allows to caches.
pub(super) fn forbid_storing(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::CACHE_CONTROL);
    let mut directives =
        lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim);
    if !directives.any(|directive| directive.eq_ignore_ascii_case("no-store")) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
