//! Writers of different keys, and of one list.

use actix_django_session::{Error, Session, SessionMiddleware, SessionSettings};
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::{SECRET, Sites, THREADS, at_once, run};
use crate::support::{http::Client, site::Site, table::Table};

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn different_keys_all_arrive_in_postgres() {
    different_keys(Table::postgres());
}

#[test]
fn different_keys_all_arrive_in_sqlite() {
    different_keys(Table::sqlite());
}

fn different_keys(table: Table) {
    let mut both = Sites::start(table, &SessionSettings::default());
    let urls = both.urls();
    let mut visitor = Client::new();
    run(&mut visitor, &urls[0], &json!([["set", "born", true]]));
    let rounds = 10;
    at_once(THREADS, |n| {
        let mut client = visitor.clone();
        for round in 0..rounds {
            let program =
                json!([["set", format!("{n} {round}"), round], ["set", format!("last {n}"), round]]);
            run(&mut client, &urls[n % 2], &program);
        }
    });
    let rows = both.rows();
    assert_eq!(rows.len(), 1);
    let data = &rows[&visitor.cookies["sessionid"]];
    assert_eq!(data.keys().len(), 1 + THREADS * rounds + THREADS);
    for n in 0..THREADS {
        for round in 0..rounds {
            assert_eq!(data.get_json(&format!("{n} {round}")), Some(&*round.to_string()));
        }
        assert_eq!(data.get_json(&format!("last {n}")), Some(&*(rounds - 1).to_string()));
    }
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_list_gets_every_element_in_postgres() {
    a_list_gets_every_element(&Table::postgres());
}

#[test]
fn a_list_gets_every_element_in_sqlite() {
    a_list_gets_every_element(&Table::sqlite());
}

fn a_list_gets_every_element(table: &Table) {
    async fn push(session: Session, element: web::Json<u32>) -> Result<HttpResponse, Error> {
        let element = element.into_inner();
        let list = session.update("list", move |list: Option<Vec<u32>>| {
            let mut list = list.unwrap_or_default();
            list.push(element);
            list
        })?;
        Ok(HttpResponse::Ok().json(list))
    }
    let sites = [0, 1].map(|_| {
        let open = table.opener(SECRET);
        Site::serve(4, async move || {
            let session = SessionMiddleware::new(open().await);
            move |config: &mut web::ServiceConfig| {
                config.service(web::scope("").wrap(session.clone()).route("/push", web::post().to(push)));
            }
        })
    });
    let mut visitor = Client::new();
    let first: Vec<u32> =
        serde_json::from_value(visitor.post_json(&sites[0].url("/push"), &json!(0)).json()).unwrap();
    assert_eq!(first, [0]);
    let each = 10;
    at_once(THREADS, |n| {
        let mut client = visitor.clone();
        for element in 0..each {
            let reply = client.post_json(&sites[n % 2].url("/push"), &json!(1 + n * each + element));
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    });
    let last = 1 + THREADS * each;
    let list = visitor.post_json(&sites[1].url("/push"), &json!(last)).json();
    let list: Vec<usize> = serde_json::from_value(list).unwrap();
    // Each writer's elements in its order, too.
    for n in 0..THREADS {
        let mine = list.iter().filter(|&&element| (1 + n * each..1 + (n + 1) * each).contains(&element));
        assert!(mine.copied().eq(1 + n * each..1 + (n + 1) * each), "{list:?}");
    }
    assert_eq!((list.len(), list.first(), list.last()), (last + 1, Some(&0), Some(&last)));
}
