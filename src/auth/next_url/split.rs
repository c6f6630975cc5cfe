//! URLs taken apart and put together as Python does it: `urlsplit` and `urlunsplit`.

use std::net::Ipv6Addr;

use unicode_normalization::UnicodeNormalization as _;

/// The parts of a URL, undecoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SplitUrl {
    /// In lower case; empty if there is none, as the other parts.
    pub(super) scheme: String,
    /// Host, with user info and port. Python's `netloc`.
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) fragment: String,
}

/// Schemes with a host. Python's `uses_netloc`.
const WITH_HOST: &[&str] = &[
    "",
    "ftp",
    "http",
    "gopher",
    "nntp",
    "telnet",
    "imap",
    "wais",
    "file",
    "mms",
    "https",
    "shttp",
    "snews",
    "prospero",
    "rtsp",
    "rtspu",
    "rsync",
    "svn",
    "svn+ssh",
    "sftp",
    "nfs",
    "git",
    "git+ssh",
    "ws",
    "wss",
    "itms-services",
];

pub(super) fn is_scheme_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

impl SplitUrl {
    /// `None` where Python raises `ValueError`: a broken address in brackets, or a host that would be another
    /// one after normalization.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let url = url.trim_start_matches(|c: char| c <= ' ');
        let url: String = url.chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).collect();
        let mut rest = url.as_str();
        let mut split = Self::default();
        if let Some((scheme, tail)) = rest.split_once(':')
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(is_scheme_char)
        {
            split.scheme = scheme.to_ascii_lowercase();
            rest = tail;
        }
        if let Some(tail) = rest.strip_prefix("//") {
            let end = tail.find(['/', '?', '#']).unwrap_or(tail.len());
            let (host, tail) = tail.split_at(end);
            check_brackets(host)?;
            check_normalization(host)?;
            split.host = host.to_owned();
            rest = tail;
        }
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        split.path = path.to_owned();
        split.query = query.to_owned();
        split.fragment = fragment.to_owned();
        Some(split)
    }

    /// The whole URL. An empty query or fragment leaves no `?` or `#` behind.
    pub(super) fn join(&self) -> String {
        let Self { scheme, host, path, query, fragment } = self;
        let mut url = String::new();
        if !scheme.is_empty() {
            url.push_str(scheme);
            url.push(':');
        }
        if !host.is_empty() {
            url.push_str("//");
            url.push_str(host);
            if !path.is_empty() && !path.starts_with('/') {
                url.push('/');
            }
        } else if path.starts_with("//") || self.has_empty_host() {
            url.push_str("//");
        }
        url.push_str(path);
        if !query.is_empty() {
            url.push('?');
            url.push_str(query);
        }
        if !fragment.is_empty() {
            url.push('#');
            url.push_str(fragment);
        }
        url
    }

    /// As in `file:///etc/hosts`.
    fn has_empty_host(&self) -> bool {
        let scheme = self.scheme.as_str();
        let rooted = self.path.is_empty() || self.path.starts_with('/');
        !scheme.is_empty() && WITH_HOST.contains(&scheme) && rooted
    }
}

/// An address in brackets must be one, and brackets hold nothing else.
fn check_brackets(host: &str) -> Option<()> {
    if !host.contains(['[', ']']) {
        return Some(());
    }
    // Newer Pythons also refuse text before the bracket, or anything but a port behind it. User info may
    // precede.
    let address = host.rsplit_once('@').map_or(host, |(_, address)| address);
    let (address, port) = address.strip_prefix('[')?.split_once(']')?;
    (port.is_empty() || port.starts_with(':')).then_some(())?;
    let plain = host.matches(['[', ']']).count() == 2;
    (plain && is_bracketed_address(address)).then_some(())
}

/// IPv6, perhaps with a zone, or RFC 3986's IPvFuture.
fn is_bracketed_address(address: &str) -> bool {
    if let Some(future) = address.strip_prefix('v') {
        return future.split_once('.').is_some_and(|(version, rest)| {
            !version.is_empty() && version.bytes().all(|b| b.is_ascii_hexdigit()) && !rest.is_empty()
        });
    }
    let (address, zone) = address.split_once('%').unwrap_or((address, "zone"));
    !zone.is_empty() && !zone.contains('%') && address.parse::<Ipv6Addr>().is_ok()
}

/// Browsers normalize a host, so a character that becomes a slash, say, would end it earlier.
fn check_normalization(host: &str) -> Option<()> {
    if host.is_ascii() {
        return Some(());
    }
    let delimiters = ['/', '?', '#', '@', ':'];
    let others: String = host.chars().filter(|c| !delimiters.contains(c)).collect();
    let mut normalized = others.nfkc();
    (!normalized.any(|c| delimiters.contains(&c))).then_some(())
}
