//! The middleware among others: nested, around streams and sockets, with errors, without itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    cell::Cell,
    future::ready,
    rc::Rc,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, LazySession, Session, SessionExt as _, SessionKey, SessionMiddleware, SessionSettings,
    hooks::{Function, GetResponse, Hooks, Middleware, MiddlewareNotUsed, Next},
    store::{AnyStore, Loaded, MemoryStore, Outcome, Seen, SessionData, SessionStore},
};
use actix_web::{
    App, HttpRequest, HttpResponse, Responder,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    error::{ErrorImATeapot, ErrorServiceUnavailable},
    http::{StatusCode, header},
    middleware::{Compress, ErrorHandlerResponse, ErrorHandlers, Logger, NormalizePath, from_fn},
    test::{self, TestRequest},
    web::{self, Bytes},
};
use futures_util::{StreamExt as _, stream};
use support::{logs, site::Site};

async fn count(session: Session) -> Result<String, Error> {
    Ok(session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1)?.to_string())
}

fn cookies<B>(response: &ServiceResponse<B>) -> Vec<String> {
    let lines = response.headers().get_all(header::SET_COOKIE);
    lines.map(|line| line.to_str().unwrap().to_owned()).collect()
}

fn cookie<B>(response: &ServiceResponse<B>, name: &str) -> String {
    let mine = cookies(response).into_iter().find(|line| line.starts_with(&format!("{name}=")));
    let line = mine.unwrap_or_else(|| panic!("no cookie {name}: {:?}", cookies(response)));
    line.split(';').next().unwrap().to_owned()
}

async fn body<B: MessageBody>(response: ServiceResponse<B>) -> String {
    String::from_utf8(test::read_body(response).await.to_vec()).unwrap()
}

fn named(store: &MemoryStore, name: &str) -> SessionMiddleware {
    let settings = SessionSettings::default().cookie_name(name);
    SessionMiddleware::new(store.clone()).settings(settings).unwrap()
}

#[actix_web::test]
async fn scopes_beside_each_other_have_sessions_of_their_own() {
    let store = MemoryStore::new();
    let app = App::new()
        .service(web::scope("/shop").wrap(named(&store, "shop")).route("", web::get().to(count)))
        .service(web::scope("/admin").wrap(named(&store, "admin")).route("", web::get().to(count)));
    let app = test::init_service(app).await;
    let shop = test::call_service(&app, TestRequest::get().uri("/shop").to_request()).await;
    let shop = cookie(&shop, "shop");
    let both = TestRequest::get().uri("/admin").insert_header(("cookie", shop.clone())).to_request();
    assert_eq!(body(test::call_service(&app, both).await).await, "1");
    let again = TestRequest::get().uri("/shop").insert_header(("cookie", shop)).to_request();
    assert_eq!(body(test::call_service(&app, again).await).await, "2");
}

#[actix_web::test]
async fn a_session_inside_another_is_the_one_that_handlers_get() {
    async fn both(inner: Session, req: HttpRequest) -> Result<String, Error> {
        inner.insert("who", "inner")?;
        let outer = req.session_named("outer")?.load().await?;
        outer.insert("who", "outer")?;
        assert_eq!(inner.get::<String>("who")?.as_deref(), Some("inner"));
        req.session_named("none").unwrap_err();
        Ok(String::new())
    }
    let store = MemoryStore::new();
    let app = App::new()
        .wrap(from_fn(async |req: ServiceRequest, next: actix_web::middleware::Next<_>| {
            let response = next.call(req).await?;
            // The inner middleware has done its work: from here on the outer session is the request's.
            let session = response.request().session()?.load().await?;
            assert_eq!(session.get::<String>("who")?.as_deref(), Some("outer"));
            Ok::<ServiceResponse<_>, actix_web::Error>(response)
        }))
        .wrap(named(&store, "outer"))
        .service(web::scope("/in").wrap(named(&store, "inner")).route("", web::get().to(both)));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, TestRequest::get().uri("/in").to_request()).await;
    assert_eq!(response.status(), 200);
    for name in ["inner", "outer"] {
        let key = cookie(&response, name).split_once('=').unwrap().1.to_owned();
        let session = Session::open(&store, &SessionKey::parse(&key).unwrap()).await.unwrap();
        assert_eq!(session.get::<String>("who").unwrap().as_deref(), Some(name));
    }
}

