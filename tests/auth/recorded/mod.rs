//! What Django's logins do, recorded by `tests/django/record_login.py`, and that ours do the same. Where they
//! do not, `deviations.rs` says why.

mod deviations;
mod file;
mod permissions;
mod replay;

use std::collections::BTreeMap;

use actix_django_session::{
    SecretKey, Session, SessionMiddleware,
    auth::{Auth, AuthMiddleware},
};
use actix_web::{
    App,
    test::{TestRequest, call_service, init_service},
    web,
};
use serde_json::json;

use self::{
    deviations::{DEVIATIONS, Question},
    file::Recording,
    replay::Site,
};
use crate::{
    support::{django::Django, logins, postgres::Database},
    users::Tables,
};

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn the_recording_is_up_to_date() {
    let versions = Django::versions();
    assert!(!versions.is_empty());
    std::thread::scope(|scope| {
        for version in &versions {
            scope.spawn(move || {
                let database = Database::fresh();
                for url in [Some(database.url()), None] {
                    version.script(&["record_login.py", "--check", "../vectors/login.json"], url);
                }
            });
        }
    });
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn logins_do_what_django_does() {
    let recording = Recording::read();
    let (mut different, mut used) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for tables in Tables::both().await {
        let database = if tables.is_postgres() { "PostgreSQL" } else { "SQLite" };
        for model in ["integer", "uuid", "text"] {
            let site = Site::new(&recording, &tables, model);
            for case in recording.cases.iter().filter(|case| case.model == model) {
                let mut expected = case.outcome(database);
                for (why, rule) in DEVIATIONS {
                    let deviating = rule(&Question { recording: &recording, case, database }, &expected);
                    if let Some(deviating) = deviating.filter(|deviating| *deviating != expected) {
                        *used.entry(*why).or_default() += 1;
                        expected = deviating;
                    }
                }
                let ours = site.outcome(case).await;
                if ours != expected {
                    different.push(format!(
                        "{database}, {}\n  expected {expected:?}\n  ours     {ours:?}",
                        case.title()
                    ));
                }
            }
        }
    }
    assert!(different.is_empty(), "{} cases differ:\n{}", different.len(), different.join("\n"));
    assert_eq!(recording.recorded.len(), 6, "three versions on two databases");
    for (why, _) in DEVIATIONS {
        println!("{:4} cases: {why}", used.get(why).copied().unwrap_or_default());
        assert!(used.contains_key(why), "no case shows any more: {why}");
    }
}

/// The hash that a login stores, for every secret and every password column.
#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn session_hashes_are_those_of_django() {
    let recording = Recording::read();
    let mut number = 0;
    for tables in Tables::both().await {
        tables.execute(
            "INSERT INTO auth_user (id, password, username, is_superuser, first_name, last_name, email, is_staff, \
             is_active, date_joined) VALUES (1, '', 'ann', false, '', '', '', false, true, '2026-01-01')",
        );
        for case in recording.of("hash") {
            number += 1;
            tables.execute(&format!("UPDATE auth_user SET password = '{}'", case.column.replace('\'', "''")));
            let auth = Auth::new(tables.users.clone(), SecretKey::new(&*case.secret)).unwrap();
            let service = init_service(
                App::new()
                    .route("/ops", web::post().to(logins::ops))
                    .wrap(AuthMiddleware::new(auth))
                    .wrap(SessionMiddleware::new(tables.store.clone())),
            )
            .await;
            let request = TestRequest::post().uri("/ops").set_json(json!([["login", "ann"]]));
            let reply = call_service(&service, request.to_request()).await;
            let cookie = reply.response().cookies().next().unwrap();
            let key = actix_django_session::SessionKey::parse(cookie.value()).unwrap();
            let session = Session::open(&tables.store, &key).await.unwrap().unwrap();
            let hash: String = session.get("_auth_user_hash").unwrap().unwrap();
            let expected: String = case.outcome("PostgreSQL");
            assert_eq!(hash, expected, "{:?} {:?}", case.secret, case.column);
        }
    }
    assert_eq!(number, 2 * 121);
}
