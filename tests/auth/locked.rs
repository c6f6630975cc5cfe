//! A user's row that another transaction holds, PgBouncer and an application's own pool.

use std::time::Duration;

use actix_django_session::{
    SecretKey, Session, Store,
    auth::{Auth, Credentials, NewUser, Users},
    backend::Postgres,
};
use deadpool_postgres::{Manager, Pool};
use serde_json::json;
use tokio_postgres::NoTls;

use crate::{
    at_once::{host, run},
    support::{
        http::Client,
        pgbouncer::PgBouncer,
        postgres::{PrivateServer, TABLE},
    },
    users::{Tables, secret},
};

const PASSWORD: &str = "a long password";

/// While the lock is there, everything below is answered: nothing of it waits for its end.
#[test]
#[ignore = "needs PostgreSQL"]
fn a_locked_user_holds_up_nobody_else() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(async {
        let tables = Tables::postgres().await;
        for name in ["ann", "bob", "cyd"] {
            tables.auth().create_user(NewUser::new(name), Some(PASSWORD)).await.unwrap();
        }
        tables.into_database()
    });
    let host = host(database.url());
    let mut ann = Client::new();
    run(&mut ann, &host, &json!([["login", "ann"]]));
    let lock = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
            .batch_execute("BEGIN; SELECT * FROM auth_user WHERE username = 'ann' FOR UPDATE")
            .await
            .unwrap();
        client
    });
    std::thread::scope(|scope| {
        // Several logins of that user, so that they could take all connections.
        let of_ann: Vec<_> = (0..12)
            .map(|_| {
                let host = &host;
                scope.spawn(|| Client::new().post_json(&host.url("/ops"), &json!([["login", "ann"]])))
            })
            .collect();
        for _ in 0..5 {
            for name in ["bob", "cyd"] {
                let program = json!([["login", name], ["user"], ["perms"]]);
                assert_eq!(run(&mut Client::new(), &host, &program)[1], name);
            }
            assert_eq!(run(&mut ann, &host, &json!([["user"], ["perms"]])), [json!("ann"), json!([])]);
        }
        let waiting = of_ann.iter().filter(|login| !login.is_finished()).count();
        assert!(waiting > 0, "the logins of others have waited for those of ann");
        for login in of_ann {
            let reply = login.join().unwrap();
            assert_eq!((reply.status, reply.set_cookies().len()), (503, 0), "{}", reply.text());
        }
    });
    runtime.block_on(lock.batch_execute("ROLLBACK")).unwrap();
    assert_eq!(run(&mut Client::new(), &host, &json!([["login", "ann"], ["user"]]))[1], "ann");
}