#[actix_web::test]
async fn one_name_wrapped_twice_is_one_session_saved_once() {
    let store = MemoryStore::new();
    let session = SessionMiddleware::new(store.clone());
    let app = App::new()
        .wrap(session.clone())
        .service(web::scope("/in").wrap(session).route("", web::get().to(count)));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, TestRequest::get().uri("/in").to_request()).await;
    assert_eq!(cookies(&response).len(), 1);
    assert_eq!(format!("{store:?}"), "MemoryStore(1 sessions)");
}

#[actix_web::test]
async fn other_middleware_inside_and_outside_keeps_working() {
    let store = MemoryStore::new();
    let app = App::new()
        .wrap(NormalizePath::trim())
        .wrap(SessionMiddleware::new(store))
        .wrap(Compress::default())
        .wrap(Logger::default())
        .wrap(ErrorHandlers::new().handler(StatusCode::NOT_FOUND, |response| {
            Ok(ErrorHandlerResponse::Response(response.map_into_left_body()))
        }))
        .route(
            "/n",
            web::get().to(async |session: Session| -> Result<String, Error> {
                session.insert("n", &1)?;
                Ok("compressible ".repeat(1000))
            }),
        );
    let app = test::init_service(app).await;
    let request = TestRequest::get().uri("/n/").insert_header(("accept-encoding", "gzip")).to_request();
    let response = test::call_service(&app, request).await;
    assert_eq!(response.headers().get(header::CONTENT_ENCODING).unwrap(), "gzip");
    let vary: Vec<_> =
        response.headers().get_all(header::VARY).map(|v| v.to_str().unwrap().to_lowercase()).collect();
    assert!(vary.join(", ").contains("cookie") && vary.join(", ").contains("accept-encoding"), "{vary:?}");
    cookie(&response, "sessionid");
    let missing = test::call_service(&app, TestRequest::get().uri("/nowhere").to_request()).await;
    assert_eq!(missing.status(), 404);
}

/// Not as handlers' errors, which are responses by then: an error that goes through the services.
#[actix_web::test]
async fn an_error_from_inside_is_treated_as_the_response_it_becomes() {
    for (status, saved) in [(400, true), (418, true), (503, false)] {
        let store = MemoryStore::new();
        let app = App::new()
            .wrap(Function::new(move |_| {
                Ok(move |req: ServiceRequest| async move {
                    req.session()?.load().await?.insert("n", &1)?;
                    Err::<ServiceResponse, _>(match status {
                        418 => ErrorImATeapot("from inside"),
                        503 => ErrorServiceUnavailable("from inside"),
                        _ => actix_web::error::ErrorBadRequest("from inside"),
                    })
                })
            }))
            .wrap(SessionMiddleware::new(store.clone()))
            .route("/", web::get().to(count));
        let app = test::init_service(app).await;
        let error = test::try_call_service(&app, TestRequest::get().uri("/").to_request()).await.unwrap_err();
        assert_eq!(error.to_string(), "from inside", "outer middleware still sees the error");
        for _ in 0..2 {
            let response = error.as_response_error().error_response();
            assert_eq!(response.status(), status);
            let cookies = response.headers().get_all(header::SET_COOKIE).count();
            assert_eq!(cookies, usize::from(saved), "{status}");
            assert_eq!(response.headers().get(header::VARY).unwrap(), "Cookie");
        }
        assert_eq!(format!("{store:?}"), format!("MemoryStore({} sessions)", usize::from(saved)));
    }
}

