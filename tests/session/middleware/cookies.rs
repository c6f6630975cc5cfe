//! Names, attributes and deletions of the cookie, and requests with several cookies of its name.

use actix_django_session::{SameSite, Session, SessionMiddleware, SessionSettings, Store, backend::Memory};
use actix_web::{
    App,
    body::BoxBody,
    dev::ServiceResponse,
    test::{self, TestRequest},
    web,
};

use super::{body, cookie, cookies, count};
use crate::support::{
    logs,
    stores::{self, memory},
};

/// Sends this header to a site that counts at `/`, looks at `/look` and logs out at `/flush`.
async fn request(
    store: &Store,
    settings: SessionSettings,
    path: &str,
    header: &str,
) -> ServiceResponse<BoxBody> {
    let session = SessionMiddleware::new(store.clone()).settings(settings).unwrap();
    let look = async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap());
    let flush = async |session: Session| session.flush().map(|()| "good bye");
    let app = App::new()
        .wrap(session)
        .route("/", web::get().to(count))
        .route("/look", web::get().to(look))
        .route("/flush", web::get().to(flush));
    let app = test::init_service(app).await;
    let request = TestRequest::get().uri(path).insert_header(("cookie", header)).to_request();
    test::call_service(&app, request).await
}

/// As behind a second site with another Domain: Django and this crate take the last one.
#[actix_web::test]
async fn a_look_with_two_cookies_deletes_neither() {
    let memory = Memory::new();
    let store = stores::on(&memory);
    let settings = SessionSettings::default;
    let logs = logs::capture();
    let good = cookie(&request(&store, settings(), "/", "a=b").await, "sessionid");
    let stale = "sessionid=0123456789abcdefghijklmnopqrstuv";

    for several in [format!("{good}; {stale}"), format!("{good}; sessionid=short; {stale}; a=b")] {
        for every in [false, true] {
            let response = request(&store, settings().save_every_request(every), "/look", &several).await;
            assert!(cookies(&response).is_empty(), "{:?}", cookies(&response));
            assert_eq!(body(response).await, "None");
        }
    }
    let told = logs.with("several cookies named sessionid");
    assert!(!told.is_empty() && told[0].contains("WARN"), "{:?}", logs.lines());
    assert!(!told[0].contains(&good["sessionid=".len()..]), "{told:?}");
    let found = request(&store, settings(), "/look", &format!("{stale}; {good}")).await;
    assert_eq!(body(found).await, "Some(1)", "the last one counts");

    // A stale one, twice the same or not, is deleted; and a logout always is.
    for header in [stale.to_owned(), format!("{stale}; {stale}")] {
        let response = request(&store, settings(), "/look", &header).await;
        assert_eq!(cookies(&response).len(), 1, "{header}");
    }
    let response = request(&store, settings(), "/flush", &format!("{good}; {stale}")).await;
    assert!(cookie(&response, "sessionid").ends_with("=\"\""));
    assert_eq!(stores::len(&memory), 1, "the other session is not what this visitor ended");
    let response = request(&store, settings(), "/flush", &format!("{stale}; {good}")).await;
    assert!(cookie(&response, "sessionid").ends_with("=\"\""));
    assert_eq!(stores::len(&memory), 0);
}

/// Both lines of a session that begins and ends.
async fn lines(settings: SessionSettings) -> [String; 2] {
    let store = memory();
    let set = request(&store, settings.clone(), "/", "a=b").await;
    let line = cookies(&set).remove(0);
    let pair = line.split(';').next().unwrap().to_owned();
    let deletion = cookies(&request(&store, settings, "/flush", &pair).await).remove(0);
    [line, deletion]
}

#[actix_web::test]
async fn a_deletion_has_what_browsers_demand_of_the_name() {
    let secure = SessionSettings::default().cookie_secure(true);
    for (name, wants_secure, wants_http_only) in [
        ("sessionid", false, false),
        ("__secure-s", true, false),
        ("__Secure-s", true, false),
        ("__host-s", true, false),
        ("__HOST-s", true, false),
        ("__Http-s", true, true),
        ("__http-s", true, true),
        ("__Host-Http-s", true, true),
        ("__host-HTTP-s", true, true),
        ("my:session", false, false),
    ] {
        let [set, deletion] = lines(secure.clone().cookie_name(name)).await;
        assert!(set.ends_with("; Secure") && set.contains("; HttpOnly;"), "{set}");
        assert!(deletion.starts_with(&format!("{name}=\"\"; expires=Thu, 01 Jan 1970")), "{deletion}");
        assert_eq!(deletion.ends_with("; Secure"), wants_secure, "{deletion}");
        assert_eq!(deletion.contains("; HttpOnly;"), wants_http_only, "{deletion}");
        assert!(deletion.contains("; Path=/;") && !deletion.contains("Domain"), "{deletion}");
    }
}

#[actix_web::test]
async fn partitioned_is_a_setting_and_holds_for_deletions() {
    let embedded = SessionSettings::default()
        .cookie_secure(true)
        .cookie_samesite(Some(SameSite::None))
        .cookie_partitioned(true);
    for line in lines(embedded.clone()).await {
        assert!(line.contains("; Partitioned; Path=/; SameSite=None; Secure"), "{line}");
    }
    for line in lines(embedded.cookie_samesite(Some(SameSite::Lax))).await {
        assert!(line.contains("; Partitioned; Path=/; SameSite=Lax; Secure"), "{line}");
    }
    for line in lines(SessionSettings::default()).await {
        assert!(!line.contains("Partitioned"), "{line}");
    }
}

#[actix_web::test]
async fn settings_are_refused_only_if_browsers_refuse_them() {
    let refused = |settings: SessionSettings| {
        let error = SessionMiddleware::new(memory()).settings(settings).map(drop);
        error.map_err(|error| error.to_string())
    };
    let plain = SessionSettings::default;
    let secure = || plain().cookie_secure(true);
    for name in ["__Http-s", "__http-s", "__Host-Http-s", "__host-s", "__SECURE-s"] {
        let text = refused(plain().cookie_name(name)).unwrap_err();
        assert!(text.contains("cookie_secure(true)"), "{name}: {text}");
        refused(secure().cookie_name(name)).unwrap();
    }
    for name in ["__Http-s", "__Host-Http-s"] {
        let text = refused(secure().cookie_name(name).cookie_httponly(false)).unwrap_err();
        assert!(text.contains("cookie_httponly(true)"), "{name}: {text}");
    }
    for name in ["__Host-s", "__host-http-s"] {
        refused(secure().cookie_name(name).cookie_domain("")).unwrap();
        refused(secure().cookie_name(name).cookie_domain("example.org")).unwrap_err();
        refused(secure().cookie_name(name).cookie_path("/x")).unwrap_err();
    }
    refused(plain().cookie_name("my:session")).unwrap();
    for name in ["a b", "a=b", "a;b", "a,b", "a\"b", ""] {
        refused(plain().cookie_name(name)).unwrap_err();
    }
    assert!(refused(plain().cookie_partitioned(true)).unwrap_err().contains("cookie_secure(true)"));
}
