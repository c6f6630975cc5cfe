//! One directory, two sites: Django and ours.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    sync::mpsc::{TryRecvError, channel},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    SessionKey,
    codec::Codec,
    store::{Loaded, Outcome, Record, SessionStore as _},
};
use serde_json::{Value, json};

use super::{Files, HOUR, TWO_WEEKS, age, count, data, new_key, secret};
use crate::support::django::{Django, Version};

/// What Django answers to a command of `tests/django/file_sessions.py`.
fn ask(files: &Files, version: &Version, command: &[&str]) -> Value {
    let mut args = vec!["file_sessions.py", files.dir.path().to_str().unwrap(), "sessionid"];
    args.extend(command);
    serde_json::from_str(&version.script(&args, None)).unwrap()
}

#[actix_web::test]
#[ignore = "needs Django: run tests/run"]
async fn django_reads_what_we_write_and_we_what_django_writes() {
    let versions = Django::versions();
    assert!(!versions.is_empty());
    for version in versions {
        let files = Files::new().await;
        let django = |command: &[&str]| ask(&files, &version, command);

        let key = django(&["create", r#"{"a": "Ä", "n": 1}"#]);
        let key = SessionKey::parse(key.as_str().unwrap()).unwrap();
        let theirs = fs::metadata(files.path(&key)).unwrap();
        let Record { mut data, seen, expires } = files.found(&key).await;
        assert_eq!(data.to_json(), r#"{"a":"\u00c4","n":1}"#);
        let difference = (theirs.modified().unwrap() + TWO_WEEKS).duration_since(expires).unwrap();
        assert!(difference < Duration::from_micros(1), "Django's expiry is ours, to the microsecond");

        data.set_json("ours", "[1,null]").unwrap();
        let then = SystemTime::now() + HOUR;
        assert!(matches!(files.store.update(&key, &seen, &data, then).await.unwrap(), Outcome::Saved(_)));
        let ours = fs::metadata(files.path(&key)).unwrap();
        assert_eq!(ours.permissions().mode(), theirs.permissions().mode());
        assert_eq!(ours.permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(files.path(&key)).unwrap();
        assert!(text.is_ascii() && !text.ends_with('\n'));
        assert_eq!(Codec::new(secret()).decode(&text).unwrap().to_json(), data.to_json());
        let read = django(&["load", key.as_str()]);
        assert_eq!(read["data"], json!({"a": "Ä", "n": 1, "ours": [1, null]}));
        assert_eq!(read["key"], key.as_str());

        // What Django saves meanwhile is seen.
        let seen = files.found(&key).await.seen;
        assert_eq!(django(&["save", key.as_str(), r#"{"n": 2}"#]), "saved");
        match files.store.update(&key, &seen, &data, then).await.unwrap() {
            Outcome::Changed(record) => assert_eq!(record.data.get_json("n"), Some("2")),
            other => panic!("{other:?}"),
        }
        // So is what it ends.
        let seen = files.found(&key).await.seen;
        let renamed = new_key();
        assert!(matches!(
            files.store.rename(&key, &seen, &renamed, &data, then).await.unwrap(),
            Outcome::Saved(_)
        ));
        assert_eq!(django(&["exists", key.as_str()]), false);
        assert_eq!(django(&["save", key.as_str(), "{}"]), "saved", "under a new key, as it is none");
        let seen = files.found(&renamed).await.seen;
        django(&["delete", renamed.as_str()]);
        assert!(matches!(files.store.update(&renamed, &seen, &data, then).await.unwrap(), Outcome::Gone));
        assert_eq!(django(&["exists", renamed.as_str()]), false);
    }
}

#[actix_web::test]
#[ignore = "needs Django: run tests/run"]
async fn expired_for_us_is_expired_for_django() {
    for version in Django::versions() {
        let files = Files::new().await;
        let django = |command: &[&str]| ask(&files, &version, command);
        let now = SystemTime::now();
        for (expires, json) in [
            (now - HOUR, r#"{"a":1}"#),
            (now + HOUR, r#"{"a":1,"_session_expiry":"2001-01-01T00:00:00+00:00"}"#),
        ] {
            let key = new_key();
            files.store.create(&key, &data(json), expires).await.unwrap();
            assert!(matches!(files.store.load(&key).await.unwrap(), Loaded::Missing));
            let read = django(&["load", key.as_str()]);
            assert_eq!(read["data"], json!({}), "Django {}: {json}", version.name);
            assert!(!files.path(&key).exists(), "Django removes it");
        }
        // What ends in an hour by our clock ends in an hour by Django's.
        let (key, _) = files.create("{}").await;
        let path = files.path(&key);
        age(&path, TWO_WEEKS - HOUR);
        assert_eq!(django(&["load", key.as_str()])["key"], key.as_str());
        assert!(matches!(files.store.load(&key).await.unwrap(), Loaded::Found(_)));
        age(&path, TWO_WEEKS + HOUR);
        assert!(matches!(files.store.load(&key).await.unwrap(), Loaded::Missing));
        django(&["clear_expired"]);
        assert!(!path.exists());
    }
}

/// Django's `save` first makes an empty file, then renames the full one over it.
#[actix_web::test]
#[ignore = "needs Django: run tests/run"]
async fn an_empty_file_is_an_empty_session() {
    for version in Django::versions() {
        let files = Files::new().await;
        let key = new_key();
        File::create(files.path(&key)).unwrap();
        let read = ask(&files, &version, &["load", key.as_str()]);
        assert_eq!((&read["data"], &read["key"]), (&json!({}), &json!(key.as_str())));
        let Record { data: empty, seen, .. } = files.found(&key).await;
        assert_eq!(empty.to_json(), "{}");
        let saved = files.store.update(&key, &seen, &data(r#"{"a":1}"#), SystemTime::now() + HOUR).await;
        assert!(matches!(saved.unwrap(), Outcome::Saved(_)));
        assert_eq!(files.found(&key).await.data.to_json(), r#"{"a":1}"#);
        // One that Django never came to fill is cleared when its time has come.
        File::create(files.path(&key)).unwrap();
        assert_eq!(files.store.clear_expired().await.unwrap(), 0);
        age(&files.path(&key), TWO_WEEKS + HOUR);
        assert!(matches!(files.store.load(&key).await.unwrap(), Loaded::Missing));
        assert_eq!(files.store.clear_expired().await.unwrap(), 1);
    }
}

#[actix_web::test]
#[ignore = "needs Django: run tests/run"]
async fn nothing_that_django_saves_is_undone_by_ours() {
    for version in Django::versions() {
        let files = Files::new().await;
        let (key, _) = files.create(r#"{"n":0}"#).await;
        let dir = files.dir.path().to_owned();
        let (counting, stop) = {
            let (key, (stop, stopped)) = (key.clone(), channel::<()>());
            let counting = std::thread::spawn(move || {
                actix_web::rt::System::new().block_on(async {
                    let mut counted = 0;
                    while stopped.try_recv() == Err(TryRecvError::Empty) {
                        // On a slow disk Django may be faster for longer than a save is patient.
                        counted += u64::from(count(&dir, &key, 1).await.is_ok());
                    }
                    counted
                })
            });
            (counting, stop)
        };
        let hidden = ask(&files, &version, &["write_many", key.as_str(), "300"]);
        drop(stop);
        let counted: u64 = counting.join().unwrap();
        let data = files.found(&key).await.data;
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
        assert_eq!(files.names(), [key.as_str()], "nothing is left behind");
    }
}
