//! Cases outside the recording: wrong set-ups, nesting, helper functions, responses that have begun.

use std::{cell::RefCell, rc::Rc};

use actix_django_session::{
    SameSite, SecretKey, SessionMiddleware, Store,
    backend::Memory,
    messages::{Message, MessageLevel, MessageSettings, MessageStorage, Messages, MessagesMiddleware},
};
use actix_web::{
    App, HttpRequest, HttpResponse,
    dev::{Service, ServiceResponse},
    http::{StatusCode, header},
    test, web,
};
use serde_json::json;

use crate::support::logs;

fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

fn session() -> SessionMiddleware {
    SessionMiddleware::new(Store::new(Memory::new(), secret()))
}

fn messages(settings: MessageSettings) -> MessagesMiddleware {
    MessagesMiddleware::new(secret()).settings(settings).unwrap()
}

fn cookie_only() -> MessageSettings {
    MessageSettings::default().storage(MessageStorage::Cookie)
}

async fn add(messages: Messages) -> &'static str {
    messages.success("saved");
    "added"
}

async fn show(messages: Messages) -> Result<String, actix_django_session::Error> {
    Ok(messages.take().await?.iter().map(Message::to_string).collect::<Vec<_>>().join(","))
}

fn cookie_lines<B>(response: &ServiceResponse<B>) -> Vec<String> {
    let lines = response.headers().get_all(header::SET_COOKIE);
    lines.map(|line| line.to_str().unwrap().to_owned()).collect()
}

fn pair(line: &str) -> String {
    line.split(';').next().unwrap().to_owned()
}

/// The status of a request to an application with these middlewares, and what was logged.
macro_rules! outcome {
    ($app:expr) => {{
        let logs = logs::capture();
        let app = test::init_service($app.route("/", web::get().to(add))).await;
        let status = match app.call(test::TestRequest::get().uri("/").to_request()).await {
            Ok(response) => response.status(),
            Err(error) => error.error_response().status(),
        };
        (status, logs.lines().join("\n"))
    }};
}

#[actix_web::test]
async fn without_a_session_middleware_around_it_the_error_says_what_to_do() {
    let (status, log) = outcome!(App::new().wrap(messages(MessageSettings::default())));
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(log.contains("call .wrap(session) after .wrap(messages)"), "{log}");
    // The wrong way round. The log counts what it has said already.
    let (status, _) = outcome!(App::new().wrap(session()).wrap(messages(MessageSettings::default())));
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let (status, _) = outcome!(App::new().wrap(messages(cookie_only())));
    assert_eq!(status, StatusCode::OK);
}

#[actix_web::test]
async fn without_the_middleware_the_extractor_says_what_to_do() {
    let (status, log) = outcome!(App::new().wrap(session()));
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(log.contains("add .wrap(MessagesMiddleware::new(secret))"), "{log}");
}

#[actix_web::test]
async fn an_empty_secret_signs_nothing() {
    for secret in [SecretKey::new(""), SecretKey::new("good").with_fallbacks([""])] {
        let middleware = MessagesMiddleware::new(secret).settings(cookie_only()).unwrap();
        let (status, log) = outcome!(App::new().wrap(middleware));
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(log.contains("secret key is empty"), "{log}");
    }
}

#[test]
async fn settings_that_no_browser_accepts_are_refused() {
    let settings = cookie_only().cookie_samesite(Some(SameSite::None));
    let error = MessagesMiddleware::new(secret()).settings(settings).unwrap_err();
    assert!(error.is_configuration());
}

#[actix_web::test]
async fn without_sessions_the_cookie_has_its_own_attributes() {
    let settings = cookie_only()
        .cookie_domain("example.com")
        .cookie_secure(true)
        .cookie_httponly(false)
        .cookie_samesite(Some(SameSite::Strict));
    let app = test::init_service(App::new().wrap(messages(settings)).route("/", web::get().to(add))).await;
    let response = test::call_service(&app, test::TestRequest::default().to_request()).await;
    let [line] = &cookie_lines(&response)[..] else { panic!() };
    assert!(line.ends_with("; Domain=example.com; Path=/; SameSite=Strict; Secure"), "{line}");
    assert_eq!(response.headers().get(header::VARY).unwrap(), "Cookie");
}

