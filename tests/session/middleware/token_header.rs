//! The session's key in a header: what begins it, what each response says, and odd headers.
//!
//! The whole decision table is replayed with tokens in middleware_recording.rs.

use actix_django_session::{
    Error, LazySession, SecretKey, Session, SessionKey, SessionMiddleware, SessionSettings, Store,
    backend::Memory,
};
use actix_web::{
    App, HttpResponse,
    body::BoxBody,
    dev::ServiceResponse,
    http::header,
    test::{self, TestRequest},
    web,
};

use super::{body, cookies, count};
use crate::support::{
    logs,
    scripted::Scripted,
    stores::{self, memory},
};

const NAME: &str = "x-session-token";

fn settings() -> SessionSettings {
    SessionSettings::default().token_header("X-Session-Token")
}

/// A site that counts at `/`.
async fn request_with(
    store: &Store,
    settings: SessionSettings,
    path: &str,
    headers: &[(&str, &str)],
) -> ServiceResponse<BoxBody> {
    let session = SessionMiddleware::new(store.clone()).settings(settings).unwrap();
    let look = async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap());
    let cycle = async |session: LazySession| session.cycle_key().map(|()| "rotated");
    let flush = async |session: LazySession| session.flush().map(|()| "good bye");
    let begin_anew = async |session: Session| -> Result<String, Error> {
        session.flush()?;
        count(session).await
    };
    let fail = async |session: Session| -> Result<HttpResponse, Error> {
        session.insert("n", &99)?;
        session.cycle_key()?;
        Ok(HttpResponse::InternalServerError().finish())
    };
    let gone = async |session: Session, store: web::Data<Store>| -> Result<&'static str, Error> {
        store.delete(&session.session_key().unwrap()).await?;
        session.insert("n", &99)?;
        Ok("too late")
    };
    let cached = async |session: Session| {
        let n = session.get::<u32>("n").unwrap();
        HttpResponse::Ok()
            .insert_header(("cache-control", "public, max-age=600"))
            .insert_header(("vary", "Accept"))
            .body(format!("{n:?}"))
    };
    let app = App::new()
        .app_data(web::Data::new(store.clone()))
        .wrap(session)
        .route("/", web::get().to(count))
        .route("/untouched", web::get().to(async || "untouched"))
        .route("/look", web::get().to(look))
        .route("/cycle", web::get().to(cycle))
        .route("/flush", web::get().to(flush))
        .route("/begin_anew", web::get().to(begin_anew))
        .route("/fail", web::get().to(fail))
        .route("/gone", web::get().to(gone))
        .route("/cached", web::get().to(cached));
    let app = test::init_service(app).await;
    let mut request = TestRequest::get().uri(path);
    for header in headers {
        request = request.append_header(*header);
    }
    test::call_service(&app, request.to_request()).await
}

async fn request(store: &Store, path: &str, headers: &[(&str, &str)]) -> ServiceResponse<BoxBody> {
    request_with(store, settings(), path, headers).await
}

