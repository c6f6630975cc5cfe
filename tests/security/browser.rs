//! The rules of a real Chromium for cookies: what it keeps, and what it lets a logout delete.

use actix_django_session::{SameSite, Session, SessionMiddleware, SessionSettings};
use actix_web::web;

use crate::support::{browser::Browser, site::Site, stores::memory};

/// One scope for each name, with a session each: `/NUMBER/in` begins it and `/NUMBER/out` ends it.
fn site(all: &[SessionSettings]) -> Site {
    let all = all.to_vec();
    Site::serve(1, async move || {
        let store = memory();
        move |config: &mut web::ServiceConfig| {
            for (number, settings) in all.iter().enumerate() {
                let session = SessionMiddleware::new(store.clone()).settings(settings.clone()).unwrap();
                let log_in = async |session: Session| session.insert("user", &1).map(|()| "in");
                let log_out = async |session: Session| session.flush().map(|()| "out");
                config.service(
                    web::scope(&format!("/{number}"))
                        .wrap(session)
                        .route("/in", web::get().to(log_in))
                        .route("/out", web::get().to(log_out)),
                );
            }
        }
    })
}

#[test]
#[ignore = "needs Chromium: run tests/run"]
fn chromium_keeps_and_deletes_cookies_of_every_prefix() {
    let secure = SessionSettings::default().cookie_secure(true);
    let names = [
        "sessionid",
        "my:session",
        "__Secure-a",
        "__secure-b",
        "__Host-c",
        "__host-d",
        "__HOST-e",
        "__Http-f",
        "__http-g",
        "__Host-Http-h",
        "__host-http-i",
    ];
    let mut all: Vec<_> = names.iter().map(|name| secure.clone().cookie_name(*name)).collect();
    all.push(secure.clone().cookie_name("__Host-j").cookie_domain(""));
    all.push(secure.clone().cookie_name("partitioned").cookie_partitioned(true));
    let embedded = secure.cookie_samesite(Some(SameSite::None)).cookie_partitioned(true);
    all.push(embedded.cookie_name("__Host-embedded"));
    let names = names.iter().chain(&["__Host-j", "partitioned", "__Host-embedded"]);
    let site = site(&all);
    let browser = Browser::start();
    // Secure cookies without TLS are for localhost alone.
    let url = |path: &str| site.url(path).replace("127.0.0.1", "localhost");
    for (number, name) in names.enumerate() {
        browser.goto(&url(&format!("/{number}/in")));
        let cookie =
            browser.cookie(name).unwrap_or_else(|| panic!("{name} is not kept: {:?}", browser.cookies()));
        assert_eq!((&cookie["httpOnly"], &cookie["secure"]), (&true.into(), &true.into()), "{name}");
        browser.goto(&url(&format!("/{number}/out")));
        assert!(browser.cookie(name).is_none(), "{name} is still there after a logout");
    }
    assert!(browser.cookies().is_empty(), "{:?}", browser.cookies());
}
