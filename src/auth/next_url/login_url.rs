//! The way to the login page and back: Django's `redirect_to_login`.

use super::{
    escape::{decode_query_part, iri_to_uri, query_part},
    split::SplitUrl,
};
use crate::Error;

/// In bytes. Django's `MAX_URL_REDIRECT_LENGTH`; beyond it Django answers 400.
pub(super) const MAX_LOCATION_BYTES: usize = 16384;

const SCHEMES: &[&str] = &["", "http", "https", "ftp"];

/// Errors if no redirect can lead to this `LOGIN_URL`. Django finds out at the first redirect (status 500 or
/// 400); call this at start.
///
/// Names of URL patterns are not resolved: give a path or a URL.
///
/// ```
/// use actix_django_session::auth::next_url::check_login_url;
///
/// assert!(check_login_url("/accounts/login/").is_ok());
/// assert!(check_login_url("https://sso.example.com/login?service=shop").is_ok());
/// assert!(check_login_url("login").is_err());
/// assert!(check_login_url("javascript:login()/").is_err());
/// ```
pub fn check_login_url(login_url: &str) -> Result<(), Error> {
    let refuse = |why: &str| {
        let text =
            format!("the login URL {login_url:?} {why}: give a path such as /accounts/login/, or a URL");
        Err(Error::configuration(text))
    };
    if is_name(login_url) {
        return refuse("is the name of a Django URL pattern, which is not known here");
    }
    match SplitUrl::parse(login_url) {
        None => refuse("has no valid host"),
        Some(split) if !SCHEMES.contains(&split.scheme.as_str()) => {
            refuse("has another scheme than http, https or ftp")
        }
        Some(_) if iri_to_uri(login_url).len() > MAX_LOCATION_BYTES => refuse("is too long"),
        Some(_) => Ok(()),
    }
}

/// Returns the `Location` that sends a visitor to the login page, with the way back in the query. Django's
/// `redirect_to_login` as `login_required` calls it.
///
/// `secure`, `host` and `full_path` describe the request: whether it came over HTTPS, its `Host` as sent, and
/// its [`full_path`](super::full_path). Check first that the host is one of yours, as Django does. `field` is
/// Django's `redirect_field_name`, mostly `next`; if empty, `login_url` gets no parameter. The way back is a
/// path if the login page has the same scheme and host, and the absolute URL otherwise.
///
/// `None` where Django answers 400 or 500: the result has more than 16384 bytes, or [`check_login_url`]
/// refuses `login_url`.
///
/// ```
/// use actix_django_session::auth::next_url::{full_path, login_redirect};
///
/// let path = full_path("/basket/", Some("page=2"));
/// let to = |login_url| login_redirect(login_url, true, "example.com", &path, "next");
/// assert_eq!(to("/login/").as_deref(), Some("/login/?next=/basket/%3Fpage%3D2"));
/// assert_eq!(
///     to("https://sso.example.com/").as_deref(),
///     Some("https://sso.example.com/?next=https%3A//example.com/basket/%3Fpage%3D2")
/// );
/// ```
pub fn login_redirect(
    login_url: &str,
    secure: bool,
    host: &str,
    full_path: &str,
    field: &str,
) -> Option<String> {
    if is_name(login_url) {
        return None;
    }
    let mut split = SplitUrl::parse(login_url)?;
    let scheme = if secure { "https" } else { "http" };
    let same_scheme = split.scheme.is_empty() || split.scheme == scheme;
    let same_host = split.host.is_empty() || split.host == host;
    if !field.is_empty() {
        let next = match same_scheme && same_host {
            true => full_path.to_owned(),
            false => absolute(scheme, host, full_path),
        };
        split.query = with_field(&split.query, field, next);
    }
    let location = split.join();
    // A path of several slashes may look like a host now.
    let scheme = SplitUrl::parse(&location)?.scheme;
    let location = iri_to_uri(&location);
    (SCHEMES.contains(&scheme.as_str()) && location.len() <= MAX_LOCATION_BYTES).then_some(location)
}

/// Whether Django takes it for the name of a URL pattern.
fn is_name(login_url: &str) -> bool {
    !login_url.contains(['/', '.'])
}

/// The URL of the request. Django's `build_absolute_uri`.
fn absolute(scheme: &str, host: &str, full_path: &str) -> String {
    let (path, query) = match full_path.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (full_path, String::new()),
    };
    if !path.contains("/./") && !path.contains("/../") {
        return format!("{scheme}://{host}{full_path}");
    }
    format!("{scheme}://{host}{}{query}", without_dots(path))
}

/// Resolves `.` and `..` in a path. Python's `urljoin`.
fn without_dots(path: &str) -> String {
    let mut resolved = Vec::new();
    let mut last = "";
    for segment in path.split('/') {
        last = segment;
        match segment {
            "." => {}
            ".." => drop(resolved.pop()),
            other => resolved.push(other),
        }
    }
    if matches!(last, "." | "..") {
        resolved.push("");
    }
    let path = resolved.join("/");
    if path.starts_with('/') { path } else { format!("/{path}") }
}

/// The query with this field set: at its first place, else at the end. Written anew, as Django's `QueryDict`
/// does it: the values of one name come together.
fn with_field(query: &str, field: &str, value: String) -> String {
    let mut fields: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |name: String, value: String| match fields.iter_mut().find(|(known, _)| *known == name) {
        Some((_, values)) => values.push(value),
        None => fields.push((name, vec![value])),
    };
    pairs(query).for_each(|(name, value)| add(name, value));
    match fields.iter_mut().find(|(name, _)| name == field) {
        Some((_, values)) => *values = vec![value],
        None => fields.push((field.to_owned(), vec![value])),
    }
    let items = fields.iter().flat_map(|(name, values)| {
        values.iter().map(|value| format!("{}={}", query_part(name), query_part(value)))
    });
    items.collect::<Vec<_>>().join("&")
}

/// The names and values of a query or a form. Python's `parse_qsl` with blank values.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let items = query.split('&').filter(|item| !item.is_empty());
    items.map(|item| {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        (decode_query_part(name), decode_query_part(value))
    })
}

/// Returns the last value of a field in a query or in an urlencoded body. Django's `request.GET.get(field)`.
///
/// ```
/// use actix_django_session::auth::next_url::field_value;
///
/// assert_eq!(field_value("next=/a&next=/b%20c", "next").as_deref(), Some("/b c"));
/// assert_eq!(field_value("next", "next").as_deref(), Some(""));
/// assert_eq!(field_value("", "next"), None);
/// ```
pub fn field_value(urlencoded: &str, field: &str) -> Option<String> {
    pairs(urlencoded).filter(|(name, _)| name == field).last().map(|(_, value)| value)
}
