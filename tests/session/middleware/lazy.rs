//! Changes through a `LazySession`: nothing is sent before the response, and then no more than is needed.

use actix_django_session::{Error, LazySession, Session, SessionKey, SessionMiddleware};
use actix_web::{
    App, HttpResponse, Responder,
    dev::ServiceResponse,
    test::{self, TestRequest},
    web::{self, Bytes},
};
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::{body, cookie, cookies};
use crate::support::scripted::{Scripted, Step};

/// A stored session with `{"k": "v"}`, whose calls are not counted.
async fn saved(scripted: &Scripted) -> SessionKey {
    let session = Session::new(&scripted.store());
    session.insert("k", "v").unwrap();
    session.save().await.unwrap();
    scripted.reset();
    session.session_key().unwrap()
}

/// Calls the handler of this path in the session under `key`.
async fn visit(scripted: &Scripted, path: &str, key: Option<&SessionKey>) -> ServiceResponse {
    type Result = std::result::Result<HttpResponse, Error>;
    async fn answer(scripted: &Scripted) -> Result {
        assert!(scripted.calls().is_empty(), "nothing is sent before the response: {scripted:?}");
        Ok(HttpResponse::Ok().finish())
    }
    let app = App::new()
        .app_data(web::Data::new(scripted.clone()))
        .wrap(SessionMiddleware::new(scripted.store()))
        .route(
            "/clear",
            web::get().to(async |lazy: LazySession, scripted: web::Data<Scripted>| -> Result {
                lazy.clear()?;
                answer(&scripted).await
            }),
        )
        .route(
            "/set_modified",
            web::get().to(async |lazy: LazySession, scripted: web::Data<Scripted>| -> Result {
                lazy.set_modified()?;
                answer(&scripted).await
            }),
        )
        .route(
            "/cycle_key",
            web::get().to(async |lazy: LazySession, scripted: web::Data<Scripted>| -> Result {
                lazy.cycle_key()?;
                answer(&scripted).await
            }),
        )
        .route(
            "/all",
            web::get().to(async |lazy: LazySession, scripted: web::Data<Scripted>| -> Result {
                lazy.clear()?;
                lazy.set_modified()?;
                lazy.cycle_key()?;
                lazy.cycle_key()?;
                answer(&scripted).await
            }),
        )
        .route(
            "/failing",
            web::get().to(async |lazy: LazySession, scripted: web::Data<Scripted>| -> Result {
                lazy.clear()?;
                lazy.set_modified()?;
                answer(&scripted).await?;
                Ok(HttpResponse::InternalServerError().body("the handler's own"))
            }),
        )
        .route(
            "/flush",
            web::get().to(async |lazy: LazySession, scripted: web::Data<Scripted>| -> Result {
                lazy.clear()?;
                lazy.flush()?;
                answer(&scripted).await
            }),
        )
        .route(
            "/fails",
            web::get().to(async |lazy: LazySession| -> Result {
                lazy.clear()?;
                lazy.cycle_key()?;
                Ok(HttpResponse::InternalServerError().finish())
            }),
        )
        .route(
            "/loaded",
            web::get().to(async |lazy: LazySession| -> Result {
                lazy.clear()?;
                let session = lazy.load().await?;
                assert!(session.keys().is_empty(), "the load shows the changes that waited for it");
                session.insert("new", &1)?;
                Ok(HttpResponse::Ok().finish())
            }),
        );
    let app = test::init_service(app).await;
    let mut request = TestRequest::get().uri(path);
    if let Some(key) = key {
        request = request.insert_header(("cookie", format!("sessionid={}", key.as_str())));
    }
    test::call_service(&app, request.to_request()).await.map_into_boxed_body()
}

async fn stored(scripted: &Scripted, key: &SessionKey) -> Option<String> {
    let entry = scripted.store().entry(key).await.unwrap();
    entry.map(|entry| entry.data.unwrap().to_json())
}

fn new_key(response: &ServiceResponse) -> SessionKey {
    SessionKey::parse(cookie(response, "sessionid").trim_start_matches("sessionid=")).unwrap()
}

#[actix_web::test]
async fn a_5xx_neither_loads_nor_saves_for_pending_changes() {
    let scripted = Scripted::memory();
    let key = saved(&scripted).await;
    let response = visit(&scripted, "/failing", Some(&key)).await;
    assert_eq!(response.status(), 500);
    assert!(cookies(&response).is_empty() && scripted.calls().is_empty(), "{scripted:?}");
    assert_eq!(body(response).await, "the handler's own");
    let stored = Session::open(&scripted.store(), &key).await.unwrap().unwrap();
    assert_eq!(stored.get::<String>("k").unwrap().as_deref(), Some("v"));
}