#[actix_web::test]
async fn without_the_middleware_the_extractors_fail_loudly() {
    let logs = logs::capture();
    let app = App::new()
        .route("/", web::get().to(count))
        .route("/lazy", web::get().to(async |_: LazySession| "never"));
    let app = test::init_service(app).await;
    for path in ["/", "/lazy"] {
        let response = test::call_service(&app, TestRequest::get().uri(path).to_request()).await;
        assert_eq!(response.status(), 500);
        assert_eq!(body(response).await, "Internal server error");
    }
    assert_eq!(logs.with("no SessionMiddleware is wrapped around this handler").len(), 2);
}

#[actix_web::test]
async fn a_body_that_streams_reads_on_and_a_late_write_is_an_error_that_is_seen() {
    async fn events(session: Session) -> impl Responder {
        session.insert("before", &1).unwrap();
        let lines = stream::iter(0..3).then(move |n| {
            let session = session.clone();
            async move {
                let late = session.insert("late", &n).unwrap_err();
                assert!(late.is_closed());
                assert!(session.update("late", |n: Option<u32>| n).unwrap_err().is_closed());
                assert!(
                    session.flush().unwrap_err().is_closed() && session.cycle_key().unwrap_err().is_closed()
                );
                assert!(
                    session.clear().unwrap_err().is_closed()
                        && session.set_modified().unwrap_err().is_closed()
                );
                let before: Option<u32> = session.get("before").unwrap();
                Ok::<_, actix_web::Error>(Bytes::from(format!("data: {before:?}\n\n")))
            }
        });
        HttpResponse::Ok().content_type("text/event-stream").streaming(Box::pin(lines))
    }
    let logs = logs::capture();
    let store = MemoryStore::new();
    let app = App::new().wrap(SessionMiddleware::new(store.clone())).route("/", web::get().to(events));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, TestRequest::get().uri("/").to_request()).await;
    let key = cookie(&response, "sessionid").replace("sessionid=", "");
    assert_eq!(body(response).await, "data: Some(1)\n\n".repeat(3));
    assert!(!logs.with("the response has already begun").is_empty());
    let session = Session::open(&store, &SessionKey::parse(&key).unwrap()).await.unwrap();
    assert_eq!(session.keys(), ["before"]);
}

#[test]
fn a_web_socket_is_upgraded_and_uses_the_session_by_its_key() {
    use std::io::{Read as _, Write as _};
    async fn socket(
        req: HttpRequest,
        body: web::Payload,
        session: Session,
        store: web::Data<MemoryStore>,
    ) -> Result<HttpResponse, actix_web::Error> {
        session.insert("connected", &true)?;
        session.save().await?; // so that the task finds it
        let key = session.session_key().unwrap();
        let (response, mut socket, _) = actix_ws::handle(&req, body)?;
        actix_web::rt::spawn(async move {
            let session = Session::open(&**store, &key).await.unwrap();
            session.insert("later", &true).unwrap();
            session.save().await.unwrap();
            socket.text(session.keys().join(",")).await.unwrap();
        });
        Ok(response)
    }
    let site = Site::serve(1, async || {
        let store = MemoryStore::new();
        move |config: &mut web::ServiceConfig| {
            let scope = web::scope("").wrap(SessionMiddleware::new(store.clone()));
            config.app_data(web::Data::new(store.clone()));
            config.service(scope.route("/ws", web::get().to(socket)));
        }
    });
    let mut tcp = std::net::TcpStream::connect(("127.0.0.1", site.port())).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    tcp.write_all(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .unwrap();
    let mut seen = Vec::new();
    while !seen.windows(15).any(|w| w == b"connected,later") {
        let mut buffer = [0; 1024];
        let n = tcp.read(&mut buffer).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..n]);
    }
    let head = String::from_utf8_lossy(&seen).to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("set-cookie: sessionid="), "{head}");
}

/// A store whose errors hold what nobody may see.
struct Broken;

const LEAK: &str = "password=hunter2";

