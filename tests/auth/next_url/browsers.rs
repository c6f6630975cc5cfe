//! Whatever is called safe, a browser takes to an allowed host: read by an implementation of WHATWG's URLs.

use std::fs;
use std::path::Path;

use actix_django_session::auth::next_url::{
    field_value, full_path, login_redirect, next_target, url_has_allowed_host_and_scheme,
};
use proptest::{collection::vec, prelude::*, sample::select};
use url::Url;

use super::{recording, text};
use crate::support::at_length;

const HOSTS: &[&str] = &["testserver", "example.com:8000", "[::1]:8000"];

/// The pages from which a browser follows the redirect.
const BASES: &[&str] =
    &["http://testserver/accounts/login/?next=x", "https://testserver", "https://[::1]:8000/a/b/c"];

const PIECES: &[&str] = &[
    "/",
    "/",
    "//",
    "///",
    "\\",
    "\\\\",
    "\t",
    "\n",
    "\r",
    " ",
    ":",
    "@",
    "?",
    "#",
    ";",
    ".",
    "..",
    "%2f",
    "%5c",
    "%09",
    "%00",
    "http:",
    "https:",
    "HTTP:",
    "http://",
    "https://",
    "javascript:",
    "data:",
    "ws:",
    "file:",
    "testserver",
    "testserver",
    "TESTSERVER",
    "evil.com",
    "example.com:8000",
    "[::1]:8000",
    "[",
    "]",
    ":80",
    ":443",
    "user",
    "a",
    "1",
    "+",
    "-",
    "\u{e9}",
    "\u{2044}",
    "\u{ff0f}",
    "\u{ff1a}",
    "\u{3002}",
    "\u{2100}",
    "\0",
    "\u{8}",
    "\u{1c}",
    "\u{1f}",
    "\u{85}",
    "\u{a0}",
    "\u{ad}",
    "\u{200b}",
    "\u{2028}",
    "\u{3000}",
    "\u{feff}",
];

/// Where a browser at `base` goes.
fn host(base: &Url, reference: &str) -> String {
    let url = base.join(reference).unwrap_or_else(|error| panic!("{reference:?}: {error}"));
    assert!(["http", "https"].contains(&url.scheme()), "{url}");
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap())
}

/// Checks the URL as it is, and as `next_target` sends it.
fn check(url: &str) -> bool {
    let mut safe = false;
    for base in BASES {
        let base = Url::parse(base).unwrap();
        let secure = base.scheme() == "https";
        let own = host(&base, "");
        if url_has_allowed_host_and_scheme(url, HOSTS, secure) {
            safe = true;
            let found = [host(&base, url), host(&base, url.trim())];
            assert!(
                found.iter().all(|found| *found == own || HOSTS.contains(&found.as_str())),
                "{url:?} {found:?}"
            );
        }
        if let Some(location) = next_target(Some(url), None, HOSTS, secure) {
            let found = host(&base, &location);
            assert!(found == own || HOSTS.contains(&found.as_str()), "{url:?} {found}");
            assert!(location.bytes().all(|b| b.is_ascii_graphic()), "{location:?}");
            // Escaping again changes nothing, and what is safe stays safe.
            assert_eq!(
                next_target(Some(&location), None, HOSTS, secure).unwrap_or(location.clone()),
                location
            );
        }
    }
    safe
}

#[test]
fn every_recorded_url_that_is_safe_stays() {
    let (_, cases) = recording();
    let urls = cases.iter().filter(|case| case.kind == "safe").map(|case| text(&case.input[0]));
    assert!(urls.filter(|url| check(url)).count() > 1000);
}

fn config() -> ProptestConfig {
    let cases = if at_length() { 500_000 } else { 4000 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn dangerous_pieces(pieces in vec(select(PIECES), 0..8)) {
        check(&pieces.concat());
    }

    #[test]
    fn a_safe_url_with_a_dangerous_begin(
        begin in vec(select(PIECES), 0..4),
        safe in select(&["/x", "//testserver/", "http://testserver/", "//[::1]:8000", "?x", "x/y"][..]),
        end in vec(select(PIECES), 0..4),
    ) {
        check(&format!("{}{safe}{}", begin.concat(), end.concat()));
    }

    #[test]
    fn any_text(url in any::<String>()) {
        check(&url);
        field_value(&url, "next");
    }

    /// A page is found again: the login page's `next` is a path of this site, or is refused.
    #[test]
    fn the_way_to_the_login_page_and_back(
        path in any::<Vec<u8>>(),
        query in "[ -~]{0,20}",
        login_url in any::<String>(),
    ) {
        let full = full_path(&path, Some(&query));
        prop_assert!(full.starts_with('/') && full.bytes().all(|b| b.is_ascii_graphic()));
        login_redirect(&login_url, true, "testserver", &full, "next");
        let location = login_redirect("/login/", true, "testserver", &full, "next").unwrap();
        let next = field_value(location.split_once('?').unwrap().1, "next").unwrap();
        prop_assert_eq!(&next, &full);
        check(&next);
    }
}

/// Unicode's control characters are a list that was made from Python's.
#[test]
fn the_list_of_control_characters_is_sorted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/next_url/control_characters.rs");
    let file = fs::read_to_string(path).unwrap();
    let codes = file.split("0x").skip(1).map(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap();
        u32::from_str_radix(&rest[..digits], 16).unwrap()
    });
    let codes: Vec<u32> = codes.collect();
    assert!(codes.len() > 1000 && codes.len().is_multiple_of(2));
    assert!(codes.chunks(2).all(|range| range[0] <= range[1]), "first and last");
    assert!(codes[1..].chunks_exact(2).all(|gap| gap[0] + 1 < gap[1]), "apart and ascending");
    let refused = |c: char| !url_has_allowed_host_and_scheme(&format!("{c}x"), &[], false);
    for c in ['\0', '\u{7f}', '\u{ad}', '\u{200b}', '\u{feff}', '\u{e000}', '\u{378}', '\u{10ffff}'] {
        assert!(refused(c), "{c:?}");
    }
    for c in ['x', '\u{e9}', '\u{4e2d}', '\u{1f600}', '\u{2f}'] {
        assert!(!refused(c), "{c:?}");
    }
}
