//! How a store is opened: now or later, with a secret key or without one.

use actix_django_session::{
    SecretKey, Session, SessionKey, Store,
    backend::Memory,
    codec::{Codec, JsonSerializer, SessionData},
};

use crate::support::{
    postgres::{PrivateServer, TABLE},
    proc::PATIENCE,
    redis::Redis,
    stores::memory,
};

fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

#[actix_web::test]
async fn an_empty_secret_key_is_refused_before_anything_is_stored() {
    for url in ["memory:", "cookie:", "file:///tmp", "sqlite:////no/such/file", "postgres://127.0.0.1:1/none"]
    {
        let refused = [
            Store::connect(url, SecretKey::new("")).await.unwrap_err(),
            Store::connect_lazy(url, SecretKey::new("")).unwrap_err(),
        ];
        for error in refused {
            assert!(error.is_configuration() && error.to_string().contains("SECRET_KEY"), "{url}: {error}");
        }
    }
    for store in [
        Store::new(Memory::new(), SecretKey::new("")),
        Store::signed_cookies(SecretKey::new("")),
        Store::cached(memory(), Store::new(Memory::new(), SecretKey::new(""))).unwrap(),
    ] {
        assert!(store.check().await.unwrap_err().is_configuration(), "{store:?}");
        let session = Session::new(&store);
        session.insert("k", &1).unwrap();
        assert!(session.save().await.unwrap_err().is_configuration(), "{store:?}");
    }
    assert!(Codec::new(SecretKey::new("")).check().unwrap_err().is_configuration());
}

/// Anybody could log in as anybody.
#[actix_web::test]
async fn cookies_without_a_signature_are_refused() {
    let forged = SessionKey::parse(r#"{"_session_expiry":99999999999}"#).unwrap();
    for codec in [Codec::unsigned(JsonSerializer), Codec::unverified()] {
        let store = Store::signed_cookies(codec);
        assert!(store.check().await.unwrap_err().is_configuration());
        assert!(Session::open(&store, &forged).await.unwrap_err().is_configuration());
        let session = Session::new(&store);
        session.insert("k", &1).unwrap();
        assert!(session.save().await.unwrap_err().is_configuration());
    }
}

#[test]
fn only_a_backend_can_be_cached_or_a_cache() {
    let cookies = || Store::signed_cookies(secret());
    let cached = || Store::cached(memory(), memory()).unwrap();
    for (cache, database) in
        [(memory(), cookies()), (cookies(), memory()), (cached(), memory()), (memory(), cached())]
    {
        assert!(Store::cached(cache, database).unwrap_err().is_configuration());
    }
}

#[actix_web::test]
async fn a_codec_without_a_secret_reads_signed_text_and_writes_nothing() {
    let data = SessionData::from_json(r#"{"_auth_user_id":"7"}"#).unwrap();
    let unverified = Codec::unverified();
    for codec in [Codec::new(secret()), Codec::new(secret()).engine_class("Other").compress_from(0)] {
        let text = codec.encode(&data).unwrap();
        assert_eq!(unverified.decode(text).unwrap().to_json(), data.to_json());
    }
    assert!(unverified.decode("no session").is_err());
    assert!(unverified.encode(&data).unwrap_err().is_configuration());

    let memory = Memory::new();
    let session = Session::new(&Store::new(memory.clone(), secret()));
    session.insert("_auth_user_id", "7").unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let store = Store::new(memory, unverified);
    store.check().await.unwrap();
    let opened = Session::open(&store, &key).await.unwrap().unwrap();
    assert_eq!(opened.get::<String>("_auth_user_id").unwrap().as_deref(), Some("7"));
    opened.insert("k", &1).unwrap();
    assert!(opened.save().await.unwrap_err().is_configuration());
    assert!(Session::new(&store).save().await.unwrap_err().is_configuration());
    assert_eq!(store.sessions_of_user("7").await.unwrap(), std::slice::from_ref(&key));
    assert!(store.delete(&key).await.unwrap());
}

#[test]
fn an_unsigned_codec_needs_no_secret() {
    Codec::unsigned(JsonSerializer).check().unwrap();
    Codec::unverified().check().unwrap();
}

/// Saves a session and reads it again.
async fn works(store: &Store) {
    let session = Session::new(store);
    session.insert("k", &1).unwrap();
    session.save().await.unwrap();
    let again = Session::open(store, &session.session_key().unwrap()).await.unwrap().unwrap();
    assert_eq!(again.get("k").unwrap(), Some(1));
}

/// Waits until a store that has seen its server away takes it again.
async fn comes_back(store: &Store) {
    let back = async {
        while store.check().await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("the store never found its server");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_store_opened_lazily_works_once_its_postgres_is_there() {
    let mut server = PrivateServer::start(&[]);
    server.query(TABLE);
    server.stop_fast();
    let store = Store::connect_lazy(&server.url(), secret()).unwrap();
    assert!(Store::connect(&server.url(), secret()).await.unwrap_err().is_store());
    assert!(Session::open(&store, &SessionKey::generate()).await.unwrap_err().is_store());
    server.start_again();
    comes_back(&store).await;
    works(&store).await;
}

#[actix_web::test]
#[ignore = "needs Redis: run tests/run"]
async fn a_store_opened_lazily_works_once_its_redis_is_there() {
    let mut redis = Redis::start(&[]);
    redis.kill();
    let store = Store::connect_lazy(&redis.url(), secret()).unwrap();
    assert!(Store::connect(&redis.url(), secret()).await.unwrap_err().is_store());
    assert!(Session::open(&store, &SessionKey::generate()).await.unwrap_err().is_store());
    redis.start_again();
    comes_back(&store).await;
    works(&store).await;
}
