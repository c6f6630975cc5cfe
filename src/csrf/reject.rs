//! Why a request is rejected, and the answer to it.

use std::fmt;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};

use super::token::BadFormat;

/// Why a request is rejected, in Django's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    BadOrigin(String),
    NoReferer,
    MalformedReferer,
    InsecureReferer,
    BadReferer(String),
    BadCookie(BadFormat),
    NoCookie,
    NoToken,
    /// As `NoToken`, but there may be one behind what was read.
    TokenNotReached,
    BadToken(TokenSource, BadFormat),
    WrongToken(TokenSource),
}

/// Where a token was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenSource {
    Form,
    /// With the header's name in title case.
    Header(String),
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("POST"),
            Self::Header(name) => write!(f, "the '{name}' HTTP header"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadOrigin(origin) => {
                write!(f, "Origin checking failed - {origin:.200} does not match any trusted origins.")
            }
            Self::NoReferer => f.write_str("Referer checking failed - no Referer."),
            Self::MalformedReferer => f.write_str("Referer checking failed - Referer is malformed."),
            Self::InsecureReferer => {
                f.write_str("Referer checking failed - Referer is insecure while host is secure.")
            }
            Self::BadReferer(origin) => {
                write!(f, "Referer checking failed - {origin:.200} does not match any trusted origins.")
            }
            Self::BadCookie(format) => write!(f, "CSRF cookie {}.", format.reason()),
            Self::NoCookie => f.write_str("CSRF cookie not set."),
            Self::NoToken => f.write_str("CSRF token missing."),
            Self::TokenNotReached => f.write_str(
                "CSRF token missing in the first max_form_bytes of the form: put it in front of the files.",
            ),
            Self::BadToken(source, format) => write!(f, "CSRF token from {source} {}.", format.reason()),
            Self::WrongToken(source) => write!(f, "CSRF token from {source} incorrect."),
        }
    }
}

/// A text of a request for one line of the log: its first 300 characters, with escapes for all but
/// ASCII.
pub(super) fn loggable(text: &str) -> String {
    let mut line = String::new();
    for (index, c) in text.chars().enumerate() {
        match c {
            _ if index == 300 => {
                line.push('…');
                break;
            }
            ' '..='~' => line.push(c),
            _ => line.extend(c.escape_unicode()),
        }
    }
    line
}

const PAGE: &str = include_str!("403.html");

const NO_REFERER: &str = "
  <p>You are seeing this message because this HTTPS site requires a “Referer header” to be sent by \
     your web browser, but none was sent. This header is required for security reasons, to ensure that \
     your browser is not being hijacked by third parties.</p>
  <p>If you have configured your browser to disable “Referer” headers, please re-enable them, at \
     least for this site, or for HTTPS connections, or for “same-origin” requests.</p>
  <p>If you are using the &lt;meta name=&quot;referrer&quot; content=&quot;no-referrer&quot;&gt; tag \
     or including the “Referrer-Policy: no-referrer” header, please remove them. The CSRF protection \
     requires the “Referer” header to do strict referer checking. If you’re concerned about privacy, \
     use alternatives like &lt;a rel=&quot;noreferrer&quot; …&gt; for links to third-party sites.</p>
";

const NO_COOKIE: &str = "
  <p>You are seeing this message because this site requires a CSRF cookie when submitting forms. \
     This cookie is required for security reasons, to ensure that your browser is not being hijacked by \
     third parties.</p>
  <p>If you have configured your browser to disable cookies, please re-enable them, at least for \
     this site, or for “same-origin” requests.</p>
";

const BAD_FORM: &str = "
<!doctype html>
<html lang=\"en\">
<head>
  <title>{title}</title>
</head>
<body>
  <h1>{title}</h1><p></p>
</body>
</html>
";

/// The page that Django 6.1 answers with. It does not say why, except for what a visitor can mend.
pub(super) fn page(reason: &Reason) -> HttpResponse {
    let (referer, cookie) = match reason {
        Reason::NoReferer => (NO_REFERER, ""),
        Reason::NoCookie => ("", NO_COOKIE),
        _ => ("", ""),
    };
    let body = PAGE.replace("{no_referer}", referer).replace("{no_cookie}", cookie);
    HttpResponse::Forbidden().insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8")).body(body)
}

/// Django's page for a form that it does not read, with `Bad Request (400)` or another status. The rest of
/// the form is not read, so the connection is closed.
pub(super) fn bad_form(status: StatusCode) -> HttpResponse {
    let title = format!("{} ({})", status.canonical_reason().unwrap_or_default(), status.as_u16());
    HttpResponse::build(status)
        .force_close()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .body(BAD_FORM.replace("{title}", &title))
}
