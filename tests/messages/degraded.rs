//! Messages on pages that are served while the sessions are away.

use actix_django_session::{
    Error, SecretKey, SessionMiddleware, SessionSettings, StoreFailure,
    messages::{Messages, MessagesMiddleware},
};
use actix_web::web;

use crate::{
    app::noise,
    support::{
        http::Client,
        scripted::{Scripted, Step},
        site::Site,
    },
};

/// Those that did not fit into the cookie are in the session, and the cookie says so: it has to stay.
#[test]
fn messages_stay_where_they_are() {
    let scripted = Scripted::memory();
    let store = scripted.store();
    let site = Site::serve(1, async move || {
        let settings = SessionSettings::default().when_store_fails(StoreFailure::Anonymous);
        let session = SessionMiddleware::new(store).settings(settings).unwrap();
        move |config: &mut web::ServiceConfig| {
            let messages = MessagesMiddleware::new(SecretKey::new("a secret"));
            config.service(
                web::scope("")
                    .wrap(messages)
                    .wrap(session.clone())
                    .route("/add", web::get().to(add))
                    .route("/take", web::get().to(take))
                    .route("/add-and-take", web::get().to(add_and_take))
                    .route("/add-and-keep", web::get().to(add_and_keep)),
            );
        }
    });
    let mut visitor = Client::new();
    assert_eq!(visitor.get(&site.url("/add")).status, 200);
    assert_eq!(visitor.cookies.len(), 2, "{:?}", visitor.cookies.keys());
    let cookies = visitor.cookies.clone();

    scripted.always("get", Step::Fail(|| Error::store("the database is away")));
    let some = visitor.get(&site.url("/take"));
    assert_eq!((some.status, some.text().as_str(), some.set_cookies().len()), (200, "1", 0));
    let shown = visitor.get(&site.url("/add-and-take"));
    assert_eq!((shown.status, shown.text().as_str(), shown.set_cookies().len()), (200, "2", 0));
    for path in ["/add", "/add-and-keep"] {
        let refused = visitor.get(&site.url(path));
        assert_eq!((refused.status, refused.set_cookies().len()), (503, 0), "{path}");
    }
    assert_eq!(visitor.cookies, cookies);

    scripted.always("get", Step::Pass);
    assert_eq!(visitor.get(&site.url("/take")).text(), "2", "none was lost");
    assert_eq!(visitor.get(&site.url("/take")).text(), "0");
}

async fn add(messages: Messages) -> &'static str {
    messages.info(noise(1000, 1));
    messages.info(noise(1000, 2));
    "added"
}

async fn take(messages: Messages) -> Result<String, Error> {
    Ok(messages.take().await?.len().to_string())
}

async fn add_and_take(messages: Messages) -> Result<String, Error> {
    messages.info("short");
    take(messages).await
}

async fn add_and_keep(messages: Messages) -> Result<String, Error> {
    let taken = add_and_take(messages.clone()).await;
    messages.keep();
    taken
}
