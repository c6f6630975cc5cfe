//! Whether a redirect may lead to a URL that a visitor has sent.

use super::{
    control_characters,
    split::{SplitUrl, is_scheme_char},
};

/// In characters. Django's `MAX_URL_LENGTH`.
const MAX_URL_CHARS: usize = 2048;

/// Returns whether a redirect to `url` stays on one of the hosts. Django's
/// `url_has_allowed_host_and_scheme`.
///
/// A URL without a host is safe if no browser takes it for another host's. A host is compared as text, with
/// its port and letter case. With `require_https`, `http:` URLs are refused. No URL beyond 2048 characters is
/// safe.
///
/// Blanks at both ends are ignored, as in Django. So escape what you put into a `Location`, as
/// [`next_target`](super::next_target) does, and put it nowhere else unescaped.
///
/// What any of Django 4.2, 5.2 and 6.1 refuses is refused here, and a few URLs more: those that a browser
/// takes to another host, or to none.
///
/// ```
/// use actix_django_session::auth::next_url::url_has_allowed_host_and_scheme;
///
/// let safe = |url| url_has_allowed_host_and_scheme(url, &["example.com"], true);
/// assert!(safe("/basket/?page=2"));
/// assert!(safe("https://example.com/basket/"));
/// assert!(!safe("http://example.com/basket/"));
/// assert!(!safe("//evil.com/"));
/// assert!(!safe("/\\evil.com/"));
/// assert!(!safe("javascript:alert(1)"));
/// ```
pub fn url_has_allowed_host_and_scheme(url: &str, allowed_hosts: &[&str], require_https: bool) -> bool {
    // Browsers take a backslash for a slash, except in user info: both readings must be safe.
    let is_safe = |url: &str| is_safe(url, allowed_hosts, require_https);
    is_safe(url) && is_safe(&url.replace('\\', "/"))
}

fn is_safe(untrimmed: &str, allowed_hosts: &[&str], require_https: bool) -> bool {
    let url = untrimmed.trim_matches(is_blank);
    if url.chars().nth(MAX_URL_CHARS).is_some() {
        return false;
    }
    if url.chars().next().is_none_or(control_characters::contain) {
        return false;
    }
    let seen: String = url.chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).collect();
    // Django 4.2 takes the 1 of `1:2` for a scheme.
    if seen.split_once(':').is_some_and(|(scheme, _)| is_other_scheme(scheme)) {
        return false;
    }
    let Some(split) = SplitUrl::parse(url) else { return false };
    let has_host = !split.host.is_empty();
    // A browser skips any number of slashes before a host, so it finds one in `///evil.com`, or fails. Django
    // looks for three slashes before it removes tabs.
    if !has_host && (!split.scheme.is_empty() || seen.starts_with("//")) {
        return false;
    }
    let scheme = match split.scheme.as_str() {
        "" if has_host => "http",
        scheme => scheme,
    };
    let is_allowed_scheme = match scheme {
        "" | "https" => true,
        "http" => !require_https,
        _ => false,
    };
    let is_allowed_host = allowed_hosts.contains(&split.host.as_str()) && is_intact(&split, untrimmed);
    is_allowed_scheme && (!has_host || is_allowed_host)
}

/// Whether scheme and host are there in one piece. A tab in them, or a blank behind, becomes part of the host
/// when it is escaped.
fn is_intact(split: &SplitUrl, untrimmed: &str) -> bool {
    let rest = untrimmed.trim_start_matches(is_blank);
    let rest = match split.scheme.is_empty() {
        true => rest,
        false => rest.split_once(':').map_or("", |(_, rest)| rest),
    };
    let tail = rest.trim_start_matches(['/', '\\']).strip_prefix(&split.host);
    tail.is_some_and(|tail| tail.is_empty() || tail.starts_with(['/', '\\', '?', '#']))
}

/// Whether this is a scheme in the wide sense of Django 4.2, and neither http nor https.
fn is_other_scheme(text: &str) -> bool {
    let is_web = ["http", "https"].iter().any(|web| text.eq_ignore_ascii_case(web));
    !text.is_empty() && text.chars().all(is_scheme_char) && !is_web
}

/// What Python's `str.strip` removes: Unicode's blanks, and four control characters.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}
