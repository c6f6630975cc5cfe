//! Further columns of the table that mirror values of the session, as in Django's `create_model_instance`.

use actix_django_session::{
    SecretKey, Session, Store,
    backend::{Backend, Postgres},
};
use deadpool_postgres::{Manager, Pool};
use futures_util::future::join_all;
use serde_json::json;
use tokio_postgres::NoTls;

use crate::support::postgres::Database;

const SESSIONS: usize = 40;

/// As an engine with a model of its own makes it.
fn database() -> Database {
    let database = Database::fresh();
    database.query(
        "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, \
         expire_date timestamptz NOT NULL, account_id integer, \"my theme\" text NOT NULL, other uuid)",
    );
    database.query("CREATE INDEX ON django_session (account_id)");
    database
}

fn mirroring(postgres: Postgres) -> Postgres {
    let postgres = postgres.column("account_id", "_auth_user_id").unwrap();
    postgres.column("my theme", "theme").unwrap().column("other", "other").unwrap()
}

fn pooled(database: &Database) -> Postgres {
    Postgres::from_pool(Pool::builder(Manager::new(database.url().parse().unwrap(), NoTls)).build().unwrap())
}

/// The columns of all rows, in the order of the accounts.
fn rows(database: &Database) -> Vec<Vec<Option<String>>> {
    database
        .query("SELECT account_id, \"my theme\", other FROM django_session ORDER BY account_id, \"my theme\"")
}

fn row(account: Option<usize>, theme: &str, other: Option<&str>) -> Vec<Option<String>> {
    vec![account.map(|n| n.to_string()), Some(theme.to_owned()), other.map(str::to_owned)]
}

async fn each(sessions: &[Session], change: impl Fn(usize, &Session)) {
    sessions.iter().enumerate().for_each(|(n, session)| change(n, session));
    for saved in join_all(sessions.iter().map(Session::save)).await {
        saved.unwrap();
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn further_columns_follow_the_session() {
    for is_pooled in [false, true] {
        let database = database();
        let postgres = match is_pooled {
            true => pooled(&database),
            false => Postgres::connect(database.url()).await.unwrap(),
        };
        let store = Store::new(mirroring(postgres), SecretKey::new("a secret"));
        store.check().await.unwrap();
        let sessions: Vec<Session> = (0..SESSIONS).map(|_| Session::new(&store)).collect();
        each(&sessions, |n, session| {
            session.insert("_auth_user_id", &n.to_string()).unwrap();
            session.insert("theme", "light").unwrap();
        })
        .await;
        let all = |theme: &str, other| (0..SESSIONS).map(|n| row(Some(n), theme, other)).collect::<Vec<_>>();
        assert_eq!(rows(&database), all("light", None));

        const UUID: &str = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
        each(&sessions, |_, session| {
            session.insert("theme", "it's \"dark\"").unwrap();
            session.insert("other", UUID).unwrap();
        })
        .await;
        assert_eq!(rows(&database), all("it's \"dark\"", Some(UUID)));

        // A number instead of a text, under a new key; and one alone.
        each(&sessions, |n, session| {
            session.insert("_auth_user_id", &(n + 100)).unwrap();
            session.cycle_key().unwrap();
        })
        .await;
        sessions[0].discard("_auth_user_id").unwrap();
        sessions[0].save().await.unwrap();
        let mut expected: Vec<_> =
            (101..100 + SESSIONS).map(|n| row(Some(n), "it's \"dark\"", Some(UUID))).collect();
        expected.push(row(None, "it's \"dark\"", Some(UUID)));
        assert_eq!(rows(&database), expected);

        // A save of an unchanged session keeps them.
        sessions[1].save().await.unwrap();
        assert_eq!(rows(&database), expected);

        // A value that the column cannot hold fails alone.
        sessions.iter().for_each(|session| session.insert("theme", "new").unwrap());
        sessions[3].insert("_auth_user_id", "no number").unwrap();
        for (n, saved) in join_all(sessions.iter().map(Session::save)).await.into_iter().enumerate() {
            match n {
                3 => assert!(saved.unwrap_err().is_store()),
                _ => saved.unwrap(),
            }
        }
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_column_that_needs_a_value_is_named() {
    let database = database();
    let postgres = Postgres::connect(database.url()).await.unwrap();
    let error = postgres.check().await.unwrap_err().to_string();
    assert!(error.contains("my theme") && error.contains("Postgres::column"), "{error}");
    mirroring(postgres.clone()).check().await.unwrap();
    for column in ["", "session_data", &"x".repeat(64)] {
        assert!(postgres.clone().column(column, "key").unwrap_err().is_configuration());
    }
    let twice = postgres.column("account_id", "a").unwrap().column("account_id", "b");
    assert!(twice.unwrap_err().is_configuration());
    let session = Session::new(&Store::new(mirroring(pooled(&database)), SecretKey::new("a secret")));
    session.insert("k", &json!([1])).unwrap();
    let error = session.save().await.unwrap_err();
    assert!(error.is_store() && error.to_string().contains("my theme"), "{}", error.with_causes());
}
