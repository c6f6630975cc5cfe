//! PgBouncer in transaction mode: each transaction has another connection of the database's.

use actix_django_session::backend::{Backend as _, Postgres};
use deadpool_postgres::{Manager, Pool};
use tokio_postgres::NoTls;

use super::{backend, outage::Outage, refused, works};
use crate::support::{pgbouncer::PgBouncer, postgres::PrivateServer};

#[actix_web::test]
#[ignore = "needs PostgreSQL and PgBouncer: run tests/run"]
async fn a_pooler_in_transaction_mode_works_with_the_option() {
    let server = PrivateServer::start(&[]);
    let pooler = PgBouncer::start(server.port(), &[("default_pool_size", "3")]);
    works(&backend(&format!("{}?pgbouncer=true", pooler.url())).await).await;
    let pool = |url: &str| Pool::builder(Manager::new(url.parse().unwrap(), NoTls)).build().unwrap();
    works(&Postgres::from_pool(pool(&pooler.url())).pgbouncer(true)).await;
    let settings =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name <> '' AND wait_event = 'ClientRead'";
    assert_ne!(server.query(settings)[0][0].as_deref(), Some("0"), "the pooler holds connections");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and PgBouncer: run tests/run"]
async fn without_the_option_the_error_names_it() {
    let server = PrivateServer::start(&[]);
    let pooler = PgBouncer::start(server.port(), &[]);
    let error = refused(&pooler.url()).await;
    assert!(error.contains("pgbouncer=true") && error.contains("PgBouncer"), "{error}");

    // A pooler that ignores our startup options, and a pool of the application: the error comes later.
    let lenient = [("ignore_startup_parameters", "options"), ("default_pool_size", "4")];
    let pooler = PgBouncer::start(server.port(), &lenient);
    backend(&format!("{}?pgbouncer=true", pooler.url())).await;
    let pool = Pool::builder(Manager::new(pooler.url().parse().unwrap(), NoTls)).build().unwrap();
    for backend in [Postgres::connect(&pooler.url()).await.unwrap(), Postgres::from_pool(pool)] {
        let mut errors = Vec::new();
        for _ in 0..50 {
            let at_once = futures_util::future::join_all((0..20).map(|_| backend.check()));
            errors.extend(at_once.await.into_iter().filter_map(Result::err));
            if !errors.is_empty() {
                break;
            }
        }
        assert!(!errors.is_empty(), "nobody had another's connection: this has tested nothing");
        for error in errors {
            assert!(
                error.is_store() && error.to_string().contains("pgbouncer=true"),
                "{}",
                error.with_causes()
            );
        }
    }
}

#[test]
#[ignore = "needs PostgreSQL and PgBouncer: run tests/run"]
fn a_database_behind_a_pooler_is_restarted_under_load() {
    let mut server = PrivateServer::with_table(&[]);
    // `server_login_retry`: the seconds between attempts to reach a lost database.
    let pooler =
        PgBouncer::start(server.port(), &[("default_pool_size", "4"), ("server_login_retry", "0.2")]);
    let outage = Outage::of(format!("{}?pgbouncer=true", pooler.url()));
    for kill in [false, true] {
        if kill {
            server.kill()
        } else {
            server.stop_fast()
        }
        outage.lasts();
        server.start_again();
        outage.is_over();
    }
    outage.ends("stopped and killed behind PgBouncer");
}
