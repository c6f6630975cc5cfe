//! No half step: whatever ends in the middle of a save, the request or the whole process, there is the old
//! session or the new one, and never none, and never two.

use std::{
    collections::HashMap,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use actix_django_session::{
    SecretKey, Session, SessionKey, SessionMiddleware, SessionSettings, Store, codec::Codec,
};
use actix_web::{App, HttpResponse, test, web};
use serde_json::{Value, json};

use crate::support::{
    at_length,
    http::Client,
    postgres::Database,
    process::{self, Process},
    site::Site,
    stores,
};

const SECRET: &str = "a secret";

/// A future that is dropped when it has been polled so often.
struct Dropped<F> {
    future: Pin<Box<F>>,
    polls: usize,
}

impl<F: Future> Future for Dropped<F> {
    /// Nothing if it came to its end before that.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match self.future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // Dropped as soon as it waits for the last time that it may.
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn after<F: Future>(polls: usize, future: F) -> Dropped<F> {
    Dropped { future: Box::pin(future), polls }
}

/// Waits for what a dropped request may have left under way.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}

async fn n(store: &Store, key: &SessionKey) -> Option<u32> {
    let session = Session::open(store, key).await.unwrap()?;
    session.get("n").unwrap()
}

/// A name, a change of the session, and the session's `n` afterwards.
type Change = (&'static str, fn(&Session), Option<u32>);

const CHANGES: [Change; 4] = [
    ("save", |session| session.insert("n", &2).unwrap(), Some(2)),
    (
        "cycle_key",
        |session| {
            session.cycle_key().unwrap();
            session.insert("n", &2).unwrap();
        },
        Some(2),
    ),
    ("flush", |session| session.flush().unwrap(), None),
    (
        "flush and begin anew",
        |session| {
            session.flush().unwrap();
            session.insert("n", &2).unwrap();
        },
        Some(2),
    ),
];

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_save_that_is_dropped_at_any_await_leaves_the_old_session_or_the_new_one() {
    for kind in stores::every().await {
        for (what, change, new) in CHANGES {
            let mut polls = 0;
            loop {
                polls += 1;
                let session = Session::new(&kind.store);
                session.insert("n", &1).unwrap();
                session.save().await.unwrap();
                let old = session.session_key().unwrap();
                change(&session);
                let end = after(polls, session.save()).await;
                settle().await;

                let at_old = n(&kind.store, &old).await;
                let key = session.session_key().filter(|key| *key != old);
                let at_new = match &key {
                    Some(key) => n(&kind.store, key).await,
                    None => None,
                };
                let there: Vec<u32> = [at_old, at_new].into_iter().flatten().collect();
                let what = format!("{:?}: {what} after {polls} polls: {at_old:?}, {at_new:?}", kind);
                match what_is_right(&there, new, what.contains("begin anew")) {
                    true => {}
                    false => panic!("{what}"),
                }
                // A retry succeeds, unless the save was applied and the old key is gone.
                match session.save().await {
                    Err(error) => {
                        assert!(error.is_interrupted() && there == [2] && at_old.is_none(), "{what}")
                    }
                    Ok(()) => {
                        let key = session.session_key();
                        let now = match &key {
                            Some(key) => n(&kind.store, key).await,
                            None => None,
                        };
                        assert_eq!(now, new, "{what}: again");
                        let gone = key.as_ref() == Some(&old)
                            || Session::open(&kind.store, &old).await.unwrap().is_none();
                        assert!(gone, "{what}: again");
                    }
                }
                if let Some(result) = end {
                    result.unwrap();
                    break;
                }
            }
            println!("{kind:?}: {what} ends after {polls} polls");
        }
    }
}

/// One session, the old or the new; of an ended one maybe none.
fn what_is_right(there: &[u32], new: Option<u32>, begins_anew: bool) -> bool {
    match (there, new) {
        ([1], _) => true,
        ([2], Some(2)) => true,
        ([], None) => true,
        // The end of the old one has nothing to do with the beginning of the next, if the store has two
        // places for them.
        ([], Some(2)) => begins_anew,
        _ => false,
    }
}

/// The same for whole requests, which are dropped when the visitor leaves.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_request_that_is_dropped_at_any_await_leaves_the_old_session_or_the_new_one() {
    async fn count(session: Session) -> HttpResponse {
        session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
        session.cycle_key().unwrap();
        HttpResponse::Ok().finish()
    }
    for kind in stores::every().await {
        let middleware = SessionMiddleware::new(kind.store.clone());
        let app = App::new().wrap(middleware).route("/", web::get().to(count));
        let app = test::init_service(app).await;
        let mut polls = 0;
        loop {
            polls += 1;
            let session = Session::new(&kind.store);
            session.insert("who", &polls).unwrap();
            session.insert("n", &1).unwrap();
            session.save().await.unwrap();
            let key = session.session_key().unwrap();
            let request = test::TestRequest::get().uri("/");
            let cookie = format!("sessionid={}", key.as_str());
            let request = request.insert_header(("cookie", cookie)).to_request();
            let ended = after(polls, test::call_service(&app, request)).await.is_some();
            settle().await;
            let mut sessions = kind.store.sessions();
            let mut found = Vec::new();
            while let Some(listed) = sessions.next().await.unwrap() {
                let data = listed.data.unwrap();
                if data.get_json("who") == Some(&*polls.to_string()) {
                    found.push((listed.key == key, data.get_json("n").map(str::to_owned)));
                }
            }
            let (old, new) = ((true, Some("1".to_owned())), (false, Some("2".to_owned())));
            assert!(found == [old] || found == [new], "{kind:?} after {polls} polls: {found:?}");
            if ended {
                break;
            }
        }
        println!("{kind:?}: a request ends after {polls} polls");
    }
}

const SERVES: &str = "atomicity::a_process_that_is_killed_leaves_each_session_once";

/// Processes are killed while they cycle keys as fast as they can. A visitor who missed the new key has lost
/// the session, but the session exists exactly once.
#[::core::prelude::v1::test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_process_that_is_killed_leaves_each_session_once() {
    if let Some(url) = process::asked_to_serve() {
        let site = Site::start(SessionSettings::default(), async move || {
            Store::connect(&url, SecretKey::new(SECRET)).await.unwrap()
        });
        return process::serve_until_orphaned(site.port(), || ());
    }
    let database = Database::fresh();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(stores::by_url(database.url()));
    let rounds = if at_length() { 100 } else { 8 };
    let mut lives = Vec::new();
    for round in 0..rounds {
        let process = Process::start(SERVES, database.url());
        let ops = process.url("/ops");
        let visitors: Vec<_> = (0..16)
            .map(|n| {
                let (ops, who) = (ops.clone(), format!("{round}-{n}"));
                thread::spawn(move || live(&ops, who))
            })
            .collect();
        thread::sleep(Duration::from_millis(150 + 37 * (round % 5)));
        drop(process); // by SIGKILL
        lives.extend(visitors.into_iter().map(|visitor| visitor.join().unwrap()));
    }
    let codec = Codec::new(SecretKey::new(SECRET));
    let mut there: HashMap<String, Vec<u64>> = HashMap::new();
    for row in database.query("SELECT session_data FROM django_session") {
        let data: Value =
            serde_json::from_str(&codec.decode(row[0].as_ref().unwrap()).unwrap().to_json()).unwrap();
        let who = data["who"].as_str().unwrap().to_owned();
        there.entry(who).or_default().push(data["n"].as_u64().unwrap());
    }
    let renamed: u64 = lives.iter().map(|life| life.confirmed).sum();
    for Life { who, confirmed, ended } in lives {
        let found = there.remove(&who).unwrap_or_default();
        match ended {
            None => assert!(
                matches!(found[..], [n] if n == confirmed || n == confirmed + 1),
                "{who}: {found:?}, told {confirmed}"
            ),
            // Asked to end, and not told.
            Some(false) => assert!(found.is_empty() || found == [confirmed], "{who}: {found:?}"),
            Some(true) => assert!(found.is_empty(), "{who} has ended: {found:?}"),
        }
    }
    assert!(there.is_empty(), "from nobody: {there:?}");
    println!("{rounds} processes killed, {renamed} renames confirmed, each session there once");
    assert!(renamed > 100);
}

struct Life {
    who: String,
    confirmed: u64,
    /// Whether the end was confirmed, if there was one.
    ended: Option<bool>,
}

/// Has the session renamed until nobody answers any more; now and then ends it.
fn live(ops: &str, who: String) -> Life {
    let mut client = Client::new();
    let mut life = Life { who, confirmed: 0, ended: None };
    let json = [("content-type", "application/json")];
    let mut ask = |program: Value| {
        let reply = client.try_request("POST", ops, &json, Some(program.to_string().as_bytes()));
        reply.is_ok_and(|reply| reply.status == 200)
    };
    if !ask(json!([["set", "who", life.who], ["set", "n", 0]])) {
        life.ended = Some(false); // it may not even have begun
        return life;
    }
    loop {
        if life.confirmed == 40 && life.who.ends_with('3') {
            life.ended = Some(ask(json!([["flush"]])));
            return life;
        }
        if !ask(json!([["incr", "n"], ["cycle_key"]])) {
            return life;
        }
        life.confirmed += 1;
    }
}

/// The helper itself: it lets go exactly then.
#[actix_web::test]
async fn a_future_is_dropped_when_it_has_been_polled_so_often() {
    async fn three() -> u32 {
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        3
    }
    for (polls, expected) in [(1, None), (2, None), (3, Some(3)), (4, Some(3))] {
        assert_eq!(pin!(after(polls, three())).await, expected);
    }
}
