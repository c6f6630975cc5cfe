//! The recorder's site, with our middleware.

use std::{rc::Rc, time::Duration};

use actix_django_session::{
    HostSettings, SameSite, SecretKey, Session, SessionMiddleware, SessionSettings, Store,
    backend::Memory,
    csrf::{CsrfMiddleware, CsrfSettings, CsrfToken},
};
use actix_web::{
    App, HttpResponse,
    test::{self, TestRequest},
    web,
};
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

pub(super) fn store(settings: &Value) -> Store {
    let store = Store::new(Memory::new(), SecretKey::new("a secret"));
    let session = SessionSettings::default();
    let session = match settings["SESSION_COOKIE_DOMAIN"].as_str() {
        Some(domain) => session.cookie_domain(domain),
        None => session,
    };
    SessionMiddleware::new(store).settings(session).unwrap().store().clone()
}

fn csrf_settings(django: &Value) -> CsrfSettings {
    let mut hosts =
        HostSettings::default().secure_proxy_header("x-test-scheme", "https").use_x_forwarded_port(true);
    let mut settings = CsrfSettings::default();
    for (name, value) in django.as_object().unwrap() {
        let text = value.as_str().unwrap_or_default();
        let texts = || value.as_array().unwrap().iter().map(|text| text.as_str().unwrap());
        settings = match name.as_str() {
            "CSRF_TRUSTED_ORIGINS" => settings.trusted_origins(texts()),
            "CSRF_COOKIE_DOMAIN" => settings.cookie_domain(text),
            "CSRF_COOKIE_NAME" => settings.cookie_name(text),
            "CSRF_COOKIE_AGE" => settings.cookie_age(value.as_u64().map(Duration::from_secs)),
            "CSRF_COOKIE_PATH" => settings.cookie_path(text),
            "CSRF_COOKIE_SECURE" => settings.cookie_secure(value == true),
            "CSRF_COOKIE_HTTPONLY" => settings.cookie_httponly(value == true),
            "CSRF_COOKIE_SAMESITE" => settings.cookie_samesite(match text {
                "" => None,
                "Strict" => Some(SameSite::Strict),
                "None" => Some(SameSite::None),
                other => panic!("{other}"),
            }),
            "CSRF_HEADER_NAME" => settings.header_name(text),
            "CSRF_USE_SESSIONS" => settings.use_sessions(value == true),
            "DATA_UPLOAD_MAX_MEMORY_SIZE" => settings.max_form_bytes(value.as_u64().unwrap() as usize),
            "DATA_UPLOAD_MAX_NUMBER_FIELDS" => settings.max_form_fields(value.as_u64().unwrap() as usize),
            "SESSION_COOKIE_DOMAIN" => settings, // of the session's middleware
            "ALLOWED_HOSTS" => {
                hosts = hosts.allowed_hosts(texts());
                settings
            }
            other => panic!("{other}"),
        };
    }
    settings.hosts(hosts)
}

/// A site, called without a socket.
pub(super) type Site = Box<dyn Fn(TestRequest) -> LocalBoxFuture<'static, HttpResponse>>;

/// The recorder's site.
pub(super) async fn site(store: &Store, settings: &Value) -> Site {
    let inner = CsrfMiddleware::new().settings(csrf_settings(settings)).unwrap();
    let inner = inner.failure_response(|_, reason| {
        HttpResponse::Forbidden().insert_header(("x-reason", reason.to_owned())).finish()
    });
    let csrf = inner.clone().exempt_path("/exempt").exempt_path("/exempt_{rest}");
    let app = App::new()
        .route("/plain", web::to(plain))
        .route("/tokens", web::to(tokens))
        .route("/rotate", web::to(rotate))
        .route("/error", web::to(error))
        .route("/flush", web::to(flush))
        .route("/touch", web::to(touch))
        .route("/ensure", web::to(ensure))
        .route("/exempt", web::to(plain))
        .route("/exempt_tokens", web::to(tokens))
        .service(web::resource("/exempt_protected").wrap(inner).to(plain))
        .wrap(csrf)
        .wrap(SessionMiddleware::new(store.clone()));
    let app = Rc::new(test::init_service(app).await);
    Box::new(move |request| {
        let app = app.clone();
        Box::pin(async move {
            match test::try_call_service(&*app, request.to_request()).await {
                Ok(response) => response.into_parts().1.map_into_boxed_body(),
                Err(error) => error.error_response(),
            }
        })
    })
}

async fn plain() -> &'static str {
    "ok"
}

async fn tokens(csrf: CsrfToken) -> String {
    format!("{}\n{}", csrf.token(), csrf.token())
}

async fn rotate(csrf: CsrfToken) -> String {
    let before = csrf.token();
    csrf.rotate();
    format!("{before}\n{}", csrf.token())
}

async fn error(csrf: CsrfToken) -> HttpResponse {
    HttpResponse::InternalServerError().body(tokens(csrf).await)
}

async fn flush(csrf: CsrfToken, session: Session) -> Result<String, actix_django_session::Error> {
    session.flush()?;
    Ok(tokens(csrf).await)
}

async fn touch(session: Session) -> Result<&'static str, actix_django_session::Error> {
    session.insert("x", &1)?;
    Ok("ok")
}

async fn ensure(csrf: CsrfToken) -> &'static str {
    csrf.ensure_cookie();
    "ok"
}
