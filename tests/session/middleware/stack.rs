//! The middleware among others: nested, beside each other, around streams and sockets.

use std::time::Duration;

use actix_django_session::{
    Error, Session, SessionExt as _, SessionKey, SessionMiddleware, Store, backend::Memory,
};
use actix_web::{
    App, HttpRequest, HttpResponse, Responder,
    dev::{ServiceRequest, ServiceResponse},
    http::{StatusCode, header},
    middleware::{Compress, ErrorHandlerResponse, ErrorHandlers, Logger, NormalizePath, from_fn},
    test::{self, TestRequest},
    web::{self, Bytes},
};
use futures_util::{StreamExt as _, stream};

use super::{body, cookie, cookies, count, named};
use crate::support::{
    logs,
    site::Site,
    stores::{self, memory},
};

#[actix_web::test]
async fn scopes_beside_each_other_have_sessions_of_their_own() {
    let store = memory();
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
    let store = memory();
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
        let session = Session::open(&store, &SessionKey::parse(&key).unwrap()).await.unwrap().unwrap();
        assert_eq!(session.get::<String>("who").unwrap().as_deref(), Some(name));
    }
}

#[actix_web::test]
async fn one_name_wrapped_twice_is_one_session_saved_once() {
    let memory = Memory::new();
    let session = SessionMiddleware::new(stores::on(&memory));
    let app = App::new()
        .wrap(session.clone())
        .service(web::scope("/in").wrap(session).route("", web::get().to(count)));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, TestRequest::get().uri("/in").to_request()).await;
    assert_eq!(cookies(&response).len(), 1);
    assert_eq!(stores::len(&memory), 1);
}

#[actix_web::test]
async fn other_middleware_inside_and_outside_keeps_working() {
    let store = memory();
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

#[actix_web::test]
async fn a_streaming_body_can_read_and_its_late_write_is_an_error() {
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
    let store = memory();
    let app = App::new().wrap(SessionMiddleware::new(store.clone())).route("/", web::get().to(events));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, TestRequest::get().uri("/").to_request()).await;
    let key = cookie(&response, "sessionid").replace("sessionid=", "");
    assert_eq!(body(response).await, "data: Some(1)\n\n".repeat(3));
    assert!(!logs.with("the response has already begun").is_empty());
    let session = Session::open(&store, &SessionKey::parse(&key).unwrap()).await.unwrap().unwrap();
    assert_eq!(session.keys(), ["before"]);
}

#[test]
fn a_web_socket_is_upgraded_and_uses_the_session_by_its_key() {
    use std::io::{Read as _, Write as _};
    async fn socket(
        req: HttpRequest,
        body: web::Payload,
        session: Session,
        store: web::Data<Store>,
    ) -> Result<HttpResponse, actix_web::Error> {
        session.insert("connected", &true)?;
        session.save().await?; // so that the task finds it
        let key = session.session_key().unwrap();
        let (response, mut socket, _) = actix_ws::handle(&req, body)?;
        actix_web::rt::spawn(async move {
            let session = Session::open(&store, &key).await.unwrap().unwrap();
            session.insert("later", &true).unwrap();
            session.save().await.unwrap();
            socket.text(session.keys().join(",")).await.unwrap();
        });
        Ok(response)
    }
    let site = Site::serve(1, async || {
        let store = memory();
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
