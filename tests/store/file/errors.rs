//! Directories and files that are missing, unreadable, locked or of another kind.

use std::{
    fs::{self, File},
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, SecretKey, SessionKey,
    codec::Codec,
    store::{FileStore, Loaded, Outcome, Seen, SessionStore as _},
};

use super::{Files, HOUR, data, new_key, secret};
use crate::support::proc::TempDir;

#[actix_web::test]
async fn a_wrong_directory_is_an_error_at_once() {
    let dir = TempDir::new("file");
    let open = async |path: &str| FileStore::open(dir.path().join(path), secret()).await.unwrap_err();
    let missing = open("missing").await;
    assert!(missing.is_store() && missing.to_string().contains("missing is not there: create"), "{missing}");
    fs::write(dir.path().join("text"), "").unwrap();
    let text = open("text").await;
    assert!(text.is_store() && text.to_string().contains("text is not a directory"), "{text}");
    let empty = FileStore::open("", secret()).await.unwrap_err();
    assert!(empty.is_configuration(), "{empty}");
    let no_secret = FileStore::open(dir.path(), SecretKey::new("")).await.unwrap_err();
    assert!(no_secret.is_configuration(), "{no_secret}");
    let store = FileStore::open(dir.path(), secret()).await.unwrap();
    for name in ["", "a/b", "a\0b", &"x".repeat(203)] {
        let error = store.clone().cookie_name(name).unwrap_err();
        assert!(error.is_configuration(), "{error}");
    }
    let longest = store.cookie_name(&"x".repeat(202)).unwrap();
    longest.check().await.unwrap();
    let key = SessionKey::parse(&"k".repeat(40)).unwrap();
    longest.create(&key, &data("{}"), SystemTime::now() + HOUR).await.unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    for gone in [
        longest.load(&key).await.unwrap_err(),
        longest.exists(&key).await.unwrap_err(),
        longest.delete(&key).await.unwrap_err(),
        longest.create(&new_key(), &data("{}"), SystemTime::now() + HOUR).await.unwrap_err(),
        longest.clear_expired().await.unwrap_err(),
        longest.page(None).await.unwrap_err(),
    ] {
        assert!(gone.is_store() && gone.to_string().contains("is not there"), "{gone}");
    }
    fs::create_dir(dir.path()).unwrap();
    longest.create(&key, &data("{}"), SystemTime::now() + HOUR).await.unwrap();
}

