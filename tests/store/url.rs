//! A store from a URL: what is in it counts, and what cannot be is refused by name.

use actix_django_session::{Error, SecretKey, Session, Store};

use crate::support::{postgres::Database, proc::TempDir, redis::Redis};

async fn open(url: &str) -> Result<Store, Error> {
    Store::connect(url, SecretKey::new("a secret")).await
}

async fn works(store: &Store) {
    let session = Session::new(store);
    session.insert("k", "v").unwrap();
    session.save().await.unwrap();
    let again = Session::open(store, &session.session_key().unwrap()).await.unwrap().unwrap();
    assert_eq!(again.get::<String>("k").unwrap().as_deref(), Some("v"));
}

#[actix_web::test]
async fn stores_without_a_server() {
    let dir = TempDir::new("url");
    std::fs::create_dir(dir.path().join("with blank")).unwrap();
    let path = dir.path().display();
    for url in [
        "memory:".to_owned(),
        "memory:?max_sessions=10".to_owned(),
        "cookie:".to_owned(),
        "cookie:?max_age=3600".to_owned(),
        format!("file://{path}"),
        format!("file://{path}/with%20blank?cookie_name=sid&cookie_age=60.5"),
    ] {
        works(&open(&url).await.unwrap_or_else(|error| panic!("{url}: {error:?}"))).await;
    }
    let files = |dir: &std::path::Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert!(files(&dir.path().join("with blank"))[0].starts_with("sid"));
}

