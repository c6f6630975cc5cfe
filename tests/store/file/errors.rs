//! Directories and files that are missing, unreadable, locked or of another kind.

use std::{
    fs::{self, File},
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, SecretKey, Session, SessionKey, SessionSettings, Store,
    backend::{Backend as _, Files, Insert, Inserted, Replace, Replaced, SiteSettings},
    codec::{Codec, SessionData},
};

use super::{Directory, HOUR, encoded, new_key, secret};
use crate::support::proc::TempDir;

#[actix_web::test]
async fn a_wrong_directory_is_an_error_at_once() {
    let dir = TempDir::new("file");
    let open = async |path: &str| Files::open(dir.path().join(path)).await.unwrap_err();
    let missing = open("missing").await;
    assert!(
        missing.is_configuration() && missing.to_string().contains("missing is not there: create"),
        "{missing}"
    );
    let lazy = Files::open_lazy(dir.path().join("missing")).unwrap().check().await.unwrap_err();
    assert_eq!(lazy.to_string(), missing.to_string());
    fs::write(dir.path().join("text"), "").unwrap();
    let text = open("text").await;
    assert!(text.is_configuration() && text.to_string().contains("text is not a directory"), "{text}");
    let empty = Files::open("").await.unwrap_err();
    assert!(empty.is_configuration(), "{empty}");
    let url = format!("file://{}", dir.path().display());
    let no_secret = Store::connect(&url, SecretKey::new("")).await.unwrap_err();
    assert!(no_secret.is_configuration(), "{no_secret}");
    let files = Files::open(dir.path()).await.unwrap();
    let named = |name: &str| {
        let mut site = SiteSettings::default();
        site.cookie_name = name.into();
        files.with_settings(&site)
    };
    for name in ["", "a/b", "a\0b", "a\\b", &"x".repeat(203)] {
        let error = named(name).unwrap_err();
        assert!(error.is_configuration(), "{error}");
    }
    let longest = named(&"x".repeat(202)).unwrap().unwrap();
    longest.check().await.unwrap();
    let key = SessionKey::parse(&"k".repeat(40)).unwrap();
    let new = Insert::new(&key, encoded("{}"), SystemTime::now() + HOUR);
    longest.insert(new.clone()).await.unwrap();
    assert!(dir.path().join("x".repeat(202) + &"k".repeat(40)).exists());
    fs::remove_dir_all(dir.path()).unwrap();
    for gone in [
        longest.get(&key).await.unwrap_err(),
        longest.exists(&key).await.unwrap_err(),
        longest.delete(&key).await.unwrap_err(),
        longest.insert(new.clone()).await.unwrap_err(),
        longest.clear_expired(1).await.unwrap_err(),
        longest.list(None).await.unwrap_err(),
    ] {
        assert!(gone.is_store() && gone.to_string().contains("is not there"), "{gone}");
    }
    fs::create_dir(dir.path()).unwrap();
    longest.insert(new).await.unwrap();
}

