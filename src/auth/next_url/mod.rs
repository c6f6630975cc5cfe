//! Where a login leads: Django's `next`, `LOGIN_URL` and the rules against open redirects.
//!
//! A visitor who must log in first is sent to [`login_redirect`], with the page that was asked for in the
//! parameter `next`. After the login, [`next_target`] says whether that page is one of this site.
//!
//! These functions do no I/O and know no request. They take a path and a query as they are on the wire.

mod control_characters;
mod escape;
mod login_url;
mod safe;
mod split;

pub use self::{
    login_url::{check_login_url, field_value, login_redirect},
    safe::url_has_allowed_host_and_scheme,
};

/// Returns path and query of a request, escaped. Django's `request.get_full_path()`.
///
/// Both as on the wire, such as `uri().path()` and `uri().query()`. The path is decoded and escaped again, so
/// that `%7E` becomes `~` and `;` becomes `%3B`. Of the query only characters are escaped that no URL may
/// hold.
///
/// ```
/// use actix_django_session::auth::next_url::full_path;
///
/// assert_eq!(full_path("/a%20b/%7Eann;x", Some("q=1")), "/a%20b/~ann%3Bx?q=1");
/// assert_eq!(full_path("/", Some("")), "/");
/// ```
pub fn full_path(path: impl AsRef<[u8]>, query: Option<&str>) -> String {
    let mut full = escape::request_path(path.as_ref());
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        full.push('?');
        full.push_str(&escape::iri_to_uri(query));
    }
    full
}

/// Returns the `Location` after a login, or `None` if the visitor named no safe one: then use
/// `LOGIN_REDIRECT_URL`. Django's `LoginView.get_redirect_url`.
///
/// `body_next` and `query_next` are the decoded values of `next` in the form and in the query, see
/// [`field_value`]. The form's counts if it is there at all, even if it is empty or unsafe. `allowed_hosts`
/// are the request's own host and those that the application adds; `secure` says whether the request came
/// over HTTPS. See [`url_has_allowed_host_and_scheme`].
///
/// ```
/// use actix_django_session::auth::next_url::next_target;
///
/// let target = |body, query| next_target(body, query, &["example.com"], true);
/// assert_eq!(target(None, Some("/caf\u{e9}")).as_deref(), Some("/caf%C3%A9"));
/// assert_eq!(target(Some("//evil.com"), Some("/basket/")), None);
/// ```
pub fn next_target(
    body_next: Option<&str>,
    query_next: Option<&str>,
    allowed_hosts: &[&str],
    secure: bool,
) -> Option<String> {
    let next = body_next.or(query_next)?;
    if !url_has_allowed_host_and_scheme(next, allowed_hosts, secure) {
        return None;
    }
    // Untrimmed, as in Django.
    let location = escape::iri_to_uri(next);
    (location.len() <= login_url::MAX_LOCATION_BYTES).then_some(location)
}
