//! An application that runs the programs of tests/django/site_under_test/ops.py, those about messages too.

use actix_django_session::{
    LazySession, SecretKey, SessionMiddleware, SessionSettings, Store,
    messages::{MessageLevel, MessageSettings, MessageText, Messages, MessagesMiddleware},
};
use actix_web::{HttpResponse, error::ErrorInternalServerError, http::StatusCode, web};
use serde_json::{Value, json};

use crate::support::site;

/// Both middlewares around the page `/ops`.
pub(crate) fn configure(
    store: Store,
    session: SessionSettings,
    secret: SecretKey,
    messages: MessageSettings,
) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static {
    let session = SessionMiddleware::new(store).settings(session).unwrap();
    // The middleware is made by each worker; its settings and secret can be sent there.
    move |config| {
        let messages = MessagesMiddleware::new(secret.clone()).settings(messages.clone()).unwrap();
        config.service(
            web::scope("")
                .wrap(messages)
                .wrap(session.clone())
                .route("/untouched", web::get().to(async || "untouched"))
                .route("/ops", web::post().to(ops)),
        );
    }
}

async fn ops(
    lazy: LazySession,
    messages: Messages,
    program: web::Json<Vec<Vec<Value>>>,
) -> Result<HttpResponse, actix_web::Error> {
    let mut status = StatusCode::OK;
    let mut results = Vec::new();
    for op in &*program {
        let (name, args) = op.split_first().unwrap();
        results.push(match name.as_str().unwrap() {
            "status" => {
                status = StatusCode::from_u16(args[0].as_u64().unwrap() as u16).unwrap();
                Value::Null
            }
            "raise" => return Err(ErrorInternalServerError("raised")),
            "message" => {
                messages.info(args[0].as_str().unwrap());
                Value::Null
            }
            "add_message" => {
                add(&messages, args);
                Value::Null
            }
            "messages" => {
                let taken = messages.take().await?;
                let row = |m: &_| match serde_json::to_value(m).unwrap() {
                    Value::Object(m) => ["level", "text", "extra_tags", "tags", "level_tag", "is_safe"]
                        .map(|name| m[name].clone())
                        .into(),
                    other => panic!("{other}"),
                };
                Value::Array(taken.iter().map(row).collect())
            }
            "count_messages" => messages.len().await?.into(),
            "keep_messages" => {
                messages.keep();
                Value::Null
            }
            "message_level" => {
                messages.set_level(args[0].as_i64().map(MessageLevel::new));
                Value::Null
            }
            name => site::run(&lazy.load().await?, name, args).await?,
        });
    }
    Ok(HttpResponse::build(status).json(json!({"results": results})))
}

/// Text that zlib can hardly shorten, so that a cookie is soon full.
pub(crate) fn noise(length: usize, seed: u64) -> String {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from((state >> 33) as u8 % 90 + b'!')
    };
    (0..length).map(|_| next()).collect()
}

fn add(messages: &Messages, args: &[Value]) {
    let (level, text) = (MessageLevel::new(args[0].as_i64().unwrap()), args[1].as_str().unwrap());
    let text = if args[3] == true { MessageText::safe(text) } else { text.into() };
    match args[2].as_str() {
        Some(tags) => messages.add_with_tags(level, text, tags),
        None => messages.add(level, text),
    }
}