#[actix_web::test]
async fn no_key_leads_out_of_the_directory() {
    let Directory { dir: _dir, files, store } = &Directory::new().await;
    let outside = TempDir::new("outside");
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    for text in
        ["/../etc/passwd", &format!("/../{name}/x")[..], "UPPERCASE", "dots.and-dashes", "_out_abcdefgh"]
    {
        let Some(key) = SessionKey::parse(text) else { continue };
        assert_eq!(files.get(&key).await.unwrap(), None);
        assert!(!files.exists(&key).await.unwrap() && !files.delete(&key).await.unwrap());
        assert!(Session::open(store, &key).await.unwrap().is_none());
        let then = SystemTime::now() + HOUR;
        let refused = files.insert(Insert::new(&key, encoded("{}"), then)).await.unwrap_err();
        assert!(refused.is_configuration() && !refused.to_string().contains(text), "{refused}");
        let gone = files.replace(Replace::new(&key, "", then).value(encoded("{}"))).await.unwrap();
        assert_eq!(gone, Replaced::Gone);
        let (good, value) = (new_key(), encoded("{}"));
        files.insert(Insert::new(&good, value.clone(), then)).await.unwrap();
        let refused = files.replace(Replace::new(&good, value, then).new_key(&key)).await.unwrap_err();
        assert!(refused.is_configuration());
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[actix_web::test]
async fn anything_but_a_file_is_not_touched() {
    let directory = Directory::new().await;
    let target = directory.dir.path().join("target");
    let text = encoded(r#"{"a":1}"#);
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
        let (key, seen) = directory.insert("{}").await;
        fs::remove_file(directory.path(&key)).unwrap();
        make(&directory.path(&key));
        let before = fs::symlink_metadata(directory.path(&key)).unwrap().file_type();
        let (then, files, renamed) = (SystemTime::now() + HOUR, &directory.files, new_key());
        let touch = Replace::new(&key, seen, then);
        let update = touch.clone().value(encoded("{}"));
        let errors: [Error; 6] = [
            files.get(&key).await.unwrap_err(),
            files.replace(touch).await.unwrap_err(),
            files.replace(update.clone()).await.unwrap_err(),
            files.replace(update.new_key(&renamed)).await.unwrap_err(),
            files.delete(&key).await.unwrap_err(),
            files.exists(&key).await.unwrap_err(),
        ];
        for error in errors {
            let text = error.with_causes();
            assert!(error.is_store() && text.contains(&format!("{kind} is in ")), "{kind}: {text}");
            assert!(!text.contains(key.as_str()), "{text}");
        }
        let taken = files.insert(Insert::new(&key, encoded("{}"), then)).await.unwrap();
        assert_eq!(taken, Inserted::KeyTaken);
        assert_eq!(fs::symlink_metadata(directory.path(&key)).unwrap().file_type(), before);
    }
    assert_eq!(fs::read(target).unwrap(), text);
    assert!(directory.names().iter().all(|name| !name.contains("_out_")));
}

#[actix_web::test]
async fn unreadable_files_are_left_alone() {
    let codec = Codec::new(secret()).max_session_bytes(1000);
    let directory = Directory::with(codec.clone(), SessionSettings::default()).await;
    let foreign = Codec::new(SecretKey::new("another secret")).encode(&SessionData::default()).unwrap();
    let large = vec![b'x'; super::site(codec, &SessionSettings::default()).max_value_bytes + 1];
    for (bytes, large) in [(&b"\xff\xfe"[..], false), (&foreign[..], false), (&large, true)] {
        let (key, seen) = directory.insert("{}").await;
        fs::write(directory.path(&key), bytes).unwrap();
        assert_eq!(directory.found(&key).await.value.is_none(), large);
        let error = directory.store.entry(&key).await.unwrap().unwrap().data.unwrap_err();
        assert!(if large { error.is_too_large() } else { error.is_unreadable() }, "{error:?}");
        let (then, renamed) = (SystemTime::now() + HOUR, new_key());
        let touch = Replace::new(&key, seen, then);
        let update = touch.clone().value(encoded("{}"));
        for change in [touch, update.clone(), update.new_key(&renamed)] {
            match directory.files.replace(change).await.unwrap() {
                Replaced::Conflict(row) => assert_eq!(row.value.as_deref(), (!large).then_some(bytes)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(fs::read(directory.path(&key)).unwrap(), bytes);
    }
    assert_eq!(directory.names().len(), 3);
}

#[actix_web::test]
async fn a_locked_file_is_waited_for() {
    let directory = Directory::new().await;
    let (key, seen) = directory.insert("{}").await;
    let other = File::open(directory.path(&key)).unwrap();
    other.lock().unwrap();
    let update = Replace::new(&key, seen.clone(), SystemTime::now() + HOUR).value(encoded(r#"{"a":1}"#));
    let (update_error, delete_error) =
        tokio::join!(directory.files.replace(update), directory.files.delete(&key));
    for error in [update_error.unwrap_err(), delete_error.unwrap_err()] {
        assert!(error.is_store() && error.to_string().contains("locked for too long"), "{error}");
    }
    assert_eq!(directory.data(&key).await.to_json(), "{}", "a load does not wait");

    let saving = actix_web::rt::spawn({
        let (files, key) = (directory.files.clone(), key.clone());
        async move {
            let update = Replace::new(&key, seen, SystemTime::now() + HOUR);
            files.replace(update.value(encoded(r#"{"a":1}"#))).await
        }
    });
    actix_web::rt::time::sleep(Duration::from_millis(300)).await;
    assert!(!saving.is_finished(), "the save waits for the lock, and this thread goes on");
    other.unlock().unwrap();
    assert_eq!(saving.await.unwrap().unwrap(), Replaced::Done);
    assert_eq!(directory.data(&key).await.to_json(), r#"{"a":1}"#);
    assert_eq!(directory.names(), [key.as_str()]);
}
