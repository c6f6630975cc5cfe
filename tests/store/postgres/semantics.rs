//! Servers whose defaults would change what statements mean: time zones and isolation levels.

use actix_django_session::{
    SecretKey, Session, SessionSettings, Store,
    backend::{Backend as _, Postgres},
};
use deadpool_postgres::{Manager, Pool};
use serde_json::json;
use tokio_postgres::NoTls;

use super::store;
use crate::support::{django::Django, http::Client, postgres::PrivateServer, site::Site};

const FOREIGN: [(&str, &str); 2] =
    [("timezone", "Asia/Tokyo"), ("default_transaction_isolation", "serializable")];

/// As converters from other databases make it.
const WITHOUT_ZONE: &str = "ALTER TABLE django_session ALTER expire_date TYPE timestamp";

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn own_connections_have_the_zone_and_isolation_of_djangos() {
    let server = PrivateServer::start(&FOREIGN);
    for options in ["", "?options=-c%20geqo%3Doff%20-c%20TimeZone%3DAsia/Tokyo"] {
        let store = store(&format!("{}{options}", server.url())).await;
        server.query(
            "ALTER TABLE django_session ADD zone text DEFAULT current_setting('TimeZone'), \
             ADD level text DEFAULT current_setting('transaction_isolation')",
        );
        let session = Session::new(&store);
        session.save().await.unwrap();
        let seen = server.query("SELECT zone, level FROM django_session");
        assert_eq!(seen, [[Some("UTC".to_owned()), Some("read committed".to_owned())]], "{options}");
        server.query("DROP TABLE django_session");
    }
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn times_without_a_zone_mean_the_same_to_django_and_to_us() {
    const SECRET: &str = "a secret that both know";
    let version = Django::versions().pop().unwrap();
    let server = PrivateServer::start(&FOREIGN);
    let django = Django::start(&version, &server.url(), &[("SECRET_KEY", SECRET)]);
    django.prepare();
    server.query(WITHOUT_ZONE);
    let url = server.url();
    let ours = Site::start(SessionSettings::default(), async move || {
        Store::connect(&url, SecretKey::new(SECRET)).await.unwrap()
    });
    let (django, ours) = (django.url("/ops"), ours.url("/ops"));
    for (writer, reader) in [(&django, &ours), (&ours, &django)] {
        let mut client = Client::new();
        // An hour: less than the zone's distance from UTC.
        let write = json!([["set", "a", 1], ["set_expiry", 3600]]);
        assert_eq!(client.post_json(writer, &write).status, 200);
        let cookies = client.cookies.clone();
        for _ in 0..2 {
            let reply = client.post_json(reader, &json!([["get", "a"]]));
            assert_eq!((reply.status, reply.json()), (200, json!({"results": [1]})), "{writer} {reader}");
        }
        assert_eq!(client.cookies, cookies, "nobody is logged out");
    }
    // Ours is rounded up, by less than 4 s of an hour.
    let expiries = "SELECT count(*) FROM django_session \
                    WHERE expire_date BETWEEN (now() AT TIME ZONE 'UTC') + interval '50 min' \
                    AND (now() AT TIME ZONE 'UTC') + interval '1 hour 4 s'";
    assert_eq!(server.query(expiries)[0][0].as_deref(), Some("2"));
}

/// A pool of the application's has the server's zone: the check at the start says so.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_pool_in_another_zone_is_refused_by_the_check() {
    let server = PrivateServer::with_table(&FOREIGN);
    let pool = Pool::builder(Manager::new(server.url().parse().unwrap(), NoTls)).build().unwrap();
    let (pooled, own) = (Postgres::from_pool(pool), Postgres::connect(&server.url()).await.unwrap());
    pooled.check().await.unwrap();
    server.query(WITHOUT_ZONE);
    own.check().await.unwrap();
    let error = pooled.check().await.unwrap_err().to_string();
    assert!(error.contains("Asia/Tokyo") && error.contains("timestamp with time zone"), "{error}");
}

/// Four workers count in the same ten sessions.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn concurrent_saves_all_succeed_where_the_default_is_serializable() {
    let server = PrivateServer::start(&[FOREIGN[1], ("fsync", "off")]);
    let url = server.url();
    let mut keys = Vec::new();
    for _ in 0..10 {
        let session = Session::new(&store(&url).await);
        session.insert("n", &0).unwrap();
        session.save().await.unwrap();
        keys.push(session.session_key().unwrap());
    }
    // So that transactions overlap.
    server.query(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_sleep(0.005); RETURN new; END'; \
         CREATE TRIGGER wait AFTER UPDATE ON django_session FOR EACH ROW EXECUTE FUNCTION wait()",
    );
    let workers = [(); 4].map(|()| {
        let (url, keys) = (url.clone(), keys.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let store = store(&url).await;
                let saves = keys.iter().map(async |key| {
                    let session = Session::open(&store, key).await.unwrap().unwrap();
                    let mut failed = Vec::new();
                    for _ in 0..25 {
                        session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
                        failed.extend(session.save().await.err().map(|error| error.with_causes()));
                    }
                    failed
                });
                futures_util::future::join_all(saves).await.concat()
            })
        })
    });
    let failed = workers.map(|worker| worker.join().unwrap()).concat();
    assert!(failed.is_empty(), "{} of 1000 failed: {}", failed.len(), failed[0]);
    let store = store(&url).await;
    for key in &keys {
        let session = Session::open(&store, key).await.unwrap().unwrap();
        assert_eq!(session.get::<u32>("n").unwrap(), Some(100));
    }
}