impl SessionStore for Broken {
    async fn load(&self, _: &SessionKey) -> Result<Loaded, Error> {
        Err(Error::store_caused_by("cannot load", LEAK))
    }
    async fn create(&self, _: &SessionKey, _: &SessionData, _: SystemTime) -> Result<Outcome, Error> {
        Err(Error::store_caused_by("cannot create", LEAK))
    }
    async fn update(
        &self,
        _: &SessionKey,
        _: &Seen,
        _: &SessionData,
        _: SystemTime,
    ) -> Result<Outcome, Error> {
        unreachable!()
    }
    async fn rename(
        &self,
        _: &SessionKey,
        _: &Seen,
        _: &SessionKey,
        _: &SessionData,
        _: SystemTime,
    ) -> Result<Outcome, Error> {
        unreachable!()
    }
    async fn delete(&self, _: &SessionKey) -> Result<bool, Error> {
        unreachable!()
    }
    async fn exists(&self, _: &SessionKey) -> Result<bool, Error> {
        unreachable!()
    }
    async fn clear_expired(&self) -> Result<u64, Error> {
        unreachable!()
    }
}

#[actix_web::test]
async fn what_goes_wrong_is_for_the_log_and_not_for_the_client() {
    let logs = logs::capture();
    let app = App::new()
        .wrap(SessionMiddleware::new(Broken))
        .route("/", web::get().to(count))
        .route("/lazy", web::get().to(async |lazy: LazySession| lazy.load().await.map(|_| "loaded")))
        .route("/static", web::get().to(async || "served"));
    let app = test::init_service(app).await;
    let key = "0123456789abcdefghijklmnopqrstuv";
    for with_cookie in [false, true] {
        let mut request = TestRequest::get().uri("/");
        if with_cookie {
            request = request.insert_header(("cookie", format!("sessionid={key}")));
        }
        let response = test::call_service(&app, request.to_request()).await;
        assert_eq!(response.status(), 503);
        assert!(cookies(&response).is_empty(), "a store in trouble logs nobody out");
        assert_eq!(body(response).await, "Service unavailable");
    }
    let request = TestRequest::get().uri("/static").insert_header(("cookie", format!("sessionid={key}")));
    assert_eq!(test::call_service(&app, request.to_request()).await.status(), 200);
    assert_eq!(logs.with(LEAK).len(), 2, "the cause is in the log, once for each request");
    let lazy = TestRequest::get().uri("/lazy").insert_header(("cookie", format!("sessionid={key}")));
    assert_eq!(test::call_service(&app, lazy.to_request()).await.status(), 503);
    assert_eq!(logs.with(LEAK).len(), 3, "also where a handler passed it on");
    assert!(logs.with(key).is_empty(), "the key is not");
}

