//! The memory that a listing of large sessions needs.

use std::{
    io::Read as _,
    time::{Duration, SystemTime},
};

use actix_django_session::{
    SecretKey, Session, SessionKey, Store,
    backend::{Backend, Files, Insert, Postgres, Redis, Sqlite},
};

use crate::{
    Cli,
    fill::SECRET,
    support::{postgres::Database, proc::TempDir, proc::status_of, redis},
};

const SESSIONS: usize = 400;
const BYTES: usize = 1_500_000;
const LETTERS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const LIMIT_KIB: u64 = 64 << 10;

/// 400 sessions of 1.5 MB as they are stored: text that zlib cannot make shorter.
async fn fill(url: &str, backend: impl Backend) {
    let store = Store::connect(url, SecretKey::new(SECRET)).await.unwrap();
    store.create_table().await.unwrap();
    let mut seed = 1_u64;
    // Text that zlib and base64 together leave as long as it is.
    let letters = std::iter::repeat_with(|| {
        // A linear congruential generator; its upper bits look random.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS[(seed >> 58) as usize])
    });
    let session = Session::new(&store);
    session.insert("large", &letters.take(BYTES).collect::<String>()).unwrap();
    session.insert("_auth_user_id", "7").unwrap();
    session.save().await.unwrap();
    let entry = store.entry(&session.session_key().unwrap()).await.unwrap().unwrap();
    let value = entry.value.unwrap();
    assert!(value.len() >= BYTES, "{}", value.len());
    let expires = SystemTime::now() + Duration::from_secs(60 * 60);
    for _ in 1..SESSIONS {
        backend.insert(Insert::new(&SessionKey::generate(), value.clone(), expires)).await.unwrap();
    }
}

/// The largest resident set of a run of the program, in KiB.
fn peak(cli: &Cli, arguments: &[&str]) -> u64 {
    let mut child = cli.command(arguments).stdin(std::process::Stdio::null()).spawn().unwrap();
    let (mut out, mut peak) = (child.stdout.take().unwrap(), 0);
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    let mut samples = 0;
    while child.try_wait().unwrap().is_none() {
        // A zombie has no memory any more.
        let path = format!("/proc/{}/status", child.id());
        if std::fs::read_to_string(path).is_ok_and(|status| status.contains("VmHWM:")) {
            peak = peak.max(std::panic::catch_unwind(|| status_of(child.id(), "VmHWM:")).unwrap_or(0));
            samples += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(samples > 10, "{arguments:?} was too quick to be measured");
    let out = reader.join().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let all = if arguments == ["list"] { out.lines().count() == SESSIONS } else { out.contains("400") };
    assert!(all, "{arguments:?}: {out}");
    peak
}

fn listings_are_small(url: &str) {
    let cli = Cli::on(url).secret(SECRET);
    for arguments in [&["list"][..], &["stats"], &["revoke", "--user", "7"]] {
        let peak = peak(&cli, arguments);
        println!("{}: {arguments:?}: {} MiB", url.split(':').next().unwrap(), peak >> 10);
        assert!(peak < LIMIT_KIB, "{arguments:?}: {peak} KiB");
    }
    assert_eq!(cli.run(&["list"]).code(0).out, "");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn large_sessions_in_postgres() {
    let database = Database::fresh();
    let url = database.url();
    actix_web::rt::System::new().block_on(async { fill(url, Postgres::connect(url).await.unwrap()).await });
    listings_are_small(url);
}

#[test]
fn large_sessions_in_sqlite() {
    let dir = TempDir::new("memory");
    let path = dir.path().join("db.sqlite3");
    let url = format!("sqlite:///{}", path.display());
    actix_web::rt::System::new().block_on(async {
        Store::connect(&url, SecretKey::new(SECRET)).await.unwrap().create_table().await.unwrap();
        fill(&url, Sqlite::open(&path).await.unwrap()).await;
    });
    listings_are_small(&url);
}

#[test]
fn large_sessions_in_files() {
    let dir = TempDir::new("memory");
    let url = format!("file://{}", dir.path().display());
    actix_web::rt::System::new().block_on(async { fill(&url, Files::open(dir.path()).await.unwrap()).await });
    listings_are_small(&url);
}

#[test]
#[ignore = "needs Redis: run tests/run"]
fn large_sessions_in_redis() {
    let server = redis::Redis::start(&[]);
    let url = server.url();
    actix_web::rt::System::new().block_on(async { fill(&url, Redis::connect(&url).await.unwrap()).await });
    listings_are_small(&url);
}
