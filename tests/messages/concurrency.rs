//! Requests of one visitor at the same time: none of them loses what another one put into the session.

use std::sync::Arc;

use actix_django_session::{
    Error, SecretKey, Session, SessionKey, SessionMiddleware, Store,
    backend::Memory,
    messages::{MessageSettings, MessageStorage, Messages, MessagesMiddleware},
};
use actix_web::{App, http::header, test, web};
use serde_json::Value;
use tokio::sync::Barrier;

use crate::app::noise;

fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

/// The work of a request, once both have loaded the session.
#[derive(Clone, Copy)]
enum Work {
    Add(&'static str),
    /// Characters that fill more than the cookie.
    AddLarge(char),
    Take,
}

impl Work {
    fn path(self) -> String {
        match self {
            Self::Add(text) => format!("/add/{text}"),
            Self::AddLarge(c) => format!("/large/{c}"),
            Self::Take => "/take".to_owned(),
        }
    }
}

/// Two of these requests at once, to a session with the messages `before`. Returns those in the session
/// afterwards.
async fn both(storage: MessageStorage, before: &[&str], one: Work, two: Work) -> Vec<String> {
    let store = Store::new(Memory::new(), secret());
    let key = seed(&store, before).await;
    let barrier = Arc::new(Barrier::new(2));
    let (first, second, third) = (barrier.clone(), barrier.clone(), barrier);
    let add = move |text: web::Path<String>, messages: Messages, session: Session| {
        let barrier = first.clone();
        async move {
            assert!(session.contains_key("a"));
            barrier.wait().await;
            messages.info(text.into_inner());
            ""
        }
    };
    let large = move |c: web::Path<char>, messages: Messages, session: Session| {
        let barrier = second.clone();
        async move {
            assert!(session.contains_key("a"));
            barrier.wait().await;
            messages.info(format!("{c}{}", noise(4000, 1)));
            ""
        }
    };
    let take = move |messages: Messages, session: Session| {
        let barrier = third.clone();
        async move {
            assert!(session.contains_key("a"));
            messages.take().await?;
            barrier.wait().await;
            Ok::<_, Error>("")
        }
    };
    let settings = MessageSettings::default().storage(storage);
    let app = App::new()
        .route("/add/{text}", web::get().to(add))
        .route("/large/{c}", web::get().to(large))
        .route("/take", web::get().to(take))
        .wrap(MessagesMiddleware::new(secret()).settings(settings).unwrap())
        .wrap(SessionMiddleware::new(store.clone()));
    let app = test::init_service(app).await;
    let request = |work: Work| {
        let cookie = format!("sessionid={}", key.as_str());
        test::TestRequest::with_uri(&work.path()).insert_header((header::COOKIE, cookie)).to_request()
    };
    let replies =
        tokio::join!(test::call_service(&app, request(one)), test::call_service(&app, request(two)));
    assert!(replies.0.status().is_success() && replies.1.status().is_success());

    let session = Session::open(&store, &key).await.unwrap().unwrap();
    assert_eq!(session.get("a").unwrap(), Some(1));
    let Some(list) = session.get::<String>("_messages").unwrap() else { return Vec::new() };
    let list: Vec<Vec<Value>> = serde_json::from_str(&list).unwrap();
    assert!(!list.is_empty(), "the key is removed with the last message");
    let mut texts: Vec<String> = list.iter().map(|item| item[3].as_str().unwrap().to_owned()).collect();
    texts.sort();
    texts
}

async fn seed(store: &Store, before: &[&str]) -> SessionKey {
    let session = Session::new(store);
    session.insert("a", &1).unwrap();
    if !before.is_empty() {
        let list: Vec<_> = before.iter().map(|text| ("__json_message", 0, 20, text, "")).collect();
        session.insert("_messages", &serde_json::to_string(&list).unwrap()).unwrap();
    }
    session.save().await.unwrap();
    session.session_key().unwrap()
}

#[actix_web::test]
async fn both_messages_stay() {
    for before in [&[][..], &["before"]] {
        let all = both(MessageStorage::Session, before, Work::Add("one"), Work::Add("two")).await;
        assert_eq!(all, [before, &["one", "two"]].concat());
    }
}

#[actix_web::test]
async fn the_same_text_twice_is_two_messages() {
    let all = both(MessageStorage::Session, &["same"], Work::Add("same"), Work::Add("same")).await;
    assert_eq!(all, ["same"; 3]);
}

#[actix_web::test]
async fn a_page_that_shows_messages_removes_only_those() {
    for (one, two) in [(Work::Take, Work::Add("new")), (Work::Add("new"), Work::Take)] {
        assert_eq!(both(MessageStorage::Session, &["old", "older"], one, two).await, ["new"]);
    }
    assert_eq!(both(MessageStorage::Session, &["old"], Work::Take, Work::Take).await, [""; 0]);
}

#[actix_web::test]
async fn what_does_not_fit_into_the_cookies_stays_too() {
    let all = both(MessageStorage::Fallback, &[], Work::AddLarge('x'), Work::AddLarge('y')).await;
    let firsts: Vec<_> = all.iter().map(|text| &text[..1]).collect();
    assert_eq!(firsts, ["x", "y"]);
}