fn all(response: &ServiceResponse<BoxBody>, name: &str) -> Vec<String> {
    response.headers().get_all(name).map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// The token of a response, `None` where there is none to keep or forget.
fn token(response: &ServiceResponse<BoxBody>) -> Option<String> {
    let mut tokens = all(response, NAME);
    assert!(tokens.len() < 2, "{tokens:?}");
    tokens.pop()
}

/// A client's new session.
async fn begin(store: &Store) -> String {
    let response = request(store, "/", &[(NAME, "")]).await;
    let token = token(&response).unwrap();
    assert!(SessionKey::parse(&token).is_some() && token.len() == 32);
    token
}

/// Checks what says that a response is one visitor's.
fn assert_private(response: &ServiceResponse<BoxBody>) {
    assert_eq!(all(response, "vary"), [NAME]);
    assert_eq!(all(response, "cache-control"), ["no-store"]);
    assert!(cookies(response).is_empty(), "{:?}", cookies(response));
}

#[actix_web::test]
async fn an_empty_header_begins_a_session() {
    let memory = Memory::new();
    let store = stores::on(&memory);
    for path in ["/look", "/flush", "/untouched"] {
        let response = request(&store, path, &[(NAME, "")]).await;
        assert_eq!((response.status().as_u16(), token(&response)), (200, None), "{path}");
        assert!(cookies(&response).is_empty());
    }
    assert_eq!(stores::len(&memory), 0);

    let response = request(&store, "/", &[(NAME, "")]).await;
    assert_private(&response);
    let token = token(&response).unwrap();
    assert_eq!(body(response).await, "1");
    let response = request(&store, "/", &[("X-SESSION-TOKEN", &token)]).await;
    assert_private(&response);
    assert_eq!(body(response).await, "2");
    assert_eq!(stores::len(&memory), 1);
}

#[actix_web::test]
async fn only_news_are_sent() {
    let store = memory();
    let key = begin(&store).await;
    let headers = [(NAME, key.as_str())];

    let response = request(&store, "/untouched", &headers).await;
    assert_eq!(
        (token(&response), all(&response, "vary"), all(&response, "cache-control")),
        (None, vec![], vec![])
    );
    for path in ["/look", "/"] {
        let response = request(&store, path, &headers).await;
        assert_private(&response);
        assert_eq!(token(&response), None, "{path}: the client knows the key");
    }
    let response = request_with(&store, settings().save_every_request(true), "/untouched", &headers).await;
    assert_private(&response);
    assert_eq!(token(&response), None);

    let response = request(&store, "/cycle", &headers).await;
    assert_private(&response);
    let rotated = token(&response).unwrap();
    assert_ne!(rotated, key);
    let response = request(&store, "/look", &headers).await;
    assert_private(&response);
    assert_eq!(token(&response).as_deref(), Some(""), "the old key is to be forgotten");
    assert_eq!(body(request(&store, "/look", &[(NAME, &rotated)]).await).await, "Some(2)");

    let response = request(&store, "/begin_anew", &[(NAME, &rotated)]).await;
    let anew = token(&response).unwrap();
    assert!(anew != rotated && anew.len() == 32);
    assert_eq!(body(response).await, "1");

    let response = request(&store, "/flush", &[(NAME, &anew)]).await;
    assert_private(&response);
    assert_eq!(token(&response).as_deref(), Some(""));
    assert!(store.entry(&SessionKey::parse(&anew).unwrap()).await.unwrap().is_none());
}

#[actix_web::test]
async fn a_write_under_an_unknown_token_makes_another_key() {
    let store = memory();
    let unknown = "0123456789abcdefghijklmnopqrstuv";
    let response = request(&store, "/", &[(NAME, unknown)]).await;
    let made = token(&response).unwrap();
    assert!(made != unknown && made.len() == 32, "a client cannot choose its key");
    assert_eq!(body(response).await, "1");
}

#[actix_web::test]
async fn a_failed_request_changes_nothing() {
    let store = memory();
    let key = begin(&store).await;
    let response = request(&store, "/fail", &[(NAME, &key)]).await;
    assert_eq!((response.status().as_u16(), token(&response)), (500, None));
    assert_private(&response);
    assert_eq!(body(request(&store, "/look", &[(NAME, &key)]).await).await, "Some(1)");
}

#[actix_web::test]
async fn a_session_that_is_gone_is_a_400() {
    let store = memory();
    let key = begin(&store).await;
    let response = request(&store, "/gone", &[(NAME, &key)]).await;
    assert_eq!((response.status().as_u16(), token(&response)), (400, None));
    assert!(cookies(&response).is_empty());
    let response = request(&store, "/look", &[(NAME, &key)]).await;
    assert_eq!((response.status().as_u16(), token(&response).as_deref()), (200, Some("")));
}

#[actix_web::test]
async fn the_header_counts_and_not_the_cookie() {
    let store = memory();
    let (by_token, by_cookie) = (begin(&store).await, begin(&store).await);
    request(&store, "/", &[(NAME, &by_token)]).await;
    let cookie = format!("sessionid={by_cookie}");
    let both = [("cookie", cookie.as_str()), (NAME, by_token.as_str())];
    assert_eq!(body(request(&store, "/look", &both).await).await, "Some(2)");
    let response = request(&store, "/flush", &both).await;
    assert_private(&response);
    assert_eq!(token(&response).as_deref(), Some(""));

    // Also an empty or impossible one: the cookie's session is never taken instead.
    for header in ["", "short", "0123456789abcdefghijklmnopqrstuv"] {
        let response = request(&store, "/look", &[("cookie", &cookie), (NAME, header)]).await;
        assert_eq!(body(response).await, "None", "{header}");
    }
    assert_eq!(body(request(&store, "/look", &[("cookie", &cookie)]).await).await, "Some(1)");
}

#[actix_web::test]
async fn a_request_without_the_header_has_its_cookie_and_varies_on_both() {
    let store = memory();
    let response = request(&store, "/", &[]).await;
    assert_eq!((cookies(&response).len(), token(&response)), (1, None));
    assert_eq!(all(&response, "vary"), ["Cookie, x-session-token"]);
    assert_eq!(all(&response, "cache-control"), [""; 0]);
    let cookie = super::cookie(&response, "sessionid");
    let response = request(&store, "/flush", &[("cookie", &cookie)]).await;
    assert_eq!((cookies(&response).len(), token(&response)), (1, None));
    assert_eq!(all(&response, "vary"), ["Cookie, x-session-token"]);

    // Without the setting the header means nothing.
    let key = begin(&store).await;
    let response = request_with(&store, SessionSettings::default(), "/", &[(NAME, &key)]).await;
    assert_eq!(
        (cookies(&response).len(), token(&response), all(&response, "vary")),
        (1, None, vec!["Cookie".to_owned()])
    );
    assert_eq!(body(response).await, "1");
}

#[actix_web::test]
async fn the_handlers_leave_to_cache_is_withdrawn() {
    let store = memory();
    let key = begin(&store).await;
    let response = request(&store, "/cached", &[(NAME, &key)]).await;
    assert_eq!(all(&response, "cache-control"), ["no-store"]);
    assert_eq!(all(&response, "vary"), ["Accept, x-session-token"]);
    // A cookie's response is the handler's own affair, as in Django.
    let response = request(&store, "/cached", &[]).await;
    assert_eq!(all(&response, "cache-control"), ["public, max-age=600"]);
    assert_eq!(all(&response, "vary"), ["Accept, Cookie, x-session-token"]);
}

#[actix_web::test]
async fn tokens_that_no_session_can_have_cost_no_query() {
    let long = "k".repeat(10_000);
    for odd in [
        "short",
        "Bearer 0123456789abcdefghijklmnopqrstuv",
        "k\u{e9}k\u{e9}k\u{e9}k\u{e9}k\u{e9}",
        "a,b,c,d,e f",
        &long,
    ] {
        let scripted = Scripted::memory();
        let response = request(&scripted.store(), "/look", &[(NAME, odd)]).await;
        assert_private(&response);
        assert_eq!((response.status().as_u16(), token(&response).as_deref()), (200, Some("")), "{odd:.20}");
        assert_eq!(body(response).await, "None");
        assert!(scripted.calls().is_empty(), "{odd:.20}: {scripted:?}");
    }
}

#[actix_web::test]
async fn several_tokens_are_refused() {
    let logs = logs::capture();
    let scripted = Scripted::memory();
    let store = scripted.store();
    let (one, other) = (begin(&store).await, begin(&store).await);
    scripted.reset();
    for pair in [[&one, &other], [&one, &String::new()]] {
        for path in ["/", "/untouched"] {
            let response = request(&store, path, &pair.map(|token| (NAME, token.as_str()))).await;
            assert_eq!((response.status().as_u16(), token(&response)), (400, None));
            assert_eq!(body(response).await, "The request has several x-session-token headers: send one.");
        }
    }
    assert!(scripted.calls().is_empty(), "{scripted:?}");
    let twice = [(NAME, one.as_str()), (NAME, one.as_str())];
    assert_eq!(body(request(&store, "/look", &twice).await).await, "Some(1)", "the same one twice is one");

    drop((store, scripted)); // logs what it has only counted
    assert_eq!(logs.total("several x-session-token headers"), 4, "{:?}", logs.lines());
    let told = logs.with(&one);
    assert!(told.is_empty(), "a token was logged: {told:?}");
}

/// Where the key is the data, each change is news.
#[actix_web::test]
async fn signed_cookies_travel_in_the_header_too() {
    let store = Store::signed_cookies(SecretKey::new("a secret"));
    let response = request(&store, "/", &[(NAME, "")]).await;
    let first = token(&response).unwrap();
    let response = request(&store, "/", &[(NAME, &first)]).await;
    let second = token(&response).unwrap();
    assert_ne!(first, second);
    assert_eq!(body(response).await, "2");
    let response = request(&store, "/look", &[(NAME, &second)]).await;
    assert_eq!((token(&response), body(response).await.as_str()), (None, "Some(2)"));
}

#[actix_web::test]
async fn debug_does_not_show_the_token_of_a_response() {
    let store = memory();
    let response = request(&store, "/", &[(NAME, "")]).await;
    let key = token(&response).unwrap();
    assert!(!format!("{:?}", response.headers()).contains(&key));
    let sent = response.headers().get(NAME).unwrap();
    assert!(sent.is_sensitive());
    assert!(!response.headers().contains_key(header::SET_COOKIE));
}

#[actix_web::test]
async fn names_that_no_token_header_can_have_are_refused() {
    let check = |name: &str| {
        let settings = SessionSettings::default().token_header(name);
        SessionMiddleware::new(memory()).settings(settings).map(drop).map_err(|error| error.to_string())
    };
    for name in ["", "a b", "x:y", "t\u{f6}ken"] {
        assert!(check(name).unwrap_err().contains("token_header"), "{name}");
    }
    // Of the Fetch standard: safelisted names, names that only the browser sets.
    let browser = "Accept Accept-Charset Accept-Encoding Accept-Language Access-Control-Request-Method
        Content-Language Content-Type Content-Length Connection Cookie Date DNT Expect Host Keep-Alive Origin
        Range Referer Sec-Fetch-Site TE Trailer Transfer-Encoding Upgrade User-Agent Via
        If-None-Match Last-Event-ID Priority Save-Data Upgrade-Insecure-Requests X-Requested-With X-CSRFToken";
    let others = "Authorization cache-control Forwarded Proxy-Authorization set-cookie traceparent VARY
        X-Forwarded X-Forwarded-For x-forwarded-proto X-Real-IP X-Request-ID X-Amzn-Trace-Id X-Original-URL";
    for name in browser.split_whitespace().chain(others.split_whitespace()) {
        assert!(check(name).unwrap_err().contains("by themselves"), "{name}");
    }
    for name in ["X-Session-Token", "x-my-app", "X-Fortune"] {
        check(name).unwrap();
    }
}
