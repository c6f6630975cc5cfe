//! A database that fails and comes back.

use std::time::Duration;

use actix_django_session::{Session, SessionKey, SessionMiddleware};
use actix_web::web;

use crate::{
    recorder::Recorder,
    support::{
        http::Client,
        postgres::Database,
        proc::{PATIENCE, wait_until},
        site::Site,
        stores::by_url,
    },
};

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn an_outage_shows_until_the_next_success() {
    const FAILING: &str = "failing{part=\"store\"}";
    let mut recorder = Recorder::new();
    let database = Database::fresh();
    let url = database.url().to_owned();
    let site = Site::serve(1, async move || {
        let session = SessionMiddleware::new(by_url(&url).await);
        move |config: &mut web::ServiceConfig| {
            let read = web::get().to(async |_: Session| "");
            config.service(web::scope("").wrap(session.clone()).route("/read", read));
        }
    });
    let mut client = Client::new();
    let key = SessionKey::generate();
    let mut read = || {
        client.cookies.insert("sessionid".to_owned(), key.as_str().to_owned());
        client.get(&site.url("/read")).status
    };
    assert_eq!((read(), recorder.value(FAILING)), (200, 0.0));

    database.query("ALTER TABLE django_session RENAME TO away");
    recorder.begin();
    for _ in 0..3 {
        assert_eq!(read(), 503);
    }
    assert_eq!(recorder.value(FAILING), 1.0);
    assert_eq!(
        recorder.changes(&["outages_total", "errors_total", "operations_total"]),
        [
            "errors_total{kind=\"store\"} 3",
            "operations_total{engine=\"postgres\",operation=\"load\",result=\"error\"} 3",
            "outages_total{part=\"store\"} 1",
        ]
    );

    database.query("ALTER TABLE away RENAME TO django_session");
    wait_until("the outage should end", PATIENCE, || {
        assert_eq!(read(), 200);
        std::thread::sleep(Duration::from_millis(50));
        recorder.value(FAILING) == 0.0
    });
    assert_eq!(recorder.changes(&["outages_total"]), ["outages_total{part=\"store\"} 1"]);

    // A site that stops while its database is away fails no longer.
    database.query("ALTER TABLE django_session RENAME TO away");
    assert_eq!((read(), recorder.value(FAILING)), (503, 1.0));
    drop(site);
    wait_until("a stopped site should not count", PATIENCE, || recorder.value(FAILING) == 0.0);
}
