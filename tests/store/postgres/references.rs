//! Tables with a foreign key to the sessions.

use actix_django_session::{Error, Session, Store};

use super::store;
use crate::support::{logs, postgres::Database};

const EXPIRED: &str = "INSERT INTO django_session SELECT 'expired' || lpad(n::text, 25, '0'), 'x', \
     now() - n * interval '1 second' FROM generate_series(1, 1500) AS n; \
     INSERT INTO django_session VALUES ('livelivelive', 'x', now() + interval '1 hour')";

async fn saved(store: &Store) -> (Session, String) {
    let session = Session::new(store);
    session.insert("a", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap().as_str().to_owned();
    (session, key)
}

#[track_caller]
fn names_the_table(error: &Error) {
    for text in ["\"cart_session_fkey\"", "\"cart\"", "ON UPDATE CASCADE", "ON DELETE CASCADE"] {
        assert!(error.is_store() && error.to_string().contains(text), "no {text}: {}", error.with_causes());
    }
}

/// As Django declares it, too: checked at the end of the transaction.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_logout_and_a_new_key_that_are_forbidden_name_the_table() {
    for options in ["", "ON DELETE RESTRICT ON UPDATE RESTRICT", "DEFERRABLE INITIALLY DEFERRED"] {
        let database = Database::fresh();
        let store = store(database.url()).await;
        database
            .query(&format!("CREATE TABLE cart (session varchar(40) REFERENCES django_session {options})"));
        let (session, key) = saved(&store).await;
        database.query(&format!("INSERT INTO cart VALUES ('{key}')"));
        let key = session.session_key().unwrap();
        names_the_table(&store.delete(&key).await.unwrap_err());
        session.cycle_key().unwrap();
        names_the_table(&session.save().await.unwrap_err());
        assert!(Session::open(&store, &key).await.unwrap().is_some(), "{options}: nothing was changed");
        let (others, _) = saved(&store).await;
        assert!(store.delete(&others.session_key().unwrap()).await.unwrap());
    }
}

fn left(database: &Database) -> u64 {
    let left = database.query("SELECT count(*) FROM django_session WHERE expire_date < now()");
    left[0][0].as_ref().unwrap().parse().unwrap()
}

/// Every other row, the oldest ones, and one alone.
const REFERENCED: [(&str, u64); 3] = [
    ("right(session_key, 1) IN ('0', '2', '4', '6', '8')", 750),
    ("session_key > 'expired' || lpad('499', 25, '0')", 1001),
    ("session_key = 'expired' || lpad('750', 25, '0')", 1),
];

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn clearing_goes_round_sessions_to_which_a_foreign_key_refers() {
    for (condition, number) in REFERENCED {
        for options in ["", "DEFERRABLE INITIALLY DEFERRED"] {
            let database = Database::fresh();
            let store = store(database.url()).await;
            database.query(EXPIRED);
            database.query(&format!(
                "CREATE SCHEMA \"My shop\"; \
                 CREATE TABLE \"My shop\".\"Cart\" \
                 (\"Its session\" varchar(40) REFERENCES django_session {options}); \
                 INSERT INTO \"My shop\".\"Cart\" SELECT session_key FROM django_session \
                 WHERE expire_date < now() AND {condition}"
            ));
            let logs = logs::capture();
            assert_eq!(store.clear_expired().await.unwrap(), 1500 - number, "{condition}");
            assert_eq!(left(&database), number);
            let told = logs.with(&format!("{number} expired session"));
            assert_eq!(told.len(), 1, "{:?}", logs.lines());
            assert!(
                told[0].contains("\"Cart_Its session_fkey\"") && told[0].contains("\"Cart\""),
                "{told:?}"
            );
            // Those that expire later are cleared too, however many are before them.
            database.query(
                "UPDATE django_session SET expire_date = now() - interval '1 ms' \
                 WHERE session_key = 'livelivelive'",
            );
            assert_eq!(store.clear_expired().await.unwrap(), 1);
            database.query("DROP TABLE \"My shop\".\"Cart\"");
            assert_eq!((store.clear_expired().await.unwrap(), left(&database)), (number, 0));
            assert_eq!(logs.with("could not be deleted").len(), 2, "{:?}", logs.lines());
        }
    }
}

