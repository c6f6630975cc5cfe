//! One directory, two sites: Django and ours.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    sync::mpsc::{TryRecvError, channel},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    SessionKey,
    backend::{Backend as _, Replace, Replaced},
    codec::Codec,
};
use serde_json::{Value, json};

use super::{Directory, HOUR, TWO_WEEKS, age, count, encoded, new_key, secret};
use crate::support::django::{Django, Version};

/// Runs a command of `tests/django/file_sessions.py`.
fn run(directory: &Directory, version: &Version, command: &[&str]) -> Value {
    let mut args = vec!["file_sessions.py", directory.dir.path().to_str().unwrap(), "sessionid"];
    args.extend(command);
    serde_json::from_str(&version.script(&args, None)).unwrap()
}

#[actix_web::test]
#[ignore = "needs Django: run tests/run"]
async fn django_reads_what_we_write_and_we_what_django_writes() {
    let versions = Django::versions();
    assert!(!versions.is_empty());
    for version in versions {
        let directory = Directory::new().await;
        let django = |command: &[&str]| run(&directory, &version, command);

        let key = django(&["create", r#"{"a": "Ä", "n": 1}"#]);
        let key = SessionKey::parse(key.as_str().unwrap()).unwrap();
        let theirs = fs::metadata(directory.path(&key)).unwrap();
        let row = directory.found(&key).await;
        let mut data = directory.data(&key).await;
        assert_eq!(data.to_json(), r#"{"a":"\u00c4","n":1}"#);
        let difference = (theirs.modified().unwrap() + TWO_WEEKS).duration_since(row.expires).unwrap();
        assert!(difference < Duration::from_micros(1), "Django's expiry is ours, to the microsecond");

        data.set_json("ours", "[1,null]").unwrap();
        let (codec, then) = (Codec::new(secret()), SystemTime::now() + HOUR);
        let save = async |key: &SessionKey, expected| {
            let change = Replace::new(key, expected, then).value(codec.encode(&data).unwrap());
            directory.files.replace(change).await.unwrap()
        };
        assert_eq!(save(&key, row.value.unwrap()).await, Replaced::Done);
        let ours = fs::metadata(directory.path(&key)).unwrap();
        assert_eq!(ours.permissions().mode(), theirs.permissions().mode());
        assert_eq!(ours.permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(directory.path(&key)).unwrap();
        assert!(text.is_ascii() && !text.ends_with('\n'));
        assert_eq!(codec.decode(&text).unwrap().to_json(), data.to_json());
        let read = django(&["load", key.as_str()]);
        assert_eq!(read["data"], json!({"a": "Ä", "n": 1, "ours": [1, null]}));
        assert_eq!(read["key"], key.as_str());

        // A save and a touch see that Django has saved meanwhile.
        let seen = directory.found(&key).await.value.unwrap();
        assert_eq!(django(&["save", key.as_str(), r#"{"n": 2}"#]), "saved");
        let touched = directory.files.replace(Replace::new(&key, seen.clone(), then)).await.unwrap();
        for replaced in [save(&key, seen).await, touched] {
            match replaced {
                Replaced::Conflict(row) => {
                    let data = codec.decode(row.value.unwrap()).unwrap();
                    assert_eq!(data.get_json("n"), Some("2"));
                }
                other => panic!("{other:?}"),
            }
        }
        // A touch leaves Django's bytes.
        let seen = directory.found(&key).await.value.unwrap();
        let touch = Replace::new(&key, seen, then);
        assert_eq!(directory.files.replace(touch).await.unwrap(), Replaced::Done);
        assert_eq!(django(&["load", key.as_str()])["data"]["n"], 2);
        // A save sees that Django has deleted the session.
        let seen = directory.found(&key).await.value.unwrap();
        let renamed = new_key();
        let rename = Replace::new(&key, seen, then).value(codec.encode(&data).unwrap()).new_key(&renamed);
        assert_eq!(directory.files.replace(rename).await.unwrap(), Replaced::Done);
        assert_eq!(django(&["exists", key.as_str()]), false);
        assert_eq!(django(&["save", key.as_str(), "{}"]), "saved", "under a new key, as it is none");
        let seen = directory.found(&renamed).await.value.unwrap();
        django(&["delete", renamed.as_str()]);
        assert_eq!(save(&renamed, seen).await, Replaced::Gone);
        assert_eq!(django(&["exists", renamed.as_str()]), false);
    }
}

#[actix_web::test]
#[ignore = "needs Django: run tests/run"]
async fn expired_for_us_is_expired_for_django() {
    for version in Django::versions() {
        let directory = Directory::new().await;
        let django = |command: &[&str]| run(&directory, &version, command);
        let now = SystemTime::now();
        for (expires, json) in [
            (now - HOUR, r#"{"a":1}"#),
            (now + HOUR, r#"{"a":1,"_session_expiry":"2001-01-01T00:00:00+00:00"}"#),
        ] {
            let key = new_key();
            directory.insert_as(&key, json, expires).await;
            assert_eq!(directory.files.get(&key).await.unwrap(), None);
            let read = django(&["load", key.as_str()]);
            assert_eq!(read["data"], json!({}), "Django {}: {json}", version.name);
            assert!(!directory.path(&key).exists(), "Django removes it");
        }
        // A session that expires in an hour for us expires in an hour for Django.
        let (key, _) = directory.insert("{}").await;
        let path = directory.path(&key);
        age(&path, TWO_WEEKS - HOUR);
        assert_eq!(django(&["load", key.as_str()])["key"], key.as_str());
        directory.found(&key).await;
        age(&path, TWO_WEEKS + HOUR);
        assert_eq!(directory.files.get(&key).await.unwrap(), None);
        django(&["clear_expired"]);
        assert!(!path.exists());
    }
}

/// Django's `save` first makes an empty file, then renames the full one over it.
#[actix_web::test]
#[ignore = "needs Django: run tests/run"]
async fn an_empty_file_is_an_empty_session() {
    for version in Django::versions() {
        let directory = Directory::new().await;
        let key = new_key();
        File::create(directory.path(&key)).unwrap();
        let read = run(&directory, &version, &["load", key.as_str()]);
        assert_eq!((&read["data"], &read["key"]), (&json!({}), &json!(key.as_str())));
        assert_eq!(directory.data(&key).await.to_json(), "{}");
        let seen = directory.found(&key).await.value.unwrap();
        let change = Replace::new(&key, seen, SystemTime::now() + HOUR).value(encoded(r#"{"a":1}"#));
        assert_eq!(directory.files.replace(change).await.unwrap(), Replaced::Done);
        assert_eq!(directory.data(&key).await.to_json(), r#"{"a":1}"#);
        // An empty file that Django never filled is cleared when it has expired.
        File::create(directory.path(&key)).unwrap();
        assert_eq!(directory.store.clear_expired().await.unwrap(), 0);
        age(&directory.path(&key), TWO_WEEKS + HOUR);
        assert_eq!(directory.files.get(&key).await.unwrap(), None);
        assert_eq!(directory.store.clear_expired().await.unwrap(), 1);
    }
}

#[actix_web::test]
#[ignore = "needs Django: run tests/run"]
async fn nothing_that_django_saves_is_undone_by_ours() {
    for version in Django::versions() {
        let directory = Directory::new().await;
        let (key, _) = directory.insert(r#"{"n":0}"#).await;
        let dir = directory.dir.path().to_owned();
        let (counting, stop) = {
            let (key, (stop, stopped)) = (key.clone(), channel::<()>());
            let counting = std::thread::spawn(move || {
                actix_web::rt::System::new().block_on(async {
                    let mut counted = 0;
                    while stopped.try_recv() == Err(TryRecvError::Empty) {
                        // On a slow disk Django may be faster for longer than a save tries.
                        counted += u64::from(count(&dir, &key, 1).await.is_ok());
                    }
                    counted
                })
            });
            (counting, stop)
        };
        let hidden = run(&directory, &version, &["write_many", key.as_str(), "300"]);
        drop(stop);
        let counted: u64 = counting.join().unwrap();
        let data = directory.data(&key).await;
        let n: u64 = data.get_json("n").unwrap().parse().unwrap();
        println!(
            "Django {}: {n} of our {counted} increments not overwritten by Django, \
             {hidden} looks of Django in the middle of a swap",
            version.name
        );
        for key in (0..300).map(|n| format!("django {n}")) {
            assert!(data.get_json(&key).is_some(), "Django {}: {key} is lost", version.name);
        }
        assert!(n <= counted && counted > 0);
        assert_eq!(directory.names(), [key.as_str()], "nothing is left behind");
    }
}