#[actix_web::test]
async fn a_lazy_change_is_one_load_and_one_save_at_the_end() {
    for (path, calls, data, same_key) in [
        ("/clear", ["get", "update"], "{}", true),
        ("/set_modified", ["get", "update"], r#"{"k":"v"}"#, true),
        ("/cycle_key", ["get", "rename"], r#"{"k":"v"}"#, false),
        ("/all", ["get", "rename"], "{}", false),
        ("/loaded", ["get", "update"], r#"{"new":1}"#, true),
    ] {
        let scripted = Scripted::memory();
        let key = saved(&scripted).await;
        let response = visit(&scripted, path, Some(&key)).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(scripted.calls(), calls, "{path}");
        assert_eq!(new_key(&response) == key, same_key, "{path}");
        assert_eq!(stored(&scripted, &new_key(&response)).await.as_deref(), Some(data), "{path}");
        assert_eq!(stored(&scripted, &key).await.is_some(), same_key, "{path}");
    }
}

#[actix_web::test]
async fn a_lazy_flush_is_one_delete_without_a_load() {
    let scripted = Scripted::memory();
    let key = saved(&scripted).await;
    let response = visit(&scripted, "/flush", Some(&key)).await;
    assert_eq!(
        (response.status().as_u16(), cookie(&response, "sessionid").as_str()),
        (200, "sessionid=\"\"")
    );
    assert_eq!(scripted.calls(), ["delete"]);
}

#[actix_web::test]
async fn a_failed_request_saves_no_lazy_change() {
    let scripted = Scripted::memory();
    let key = saved(&scripted).await;
    let response = visit(&scripted, "/fails", Some(&key)).await;
    assert_eq!((response.status().as_u16(), cookies(&response).len()), (500, 0));
    assert_eq!(scripted.count("write") + scripted.count("delete"), 0);
    assert_eq!(stored(&scripted, &key).await.as_deref(), Some(r#"{"k":"v"}"#));
}

#[actix_web::test]
async fn lazy_changes_of_a_visitor_without_a_session_send_no_load() {
    for (path, calls) in [("/clear", &[][..]), ("/flush", &[]), ("/cycle_key", &["insert"])] {
        let scripted = Scripted::memory();
        let response = visit(&scripted, path, None).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(scripted.calls(), calls, "{path}");
    }
}

#[actix_web::test]
async fn lazy_changes_after_the_response_has_begun_are_refused() {
    async fn events(lazy: LazySession) -> impl Responder {
        let late = stream::iter(0..1).then(move |_| {
            let lazy = lazy.clone();
            async move {
                let calls = [LazySession::clear, LazySession::set_modified];
                let calls = calls.into_iter().chain([LazySession::cycle_key, LazySession::flush]);
                assert!(calls.into_iter().all(|call| call(&lazy).unwrap_err().is_closed()));
                Ok::<_, actix_web::Error>(Bytes::from_static(b"refused"))
            }
        });
        HttpResponse::Ok().streaming(Box::pin(late))
    }
    let scripted = Scripted::memory();
    let key = saved(&scripted).await;
    let app = App::new().wrap(SessionMiddleware::new(scripted.store())).route("/", web::get().to(events));
    let app = test::init_service(app).await;
    let cookie = format!("sessionid={}", key.as_str());
    let request = TestRequest::get().uri("/").insert_header(("cookie", cookie)).to_request();
    assert_eq!(body(test::call_service(&app, request).await).await, "refused");
    assert!(scripted.calls().is_empty(), "{scripted:?}");
}

#[actix_web::test]
async fn a_flush_beside_a_load_is_carried_out_although_the_request_fails() {
    for followed in [false, true] {
        let scripted = Scripted::memory();
        let key = saved(&scripted).await;
        scripted.then("get", Step::Never);
        let app = App::new().wrap(SessionMiddleware::new(scripted.store())).route(
            "/{followed}",
            web::get().to(
                async |lazy: LazySession, followed: web::Path<bool>| -> Result<HttpResponse, Error> {
                    let mut load = Box::pin(lazy.load());
                    assert!((&mut load).now_or_never().is_none());
                    lazy.flush()?;
                    if *followed {
                        lazy.cycle_key()?;
                    }
                    drop(load);
                    Ok(HttpResponse::InternalServerError().finish())
                },
            ),
        );
        let app = test::init_service(app).await;
        let cookie = format!("sessionid={}", key.as_str());
        let request = TestRequest::get().uri(&format!("/{followed}")).insert_header(("cookie", cookie));
        let response = test::call_service(&app, request.to_request()).await;
        assert_eq!(response.status(), 500);
        // A new session in its place is one step with it, which a failed request does not take.
        assert_eq!(stored(&scripted, &key).await.is_some(), followed);
        assert_eq!(cookies(&response).len(), usize::from(!followed));
    }
}
