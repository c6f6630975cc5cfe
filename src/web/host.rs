//! The host, scheme and port of a request, as Django sees them: `get_host`, `is_secure`, `get_port`.
//!
//! actix's own `ConnectionInfo` believes `Forwarded` and `X-Forwarded-*` headers of any client. Here they
//! count only where a setting says so.

use std::{borrow::Cow, net::SocketAddr};

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap, HeaderName},
};

use crate::Error;

/// Which hosts the site has, and which headers of a proxy are believed: Django's `ALLOWED_HOSTS`,
/// `SECURE_PROXY_SSL_HEADER`, `USE_X_FORWARDED_HOST` and `USE_X_FORWARDED_PORT`.
///
/// Say the same as the Django site beside it:
///
/// ```
/// use actix_django_session::HostSettings;
///
/// let settings = HostSettings::default()
///     .allowed_hosts(["example.com", ".example.org"])
///     .secure_proxy_header("X-Forwarded-Proto", "https");
/// ```
#[derive(Clone, Debug, Default)]
pub struct HostSettings {
    /// In lower case. None: any host.
    allowed_hosts: Option<Vec<String>>,
    secure_proxy_header: Option<(String, String)>,
    use_x_forwarded_host: bool,
    use_x_forwarded_port: bool,
}

impl HostSettings {
    /// `ALLOWED_HOSTS`: names without port, such as `example.com`; `.example.com` also stands for all
    /// subdomains, and `*` for any host. An empty list allows none.
    ///
    /// Default: any host that is well-formed, which is Django's `["*"]` and not its `[]`. Set it unless a
    /// proxy in front refuses requests for hosts that are not yours.
    #[must_use]
    pub fn allowed_hosts<I>(mut self, patterns: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let lower = |pattern: I::Item| pattern.into().to_lowercase();
        self.allowed_hosts = Some(patterns.into_iter().map(lower).collect());
        self
    }

    /// `SECURE_PROXY_SSL_HEADER`: the request came over HTTPS if this header has this value. Default: none,
    /// so that the connection to this server decides.
    ///
    /// `name` is the header's, such as `X-Forwarded-Proto`, or Django's `HTTP_X_FORWARDED_PROTO`. The proxy
    /// must set or remove the header in every request, or else anybody can claim HTTPS.
    #[must_use]
    pub fn secure_proxy_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.secure_proxy_header = Some((header_name(&name.into()), value.into()));
        self
    }

    /// `USE_X_FORWARDED_HOST`: whether `X-Forwarded-Host` goes before `Host`. Default: no. The proxy must
    /// set it in every request.
    #[must_use]
    pub fn use_x_forwarded_host(mut self, yes: bool) -> Self {
        self.use_x_forwarded_host = yes;
        self
    }

    /// `USE_X_FORWARDED_PORT`: whether `X-Forwarded-Port` goes before the port of this server. Default: no.
    /// The proxy must set it in every request.
    #[must_use]
    pub fn use_x_forwarded_port(mut self, yes: bool) -> Self {
        self.use_x_forwarded_port = yes;
        self
    }

    /// Refuses a header that no request can have: nothing would ever be secure.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.secure_proxy_header {
            Some((name, _)) if name.parse::<HeaderName>().is_err() => Err(Error::configuration(format!(
                "secure_proxy_header: {name:?} cannot be a header's name: use X-Forwarded-Proto or the like"
            ))),
            _ => Ok(()),
        }
    }

    fn allows(&self, domain: &str) -> bool {
        let Some(patterns) = &self.allowed_hosts else { return true };
        patterns.iter().any(|pattern| pattern == "*" || is_same_domain(domain, pattern))
    }
}

/// The name of a header, from itself or from Django's spelling, which is that of CGI.
pub(crate) fn header_name(name: &str) -> String {
    match name.strip_prefix("HTTP_") {
        Some(rest) => rest.replace('_', "-"),
        None => name.to_owned(),
    }
}

/// Where a request was sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestHost {
    /// Django's `is_secure()`.
    pub(crate) secure: bool,
    /// Django's `get_host()`: as sent, with the port if there is one. None if it is malformed or not
    /// allowed, where Django raises `DisallowedHost`.
    pub(crate) host: Option<String>,
    /// Django's `get_port()`.
    pub(crate) port: String,
}

impl RequestHost {
    pub(crate) fn of(req: &HttpRequest, settings: &HostSettings) -> Self {
        let config = req.app_config();
        let authority = req.uri().authority().map(|authority| authority.as_str());
        let server = Server { secure: config.secure(), address: config.local_addr() };
        Self::new(req.headers(), authority, server, settings)
    }

    /// `authority` is that of the request's target: HTTP/2 has it instead of a `Host` header.
    fn new(headers: &HeaderMap, authority: Option<&str>, server: Server, settings: &HostSettings) -> Self {
        let secure = match &settings.secure_proxy_header {
            Some((name, value)) => line(headers, name).map(|line| first_item(&line) == value),
            None => None,
        };
        let secure = secure.unwrap_or(server.secure);
        let forwarded_port =
            settings.use_x_forwarded_port.then(|| line(headers, "x-forwarded-port")).flatten();
        let port = forwarded_port.map_or_else(|| server.address.port().to_string(), |port| port.into_owned());
        let forwarded_host =
            settings.use_x_forwarded_host.then(|| line(headers, "x-forwarded-host")).flatten();
        let host = forwarded_host
            .or_else(|| line(headers, header::HOST.as_str()))
            .or(authority.map(Cow::Borrowed))
            .unwrap_or_else(|| server.name(secure, &port).into());
        let allowed = domain(&host).is_some_and(|domain| settings.allows(&domain));
        Self { secure, host: allowed.then(|| host.into_owned()), port }
    }
}

