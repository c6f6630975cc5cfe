//! `update_and_save` over HTTP: of concurrent increments each gets a number of its own.

use std::{collections::BTreeSet, thread};

use actix_django_session::{Error, Session, SessionKey, SessionMiddleware, Store};
use actix_web::web;

use crate::support::{
    http::Client,
    postgres::Database,
    site::Site,
    stores::{by_url, memory},
};

const CLIENTS: u64 = 8;
const REQUESTS: u64 = 48;

#[test]
fn concurrent_requests_get_different_numbers_from_memory() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (session, numbers) = count(memory(), &runtime);
    assert_all(&session, numbers);
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn concurrent_requests_get_different_numbers_from_postgres() {
    let database = Database::fresh();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (session, numbers) = count(runtime.block_on(by_url(database.url())), &runtime);
    assert_all(&session, numbers);
}

/// All clients draw numbers in one session. Returns that session, and the numbers.
fn count(store: Store, runtime: &tokio::runtime::Runtime) -> (Session, Vec<u64>) {
    async fn draw(session: Session) -> Result<String, Error> {
        let number = session.update_and_save("n", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
        Ok(number.to_string())
    }
    let for_site = store.clone();
    let site = Site::serve(2, async move || {
        let session = SessionMiddleware::new(for_site);
        move |config: &mut web::ServiceConfig| {
            config.service(web::scope("").wrap(session.clone()).route("/draw", web::post().to(draw)));
        }
    });
    let session = Session::new(&store);
    session.insert("other", "stays").unwrap();
    runtime.block_on(session.save()).unwrap();
    let key = session.session_key().unwrap();
    let mut client = Client::new();
    client.cookies.insert("sessionid".to_owned(), key.as_str().to_owned());
    let url = site.url("/draw");
    let numbers = thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|_| {
            let (mut client, url) = (client.clone(), &url);
            scope.spawn(move || {
                let draw = |_| {
                    let reply = client.request("POST", url, &[], None);
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    reply.text().parse::<u64>().unwrap()
                };
                (0..REQUESTS).map(draw).collect::<Vec<u64>>()
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    (runtime.block_on(open(&store, &key)), numbers)
}

async fn open(store: &Store, key: &SessionKey) -> Session {
    Session::open(store, key).await.unwrap().unwrap()
}

fn assert_all(session: &Session, numbers: Vec<u64>) {
    let all = CLIENTS * REQUESTS;
    assert_eq!(numbers.into_iter().collect::<BTreeSet<_>>(), (1..=all).collect());
    assert_eq!(session.get::<u64>("n").unwrap(), Some(all));
    assert_eq!(session.get::<String>("other").unwrap().as_deref(), Some("stays"));
}
