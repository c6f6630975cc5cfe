//! The SQLite backend: its table, and files that are missing, locked or no database.

mod waiting;

use std::time::{Duration, SystemTime};

use actix_django_session::{
    SecretKey, Session, Store,
    backend::{Backend as _, Insert, Replace, Replaced, SiteSettings, Sqlite, conformance},
};

use crate::support::{django::Django, proc::TempDir};

fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

fn schema(path: &std::path::Path) -> Vec<String> {
    let db = rusqlite::Connection::open(path).unwrap();
    let mut select = db
        .prepare(
            "SELECT sql FROM sqlite_master \
             WHERE tbl_name = 'django_session' AND sql IS NOT NULL ORDER BY name",
        )
        .unwrap();
    let rows = select.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[actix_web::test]
#[ignore = "needs Django: run tests/run"]
async fn create_table_makes_what_django_makes() {
    let dir = TempDir::new("sqlite");
    let ours = dir.path().join("ours.sqlite3");
    let sqlite = Sqlite::open(&ours).await.unwrap();
    sqlite.create_table().await.unwrap();
    sqlite.create_table().await.unwrap(); // a table that exists stays
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
    let open = async |path: &str| Sqlite::open(dir.path().join(path)).await;
    let missing = open("no/such/directory/db.sqlite3").await.unwrap_err();
    assert!(missing.is_store() && missing.to_string().contains("see that its directory exists"), "{missing}");
    std::fs::write(dir.path().join("text"), "this is no database at all, and long enough to tell").unwrap();
    let text = open("text").await.unwrap_err();
    assert!(text.to_string().contains("not an SQLite database"), "{text}");
    let empty = open("new.sqlite3").await.unwrap().check().await.unwrap_err();
    assert!(empty.to_string().contains("manage.py migrate"), "{empty}");
    let memory = Sqlite::open(":memory:").await.unwrap_err();
    assert!(memory.is_configuration() && memory.to_string().contains("the backend Memory"), "{memory}");
    let url = format!("sqlite:///{}", dir.path().join("x").display());
    let no_secret = Store::connect(&url, SecretKey::new("")).await.unwrap_err();
    assert!(no_secret.is_configuration());
}

#[actix_web::test]
async fn a_locked_file_is_waited_for() {
    let dir = TempDir::new("sqlite");
    let path = dir.path().join("db.sqlite3");
    let store = Store::new(Sqlite::open(&path).await.unwrap(), secret());
    store.create_table().await.unwrap();
    let session = Session::new(&store);
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
    let again = Session::open(&store, &session.session_key().unwrap()).await.unwrap().unwrap();
    assert_eq!(again.get::<u32>("n").unwrap(), Some(1));
}

#[actix_web::test]
async fn a_create_table_that_fails_leaves_no_transaction_behind() {
    let dir = TempDir::new("sqlite");
    let path = dir.path().join("db.sqlite3");
    let store = Store::new(Sqlite::open(&path).await.unwrap(), secret());
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(store.create_table().await.unwrap_err().is_store());
    other.execute_batch("COMMIT").unwrap();
    store.create_table().await.unwrap();
    let session = Session::new(&store);
    session.save().await.unwrap();
    let rows: u32 = other.query_row("SELECT count(*) FROM django_session", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1, "others see what was saved");
}

async fn backend(dir: &TempDir) -> Sqlite {
    let sqlite = Sqlite::open(dir.path().join("db.sqlite3")).await.unwrap();
    sqlite.create_table().await.unwrap();
    sqlite
}

#[actix_web::test]
async fn the_conformance_suite_passes() {
    conformance::check(backend(&TempDir::new("sqlite")).await).await;
}

#[actix_web::test]
async fn a_value_that_is_too_large_is_not_read() {
    let dir = TempDir::new("sqlite");
    let mut site = SiteSettings::default();
    site.max_value_bytes = 10;
    let sqlite = backend(&dir).await.with_settings(&site).unwrap().unwrap();
    let key = sqlite.generate_key(None);
    let (then, value) = (SystemTime::now() + Duration::from_secs(60), "äääää");
    sqlite.insert(Insert::new(&key, value, then)).await.unwrap();
    assert_eq!(sqlite.get(&key).await.unwrap().unwrap().value.as_deref(), Some(value.as_bytes()));
    // As many characters, but more bytes.
    let change = Replace::new(&key, value, then).value("ääää漢");
    assert_eq!(sqlite.replace(change).await.unwrap(), Replaced::Done);
    assert_eq!(sqlite.get(&key).await.unwrap().unwrap().value, None);
    let page = sqlite.list(None).await.unwrap();
    assert_eq!(page.entries[0].1.as_ref().unwrap().value, None);
    match sqlite.replace(Replace::new(&key, value, then)).await.unwrap() {
        Replaced::Conflict(row) => assert_eq!(row.value, None),
        other => panic!("{other:?}"),
    }
}

/// A cache's codec may write anything.
#[actix_web::test]
async fn bytes_that_are_no_text_are_refused() {
    let dir = TempDir::new("sqlite");
    let sqlite = backend(&dir).await;
    let (key, then) = (sqlite.generate_key(None), SystemTime::now() + Duration::from_secs(60));
    let error = sqlite.insert(Insert::new(&key, &b"\x80\x04"[..], then)).await.unwrap_err();
    assert!(error.is_configuration(), "{error}");
    sqlite.insert(Insert::new(&key, "a1", then)).await.unwrap();
    let change = Replace::new(&key, "a1", then).value(&b"\x80\x04"[..]);
    assert!(sqlite.replace(change).await.unwrap_err().is_configuration());
    let change = Replace::new(&key, &b"\x80\x04"[..], then).value("a2");
    assert!(matches!(sqlite.replace(change).await.unwrap(), Replaced::Conflict(_)));
}

#[actix_web::test]
async fn one_row_that_cannot_be_read_does_not_end_a_listing() {
    let dir = TempDir::new("sqlite");
    let sqlite = backend(&dir).await;
    let then = SystemTime::now() + Duration::from_secs(60);
    let large = "x".repeat(1 << 20);
    for n in 0..8 {
        let key = actix_django_session::SessionKey::parse(&format!("k{n}234567")).unwrap();
        sqlite.insert(Insert::new(&key, large.clone(), then)).await.unwrap();
    }
    let db = rusqlite::Connection::open(dir.path().join("db.sqlite3")).unwrap();
    db.execute("UPDATE django_session SET session_data = x'ff' WHERE session_key = 'k1234567'", []).unwrap();
    db.execute("UPDATE django_session SET session_key = 'no key' WHERE session_key = 'k3234567'", [])
        .unwrap();
    let (mut after, mut pages, mut rows) = (None, 0, Vec::new());
    loop {
        let page = sqlite.list(after).await.unwrap();
        rows.extend(page.entries.into_iter().map(|(_, row)| row.is_ok()));
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(rows, [true, false, true, true, true, true, true]);
    assert_eq!(pages, 2, "a page holds some megabytes");
}

/// As django-environ and dj-database-url read it: the third slash ends an empty host.
#[actix_web::test]
async fn three_slashes_are_relative_and_four_absolute() {
    let dir = TempDir::new("sqlite");
    let absolute = dir.path().join("my db.sqlite3");
    let connect = async |url: String| Store::connect(&url, secret()).await;
    let url = format!("sqlite:///{}", absolute.display()).replace(' ', "%20");
    assert!(url.starts_with("sqlite:////"), "{url}");
    let store = connect(url).await.unwrap();
    assert!(!absolute.exists(), "nothing is created by opening");
    let error = store.check().await.unwrap_err().to_string();
    assert!(error.contains("create_table()") && error.contains("my db.sqlite3"), "{error}");
    assert!(!absolute.exists(), "nor by a use");
    store.create_table().await.unwrap();
    store.check().await.unwrap();
    assert!(absolute.exists());

    // From the root it would be the same file if three slashes were absolute.
    for slashes in ["//", "///"] {
        let error = connect(format!("sqlite:{slashes}no/such/directory/db.sqlite3")).await.unwrap_err();
        let here = std::env::current_dir().unwrap().join("no/such/directory/db.sqlite3");
        assert!(error.is_store() && error.to_string().contains(here.to_str().unwrap()), "{error}");
        assert!(error.to_string().contains("absolute after four"), "{error}");
    }
    let error = connect("sqlite:////no/such/directory/db.sqlite3".to_owned()).await.unwrap_err();
    assert!(error.to_string().contains(" /no/such/directory/db.sqlite3"), "{error}");
    for url in ["sqlite:", "sqlite:db.sqlite3", "sqlite://", "sqlite:///", "sqlite:////", "sqlite:///a/"] {
        let error = connect(url.to_owned()).await.unwrap_err();
        assert!(error.is_configuration() && error.to_string().contains("sqlite:////var/"), "{url}: {error}");
    }
}

/// Opened before the site's `migrate` has run: nothing stays from the time before.
#[actix_web::test]
async fn a_file_that_comes_later_is_found() {
    let dir = TempDir::new("sqlite");
    let path = dir.path().join("db.sqlite3");
    let (early, late) = (Sqlite::open(&path).await.unwrap(), Sqlite::open(&path).await.unwrap());
    let key = actix_django_session::SessionKey::generate();
    assert!(early.get(&key).await.unwrap_err().is_store() && !path.exists());
    late.create_table().await.unwrap();
    assert!(early.get(&key).await.unwrap().is_none());
}
