//! Unchanged sessions: renewed now and then, and deleted without a load.

use std::time::Duration;

use actix_django_session::{Error, LazySession, SessionMiddleware, SessionSettings};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::support::{
    http::{Client, Reply},
    postgres::{Database, PrivateServer},
    site::Site,
    stores::by_url,
};

const HOUR: Duration = Duration::from_secs(3600);

fn site(database: &Database, settings: SessionSettings) -> Site {
    let url = database.url().to_owned();
    Site::start(settings, async move || by_url(&url).await)
}

fn ask(client: &mut Client, site: &Site, program: Value) -> Reply {
    let json = [("content-type", "application/json")];
    client.request("POST", &site.url("/ops"), &json, Some(program.to_string().as_bytes()))
}

/// Text and expiry of the only row.
fn row(database: &Database) -> (String, f64) {
    let rows = database.query("SELECT session_data, extract(epoch from expire_date) FROM django_session");
    assert_eq!(rows.len(), 1);
    (rows[0][0].clone().unwrap(), rows[0][1].as_ref().unwrap().parse().unwrap())
}

fn age_by_two_hours(database: &Database) {
    database.query("UPDATE django_session SET expire_date = expire_date - interval '2 hours'");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn an_unchanged_session_is_renewed_once_in_an_interval_and_so_is_its_cookie() {
    let database = Database::fresh();
    let site = site(&database, SessionSettings::default().save_every_request(true).touch_interval(HOUR));
    let mut visitor = Client::new();
    assert_eq!(ask(&mut visitor, &site, json!([["set", "k", 1]])).set_cookies().len(), 1);
    let (text, first) = row(&database);

    for _ in 0..3 {
        let reply = ask(&mut visitor, &site, json!([["get", "k"]]));
        assert_eq!((reply.json()["results"].clone(), reply.set_cookies().len()), (json!([1]), 0));
    }
    assert!(visitor.get(&site.url("/untouched")).set_cookies().is_empty());
    assert_eq!(row(&database), (text.clone(), first));

    age_by_two_hours(&database);
    let reply = ask(&mut visitor, &site, json!([["get", "k"]]));
    assert_eq!(reply.set_cookies().len(), 1, "renewed");
    assert!(reply.header("vary").is_some_and(|vary| vary.contains("Cookie")));
    let (same_text, renewed) = row(&database);
    assert_eq!(same_text, text, "not a byte of it was written");
    // Rounded up by 20 minutes at most.
    assert!(renewed >= first && renewed < first + 60.0 + 1210.0, "{first} {renewed}");

    age_by_two_hours(&database);
    assert_eq!(visitor.get(&site.url("/untouched")).set_cookies().len(), 1, "one that nobody looked at too");
    assert!(row(&database).1 >= renewed);

    // A changed session is saved, however recent the last save.
    assert_eq!(ask(&mut visitor, &site, json!([["incr", "k"]])).set_cookies().len(), 1);
    assert_ne!(row(&database).0, text);
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_session_deleted_meanwhile_is_not_renewed() {
    let database = Database::fresh();
    let site = site(&database, SessionSettings::default().save_every_request(true).touch_interval(HOUR));
    let mut visitor = Client::new();
    ask(&mut visitor, &site, json!([["set", "k", 1]]));
    age_by_two_hours(&database);
    let reply = ask(&mut visitor, &site, json!([["get", "k"], ["delete_row"]]));
    assert_eq!((reply.status, reply.set_cookies().len()), (400, 0));
    assert_eq!(database.query("SELECT count(*) FROM django_session")[0][0].as_deref(), Some("0"));
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_logout_without_a_load_is_one_statement() {
    let server = PrivateServer::start(&[("log_statement", "all")]);
    let url = server.url();
    let site = Site::serve(1, async move || {
        let session = SessionMiddleware::new(by_url(&url).await);
        move |config: &mut web::ServiceConfig| {
            config.service(
                web::scope("")
                    .wrap(session.clone())
                    .route("/in", web::get().to(log_in))
                    .route("/out", web::get().to(log_out)),
            );
        }
    });
    let mut visitor = Client::new();
    for _ in 0..2 {
        visitor.get(&site.url("/in"));
        let before = server.log().len();
        let reply = visitor.get(&site.url("/out"));
        assert_eq!((reply.status, visitor.cookies.len()), (200, 0));
        let log = server.log()[before..].to_owned();
        let statements: Vec<&str> = log.lines().filter(|line| line.contains("execute ")).collect();
        assert!(statements.len() == 1 && statements[0].contains("DELETE"), "{log}");
    }
    assert_eq!(server.query("SELECT count(*) FROM django_session")[0][0].as_deref(), Some("0"));
    // Nobody there: nothing to ask, nothing to say.
    let before = server.log().len();
    assert!(visitor.get(&site.url("/out")).set_cookies().is_empty());
    assert!(!server.log()[before..].contains("execute "));
}

async fn log_in(session: LazySession) -> Result<HttpResponse, Error> {
    session.load().await?.insert("user", &1)?;
    Ok(HttpResponse::Ok().finish())
}

async fn log_out(session: LazySession) -> Result<HttpResponse, Error> {
    session.flush()?;
    Ok(HttpResponse::Ok().finish())
}