/// Anybody can send names to a login form, and a migration may lock the table of users meanwhile.
#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_locked_table_of_users_holds_up_no_session() {
    let database = Tables::postgres().await.into_database();
    let pool =
        Pool::builder(Manager::new(database.url().parse().unwrap(), NoTls)).max_size(8).build().unwrap();
    let (mut other, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    actix_web::rt::spawn(connection);
    for postgres in [Postgres::connect(database.url()).await.unwrap(), Postgres::from_pool(pool)] {
        let (users, store) = (Users::postgres(&postgres), Store::new(postgres, secret()));
        let lock = other.transaction().await.unwrap();
        lock.batch_execute("LOCK auth_user").await.unwrap();
        let lookups: Vec<_> = (0..200)
            .map(|n| {
                let users = users.clone();
                actix_web::rt::spawn(async move { users.get_by_username(&format!("user{n}")).await })
            })
            .collect();
        actix_web::rt::time::sleep(Duration::from_millis(200)).await;
        for _ in 0..50 {
            let session = Session::new(&store);
            session.insert("k", "v").unwrap();
            session.save().await.unwrap();
            let key = session.session_key().unwrap();
            assert!(Session::open(&store, &key).await.unwrap().is_some());
        }
        let waiting = lookups.iter().filter(|lookup| !lookup.is_finished()).count();
        assert!(waiting > 0, "the sessions have waited for the table of users");
        for lookup in lookups {
            let error = lookup.await.unwrap().unwrap_err();
            assert!(error.is_store(), "{error}");
        }
        lock.rollback().await.unwrap();
        assert!(users.get_by_username("nobody").await.unwrap().is_none());
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn odd_names_and_passwords_are_nobodys() {
    for tables in Tables::both().await {
        let auth = tables.auth();
        auth.create_user(NewUser::new("ann"), Some(PASSWORD)).await.unwrap();
        let login = async |name: &str, password: &str| {
            let credentials = Credentials::password(name, password);
            auth.authenticate(&credentials).await.unwrap().map(|user| user.username().to_owned())
        };
        assert_eq!(login("ann", PASSWORD).await.as_deref(), Some("ann"));
        let long = "x".repeat(100_000);
        for name in ["ann\0", "\0", "an\0n", "", &long, "ann'--", "%", "a_n", "\u{202e}ann", "ANN"] {
            assert_eq!(login(name, PASSWORD).await, None, "{name:.20?}");
        }
        // As in Django, zeros at the end of a password do not count: HMAC fills keys with them.
        assert_eq!(login("ann", "a long password\0").await.as_deref(), Some("ann"));
        for password in ["", "a long", "a long\0password", "a long password ", &long] {
            assert_eq!(login("ann", password).await, None, "{password:.20?}");
        }
        // Refused before a database sees it, and on both alike.
        for new in [NewUser::new("a\0b"), NewUser::new("eve").email("a\0@b.org")] {
            let error = auth.create_user(new, None).await.unwrap_err();
            assert!(error.is_value(), "{}", error.with_causes());
        }
        for key in ["\0", "1\0", &"9".repeat(10_000), &long] {
            assert!(tables.users.get(key).await.unwrap().is_none());
        }
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and PgBouncer: run tests/run"]
async fn poolers_of_others() {
    let server = PrivateServer::start(&[]);
    server.query(TABLE);
    let pooler = PgBouncer::start(server.port(), &[("default_pool_size", "3")]);
    let own = |url: &str| {
        Postgres::from_pool(
            Pool::builder(Manager::new(url.parse().unwrap(), NoTls)).max_size(3).build().unwrap(),
        )
    };
    let backends = [
        Postgres::connect(&format!("{}?pgbouncer=true", pooler.url())).await.unwrap(),
        own(&pooler.url()).pgbouncer(true),
        own(&server.url()),
    ];
    for (n, backend) in backends.into_iter().enumerate() {
        let store = Store::new(backend.timeout(Duration::from_secs(20)), SecretKey::new("a secret"));
        let users = Users::of(&store).unwrap();
        users.create_tables().await.unwrap();
        let auth = Auth::new(users.clone(), secret()).unwrap();
        let name = |user: usize| format!("user {user} of {n}");
        let work = (0..30).map(|at| {
            let (auth, name) = (&auth, name(at));
            async move {
                // Hashes take long: one is enough.
                let password = (at == 0).then_some(PASSWORD);
                let user = auth.create_user(NewUser::new(&name), password).await.unwrap();
                if let Some(password) = password {
                    let found = auth.authenticate(&Credentials::password(&name, password)).await.unwrap();
                    assert_eq!(found, Some(user.clone()));
                    auth.set_password(&user, "another").await.unwrap();
                    assert!(
                        auth.authenticate(&Credentials::password(&name, password)).await.unwrap().is_none()
                    );
                }
                let again = auth.users().get(user.id()).await.unwrap().unwrap();
                assert_eq!(again.username(), name);
                assert!(again.permissions().await.unwrap().all().is_empty());
                let taken = auth.create_user(NewUser::new(&name), None).await.unwrap_err();
                assert!(taken.is_taken(), "{taken}");
            }
        });
        futures_util::future::join_all(work).await;
    }
    assert_eq!(server.query("SELECT count(*) FROM auth_user")[0][0].as_deref(), Some("90"));
}
