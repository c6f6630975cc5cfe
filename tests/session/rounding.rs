//! `expire_date`, rounded up by a thousandth of the age: saves that leave it alone are HOT updates.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use actix_django_session::{Expiry, SecretKey, Session, SessionSettings, Store, backend::Memory};
use serde_json::json;

use crate::support::{http::Client, postgres::Database, proc::PATIENCE, site::Site, stores::by_url};

const AGE: f64 = 1_209_600.0;
const STEP: f64 = AGE / 1000.0;

async fn store(database: &Database, settings: &SessionSettings) -> Store {
    let store = Store::connect(database.url(), SecretKey::new("a secret")).await.unwrap();
    store.with_settings(settings).unwrap()
}

/// The expiry of the only row, in seconds since 1970.
fn expires(database: &Database) -> f64 {
    let rows = database.query("SELECT extract(epoch from expire_date) FROM django_session");
    assert_eq!(rows.len(), 1);
    rows[0][0].as_ref().unwrap().parse().unwrap()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Whether these are equal but for the error of a number of 53 bits.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-5
}

/// UPDATEs of the table, and how many were HOT, when the server has counted as many as were made.
fn updates(database: &Database, made: u64) -> u64 {
    let start = Instant::now();
    loop {
        let sql = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'django_session'";
        let rows = database.query(sql);
        let number = |index: usize| rows[0][index].as_ref().unwrap().parse::<u64>().unwrap();
        if number(0) == made {
            return number(1);
        }
        assert!(start.elapsed() < PATIENCE, "{} of {made} updates are counted", number(0));
        thread::sleep(Duration::from_millis(100));
    }
}

/// Saves a session several times. Returns the dates of the row after each save, and how many saves were HOT.
async fn save_often(settings: &SessionSettings) -> (Vec<f64>, u64) {
    let database = Database::fresh();
    let store = store(&database, settings).await;
    store.create_table().await.unwrap();
    let session = Session::new(&store);
    let mut dates = Vec::new();
    for n in 0..9 {
        session.insert("n", &n).unwrap();
        session.save().await.unwrap();
        dates.push(expires(&database));
    }
    drop((session, store)); // a connection reports its figures when it is closed
    let hot = updates(&database, dates.len() as u64 - 1);
    (dates, hot)
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn saves_within_a_step_are_hot_updates() {
    let (dates, hot) = save_often(&SessionSettings::default()).await;
    let moved = dates.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(moved <= 1, "at most one end of a step is in between: {dates:?}");
    assert_eq!(hot, 8 - moved as u64);

    let (dates, hot) = save_often(&SessionSettings::default().exact_expiry(true)).await;
    assert!(dates.windows(2).all(|pair| pair[0] < pair[1]), "{dates:?}");
    assert_eq!(hot, 0);
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn only_what_is_stored_is_rounded() {
    let database = Database::fresh();
    let store = store(&database, &SessionSettings::default()).await;
    store.create_table().await.unwrap();
    let session = Session::new(&store);
    for (expiry, age) in [
        (Expiry::Default, AGE),
        (Expiry::BrowserClose, AGE),
        (Expiry::Seconds(86_400), 86_400.0),
        (Expiry::After(Duration::from_millis(2_500)), 2.5),
    ] {
        let before = now();
        session.set_expiry(expiry).unwrap();
        session.save().await.unwrap();
        let (after, stored, step) = (now(), expires(&database), age / 1000.0);
        let what = format!("{expiry:?}: {before} {stored} {after}");
        assert!(stored >= before + age - 1e-5 && stored <= after + age + step + 1e-5, "{what}");
        assert!(same((stored / step).round() * step, stored), "{what}");
        assert_eq!(session.get_expiry_age(), age, "{what}");
        let date = session.get_expiry_date().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(date >= after + age - 1e-5 && date <= now() + age, "{what}");
    }
    // A date of the application is kept to the microsecond, at every save.
    let date = UNIX_EPOCH + Duration::from_micros(4_102_444_800_123_457);
    session.set_expiry(date).unwrap();
    for n in 0..2 {
        session.insert("n", &n).unwrap();
        session.save().await.unwrap();
        assert!(same(expires(&database), 4_102_444_800.123_457), "{}", expires(&database));
    }
    assert_eq!(session.get_expiry_date(), date);
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn the_cookie_is_exact() {
    let database = Database::fresh();
    let url = database.url().to_owned();
    let site = Site::start(SessionSettings::default(), async move || by_url(&url).await);
    let (mut visitor, before) = (Client::new(), now());
    let json_type = [("content-type", "application/json")];
    let program = json!([["set", "k", 1]]).to_string();
    let reply = visitor.request("POST", &site.url("/ops"), &json_type, Some(program.as_bytes()));
    assert!(reply.set_cookies()[0].contains("Max-Age=1209600;"), "{:?}", reply.set_cookies());
    let stored = expires(&database);
    assert!(stored >= before + AGE - 1e-5 && stored <= now() + AGE + STEP, "{before} {stored}");
    assert!(same((stored / STEP).round() * STEP, stored), "{stored}");
}

/// No index depends on the expiry in a place without a table.
#[actix_web::test]
async fn a_store_without_a_table_is_exact() {
    let store = Store::new(Memory::new(), SecretKey::new("a secret"));
    let before = now();
    let session = Session::new(&store);
    session.insert("k", &1).unwrap();
    session.save().await.unwrap();
    let mut sessions = store.sessions();
    let stored =
        sessions.next().await.unwrap().unwrap().expires.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(stored >= before + AGE - 1e-5 && stored <= now() + AGE, "{before} {stored}");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_renewal_within_a_step_still_tells_whether_the_session_exists() {
    let database = Database::fresh();
    let url = database.url().to_owned();
    let site =
        Site::start(SessionSettings::default().save_every_request(true), async move || by_url(&url).await);
    let json_type = [("content-type", "application/json")];
    let ask = |visitor: &mut Client, program: serde_json::Value| {
        let program = program.to_string();
        visitor.request("POST", &site.url("/ops"), &json_type, Some(program.as_bytes()))
    };
    let mut visitor = Client::new();
    ask(&mut visitor, json!([["set", "k", 1]]));
    for _ in 0..3 {
        assert_eq!(ask(&mut visitor, json!([["get", "k"]])).set_cookies().len(), 1, "the cookie is renewed");
    }
    let reply = ask(&mut visitor, json!([["get", "k"], ["delete_row"]]));
    assert_eq!((reply.status, reply.set_cookies().len()), (400, 0));
}
