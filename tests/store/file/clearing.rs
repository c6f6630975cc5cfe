//! When sessions expire, clearing and listing them.

use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Expiry, Session, SessionKey, SessionSettings,
    backend::{Backend as _, Replace, Replaced},
    codec::{Codec, SessionData},
};

use super::{Directory, HOUR, TWO_WEEKS, age, encoded, new_key, secret};
use crate::support::logs;

/// Django takes an integer for the age that is left, whenever it looks.
#[actix_web::test]
async fn an_integer_expiry_is_enforced() {
    let directory = Directory::new().await;
    let session = Session::new(&directory.store);
    session.insert("a", &1).unwrap();
    session.set_expiry(Expiry::After(Duration::from_secs(300))).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let left = directory.found(&key).await.expires.duration_since(SystemTime::now()).unwrap();
    assert!(left <= Duration::from_secs(300) && left > Duration::from_secs(200), "{left:?}");
    age(&directory.path(&key), Duration::from_secs(301));
    assert!(directory.files.get(&key).await.unwrap().is_none());
    assert!(Session::open(&directory.store, &key).await.unwrap().is_none());
    assert_eq!(directory.names(), [key.as_str()], "a load removes nothing and creates nothing");
    assert_eq!(directory.store.clear_expired().await.unwrap(), 1);
    assert_eq!(directory.names(), [""; 0]);
}