#[actix_web::test]
async fn no_key_leads_out_of_the_directory() {
    let files = Files::new().await;
    let outside = TempDir::new("outside");
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    for text in
        ["/../etc/passwd", &format!("/../{name}/x")[..], "UPPERCASE", "dots.and-dashes", "_out_abcdefgh"]
    {
        let Some(key) = SessionKey::parse(text) else { continue };
        assert!(matches!(files.store.load(&key).await.unwrap(), Loaded::Missing));
        assert!(!files.store.exists(&key).await.unwrap() && !files.store.delete(&key).await.unwrap());
        let then = SystemTime::now() + HOUR;
        let refused = files.store.create(&key, &data("{}"), then).await.unwrap_err();
        assert!(refused.is_configuration() && !refused.to_string().contains(text), "{refused}");
        let gone = files.store.update(&key, &Seen::new(""), &data("{}"), then).await.unwrap();
        assert!(matches!(gone, Outcome::Gone));
        assert!(files.store.parse_key(text).is_none());
        let (good, seen) = files.create("{}").await;
        let refused = files.store.rename(&good, &seen, &key, &data("{}"), then).await.unwrap_err();
        assert!(refused.is_configuration());
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[actix_web::test]
async fn anything_but_a_file_is_not_touched() {
    let files = Files::new().await;
    let target = files.dir.path().join("target");
    let text = Codec::new(secret()).encode(&data(r#"{"a":1}"#)).unwrap();
    fs::write(&target, &text).unwrap();
    type Make<'a> = Box<dyn Fn(&Path) + 'a>;
    let makers: [(&str, Make<'_>); 6] = [
        ("a directory", Box::new(|path| fs::create_dir(path).unwrap())),
        ("a symbolic link", Box::new(|path| symlink("/etc/passwd", path).unwrap())),
        ("a symbolic link", Box::new(|path| symlink(&target, path).unwrap())),
        ("a symbolic link", Box::new(|path| symlink("nowhere", path).unwrap())),
        (
            "a named pipe",
            Box::new(|path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
        ),
        ("a socket", Box::new(|path| drop(UnixListener::bind(path).unwrap()))),
    ];
    for (kind, make) in makers {
        let (key, seen) = files.create("{}").await;
        fs::remove_file(files.path(&key)).unwrap();
        make(&files.path(&key));
        let before = fs::symlink_metadata(files.path(&key)).unwrap().file_type();
        let (then, store) = (SystemTime::now() + HOUR, &files.store);
        let errors: [Error; 5] = [
            store.load(&key).await.unwrap_err(),
            store.update(&key, &seen, &data("{}"), then).await.unwrap_err(),
            store.rename(&key, &seen, &new_key(), &data("{}"), then).await.unwrap_err(),
            store.delete(&key).await.unwrap_err(),
            store.exists(&key).await.unwrap_err(),
        ];
        for error in errors {
            let text = error.with_causes();
            assert!(error.is_store() && text.contains(&format!("{kind} is in ")), "{kind}: {text}");
            assert!(!text.contains(key.as_str()), "{text}");
        }
        assert!(matches!(store.create(&key, &data("{}"), then).await.unwrap(), Outcome::KeyTaken));
        assert_eq!(fs::symlink_metadata(files.path(&key)).unwrap().file_type(), before);
    }
    assert_eq!(fs::read_to_string(target).unwrap(), text);
    assert!(files.names().iter().all(|name| !name.contains("_out_")));
}

#[actix_web::test]
async fn unreadable_files_are_left_alone() {
    let dir = TempDir::new("file");
    let store = FileStore::open(dir.path(), Codec::new(secret()).max_session_bytes(1000)).await.unwrap();
    let files = Files { dir, store };
    let foreign = Codec::new(SecretKey::new("another secret")).encode(&data("{}")).unwrap();
    let large = vec![b'x'; 2 * 1000 + 4096 + 1];
    for (bytes, large) in [(b"\xff\xfe".as_slice(), false), (foreign.as_bytes(), false), (&large, true)] {
        let (key, seen) = files.create("{}").await;
        fs::write(files.path(&key), bytes).unwrap();
        let Loaded::Unreadable(error) = files.store.load(&key).await.unwrap() else { panic!() };
        assert!(if large { error.is_too_large() } else { error.is_unreadable() }, "{error:?}");
        let then = SystemTime::now() + HOUR;
        let update = files.store.update(&key, &seen, &data("{}"), then).await.unwrap();
        let rename = files.store.rename(&key, &seen, &new_key(), &data("{}"), then).await.unwrap();
        for outcome in [update, rename] {
            assert!(matches!(outcome, Outcome::Unreadable(_)), "{outcome:?}");
        }
        assert_eq!(fs::read(files.path(&key)).unwrap(), bytes);
    }
    assert_eq!(files.names().len(), 3);
}

#[actix_web::test]
async fn a_locked_file_is_waited_for() {
    let files = Files::new().await;
    let (key, seen) = files.create("{}").await;
    let other = File::open(files.path(&key)).unwrap();
    other.lock().unwrap();
    let (changed, then) = (data(r#"{"a":1}"#), SystemTime::now() + HOUR);
    let (update, delete) =
        tokio::join!(files.store.update(&key, &seen, &changed, then), files.store.delete(&key));
    for error in [update.unwrap_err(), delete.unwrap_err()] {
        assert!(error.is_store() && error.to_string().contains("locked for too long"), "{error}");
    }
    assert_eq!(files.found(&key).await.data.to_json(), "{}", "a load waits for nobody");

    let saving = actix_web::rt::spawn({
        let (store, key, seen, changed) = (files.store.clone(), key.clone(), seen, changed);
        async move { store.update(&key, &seen, &changed, then).await }
    });
    actix_web::rt::time::sleep(Duration::from_millis(300)).await;
    assert!(!saving.is_finished(), "the lock holds it up, and this thread goes on");
    other.unlock().unwrap();
    assert!(matches!(saving.await.unwrap().unwrap(), Outcome::Saved(_)));
    assert_eq!(files.found(&key).await.data.to_json(), r#"{"a":1}"#);
    assert_eq!(files.names(), [key.as_str()]);
}