/// A trigger, a foreign key behind a foreign key, a table that the role may not read, a NOT NULL column.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn clearing_goes_round_sessions_that_anything_refuses() {
    for (condition, number) in REFERENCED {
        for (what, sql) in [
            (
                "not this one",
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN IF EXISTS (SELECT FROM chosen WHERE session = old.session_key) \
                 THEN RAISE 'not this one'; END IF; RETURN old; END $$; \
                 CREATE TRIGGER refuse BEFORE DELETE ON django_session \
                 FOR EACH ROW EXECUTE FUNCTION refuse()",
            ),
            (
                "item_session_fkey",
                "ALTER TABLE chosen ADD PRIMARY KEY (session), \
                 ADD FOREIGN KEY (session) REFERENCES django_session ON DELETE CASCADE; \
                 CREATE TABLE item (session varchar(40) REFERENCES chosen); \
                 INSERT INTO item SELECT session FROM chosen",
            ),
            (
                "NOT NULL",
                "ALTER TABLE chosen ALTER session SET NOT NULL, \
                 ADD FOREIGN KEY (session) REFERENCES django_session ON DELETE SET NULL",
            ),
            ("chosen_session_fkey", "ALTER TABLE chosen ADD FOREIGN KEY (session) REFERENCES django_session"),
        ] {
            let database = Database::fresh();
            store(database.url()).await;
            database.query(EXPIRED);
            let role = database.url().rsplit_once('/').unwrap().1.to_owned() + "_clearer";
            database.query(&format!(
                "CREATE TABLE chosen AS SELECT session_key AS session FROM django_session \
                 WHERE expire_date < now() AND {condition}; CREATE INDEX ON chosen (session); {sql}; \
                 CREATE ROLE {role} LOGIN; GRANT SELECT, UPDATE, DELETE ON django_session TO {role}"
            ));
            if what == "not this one" {
                database.query(&format!("GRANT SELECT ON chosen TO {role}"));
            }
            let url = database.url().replacen("postgres@", &format!("{role}@"), 1);
            let store = Store::connect(&url, super::secret()).await.unwrap();
            let logs = logs::capture();
            assert_eq!(store.clear_expired().await.unwrap(), 1500 - number, "{what}, {condition}");
            assert_eq!(left(&database), number);
            let told = logs.with(&format!("{number} expired session"));
            assert!(told.len() == 1 && told[0].contains(what), "{what}: {:?}", logs.lines());
            assert_eq!(store.clear_batch(100).await.unwrap(), 0);
            database.query(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
        }
    }
}

/// More than the state of one call: each begins where the last one stopped.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn small_batches_go_round_them_too() {
    for sql in [
        "CREATE TABLE cart (session varchar(40) REFERENCES django_session)",
        "CREATE TABLE cart (session varchar(40)); \
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN IF EXISTS (SELECT FROM cart WHERE session = old.session_key) \
         THEN RAISE 'not this one'; END IF; RETURN old; END $$; \
         CREATE TRIGGER refuse BEFORE DELETE ON django_session FOR EACH ROW EXECUTE FUNCTION refuse()",
    ] {
        let database = Database::fresh();
        let store = store(database.url()).await;
        database.query(EXPIRED);
        database.query(&format!(
            "{sql}; INSERT INTO cart SELECT session_key FROM django_session \
             WHERE expire_date < now() AND right(session_key, 1) = '7'"
        ));
        let mut cleared = 0;
        loop {
            let batch = store.clear_batch(70).await.unwrap();
            assert!(batch <= 70);
            cleared += batch;
            if batch < 70 {
                break;
            }
        }
        assert_eq!((cleared, left(&database)), (1350, 150));
    }
}