#[actix_web::test]
async fn a_memory_store_is_bounded() {
    let store = open("memory:?max_sessions=10").await.unwrap();
    let mut keys = Vec::new();
    for n in 0..30 {
        let session = Session::new(&store);
        session.set_expiry(std::time::Duration::from_secs(1000 + n)).unwrap();
        session.save().await.unwrap();
        keys.push(session.session_key().unwrap());
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(store.exists(key).await.unwrap(), n >= 20, "the one that expires first is evicted first");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn postgres_with_its_options() {
    let database = Database::fresh();
    database.query("CREATE SCHEMA accounts");
    let url =
        format!("{}?table=visits&schema=accounts&deadline=2.5&application_name=mine%20own", database.url());
    let store = open(&url).await.unwrap();
    database.query(
        "CREATE TABLE accounts.visits (session_key varchar(40) PRIMARY KEY, session_data text, \
         expire_date timestamptz)",
    );
    works(&store).await;
    assert_eq!(database.query("SELECT count(*) FROM accounts.visits")[0][0].as_deref(), Some("1"));
    let name = database
        .query("SELECT DISTINCT application_name FROM pg_stat_activity WHERE application_name LIKE 'mine%'");
    assert_eq!(name[0][0].as_deref(), Some("mine own"));
    assert_eq!(store.save_timeout(), std::time::Duration::from_millis(2500));
}

/// The schemes that django-environ and dj-database-url read.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn postgres_by_the_schemes_of_django_url_parsers() {
    let database = Database::fresh();
    let rest = database.url().strip_prefix("postgres").unwrap();
    open(database.url()).await.unwrap().create_table().await.unwrap();
    for scheme in ["postgresql", "psql", "pgsql", "postgis", "timescale", "timescalegis"] {
        works(&open(&format!("{scheme}{rest}?deadline=3")).await.unwrap()).await;
        Store::connect_lazy(&format!("cached:redis://localhost {scheme}{rest}"), SecretKey::new("x"))
            .unwrap();
    }
}

#[actix_web::test]
async fn impossible_urls_are_errors_that_name_the_part() {
    for (url, wants) in [
        ("", "no store has this kind of URL"),
        ("mysql://localhost/db", "no store has this kind of URL"),
        ("memory:?maxsessions=10", "\"maxsessions\""),
        ("memory:?max_sessions=ten", "max_sessions"),
        ("memory:?max_sessions=1&max_sessions=2", "twice"),
        ("redis://localhost?serializer=json&serializer=pickle", "twice"),
        ("file:///tmp/%ff", "not UTF-8"),
        ("memory:here", "nothing but parameters"),
        ("cookie:?max_age=-1", "max_age"),
        ("cookie:?age=1", "\"age\""),
        ("file:relative", "file:///var/sessions"),
        ("file://relative/path", "file:///var/sessions"),
        ("file:///tmp?cookie=sid", "\"cookie\""),
        ("sqlite:db.sqlite3", "sqlite:///db.sqlite3"),
        ("sqlite://db.sqlite3?mode=ro", "\"mode\""),
        ("postgres://localhost/db?dead_line=3", "dead_line"),
        ("postgis://app:p@ss@localhost/db", "write @ as %40"),
        ("redshift://localhost/db", "no store has this kind of URL"),
        ("postgres://localhost/db?deadline=soon", "deadline"),
        ("cached:redis://localhost", "contains two"),
        ("cached:postgres://localhost/a redis://localhost", "the first one is a redis one"),
        ("redis://localhost?prefix_=x", "prefix_"),
        ("redis://localhost?serializer=xml", "serializer"),
    ] {
        let lazy = Store::connect_lazy(url, SecretKey::new("a secret"));
        for error in [open(url).await.unwrap_err(), lazy.unwrap_err()] {
            assert!(error.is_configuration(), "{url}: {error:?}");
            assert!(error.to_string().contains(wants), "{url}: {error}");
        }
    }
}

#[actix_web::test]
async fn no_error_contains_a_password() {
    for url in [
        "postgres://user:hunter2@localhost:1/db?deadline=x",
        "postgres://user:hunter2@127.0.0.1:1/db",
        "redis://user:hunter2@localhost:notaport",
        "redis://:hunter2@127.0.0.1:1/0?deadline=0.5",
        "postgres://user:60@hunter2@localhost/db",
        "psql://user:60/hunter2@@localhost/db",
        "cached:redis://:hunter2@localhost",
        "mysql://user:hunter2@localhost",
        "redis://user:60?hunter2@localhost/0",
        "memory:?hunter2=1",
        "postgres://user:60?hunter2@localhost/db",
    ] {
        let error = open(url).await.unwrap_err();
        assert!(!format!("{error:?} {}", error.with_causes()).contains("hunter2"), "{url}");
    }
}

/// Django and we must write the same name for a prefix with a plus in it.
#[actix_web::test]
#[ignore = "needs Redis: run tests/run"]
async fn driver_parameters_are_passed_on_unchanged() {
    let redis = Redis::start(&[]);
    let store = open(&format!("{}?prefix=a+b%3Ac&serializer=json", redis.url())).await.unwrap();
    works(&store).await;
    let names = redis.command(&["KEYS", "*"]);
    assert!(names.array()[0].text().starts_with("a+b:c:1:django.contrib.sessions.cache"), "{names:?}");
}

/// Django's and redis-py's name for it.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn redis_by_its_socket() {
    let (redis, database) = (Redis::start(&[]), Database::fresh());
    let socket = format!("unix://{}?db=2", redis.socket().display());
    works(&open(&socket).await.unwrap()).await;
    let cached = open(&format!("cached:{socket} {}", database.url())).await.unwrap();
    cached.create_table().await.unwrap();
    works(&cached).await;
    let keyspace = redis.command(&["INFO", "keyspace"]).text();
    assert!(keyspace.contains("db2:keys=2,"), "{keyspace}");
}

/// In both places where it can be set.
#[actix_web::test]
async fn a_cookie_age_below_a_second_is_refused_everywhere() {
    for age in [std::time::Duration::ZERO, std::time::Duration::from_millis(500)] {
        let seconds = age.as_secs_f64();
        for url in [format!("file:///tmp?cookie_age={seconds}"), format!("cookie:?max_age={seconds}")] {
            let error = open(&url).await.unwrap_err();
            assert!(error.is_configuration(), "{url}: {error}");
        }
        let settings = actix_django_session::SessionSettings::default().cookie_age(age);
        let store = open("memory:").await.unwrap();
        assert!(store.with_settings(&settings).unwrap_err().is_configuration());
    }
}
