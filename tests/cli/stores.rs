//! The other stores: SQLite, files, Redis.

use actix_django_session::{SecretKey, Session, Store};
use serde_json::json;

use crate::{
    Cli,
    fill::{FORMER, SECRET, STRANGER, fill},
    hide,
    support::{django::Django, postgres::Database, proc::TempDir, redis::Redis},
};

#[test]
#[ignore = "needs Django: run tests/run"]
fn sqlite_of_django() {
    for version in Django::versions() {
        let dir = TempDir::new("sqlite");
        let path = dir.path().join("db.sqlite3");
        let django = format!("sqlite:///{}", path.display());
        let present = fill(&version, &django, SECRET, 40, &[]);
        let former = fill(&version, &django, FORMER, 20, &[]);
        fill(&version, &django, STRANGER, 3, &[]);
        hide(FORMER);
        let url = format!("sqlite:///{}", path.display());
        let cli = Cli::on(&url).secret(SECRET).with("SECRET_KEY_FALLBACKS", FORMER);
        let live = present.iter().chain(&former).filter(|session| !session.expired).count() + 2;
        assert_eq!(cli.run(&["list"]).code(0).quiet().out.lines().count(), live);
        let shown = cli.run(&["show", "--json", &former[0].key]).code(0).quiet().json();
        assert_eq!([&shown["signed_by"], &shown["user"]], [&json!("fallback 1"), &json!("0")]);
        let expired = &present[2];
        assert!(expired.expired);
        cli.run(&["show", &expired.key]).code(1).complains("the session has expired");
        cli.run(&["show", "nobodynobody"]).code(4);
        let doctor = cli.run(&["doctor"]).code(0).quiet().says("ok       store");
        let doctor = doctor.says("60 of 63 sessions").says("the secret key signed 40 of 63 sessions");
        doctor.says("fallback 1 signed 20 of 63 sessions").says("3 of 63 sessions (4.8 %): no secret key");
        Cli::on(&url)
            .secret("wrong wrong wrong")
            .run(&["doctor"])
            .code(3)
            .says("problem  sessions    0 of 63 sessions");
        let stats = cli.run(&["stats", "--json"]).code(0).json();
        assert_eq!([&stats["live"], &stats["expired"]], [&json!(live), &json!(63 - live)]);
        let gone = 63 - live;
        cli.run(&["clearsessions", "--dry-run"]).code(0).says(&format!("would clear {gone} expired"));
        cli.run(&["clearsessions", "--batch", "4"]).code(0).says(&format!("cleared {gone} expired"));
        cli.run(&["revoke", "--user", "6"]).code(1).complains("2 live sessions cannot be read");
        cli.run(&["revoke", &present[1].key]).code(0).says("revoked 1 session\n");
        cli.run(&["revoke", "--all", "--yes"]).code(0).quiet();
        assert_eq!(cli.run(&["list"]).code(0).out, "");
        std::fs::write(&path, "this is no database, but long enough to be taken for one".repeat(50)).unwrap();
        cli.run(&["list"]).code(1).complains("not an SQLite database");
        cli.run(&["doctor"]).code(3).says("problem  connection");
    }
    let dir = TempDir::new("sqlite");
    let cli = Cli::on(&format!("sqlite:///{}/new.sqlite3", dir.path().display()));
    cli.run(&["clearsessions"]).code(1).complains("there is no file");
    cli.run(&["createtable"]).code(0).quiet();
    cli.run(&["clearsessions"]).code(0).quiet().says("cleared 0 expired sessions");
}

/// Three sessions that were saved by us.
fn saved(url: &str) -> Vec<String> {
    actix_web::rt::System::new().block_on(async {
        let store = Store::connect(url, SecretKey::new(SECRET)).await.unwrap();
        let mut keys = Vec::new();
        for user in ["7", "7", "8"] {
            let session = Session::new(&store);
            session.insert("_auth_user_id", user).unwrap();
            session.save().await.unwrap();
            keys.push(session.session_key().unwrap().as_str().to_owned());
        }
        keys.iter().for_each(|key| hide(key));
        keys
    })
}

fn three_sessions(url: &str, signed: bool) {
    let cli = Cli::on(url).secret(SECRET);
    let keys = saved(url);
    assert_eq!(cli.run(&["list"]).code(0).quiet().out.lines().count(), 3);
    assert_eq!(cli.run(&["list", "--user", "7"]).code(0).quiet().out.lines().count(), 2);
    let shown = cli.run(&["show", "--json", &keys[2]]).code(0).quiet().json();
    assert_eq!([&shown["user"], &shown["data"]], [&json!("8"), &json!({"_auth_user_id": "8"})]);
    assert_eq!(shown["signed_by"].is_null(), !signed);
    cli.run(&["doctor"]).code(0).quiet().says("3 of 3 sessions (100.0 %) can be read");
    cli.run(&["stats"]).code(0).quiet().says("of 3 live: 100.0 % logged in");
    cli.run(&["clearsessions"]).code(0).quiet().says("cleared 0 expired sessions");
    cli.run(&["revoke", "--user", "7"]).code(0).quiet().says("revoked 2 sessions\n");
    cli.run(&["revoke", &keys[2]]).code(0).quiet().says("revoked 1 session\n");
    cli.run(&["show", &keys[2]]).code(4).complains("there is no session");
    saved(url);
    cli.run(&["revoke", "--all", "--yes"]).code(0).quiet().says("revoked 3 sessions\n");
    assert_eq!(cli.run(&["list"]).code(0).quiet().out, "");
}

#[test]
fn files() {
    let dir = TempDir::new("files");
    three_sessions(&format!("file://{}", dir.path().display()), true);
}

#[test]
#[ignore = "needs Redis: run tests/run"]
fn redis() {
    let redis = Redis::start(&[]);
    three_sessions(&redis.url(), false);
    hide("hunter2-of-redis");
    let wrong = redis.url().replace("redis://", "redis://app:hunter2-of-redis@");
    Cli::on(&wrong).secret(SECRET).run(&["list"]).code(1);
    Cli::on(&wrong).secret(SECRET).run(&["doctor"]).code(3).says("problem  connection");
}

#[test]
#[ignore = "needs Redis and PostgreSQL: run tests/run"]
fn a_cache_before_a_database() {
    let (redis, database) = (Redis::start(&[]), Database::fresh());
    Cli::on(database.url()).run(&["createtable"]).code(0);
    let url = format!("cached:{} {}", redis.url(), database.url());
    let cli = Cli::on(&url).secret(SECRET);
    let keys = saved(&url);
    cli.run(&["show", &keys[0]]).code(0).quiet().says("user     7");
    cli.run(&["doctor"])
        .code(0)
        .quiet()
        .says("ok       store")
        .says("the secret key signed 3 of 3 live sessions");
    cli.run(&["stats"]).code(0).quiet().says("of 3 live: 100.0 % logged in");
    database.query("UPDATE django_session SET expire_date = now() - interval '1 day' WHERE true");
    cli.run(&["clearsessions"]).code(0).quiet().says("cleared 3 expired sessions");
    let keys = saved(&url);
    // In the cache too: who has one of these is logged out.
    cli.run(&["revoke", "--all", "--yes"]).code(0).quiet().says("revoked 3 sessions\n");
    for key in &keys {
        cli.run(&["show", key]).code(4);
    }
}