#[actix_web::test]
async fn nothing_that_is_printed_shows_a_key_a_secret_or_data() {
    let store = MemoryStore::new();
    let session = Session::create(&store);
    session.insert("name", "Ada").unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let codec = actix_django_session::codec::Codec::new(actix_django_session::SecretKey::new("hunter2"));
    let loaded = AnyStore::from(store.clone()).load(&key).await.unwrap();
    let middleware = SessionMiddleware::new(store.clone());
    for text in [
        format!("{session:?}"),
        format!("{key:?}"),
        format!("{codec:?}"),
        format!("{loaded:?}"),
        format!("{middleware:?}"),
        format!("{store:?}"),
    ] {
        for secret in [key.as_str(), "hunter2", "Ada"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn settings_that_no_browser_would_keep_are_refused_by_name() {
    let refused = |settings: SessionSettings| {
        let error = SessionMiddleware::new(MemoryStore::new()).settings(settings).unwrap_err();
        assert!(error.is_configuration());
        error.to_string()
    };
    let settings = SessionSettings::default;
    assert!(refused(settings().cookie_name("__Host-s")).contains("cookie_secure(true)"));
    assert!(refused(settings().cookie_name("__Secure-s")).contains("cookie_secure(true)"));
    assert!(refused(settings().cookie_name("a b")).contains("cannot be a cookie's name"));
    assert!(refused(settings().cookie_path("/;x")).contains("cookie_path"));
    assert!(refused(settings().cookie_domain("x\r\ny")).contains("cookie_domain"));
    let host = settings().cookie_name("__Host-s").cookie_secure(true);
    SessionMiddleware::new(MemoryStore::new()).settings(host).unwrap();
}

/// A Django middleware in class form: answers at once for one path, and marks every response.
struct Marking(Rc<Cell<u32>>);

impl Middleware for Marking {
    type State = u32;

    async fn process_request(&self, request: &mut ServiceRequest) -> Result<Next<u32>, actix_web::Error> {
        self.0.set(self.0.get() + 1);
        Ok(match request.path() {
            "/closed" => Next::Respond(self.0.get(), HttpResponse::ServiceUnavailable().body("closed")),
            "/broken" => return Err(ErrorImATeapot("refused")),
            _ => Next::View(self.0.get()),
        })
    }

    async fn process_response(
        &self,
        state: u32,
        mut response: HttpResponse,
    ) -> Result<HttpResponse, actix_web::Error> {
        response.headers_mut().insert(header::HeaderName::from_static("x-request"), state.into());
        Ok(response)
    }
}

#[actix_web::test]
async fn hooks_run_before_and_after_and_may_answer_at_once() {
    let app = App::new()
        .wrap(Hooks::new(|| Ok(Marking(Rc::default()))))
        .route("/", web::get().to(async || "view"))
        .route("/fails", web::get().to(async || Err::<&str, _>(ErrorImATeapot("view"))));
    let app = test::init_service(app).await;
    for (path, status, text) in [("/", 200, "view"), ("/closed", 503, "closed"), ("/fails", 418, "view")] {
        let response = test::call_service(&app, TestRequest::get().uri(path).to_request()).await;
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("x-request"), "{path} passes through process_response");
        assert_eq!(body(response).await, text);
    }
    let refused =
        test::try_call_service(&app, TestRequest::get().uri("/broken").to_request()).await.unwrap_err();
    assert_eq!(refused.error_response().status(), 418);
}

#[actix_web::test]
async fn function_form_wraps_the_handler() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let app = App::new()
        .wrap(Function::new(move |get_response: GetResponse| {
            let seen = seen.clone();
            Ok(move |request: ServiceRequest| {
                let (seen, get_response) = (seen.clone(), get_response.clone());
                async move {
                    seen.lock().unwrap().push("before");
                    let response = get_response.call(request).await?;
                    seen.lock().unwrap().push("after");
                    Ok(response)
                }
            })
        }))
        .route("/", web::get().to(async || "view"));
    let app = test::init_service(app).await;
    assert_eq!(body(test::call_service(&app, TestRequest::get().uri("/").to_request()).await).await, "view");
    assert_eq!(*order.lock().unwrap(), ["before", "after"]);
}

#[actix_web::test]
async fn a_constructor_may_take_itself_out_of_the_chain() {
    let logs = logs::capture();
    type View = fn(ServiceRequest) -> std::future::Ready<Result<ServiceResponse, actix_web::Error>>;
    let app = App::new()
        .wrap(Hooks::new(|| Err::<Marking, _>(MiddlewareNotUsed::because("no marks wanted"))))
        .wrap(Function::new(|_| Err::<View, _>(MiddlewareNotUsed::because("no function wanted"))))
        .route("/", web::get().to(async || "view"));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, TestRequest::get().uri("/").to_request()).await;
    assert!(!response.headers().contains_key("x-request"));
    assert_eq!(body(response).await, "view");
    assert_eq!(logs.with("MiddlewareNotUsed: no").len(), 2);
    let _: View = |request| ready(Ok(request.into_response(HttpResponse::Ok())));
}