#[actix_web::test]
async fn a_session_expires_when_its_writer_said() {
    let settings = SessionSettings::default().cookie_age(HOUR);
    let directory = Directory::with(Codec::new(secret()), settings).await;
    let check = async |key: &SessionKey, expires: SystemTime, json: &str| {
        let row = directory.found(key).await;
        let difference = row.expires.duration_since(expires).unwrap_or_else(|error| error.duration());
        assert!(difference < Duration::from_millis(1), "{json}: {difference:?}");
    };
    for json in ["{}", r#"{"_session_expiry":60}"#, r#"{"_session_expiry":0}"#, r#"{"_session_expiry":null}"#]
    {
        for expires in [SystemTime::now() + Duration::from_secs(10), SystemTime::now() + 100 * TWO_WEEKS] {
            let (key, value) = (new_key(), encoded(json));
            directory.insert_as(&key, json, expires).await;
            check(&key, expires, json).await;
            let expires = expires + HOUR;
            let touch = Replace::new(&key, value.clone(), expires);
            assert_eq!(directory.files.replace(touch.clone()).await.unwrap(), Replaced::Done);
            check(&key, expires, json).await;
            let renamed = new_key();
            assert_eq!(directory.files.replace(touch.new_key(&renamed)).await.unwrap(), Replaced::Done);
            check(&renamed, expires, json).await;
            let row = directory.found(&renamed).await;
            assert_eq!(row.value.as_deref(), Some(&value[..]), "the bytes stay");
        }
    }
    // A date in the session counts, whatever the writer said.
    let json = r#"{"_session_expiry":"2999-01-01T00:00:00+00:00"}"#;
    let (key, value) = directory.insert(json).await;
    let before = directory.found(&key).await.expires;
    assert!(before > SystemTime::now() + 900 * 365 * 24 * HOUR);
    let touch = Replace::new(&key, value, SystemTime::now() + HOUR);
    assert_eq!(directory.files.replace(touch).await.unwrap(), Replaced::Done);
    assert_eq!(directory.found(&key).await.expires, before);
}

#[actix_web::test]
async fn clearing_removes_expired_sessions_and_nothing_else() {
    let directory = Directory::new().await;
    let (live, _) = directory.insert("{}").await;
    let (unreadable, old_unreadable, expired) = (new_key(), new_key(), new_key());
    for key in [&unreadable, &old_unreadable] {
        fs::write(directory.path(key), "of another site").unwrap();
    }
    age(&directory.path(&old_unreadable), TWO_WEEKS + HOUR);
    directory.insert_as(&expired, "{}", SystemTime::now() - HOUR).await;
    // Left by writers that were killed, Django's and ours; one is being written.
    let temporary = |end: &str| directory.dir.path().join(format!("sessionid{}_out_{end}", live.as_str()));
    for end in ["x1y2z3_4", "abcdefgh", "nowadays", "longerthaneight"] {
        fs::write(temporary(end), "half a se").unwrap();
        age(&temporary(end), 2 * HOUR);
    }
    age(&temporary("nowadays"), HOUR / 2);
    let written = File::open(temporary("abcdefgh")).unwrap();
    written.lock().unwrap();
    // Not ours at all.
    for name in
        ["note", "sessionid", "sessionidUPPERCASE", "sessionid-x_out_abcdefgh", "csrftokenabcdefghijkl"]
    {
        fs::write(directory.dir.path().join(name), "x").unwrap();
        age(&directory.dir.path().join(name), 100 * TWO_WEEKS);
    }
    fs::create_dir(directory.path(&new_key())).unwrap();
    let before = directory.names().len();

    let log = logs::capture();
    assert_eq!(directory.store.clear_expired().await.unwrap(), 1, "expired, and no unreadable one");
    let warned = log.with("1 files were left alone");
    assert!(warned.len() == 1 && warned[0].contains("a directory is in"), "{warned:?}");
    assert_eq!(directory.names().len(), before - 2);
    assert!(!temporary("x1y2z3_4").exists() && temporary("abcdefgh").exists());
    assert!(!directory.path(&expired).exists() && directory.path(&old_unreadable).exists());
    written.unlock().unwrap();
    assert_eq!(directory.store.clear_expired().await.unwrap(), 0);
    assert!(!temporary("abcdefgh").exists() && temporary("nowadays").exists());
    assert_eq!(directory.data(&live).await.to_json(), "{}");
    assert!(directory.store.entry(&unreadable).await.unwrap().unwrap().data.unwrap_err().is_unreadable());
}

#[actix_web::test]
async fn clearing_goes_on_where_it_stopped() {
    let directory = Directory::new().await;
    for _ in 0..7 {
        directory.insert_as(&new_key(), "{}", SystemTime::now() - HOUR).await;
        directory.insert("{}").await;
    }
    fs::create_dir(directory.path(&new_key())).unwrap();
    let log = logs::capture();
    assert_eq!(directory.files.clear_expired(0).await.unwrap(), 0);
    for (limit, cleared, left) in [(3, 3, 12), (3, 3, 9), (1, 1, 8), (3, 0, 8)] {
        assert_eq!(directory.files.clear_expired(limit).await.unwrap(), cleared);
        assert_eq!(directory.names().len(), left);
    }
    assert_eq!(log.with("1 files were left alone").len(), 1, "one warning for the pass");
    directory.insert_as(&new_key(), "{}", SystemTime::now() - HOUR).await;
    assert_eq!(directory.files.clear_expired(3).await.unwrap(), 1, "a new pass");
}

#[actix_web::test]
async fn all_sessions_are_listed_page_by_page() {
    let directory = Directory::new().await;
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(200_000));
    let codec = Codec::new(secret()).compress_from(usize::MAX);
    let mut keys = Vec::new();
    for n in 0..60 {
        let key = new_key();
        let json = if n % 3 == 0 { &large } else { "{}" };
        let value = codec.encode(&SessionData::from_json(json).unwrap()).unwrap();
        fs::write(directory.path(&key), if n % 10 == 1 { b"unreadable" } else { &value[..] }).unwrap();
        keys.push(key);
    }
    fs::create_dir(directory.path(&new_key())).unwrap();
    let (mut after, mut seen, mut pages, mut unreadable) = (None, Vec::new(), 0, 0);
    loop {
        let page = directory.files.list(after).await.unwrap();
        pages += 1;
        for (key, row) in page.entries {
            unreadable += usize::from(codec.decode(row.unwrap().value.unwrap()).is_err());
            seen.push(key);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
        // Another reader at the same time disturbs nothing.
        directory.files.list(None).await.unwrap();
    }
    keys.sort();
    assert_eq!(seen, keys);
    assert_eq!(unreadable, 6);
    assert!(pages > 1, "a page holds no more than some megabytes");
    let (mut sessions, mut listed) = (directory.store.sessions(), Vec::new());
    while let Some(session) = sessions.next().await.unwrap() {
        unreadable -= usize::from(session.data.is_err());
        listed.push(session.key);
    }
    assert_eq!((listed, unreadable), (keys, 0), "the store lists the same");
    assert_eq!(directory.store.sessions_of_user("7").await.unwrap(), []);
}