#[actix_web::test]
async fn the_outer_one_of_two_serves_both() {
    let app = App::new()
        .service(web::resource("/add").wrap(messages(cookie_only())).route(web::get().to(add)))
        .route("/show", web::get().to(show))
        .wrap(messages(cookie_only()));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, test::TestRequest::with_uri("/add").to_request()).await;
    let [line] = &cookie_lines(&response)[..] else { panic!() };
    let request = test::TestRequest::with_uri("/show").insert_header((header::COOKIE, pair(line)));
    assert_eq!(test::call_and_read_body(&app, request.to_request()).await, "saved");
}

#[actix_web::test]
async fn messages_survive_until_a_page_takes_them() {
    async fn peek(messages: Messages) -> Result<String, actix_django_session::Error> {
        assert_eq!(messages.len().await?, 1);
        Ok(messages.peek().await?[0].text.clone())
    }
    let app = App::new()
        .route("/add", web::get().to(add))
        .route("/peek", web::get().to(peek))
        .route("/show", web::get().to(show))
        .route("/none", web::get().to(async || "nothing"))
        .wrap(messages(MessageSettings::default()))
        .wrap(session());
    let app = test::init_service(app).await;
    let response = test::call_service(&app, test::TestRequest::with_uri("/add").to_request()).await;
    let cookie = pair(&cookie_lines(&response)[0]);
    for (path, vary) in [("/none", None), ("/peek", Some("Cookie")), ("/missing", None)] {
        let request = test::TestRequest::with_uri(path).insert_header((header::COOKIE, &*cookie));
        let response = test::call_service(&app, request.to_request()).await;
        assert_eq!(cookie_lines(&response), [""; 0], "{path}");
        let found = response.headers().get(header::VARY).map(|line| line.to_str().unwrap());
        assert_eq!(found, vary, "{path}");
    }
    let request = test::TestRequest::with_uri("/show").insert_header((header::COOKIE, &*cookie));
    let response = test::call_service(&app, request.to_request()).await;
    assert!(cookie_lines(&response)[0].starts_with("messages=\"\"; "));
}

#[actix_web::test]
async fn a_message_after_the_response_has_begun_is_logged_and_dropped() {
    let kept: Rc<RefCell<Option<Messages>>> = Rc::default();
    let keeper = kept.clone();
    let handler = move |messages: Messages| {
        *keeper.borrow_mut() = Some(messages);
        async { HttpResponse::Ok().finish() }
    };
    let app =
        test::init_service(App::new().wrap(messages(cookie_only())).route("/", web::get().to(handler))).await;
    let response = test::call_service(&app, test::TestRequest::default().to_request()).await;
    assert_eq!(cookie_lines(&response), [""; 0]);
    let logs = logs::capture();
    kept.borrow().as_ref().unwrap().info("too late");
    let log = logs.lines().join("\n");
    assert!(log.contains("the response has already begun"), "{log}");
    assert!(!log.contains("too late"));
    let late = kept.borrow().clone().unwrap();
    assert!(late.take().await.unwrap_err().is_closed());
}

#[actix_web::test]
async fn helper_functions_find_the_messages_of_a_request() {
    async fn handler(request: HttpRequest) -> Result<&'static str, actix_django_session::Error> {
        Messages::of(&request)?.add(MessageLevel::ERROR, "found");
        Ok("")
    }
    let app =
        test::init_service(App::new().wrap(messages(cookie_only())).route("/", web::get().to(handler))).await;
    let response = test::call_service(&app, test::TestRequest::default().to_request()).await;
    assert_eq!(cookie_lines(&response).len(), 1);
}

#[actix_web::test]
async fn templates_get_every_field() {
    let messages = Messages::detached();
    messages.add_with_tags(MessageLevel::WARNING, "<b>", "x");
    let taken = messages.take().await.unwrap();
    assert_eq!(
        serde_json::to_value(&taken).unwrap(),
        json!([{
            "level": 30, "text": "<b>", "extra_tags": "x", "level_tag": "warning", "tags": "x warning",
            "is_safe": false,
        }])
    );
    assert_eq!(taken[0].html(), "&lt;b&gt;");
    assert!(!format!("{messages:?}").contains("<b>"));
}

