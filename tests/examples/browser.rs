//! The quickstart in a real browser.

use super::{Server, rows};
use crate::support::{browser::Browser, proc::TempDir};

#[test]
#[ignore = "needs Chromium: run tests/run"]
fn in_a_browser_the_page_works_by_its_forms() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let browser = Browser::start();
    let key = || browser.cookie("sessionid").unwrap()["value"].as_str().unwrap().to_owned();
    browser.goto(&server.url);
    browser.wait_for_text(".visits", "1\nvisit");
    browser.click("header a");
    browser.wait_for_text(".visits", "2\nvisits");
    let cookie = browser.cookie("sessionid").unwrap();
    assert_eq!((&cookie["httpOnly"], &cookie["sameSite"]), (&true.into(), &"Lax".into()));
    assert_eq!(browser.script("return document.cookie"), "");

    let script = "<script>document.title = 'taken over'</script>";
    for (name, value) in [("name", "Ada Lovelace"), ("note", script)] {
        browser.type_text("form.set [name=key]", name);
        browser.type_text("form.set [name=value]", value);
        browser.click("form.set button");
        browser.wait_for_text(".items li:last-child b", name);
        assert_eq!(browser.text(".items li:last-child code"), format!("\"{value}\""));
        assert_eq!(browser.text(".message"), "Stored.");
    }
    assert_eq!(browser.title(), "Your session");

    let before = key();
    assert_eq!(browser.text("#session_key"), before);
    browser.click("#rotate");
    browser.wait_for_text(".message", "Same session, new key");
    assert_ne!(key(), before);
    assert_eq!(browser.text("#session_key"), key());
    browser.wait_for_text(".items", "Ada Lovelace");

    browser.click("button[aria-label='Remove note']");
    browser.wait_for_text(".message", "Removed.");
    assert!(!browser.text(".items").contains("note"));
    browser.click("button[value=browser]");
    browser.wait_for_text("#expires", "expires with the browser");
    assert_eq!(browser.cookie("sessionid").unwrap().get("expiry"), None);
    browser.click("button[value=default]");
    browser.wait_for_text("#expires", "expires in 14 days");
    assert!(browser.cookie("sessionid").unwrap()["expiry"].is_u64());

    browser.type_text("form.set [name=key]", "_mine");
    browser.click("form.set button");
    browser.wait_for_text(".message", "begin with _");

    // As narrow as a phone, nothing sticks out; and nothing was fetched from anywhere else.
    browser.script("document.documentElement.style.width = '390px'");
    let out = "return [...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > 390).length";
    assert_eq!(browser.script(out), 0);
    assert_eq!(browser.script("return performance.getEntriesByType('resource').length"), 0);

    let before = key();
    browser.click("#flush");
    browser.wait_for_text(".message", "The old session is gone");
    browser.wait_for_text(".visits", "1\nvisit");
    assert!(!browser.text(".items").contains("Ada"));
    assert_ne!(key(), before);
    assert_eq!(rows(dir.path()).len(), 1);
}

#[test]
#[ignore = "needs Chromium: run tests/run"]
fn in_a_browser_the_page_comes_back_by_itself() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let browser = Browser::start();
    browser.goto(&server.url);
    browser.wait_for_text(".visits", "1\nvisit");
    let db = rusqlite::Connection::open(dir.path().join("django_session.sqlite3")).unwrap();
    db.execute_batch("ALTER TABLE django_session RENAME TO gone").unwrap();
    browser.click("#rotate");
    browser.wait_for_text("h1", "Back in a moment");
    db.execute_batch("ALTER TABLE gone RENAME TO django_session").unwrap();
    browser.wait_for_text(".visits", "2\nvisits");
}
