//! Errors of the server: understood in any language, and told in words that say what to do.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, SessionKey,
    backend::{Backend, Insert, Inserted, Postgres, Replace, Replaced},
};

use crate::support::postgres::{PrivateServer, Rules, try_query};

fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(1000)
}

async fn connected(url: &str) -> Postgres {
    Postgres::connect(url).await.unwrap_or_else(|error| panic!("{url}: {}", error.with_causes()))
}

/// A new row.
async fn insert(backend: &Postgres) -> Result<SessionKey, Error> {
    let key = SessionKey::generate();
    assert_eq!(backend.insert(Insert::new(&key, "value", later())).await?, Inserted::Done);
    Ok(key)
}

#[track_caller]
fn says(result: Result<impl std::fmt::Debug, Error>, text: &str) -> String {
    let error = result.unwrap_err();
    assert!(error.is_store() && error.to_string().contains(text), "no {text:?}: {}", error.with_causes());
    error.with_causes()
}

/// The URL of a role of its own, with these rights on the table.
fn role(server: &PrivateServer, name: &str, rights: &str) -> String {
    server.query(&format!("CREATE ROLE {name} LOGIN; GRANT {rights} ON django_session TO {name}"));
    server.url().replace("//postgres@", &format!("//{name}@"))
}

async fn every_error_is_understood(server: &PrivateServer, missing_table: &str) {
    let backend = connected(&server.url()).await;
    let told = says(backend.check().await, "manage.py migrate");
    assert!(told.contains(missing_table), "the server has another language: {told}");
    backend.create_table().await.unwrap();
    let key = insert(&backend).await.unwrap();

    // Statements that were prepared for other types of columns.
    for kind in ["varchar", "text"] {
        assert!(backend.get(&key).await.unwrap().is_some());
        server.query(&format!("ALTER TABLE django_session ALTER session_data TYPE {kind}"));
        assert!(backend.get(&key).await.unwrap().is_some(), "{kind}");
        assert!(!backend.list(None).await.unwrap().entries.is_empty(), "{kind}");
    }

    // A row that is locked for longer than lock_timeout.
    let (holder, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    actix_web::rt::spawn(connection);
    holder.batch_execute("BEGIN; SELECT * FROM django_session FOR UPDATE").await.unwrap();
    let release = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (replaced, ()) = futures_util::future::join(
        backend.replace(Replace::new(&key, "value", later()).value("other")),
        release,
    )
    .await;
    assert_eq!(replaced.unwrap(), Replaced::Done);

    // A key that is taken, and a constraint of the site's own.
    assert_eq!(backend.insert(Insert::new(&key, "value", later())).await.unwrap(), Inserted::KeyTaken);
    server.query("CREATE UNIQUE INDEX one_of_each ON django_session (session_data)");
    insert(&backend).await.unwrap();
    says(insert(&backend).await, "a unique constraint \"one_of_each\" besides that of the key");
    server.query(
        "DROP INDEX one_of_each; ALTER TABLE django_session ADD CONSTRAINT no_value CHECK (false) NOT VALID",
    );
    says(insert(&backend).await, "the check constraint \"no_value\"");
    server.query("ALTER TABLE django_session DROP CONSTRAINT no_value");

    let url = role(server, "reader", "SELECT");
    let told = says(insert(&connected(&url).await).await, "GRANT SELECT, INSERT, UPDATE, DELETE");
    assert!(!told.contains("policy"), "{told}");
    server.query("ALTER ROLE reader SET default_transaction_read_only = on");
    says(insert(&connected(&url).await).await, "the database is read-only");

    let url = role(server, "other", "ALL");
    server.query(
        "ALTER TABLE django_session ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY look ON django_session USING (true) WITH CHECK (false)",
    );
    says(insert(&connected(&url).await).await, "a row-level security policy");
    server.query("ALTER TABLE django_session DISABLE ROW LEVEL SECURITY");

    server.query("DELETE FROM django_session; ALTER TABLE django_session ADD account int NOT NULL");
    let told = says(backend.check().await, "NOT NULL without a default (account)");
    assert!(told.contains("give them defaults"), "{told}");
    says(insert(&backend).await, "a further column \"account\" that is NOT NULL");
    server.query(
        "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN new.account = 1; RETURN new; END'; \
         CREATE TRIGGER fill BEFORE INSERT ON django_session FOR EACH ROW EXECUTE FUNCTION fill()",
    );
    backend.check().await.unwrap();
    insert(&backend).await.unwrap();
    server
        .query("ALTER TABLE django_session DROP COLUMN account CASCADE; DROP TRIGGER fill ON django_session");

    server.query("ALTER TABLE django_session RENAME TO other; CREATE TABLE django_session (a int)");
    says(backend.check().await, "other columns than Django's");
    server.query("DROP TABLE django_session");
    server.query(
        "CREATE TABLE django_session (LIKE other, PRIMARY KEY (session_key, expire_date)) \
         PARTITION BY RANGE (expire_date)",
    );
    says(insert(&backend).await, "has no partition for this row");
    server.query("CREATE TABLE rest PARTITION OF django_session DEFAULT");
    insert(&backend).await.unwrap();
    let missing = server.url().replace("/postgres", "/none").replace("//none@", "//postgres@");
    says(Postgres::connect(&missing).await, "there is no such database");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn every_error_is_understood_in_english() {
    let server = PrivateServer::start(&[]);
    every_error_is_understood(&server, "does not exist").await;
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and the sources of a German locale: run tests/run"]
async fn every_error_is_understood_in_german() {
    let server = PrivateServer::start_german(&[]);
    let german = try_query(&server.url(), "SELECT * FROM nowhere").unwrap_err();
    assert!(german.contains("existiert nicht"), "{german}");
    every_error_is_understood(&server, "existiert nicht").await;
}

/// Everything about users and passwords, under these rules of `pg_hba.conf`.
fn with_rules(server: &PrivateServer, rules: &str) -> Rules {
    server.replace_rules(&format!("host all postgres 127.0.0.1/32 trust\n{rules}\n"))
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and the sources of a German locale: run tests/run"]
async fn a_user_who_is_not_let_in_learns_why() {
    // PostgreSQL 13 does not have it by default.
    let settings = [("password_encryption", "scram-sha-256")];
    for server in [PrivateServer::start(&settings), PrivateServer::start_german(&settings)] {
        server.query("CREATE ROLE app LOGIN PASSWORD 'right-and-secret'; CREATE ROLE locked");
        let url = |user: &str, more: &str| server.url().replace("//postgres@", &format!("//{user}@")) + more;
        for method in ["scram-sha-256", "password"] {
            let rules = with_rules(&server, &format!("host all all 127.0.0.1/32 {method}"));
            connected(&url("app:right-and-secret", "")).await;
            says(Postgres::connect(&url("app", "")).await, "asks for a password, and none is given");
            says(Postgres::connect(&url("app:wrong", "")).await, "refuses this user or password");
            let binding = url("app:right-and-secret", "?channel_binding=require");
            says(Postgres::connect(&binding).await, "channel_binding=require needs TLS");
            drop(rules);
        }
        for rule in ["hostssl all all 127.0.0.1/32 trust", "host all all 127.0.0.1/32 reject"] {
            let rules = with_rules(&server, rule);
            says(Postgres::connect(&url("app", "")).await, "add sslmode=require to the URL");
            drop(rules);
        }
        says(Postgres::connect(&url("locked", "")).await, "refuses this user or password");
        says(Postgres::connect(&url("nobody", "")).await, "refuses this user or password");
        for name in ["p@ss", "p/s@s", "p@s/s"] {
            let error = Postgres::connect(&url(&format!("app:{name}"), "")).await.unwrap_err();
            assert!(error.is_configuration() && error.to_string().contains("write @ as %40"), "{error}");
            assert!(!error.to_string().contains("p@s"), "{error}");
        }
        server.query("ALTER ROLE app PASSWORD 'p@s/s:%'");
        let rules = with_rules(&server, "host all all 127.0.0.1/32 scram-sha-256");
        connected(&url("app:p%40s%2Fs%3A%25", "")).await;
        drop(rules);
    }
}

fn read(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    stream.read_exact(&mut read).unwrap();
    read
}

/// A server that answers every client with one error, of these fields.
fn refusing(fields: &'static [(u8, &'static str)]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            loop {
                let length = u32::from_be_bytes(read(&mut stream, 4).try_into().unwrap());
                // Eight bytes request TLS.
                if read(&mut stream, length as usize - 4).len() > 4 {
                    break;
                }
                stream.write_all(b"N").unwrap();
            }
            let mut body: Vec<u8> = Vec::new();
            for (kind, text) in fields {
                body.push(*kind);
                body.extend(text.as_bytes());
                body.push(0);
            }
            body.push(0);
            let length = (body.len() as u32 + 4).to_be_bytes();
            stream.write_all(&[b"E", &length[..], &body].concat()).unwrap();
        }
    });
    port
}

/// The replies that these poolers are known to give, since neither can be started here.
#[actix_web::test]
async fn poolers_that_refuse_startup_options_are_told_from_servers() {
    let text = "Feature not supported: RDS Proxy currently doesn’t support command-line options.";
    let proxy: &[(u8, &str)] = Box::leak(Box::new([(b'S', "FATAL"), (b'C', "0A000"), (b'M', text)]));
    let text = "unsupported startup parameter in options: enable_seqscan";
    let bouncer: &[(u8, &str)] = Box::leak(Box::new([(b'S', "FATAL"), (b'C', "08P01"), (b'M', text)]));
    let away: &[(u8, &str)] =
        &[(b'S', "FATAL"), (b'C', "08P01"), (b'M', "server login has been failing, try again later")];
    for (fields, is_refusal) in [(proxy, true), (bouncer, true), (away, false)] {
        let url = format!("postgres://app@127.0.0.1:{}/site?sslmode=disable", refusing(fields));
        let error = Postgres::connect(&url).await.unwrap_err();
        assert_eq!(error.to_string().contains("pgbouncer=true"), is_refusal, "{}", error.with_causes());
    }
}
