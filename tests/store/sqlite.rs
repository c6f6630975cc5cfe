//! The SQLite store: its table, and every way in which a file can be in trouble.

use std::time::Duration;

use actix_django_session::{SecretKey, Session, SqliteStore, store::SessionStore as _};

use crate::support::{django::Django, proc::TempDir};

fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

fn schema(path: &std::path::Path) -> Vec<String> {
    let db = rusqlite::Connection::open(path).unwrap();
    let mut select = db
        .prepare("SELECT sql FROM sqlite_master WHERE tbl_name = 'django_session' AND sql IS NOT NULL ORDER BY name")
        .unwrap();
    let rows = select.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[actix_web::test]
#[ignore = "needs Django: run tests/run"]
async fn create_table_makes_what_django_makes() {
    let dir = TempDir::new("sqlite");
    let ours = dir.path().join("ours.sqlite3");
    let store = SqliteStore::open(&ours, secret()).await.unwrap();
    store.create_table().await.unwrap();
    store.create_table().await.unwrap(); // what is there stays
    for version in Django::versions() {
        let theirs = dir.path().join(format!("{}.sqlite3", version.name));
        let url = format!("sqlite:///{}", theirs.display());
        Django::start(&version, &url, &[("SECRET_KEY", "x")]).prepare();
        assert_eq!(schema(&ours), schema(&theirs), "Django {}", version.name);
    }
}

#[actix_web::test]
async fn a_wrong_file_is_an_error_at_once() {
    let dir = TempDir::new("sqlite");
    let open = async |path: &str| SqliteStore::open(dir.path().join(path), secret()).await;
    let missing = open("no/such/directory/db.sqlite3").await.unwrap_err();
    assert!(
        missing.is_store() && missing.to_string().contains("see that its directory is there"),
        "{missing}"
    );
    std::fs::write(dir.path().join("text"), "this is no database at all, and long enough to tell").unwrap();
    let text = open("text").await.unwrap_err();
    assert!(text.to_string().contains("not an SQLite database"), "{text}");
    let empty = open("new.sqlite3").await.unwrap().check().await.unwrap_err();
    assert!(empty.to_string().contains("manage.py migrate"), "{empty}");
    let memory = SqliteStore::open(":memory:", secret()).await.unwrap_err();
    assert!(memory.is_configuration() && memory.to_string().contains("MemoryStore"), "{memory}");
    let no_secret = SqliteStore::open(dir.path().join("x"), SecretKey::new("")).await.unwrap_err();
    assert!(no_secret.is_configuration());
}

#[actix_web::test]
async fn a_locked_file_is_waited_for() {
    let dir = TempDir::new("sqlite");
    let path = dir.path().join("db.sqlite3");
    let store = SqliteStore::open(&path, secret()).await.unwrap();
    store.create_table().await.unwrap();
    let session = Session::create(&store);
    session.insert("n", &1).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let saving = actix_web::rt::spawn({
        let session = session.clone();
        async move { session.save().await }
    });
    actix_web::rt::time::sleep(Duration::from_millis(300)).await;
    assert!(!saving.is_finished(), "the lock holds it up, and this thread goes on");
    other.execute_batch("COMMIT").unwrap();
    saving.await.unwrap().unwrap();
    let again = Session::open(&store, &session.session_key().unwrap()).await.unwrap();
    assert_eq!(again.get::<u32>("n").unwrap(), Some(1));
}

#[actix_web::test]
async fn a_create_table_that_fails_leaves_no_transaction_behind() {
    let dir = TempDir::new("sqlite");
    let path = dir.path().join("db.sqlite3");
    let store = SqliteStore::open(&path, secret()).await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(store.create_table().await.unwrap_err().is_store());
    other.execute_batch("COMMIT").unwrap();
    store.create_table().await.unwrap();
    let session = Session::create(&store);
    session.save().await.unwrap();
    let rows: u32 = other.query_row("SELECT count(*) FROM django_session", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1, "others see what was saved");
}
