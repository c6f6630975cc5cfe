//! Two hosts on one PostgreSQL, each with connections of its own: logins, logouts and password changes of one
//! user at the same time.

use std::{sync::Barrier, thread};

use actix_django_session::{
    SecretKey, SessionMiddleware, Store,
    auth::{Auth, AuthMiddleware, NewUser, Users},
    backend::Postgres,
};
use actix_web::web;
use serde_json::{Value, json};

use crate::{
    support::{http::Client, logins, postgres::Database, site::Site},
    users::Tables,
};

const SECRET: &str = "a secret";

pub(crate) fn host(url: &str) -> Site {
    let url = url.to_owned();
    Site::serve(2, async move || {
        let store = Store::new(Postgres::connect(&url).await.unwrap(), SecretKey::new(SECRET));
        let auth = Auth::new(Users::of(&store).unwrap(), SecretKey::new(SECRET)).unwrap();
        move |config: &mut web::ServiceConfig| {
            config.service(
                web::scope("")
                    .wrap(AuthMiddleware::new(auth.clone()))
                    .wrap(SessionMiddleware::new(store.clone()))
                    .route("/ops", web::post().to(logins::ops)),
            );
        }
    })
}

/// A database with the user ann, and two hosts.
fn two_hosts() -> (Database, [Site; 2]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(async {
        let tables = Tables::postgres().await;
        tables.auth().create_user(NewUser::new("ann"), Some("a long password")).await.unwrap();
        tables.into_database()
    });
    let hosts = [host(database.url()), host(database.url())];
    (database, hosts)
}

pub(crate) fn run(client: &mut Client, host: &Site, program: &Value) -> Vec<Value> {
    let reply = client.post_json(&host.url("/ops"), program);
    assert_eq!(reply.status, 200, "{program}: {}", reply.text());
    reply.json()["results"].as_array().unwrap().clone()
}

fn logged_in(host: &Site) -> Client {
    let mut client = Client::new();
    run(&mut client, host, &json!([["login", "ann"]]));
    client
}

fn user(client: &mut Client, host: &Site) -> Value {
    run(client, host, &json!([["user"]])).remove(0)
}

