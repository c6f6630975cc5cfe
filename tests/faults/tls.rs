//! `sslmode` against a server with a certificate, as libpq has it.

use std::{path::Path, process::Command};

use super::{backend, refused, works};
use crate::support::{certificates::Certificates, postgres::PrivateServer, required};

fn url(server: &PrivateServer, host: &str, parameters: &str) -> String {
    format!("postgres://postgres@{host}:{}/postgres?{parameters}", server.port())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// How many of the connections that are open are encrypted, and how many are not.
fn encrypted(server: &PrivateServer) -> (usize, usize) {
    let rows = server.query(
        "SELECT ssl::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'actix-django-session'",
    );
    let yes = rows.iter().filter(|row| row[0].as_deref() == Some("true")).count();
    (yes, rows.len() - yes)
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn each_sslmode_is_what_libpq_means_by_it() {
    let certificates = Certificates::new(&["127.0.0.1"]);
    let server = PrivateServer::start_tls(&certificates, &[]);
    let (ca, other) = (shown(&certificates.ca()), Certificates::new(&["127.0.0.1"]));
    let other = shown(&other.ca());
    for (host, parameters, is_encrypted) in [
        ("127.0.0.1", "sslmode=disable".to_owned(), false),
        ("127.0.0.1", String::new(), true),
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("localhost", "sslmode=require".to_owned(), true),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={ca}"), true),
        ("localhost", format!("sslmode=verify-ca&sslrootcert={ca}"), true),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}"), true),
    ] {
        let backend = backend(&url(&server, host, &parameters)).await;
        works(&backend).await;
        let (yes, no) = encrypted(&server);
        assert!((yes > 0) == is_encrypted && (no > 0) != is_encrypted, "{host} {parameters}: {yes}, {no}");
        drop(backend);
        server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> ''");
    }
    for (host, parameters, why) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}"), "not valid for name"),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={other}"), "invalid peer certificate"),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={other}"), "invalid peer certificate"),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={other}"), "invalid peer certificate"),
        ("127.0.0.1", "sslmode=verify-full".to_owned(), "certificate"),
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=/nowhere".to_owned(), "sslrootcert"),
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=/dev/null".to_owned(), "PEM"),
        ("127.0.0.1", "sslrootcert=system".to_owned(), "certificate"),
        ("127.0.0.1", format!("sslrootcert={other}"), "invalid peer certificate"),
        ("127.0.0.1", "sslmode=require&sslrootcert=system".to_owned(), "verify-full"),
        ("127.0.0.1", "sslmode=verify-ca".to_owned(), "sslrootcert"),
        ("127.0.0.1", format!("sslmode=prefer&sslrootcert={ca}"), "sslmode=require"),
        ("127.0.0.1", "sslmode=required".to_owned(), "verify-full"),
        ("127.0.0.1", "sslcert=/nowhere".to_owned(), "go together"),
    ] {
        let error = refused(&url(&server, host, &parameters)).await;
        assert!(error.contains(why), "{host} {parameters}: {error}");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_certificate_that_has_expired_is_refused() {
    let certificates = Certificates::expired(&["127.0.0.1"]);
    let server = PrivateServer::start_tls(&certificates, &[]);
    for mode in ["verify-ca", "verify-full"] {
        let parameters = format!("sslmode={mode}&sslrootcert={}", certificates.ca().display());
        let error = refused(&url(&server, "127.0.0.1", &parameters)).await;
        assert!(error.contains("TLS failed") && error.contains("expired"), "{mode}: {error}");
    }
}

/// Whether psql connects.
fn psql_connects(url: &str) -> bool {
    let psql = Path::new(&required("TEST_PG_BIN")).join("psql");
    let output = Command::new(psql).args([url, "-c", "SELECT 1"]).output().unwrap();
    output.status.success()
}

/// Made as in PostgreSQL's manual, or with CA:FALSE.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_certificate_that_signed_itself_is_trusted_if_it_is_given() {
    for (authority, expired) in [(true, false), (false, false), (true, true), (false, true)] {
        let made = || Certificates::self_signed(&["127.0.0.1"], authority, expired);
        let (certificates, other) = (made(), made());
        let server = PrivateServer::start_tls(&certificates, &[]);
        for (host, mode, given, trusted) in [
            ("127.0.0.1", "require", &certificates, true),
            ("127.0.0.1", "verify-ca", &certificates, true),
            ("localhost", "verify-ca", &certificates, true),
            ("127.0.0.1", "verify-full", &certificates, true),
            ("localhost", "verify-full", &certificates, false),
            ("127.0.0.1", "require", &other, false),
            ("127.0.0.1", "verify-ca", &other, false),
            ("127.0.0.1", "verify-full", &other, false),
        ] {
            let what = format!("{host} {mode}, CA:{authority}, expired: {expired}");
            let url = url(&server, host, &format!("sslmode={mode}&sslrootcert={}", given.ca().display()));
            assert_eq!(psql_connects(&url), trusted && !expired, "psql, {what}");
            if trusted && !expired {
                works(&backend(&url).await).await;
            } else {
                let error = refused(&url).await;
                assert!(error.contains("certificate"), "{what}: {error}");
            }
        }
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_server_without_tls_is_named_as_such() {
    let server = PrivateServer::start(&[]);
    // The other form of an address.
    let text = |mode: &str| format!("host=127.0.0.1 port={} user=postgres sslmode={mode}", server.port());
    assert!(refused(&text("require")).await.contains("has no TLS"));
    works(&backend(&text("disable")).await).await;
    works(&backend(&text("prefer").replace("host=", "hostaddr=")).await).await;
    for mode in ["require", "verify-full"] {
        let error = refused(&url(&server, "127.0.0.1", &format!("sslmode={mode}"))).await;
        assert!(error.contains("has no TLS"), "{mode}: {error}");
    }
    for mode in ["disable", "allow", "prefer"] {
        works(&backend(&url(&server, "127.0.0.1", &format!("sslmode={mode}"))).await).await;
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn client_certificates_and_channel_binding_work() {
    let certificates = Certificates::new(&["127.0.0.1"]);
    let server = PrivateServer::start_tls(&certificates, &[]);
    server.query("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'secret'");
    let rules = "hostssl all app 127.0.0.1/32 scram-sha-256\nhostssl all postgres 127.0.0.1/32 cert\n";
    let allowed = server.replace_rules(rules);
    let [certificate, key] = ["client.pem", "client-key.pem"].map(|name| shown(&certificates.path(name)));
    let address = format!("127.0.0.1:{}/postgres?sslmode=require", server.port());
    works(&backend(&format!("postgres://postgres@{address}&sslcert={certificate}&sslkey={key}")).await).await;
    works(&backend(&format!("postgres://app:secret@{address}&channel_binding=require")).await).await;
    let error = refused(&format!("postgres://postgres@{address}")).await;
    assert!(error.contains("certificate"), "{error}");
    let error = refused(&format!("postgres://app:wrong@{address}")).await;
    assert!(error.contains("refuses this user or password") && !error.contains("wrong"), "{error}");
    drop(allowed);
}
