//! The table: its creation, its rights, its rows.

use std::time::{Duration, SystemTime};

use actix_django_session::{
    SecretKey, Session, SessionKey, SessionSettings, Store,
    backend::{Backend, Insert, Postgres},
    codec::Codec,
};
use serde_json::json;

use super::{secret, store};
use crate::support::{
    django::Django,
    http::Client,
    postgres::{Database, query},
    site::Site,
};

async fn message(url: &str) -> String {
    let error = Postgres::connect(url).await.unwrap_err();
    assert!(!error.with_causes().contains("hunter2"), "{}", error.with_causes());
    error.with_causes()
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
async fn create_table_makes_what_django_makes() {
    let describe = |database: &Database| {
        let columns = "SELECT column_name, data_type, character_maximum_length, is_nullable, column_default \
            FROM information_schema.columns WHERE table_name = 'django_session' ORDER BY ordinal_position";
        let indexes =
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'django_session' ORDER BY 1";
        let constraints = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint \
            WHERE conrelid = 'django_session'::regclass ORDER BY 1";
        [columns, indexes, constraints].map(|sql| database.query(sql))
    };
    let ours = Database::fresh();
    store(ours.url()).await.create_table().await.unwrap(); // twice: what is there stays
    for version in Django::versions() {
        let theirs = Database::fresh();
        Django::start(&version, theirs.url(), &[("SECRET_KEY", "x")]).prepare();
        assert_eq!(describe(&ours), describe(&theirs), "Django {}", version.name);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_wrong_url_or_server_is_an_error_at_once() {
    let database = Database::fresh();
    let with = |from: &str, to: &str| database.url().replacen(from, to, 1);
    assert!(message("nonsense").await.contains("postgres://user:password@host:port/database"));
    assert!(message("postgres://u:hunter2@127.0.0.1:notaport/x").await.contains("postgres://user"));
    assert!(message("postgres://u:hunter2@127.0.0.1:1/x").await.contains("the database is away"));
    let missing = database.url().rsplit_once('/').unwrap().0.to_owned() + "/no_such_database";
    assert!(message(&missing).await.contains("there is no such database"));
    let nobody = with("postgres@", "no_such_user:hunter2@");
    assert!(message(&nobody).await.contains("refuses this user"), "{}", message(&nobody).await);
    assert!(message(&format!("{}?sslmode=require", database.url())).await.contains("TLS"));
    let empty = Store::connect(database.url(), SecretKey::new("")).await.unwrap_err();
    assert!(empty.is_configuration() && empty.to_string().contains("SECRET_KEY"), "{empty}");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_missing_table_or_right_is_named_and_answers_503() {
    let database = Database::fresh();
    let store = Store::connect(database.url(), secret()).await.unwrap();
    let missing = store.check().await.unwrap_err();
    assert!(missing.is_store() && missing.to_string().contains("manage.py migrate"), "{missing}");

    store.create_table().await.unwrap();
    store.check().await.unwrap();
    let role = database.url().rsplit_once('/').unwrap().1.to_owned();
    database
        .query(&format!("CREATE ROLE {role}_reader LOGIN; GRANT SELECT ON django_session TO {role}_reader"));
    let url = database.url().replacen("postgres@", &format!("{role}_reader@"), 1);
    let reader = Store::connect(&url, secret()).await.unwrap();
    let refused = reader.check().await.unwrap_err();
    assert!(refused.to_string().contains("GRANT SELECT, INSERT, UPDATE, DELETE"), "{refused}");

    let site_url = url.clone();
    let site = Site::start(SessionSettings::default(), async move || {
        Store::connect(&site_url, secret()).await.unwrap()
    });
    let logs = site.logs();
    let reply = actix_web::web::block(move || {
        let mut client = Client::new();
        assert_eq!(client.get(&site.url("/untouched")).status, 200);
        client.post_json(&site.url("/ops"), &json!([["set", "a", 1]]))
    });
    let reply = reply.await.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (503, "Service unavailable"));
    assert!(reply.set_cookies().is_empty());
    assert!(!logs.with("GRANT SELECT").is_empty(), "the log says what to do");
    database.query(&format!("DROP OWNED BY {role}_reader; DROP ROLE {role}_reader"));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn large_and_foreign_sessions_work() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    let session = Session::new(&store);
    session.insert("large", &"x".repeat(2 << 20)).unwrap();
    session.extend((0..10_000).map(|n| (format!("key{n}"), n))).unwrap();
    session.save().await.unwrap();
    let again = Session::open(&store, &session.session_key().unwrap()).await.unwrap().unwrap();
    assert_eq!(again.get::<String>("large").unwrap().unwrap().len(), 2 << 20);
    assert_eq!(again.keys().len(), 10_001);

    let foreign = SessionKey::parse(&format!("{:A<40}", "foreign-key_")).unwrap();
    database.query(&format!("UPDATE django_session SET session_key = '{}'", foreign.as_str()));
    let session = Session::open(&store, &foreign).await.unwrap().unwrap();
    assert_eq!(session.keys().len(), 10_001);
    assert_eq!(session.session_key().as_ref(), Some(&foreign));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_session_beyond_the_limit_is_refused_and_the_row_stays() {
    let database = Database::fresh();
    let codec = Codec::new(secret()).max_session_bytes(1000);
    let small = Store::connect(database.url(), codec).await.unwrap();
    small.create_table().await.unwrap();
    let session = Session::new(&small);
    session.insert("a", &1).unwrap();
    session.save().await.unwrap();
    session.insert("large", &"x".repeat(1000)).unwrap();
    let error = session.save().await.unwrap_err();
    assert!(error.is_too_large() && error.to_string().contains("max_session_bytes (1000)"), "{error}");
    session.discard("large").unwrap();
    session.save().await.unwrap();

    // Written by a site without that limit: not ours to read, nor to overwrite.
    let large = store(database.url()).await;
    let session = Session::open(&large, &session.session_key().unwrap()).await.unwrap().unwrap();
    session.insert("large", &"x".repeat(5000)).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let before = query(database.url(), "SELECT * FROM django_session");
    let refused = Session::open(&small, &key).await.unwrap_err();
    assert!(refused.is_too_large(), "{refused}");
    assert!(query(database.url(), "SELECT * FROM django_session").contains(&before[0]));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_create_table_that_fails_leaves_no_transaction_behind() {
    let database = Database::fresh();
    store(database.url()).await;
    let role = database.url().rsplit_once('/').unwrap().1.to_owned() + "_user";
    database.query(&format!("CREATE ROLE {role} LOGIN; GRANT ALL ON django_session TO {role}"));
    let url = database.url().replacen("postgres@", &format!("{role}@"), 1);
    let store = Store::connect(&url, secret()).await.unwrap();
    for _ in 0..3 {
        let refused = store.create_table().await.unwrap_err();
        assert!(refused.to_string().contains("GRANT CREATE ON SCHEMA"), "{refused}");
        assert!(store.entry(&SessionKey::generate()).await.unwrap().is_none());
    }
    database.query(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn errors_of_the_database_do_not_quote_the_row() {
    let database = Database::fresh();
    let postgres = Postgres::connect(database.url()).await.unwrap();
    postgres.create_table().await.unwrap();
    database.query("ALTER TABLE django_session ADD COLUMN account int NOT NULL");
    let key = SessionKey::generate();
    let later = SystemTime::now() + Duration::from_secs(60);
    let error = postgres.insert(Insert::new(&key, "e30:", later)).await.unwrap_err();
    assert!(error.to_string().contains("further column"), "{error}");
    for text in [error.with_causes(), format!("{error:?}")] {
        assert!(!text.contains(key.as_str()) && !text.contains("e30:"), "{text}");
    }
}