/// Runs a program of each client at the same time, on the hosts in turn.
fn at_once(clients: &mut [Client], hosts: &[Site; 2], programs: &[Value]) -> Vec<Vec<Value>> {
    let barrier = Barrier::new(clients.len());
    thread::scope(|scope| {
        let threads: Vec<_> = clients
            .iter_mut()
            .zip(programs)
            .enumerate()
            .map(|(n, (client, program))| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    run(client, &hosts[n % 2], program)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
#[ignore = "needs PostgreSQL"]
fn two_logins_of_one_browser_on_two_hosts() {
    let (database, hosts) = two_hosts();
    for _ in 0..5 {
        let mut browser = Client::new();
        run(&mut browser, &hosts[0], &json!([["set", "cart", 7]]));
        let mut tabs = [browser.clone(), browser.clone()];
        let login = json!([["get", "cart"], ["sleep", 0.1], ["login", "ann"]]);
        at_once(&mut tabs, &hosts, &[login.clone(), login]);
        assert_ne!(tabs[0].cookies, tabs[1].cookies);
        for tab in &mut tabs {
            for host in &hosts {
                assert_eq!(run(tab, host, &json!([["user"], ["get", "cart"]])), [json!("ann"), json!(7)]);
            }
        }
        assert_eq!(
            run(&mut browser, &hosts[1], &json!([["user"], ["get", "cart"]])),
            [json!(null), json!(null)]
        );
    }
    let rows = database.query("SELECT count(*) FROM django_session");
    assert_eq!(rows[0][0].as_deref(), Some("10"), "two for each browser, and nothing else");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_new_password_beside_logins_and_rotations() {
    let (_database, hosts) = two_hosts();
    for round in 0..5 {
        let mut clients: Vec<Client> = (0..8).map(|n| logged_in(&hosts[n % 2])).collect();
        let change = json!([["user"], ["change_password", format!("password {round}")]]);
        let mut programs = vec![change];
        for n in 1..clients.len() {
            programs.push(match n % 3 {
                0 => json!([["user"], ["cycle_key"]]),
                1 => json!([["login", "ann"]]),
                _ => json!([["user"], ["set", "a", 1]]),
            });
        }
        at_once(&mut clients, &hosts, &programs);
        assert_eq!(user(&mut clients[0], &hosts[1]), "ann", "the session that changed it");
        let hash =
            |client: &mut Client| run(client, &hosts[0], &json!([["get", "_auth_user_hash"]])).remove(0);
        let new = hash(&mut clients[0]);
        for (n, client) in clients.iter_mut().enumerate() {
            // Logins after the change are valid, all other sessions are not.
            if user(client, &hosts[n % 2]) == "ann" {
                assert_eq!(hash(client), new, "{n}: a session of the old password is alive");
                assert!(n == 0 || n % 3 == 1, "{n} did not log in");
            }
        }
    }
}

fn sessions_of_ann(url: &str) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::new(Postgres::connect(url).await.unwrap(), SecretKey::new(SECRET));
        let keys = store.sessions_of_user("1").await.unwrap();
        keys.iter().map(|key| key.as_str().to_owned()).collect()
    })
}

#[test]
#[ignore = "needs PostgreSQL"]
fn log_out_everywhere_beside_rotations() {
    let (database, hosts) = two_hosts();
    for _ in 0..3 {
        let mut clients: Vec<Client> = (0..8).map(|n| logged_in(&hosts[n % 2])).collect();
        let mut programs = vec![json!([["end_others"]])];
        programs.resize(clients.len(), json!([["user"], ["cycle_key"], ["set", "a", 1]]));
        // Those that are ended in the middle answer with 400: only their cookies matter here.
        let barrier = Barrier::new(clients.len());
        thread::scope(|scope| {
            for (n, (client, program)) in clients.iter_mut().zip(&programs).enumerate() {
                let (barrier, hosts) = (&barrier, &hosts);
                scope.spawn(move || {
                    barrier.wait();
                    let reply = client.post_json(&hosts[n % 2].url("/ops"), program);
                    assert!([200, 400].contains(&reply.status), "{}", reply.text());
                    assert!(n > 0 || reply.status == 200, "{}", reply.text());
                });
            }
        });
        assert_eq!(user(&mut clients[0], &hosts[1]), "ann");
        for client in &mut clients[1..] {
            assert_eq!(user(client, &hosts[0]), Value::Null);
        }
        // Others may have begun a session without a user.
        let left = sessions_of_ann(database.url());
        assert_eq!(left, [clients[0].cookies["sessionid"].clone()]);
        run(&mut clients[0], &hosts[0], &json!([["logout"]]));
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_user_who_goes_in_the_middle_of_a_request() {
    let (database, hosts) = two_hosts();
    for (sql, again) in [
        ("UPDATE auth_user SET is_active = false", "UPDATE auth_user SET is_active = true"),
        ("DELETE FROM auth_user", ""),
    ] {
        let mut client = logged_in(&hosts[0]);
        let program = json!([["user"], ["sleep", 0.5], ["user"], ["set", "a", 1]]);
        let results = thread::scope(|scope| {
            let (client, host) = (&mut client, &hosts[0]);
            let request = scope.spawn(move || run(client, host, &program));
            thread::sleep(std::time::Duration::from_millis(200));
            database.query(sql);
            request.join().unwrap()
        });
        assert_eq!(results[0], "ann");
        assert_eq!(results[2], "ann", "known once in a request, as in Django");
        assert_eq!(user(&mut client, &hosts[1]), Value::Null, "{sql}");
        assert_eq!(run(&mut client, &hosts[0], &json!([["get", "a"]])), [json!(1)], "the session stays");
        if !again.is_empty() {
            database.query(again);
            assert_eq!(user(&mut client, &hosts[1]), "ann");
        }
    }
}
