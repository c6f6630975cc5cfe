//! Where a request comes from, by its Origin or Referer header.

use super::reject::Reason;
use crate::{Error, web::is_same_domain};

/// An entry of `CSRF_TRUSTED_ORIGINS`.
#[derive(Clone, Debug)]
pub(super) struct TrustedOrigin {
    /// As configured, which an Origin has to be without a wildcard.
    text: String,
    scheme: String,
    /// In lower case, without a wildcard: what is left begins with a dot.
    host: String,
}

impl TrustedOrigin {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let bad = |what: &str| {
            Err(Error::configuration(format!(
                "trusted_origins: {text:?} {what}: use the form https://example.com or https://*.example.com"
            )))
        };
        let Ok(Url { scheme, host }) = Url::split(text) else { return bad("is malformed") };
        if scheme.is_empty() || host.is_empty() {
            return bad("has no scheme or no host");
        }
        let host = host.trim_start_matches('*').to_lowercase();
        if host.is_empty() {
            return bad("would match nothing");
        }
        Ok(Self { text: text.to_owned(), scheme, host })
    }

    fn has_wildcard(&self) -> bool {
        self.text.contains('*')
    }
}

/// Django's `_origin_verified`. `own` is this site's origin, unless the request's host is bad.
pub(super) fn is_trusted_origin(origin: &str, own: Option<&str>, trusted: &[TrustedOrigin]) -> bool {
    if own == Some(origin) || trusted.iter().any(|entry| !entry.has_wildcard() && entry.text == origin) {
        return true;
    }
    let Ok(Url { scheme, host }) = Url::split(origin) else { return false };
    let mut wildcards = trusted.iter().filter(|entry| entry.has_wildcard() && entry.scheme == scheme);
    wildcards.any(|entry| is_same_domain(host, &entry.host))
}

/// Django's `_check_referer`. `own` is the host that a referer must have, unless the request's host is bad.
pub(super) fn check_referer(
    referer: Option<&str>,
    own: Option<&str>,
    trusted: &[TrustedOrigin],
) -> Result<(), Reason> {
    let Url { scheme, host } = Url::split(referer.ok_or(Reason::NoReferer)?)?;
    if scheme.is_empty() || host.is_empty() {
        return Err(Reason::MalformedReferer);
    }
    if scheme != "https" {
        return Err(Reason::InsecureReferer);
    }
    let is_trusted = trusted.iter().any(|entry| is_same_domain(host, &entry.host));
    if is_trusted || own.is_some_and(|own| is_same_domain(host, &own.to_lowercase())) {
        return Ok(());
    }
    // Not the whole URL: its path and query may hold secrets, of a password reset for example.
    let host = host.rsplit('@').next().unwrap_or_default();
    Err(Reason::BadReferer(format!("{scheme}://{host}")))
}

/// The beginning of a URL.
struct Url<'a> {
    /// In lower case; empty if there is none.
    scheme: String,
    /// With port and user, as text; empty if there is none.
    host: &'a str,
}

impl<'a> Url<'a> {
    /// Python's `urlsplit`, as far as it is needed.
    fn split(url: &'a str) -> Result<Self, Reason> {
        let url = url.trim_start_matches(|c: char| c <= ' ');
        // Python removes tabs, which nobody sends.
        if url.contains(['\t', '\r', '\n']) {
            return Err(Reason::MalformedReferer);
        }
        let is_scheme = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        };
        let (scheme, rest) = match url.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            _ => (String::new(), url),
        };
        let host = match rest.strip_prefix("//") {
            Some(rest) => rest.split(['/', '?', '#']).next().unwrap_or_default(),
            None => "",
        };
        if !has_good_brackets(host) {
            return Err(Reason::MalformedReferer);
        }
        Ok(Self { scheme, host })
    }
}

/// Brackets are around an IPv6 address, and nowhere else.
fn has_good_brackets(host: &str) -> bool {
    if !host.contains(['[', ']']) {
        return true;
    }
    let host = host.rsplit('@').next().unwrap_or_default();
    let Some((address, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return false;
    };
    address.parse::<std::net::Ipv6Addr>().is_ok() && (port.is_empty() || port.starts_with(':'))
}
