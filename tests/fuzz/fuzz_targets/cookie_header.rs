//! Any `Cookie` header: no visitor is mistaken for the known one, and no response distinguishes an unknown
//! key from an impossible one.

#![no_main]

use std::str::FromStr as _;

use actix_django_session::{SameSite, SessionSettings};
use actix_django_session_fuzz::{
    kept, reference,
    site::{KNOWN, Site},
};
use actix_web::http::header::{HeaderValue, HttpDate};
use libfuzzer_sys::{Corpus, fuzz_target};

const DELETION: &str =
    "sessionid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; SameSite=Lax";

const FAMILY_DELETION: &str = "sessionid=\"\"; Domain=x.org; expires=Thu, 01 Jan 1970 00:00:00 GMT; \
     Max-Age=0; Path=/s; SameSite=Strict";

thread_local! {
    static SITE: &'static Site = kept(Site::new(SessionSettings::default()));
    static OTHER: &'static Site = {
        let settings =
            SessionSettings::default().cookie_domain("x.org").cookie_path("/s").cookie_secure(true);
        kept(Site::new(settings.cookie_samesite(Some(SameSite::Strict)).save_every_request(true)))
    };
}

fuzz_target!(|data: &[u8]| -> Corpus {
    // No header has a newline in it, so here one stands between lines of `Cookie`.
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let Ok(cookies) = lines.iter().map(|line| HeaderValue::from_bytes(line)).collect::<Result<Vec<_>, _>>()
    else {
        return Corpus::Reject;
    };
    let sent = reference::cookie(&lines, "sessionid");
    SITE.with(|site| check(site, cookies.clone(), sent.as_deref()));
    OTHER.with(|site| check_another(site, cookies, sent.as_deref()));
    Corpus::Keep
});

fn check(site: &Site, cookies: Vec<HeaderValue>, sent: Option<&[u8]>) {
    let known = sent == Some(KNOWN.as_bytes());
    let deletion = |yes: bool| if yes { vec![DELETION.to_owned()] } else { Vec::new() };
    // Django takes what is shorter than a key for none.
    let short = sent.is_some_and(|sent| String::from_utf8_lossy(sent).chars().count() < 8);

    let looked = site.ask("/look", cookies.clone());
    assert_eq!(looked.page, if known { "200 Ada" } else { "200 nobody" });
    assert_eq!(looked.set_cookie, deletion(sent.is_some() && !known));
    assert_eq!(looked.vary, ["Cookie"]);

    let untouched = site.ask("/untouched", cookies.clone());
    assert_eq!(untouched.set_cookie, deletion(short));
    assert_eq!(untouched.vary.len(), usize::from(short));

    if !known {
        let flushed = site.ask("/flush", cookies.clone());
        assert_eq!(flushed.set_cookie, deletion(sent.is_some()));
    }
    assert_eq!(site.sessions(), 1);

    let written = site.ask("/write", cookies.clone());
    assert_eq!(written.page, "200 written");
    let [line] = &written.set_cookie[..] else { panic!("one cookie, not {:?}", written.set_cookie) };
    let key = key_of(line, "", "; HttpOnly; Max-Age=1209600; Path=/; SameSite=Lax");
    assert_eq!(key == KNOWN, known, "a visitor chose a key");
    if !known {
        let again = HeaderValue::from_str(&format!("sessionid={key}")).expect("a key");
        assert_eq!(site.ask("/look", vec![again]).page, "200 Ada");
        assert!(site.end(key));
    }
    assert_eq!(site.sessions(), 1);

    // Of two the last counts, and others do not.
    let with = |line: &'static str, first: bool| {
        let mut cookies = cookies.clone();
        cookies.insert(if first { 0 } else { cookies.len() }, HeaderValue::from_static(line));
        site.ask("/look", cookies)
    };
    assert_eq!(with("other=\"; sessionid = \"\\141bcde\\fgh\" ; SessionID=x", false).page, "200 Ada");
    assert_eq!(with("other=1; sessionidx=2; \"", true), looked);
    assert_eq!(with("xsessionid=1; sessionid", false), looked);
    if sent.is_some() {
        assert_eq!(with("sessionid=abcdefgh", true), looked);
    }
}

/// A site that saves with every request, and whose cookie has every attribute.
fn check_another(site: &Site, cookies: Vec<HeaderValue>, sent: Option<&[u8]>) {
    let known = sent == Some(KNOWN.as_bytes());
    for path in ["/look", "/untouched"] {
        let answer = site.ask(path, cookies.clone());
        match (&answer.set_cookie[..], known) {
            ([], false) => assert!(sent.is_none()),
            ([line], false) => assert!(sent.is_some() && line == FAMILY_DELETION, "{line}"),
            ([line], true) => {
                let end = "; HttpOnly; Max-Age=1209600; Path=/s; SameSite=Strict; Secure";
                assert_eq!(key_of(line, "; Domain=x.org", end), KNOWN);
            }
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!(site.sessions(), 1);
}

/// The key that a line sets. `before` and `after` is what else stands there, around the date.
fn key_of<'a>(line: &'a str, before: &str, after: &str) -> &'a str {
    let rest = line.strip_prefix("sessionid=").expect("its name");
    let (key, rest) = rest.split_once(';').expect("its attributes");
    let date = format!(";{rest}");
    let date = date.strip_prefix(&format!("{before}; expires=")).and_then(|rest| rest.strip_suffix(after));
    HttpDate::from_str(date.expect("Django's attributes")).expect("a date");
    let drawn = key.len() == 32 && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    assert!(drawn || key == KNOWN, "{key}");
    key
}