#[actix_web::test]
async fn bad_values_are_ignored_with_a_warning_that_does_not_quote_them() {
    let app = App::new().wrap(messages(cookie_only())).route("/", web::get().to(show));
    let app = test::init_service(app).await;
    let request = |value: &str| {
        let cookie = format!("messages={value}");
        test::TestRequest::default().insert_header((header::COOKIE, cookie)).to_request()
    };
    let logs = logs::capture();
    let unsigned = test::call_service(&app, request("W10:1r31eq:forged")).await;
    assert_eq!(unsigned.status(), StatusCode::OK);
    assert_eq!(logs.lines().join("\n"), "", "anybody can send it");
    let signed = crate::support::signing::sign(
        "InBlcnNvbmFsIg:1r31eq",
        "django.contrib.messages",
        "django.http.cookiesa secret",
    );
    let response = test::call_service(&app, request(&signed)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let log = logs.lines().join("\n");
    assert!(log.contains("were ignored: the messages are no list"), "{log}");
    assert!(!log.contains("personal"), "{log}");
}

#[actix_web::test]
async fn of_too_many_messages_the_oldest_are_dropped_with_a_warning() {
    let logs = logs::capture();
    let messages = Messages::detached();
    for number in 0..1000 {
        messages.info(number.to_string());
    }
    assert_eq!(messages.len().await.unwrap(), 500);
    let texts = |list: Vec<Message>| list.into_iter().map(|m| m.text).collect::<Vec<_>>();
    let newest: Vec<_> = (500..1000).map(|number| number.to_string()).collect();
    assert_eq!(texts(messages.peek().await.unwrap()), newest);
    assert_eq!(texts(messages.take().await.unwrap()), newest);
    messages.info("new");
    assert_eq!(messages.len().await.unwrap(), 500);
    assert_eq!(texts(messages.peek().await.unwrap())[498..], ["999", "new"]);
    assert_eq!(texts(messages.take().await.unwrap())[498..], ["999", "new"]);
    assert_eq!(logs.with("a visitor has more than 500 messages").len(), 1, "{:?}", logs.lines());
}

/// Thousands of equal ones fit into a cookie, and any number into a session.
#[actix_web::test]
async fn too_many_stored_messages_are_cut_when_they_are_read_and_when_they_are_written() {
    async fn fill(messages: Messages, count: web::Path<usize>) -> &'static str {
        for _ in 0..*count {
            messages.info("equal");
        }
        ""
    }
    async fn count(messages: Messages) -> Result<String, actix_django_session::Error> {
        Ok(messages.len().await?.to_string())
    }
    async fn store(session: actix_django_session::Session) -> Result<String, actix_django_session::Error> {
        let many = vec![json!(["__json_message", 0, 20, "equal", ""]); 100_000];
        session.insert("_messages", &json!(many).to_string())?;
        Ok(String::new())
    }
    async fn stored(session: actix_django_session::Session) -> Result<String, actix_django_session::Error> {
        let text: Option<String> = session.get("_messages")?;
        Ok(text.unwrap_or_default().matches("equal").count().to_string())
    }
    for storage in [MessageStorage::Fallback, MessageStorage::Cookie, MessageStorage::Session] {
        let app = App::new()
            .route("/fill/{count}", web::get().to(fill))
            .route("/count", web::get().to(count))
            .route("/store", web::get().to(store))
            .route("/stored", web::get().to(stored))
            .route("/show", web::get().to(show))
            .wrap(messages(MessageSettings::default().storage(storage)))
            .wrap(session());
        let app = test::init_service(app).await;
        let mut cookies = std::collections::BTreeMap::new();
        let is_session = storage == MessageStorage::Session;
        for (path, expected) in [
            ("/fill/400", ""),
            ("/fill/99", ""),
            ("/count", "499"),
            ("/fill/2", ""),
            ("/count", "500"),
            ("/stored", if is_session { "500" } else { "0" }),
            ("/store", ""),
            ("/count", "500"),
            ("/fill/1", ""),
            ("/count", "500"),
            ("/stored", if is_session { "500" } else { "100000" }),
        ] {
            let header: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let request =
                test::TestRequest::with_uri(path).insert_header((header::COOKIE, header.join("; ")));
            let response = test::call_service(&app, request.to_request()).await;
            for line in cookie_lines(&response) {
                let (name, value) =
                    pair(&line).split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
                cookies.insert(name, value);
            }
            assert_eq!(test::read_body(response).await, expected, "{storage:?} {path}");
        }
    }
}