/// The connection's end on this side.
#[derive(Clone, Copy)]
struct Server {
    secure: bool,
    address: SocketAddr,
}

impl Server {
    /// For a request that names no host, as HTTP/1.0 may.
    fn name(self, secure: bool, port: &str) -> String {
        let ip = match self.address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        if port == if secure { "443" } else { "80" } { ip } else { format!("{ip}:{port}") }
    }
}

/// A header's value; several lines are joined, as a WSGI server does. Bytes are Latin-1.
pub(crate) fn line<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let text = |value: &'a header::HeaderValue| match value.to_str() {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => value.as_bytes().iter().map(|&byte| char::from(byte)).collect::<String>().into(),
    };
    let mut lines = headers.get_all(name).map(text);
    let mut all = lines.next()?;
    for line in lines {
        let all = all.to_mut();
        all.push(',');
        all.push_str(&line);
    }
    Some(all)
}

fn first_item(line: &str) -> &str {
    line.split(',').next().unwrap_or_default().trim()
}

/// The domain of a host in lower case, without port and without one dot at its end. None if it is malformed.
/// Django's `split_domain_port`.
fn domain(host: &str) -> Option<String> {
    let end = match host.strip_prefix('[') {
        Some(inner) => inner.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (domain, port) = host.split_at_checked(end)?;
    let well_formed_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| !digits.is_empty() && is_all(digits, is_digit));
    let well_formed = match domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => {
            let (begin, rest) = address.split_once(':')?;
            let rest_byte = |b: u8| b.is_ascii_hexdigit() || b == b':' || b == b'.';
            is_all(begin, |b| b.is_ascii_hexdigit()) && !rest.is_empty() && is_all(rest, rest_byte)
        }
        None => is_all(domain, |b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'),
    };
    let domain = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
    (well_formed_port && well_formed && !domain.is_empty()).then_some(domain)
}

fn is_all(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    text.bytes().all(allowed)
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// Whether a host is a pattern's, or below it where the pattern begins with a dot. The pattern is in lower
/// case; the host is taken as it is. Django's `is_same_domain`.
pub(crate) fn is_same_domain(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix('.') {
        Some(parent) => host == parent || host.ends_with(pattern),
        None => !pattern.is_empty() && host == pattern,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use serde_json::Value;

    use super::*;

    fn headers(case: &Value) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in case["headers"].as_object().unwrap() {
            let value: Vec<u8> =
                value.as_str().unwrap().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
            headers.append(name.parse().unwrap(), HeaderValue::from_bytes(&value).unwrap());
        }
        headers
    }

    fn settings(case: &Value) -> HostSettings {
        let patterns: Vec<&str> = match case["allowed_hosts"].as_array() {
            Some(patterns) => patterns.iter().map(|pattern| pattern.as_str().unwrap()).collect(),
            None => vec!["*"],
        };
        let settings = HostSettings::default()
            .allowed_hosts(patterns)
            .use_x_forwarded_host(case["use_x_forwarded_host"] == true)
            .use_x_forwarded_port(case["use_x_forwarded_port"] == true);
        match case["secure_proxy_ssl_header"].as_array() {
            Some(pair) => settings.secure_proxy_header(pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
            None => settings,
        }
    }

    /// What real Django answered, made by tests/django/record_host.py.
    #[test]
    fn hosts_are_djangos() {
        let file: Value = serde_json::from_str(include_str!("../../tests/vectors/host.json")).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert!(cases.len() > 300, "the recording is short");
        for case in cases {
            let port: u16 = case["server_port"].as_str().unwrap().parse().unwrap();
            let server = Server { secure: case["https"] == true, address: ([127, 0, 0, 1], port).into() };
            let settings = settings(case);
            settings.check().unwrap();
            let ours = RequestHost::new(&headers(case), None, server, &settings);
            let django = RequestHost {
                secure: case["is_secure"] == true,
                host: case["host"].as_str().map(str::to_owned),
                port: case["port"].as_str().unwrap().to_owned(),
            };
            assert_eq!(ours, django, "{case}");
        }
    }

    fn http() -> Server {
        Server { secure: false, address: ([127, 0, 0, 1], 80).into() }
    }

    #[test]
    fn any_well_formed_host_is_allowed_without_the_setting() {
        for (host, allowed) in [("anybody.example:81", true), ("a b", false), ("", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            let found = RequestHost::new(&headers, None, http(), &HostSettings::default());
            assert_eq!(found.host.as_deref(), allowed.then_some(host));
        }
    }

    #[test]
    fn the_target_of_http2_counts_where_no_host_header_is() {
        let settings = HostSettings::default();
        let found = RequestHost::new(&HeaderMap::new(), Some("example.com"), http(), &settings);
        assert_eq!(found.host.as_deref(), Some("example.com"));
    }

    #[test]
    fn two_host_headers_are_no_host() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("example.com"));
        headers.append(header::HOST, HeaderValue::from_static("example.com"));
        assert_eq!(RequestHost::new(&headers, None, http(), &HostSettings::default()).host, None);
    }

    #[test]
    fn a_header_that_cannot_be_is_refused() {
        let error = HostSettings::default().secure_proxy_header("X Forwarded", "https").check().unwrap_err();
        assert!(error.to_string().contains("X Forwarded"), "{error}");
    }
}
