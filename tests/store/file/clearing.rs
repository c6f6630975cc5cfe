//! When sessions end, and looking at all of them.

use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Expiry, Session,
    codec::Codec,
    store::{AnyStore, Loaded, SessionStore as _},
};

use super::{Files, HOUR, TWO_WEEKS, age, data, new_key, secret};
use crate::support::logs;

/// Django takes an integer for the age that is left, whenever it looks.
#[actix_web::test]
async fn an_integer_expiry_is_honoured() {
    let files = Files::new().await;
    let session = Session::create(&files.store);
    session.insert("a", &1).unwrap();
    session.set_expiry(Expiry::After(Duration::from_secs(300))).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let left = files.found(&key).await.expires.duration_since(SystemTime::now()).unwrap();
    assert!(left <= Duration::from_secs(300) && left > Duration::from_secs(200), "{left:?}");
    age(&files.path(&key), Duration::from_secs(301));
    assert!(matches!(files.store.load(&key).await.unwrap(), Loaded::Missing));
    assert!(Session::open(&files.store, &key).await.unwrap().session_key().is_none());
    assert_eq!(files.names(), [key.as_str()], "a load removes nothing and makes nothing");
    assert_eq!(files.store.clear_expired().await.unwrap(), 1);
    assert_eq!(files.names(), [""; 0]);
}

#[actix_web::test]
async fn a_session_expires_when_its_writer_said() {
    let files = Files::new().await;
    let store = files.store.clone().cookie_age(HOUR);
    for json in ["{}", r#"{"_session_expiry":60}"#, r#"{"_session_expiry":0}"#, r#"{"_session_expiry":null}"#]
    {
        for expires in [SystemTime::now() + Duration::from_secs(10), SystemTime::now() + 100 * TWO_WEEKS] {
            let key = new_key();
            store.create(&key, &data(json), expires).await.unwrap();
            let Loaded::Found(record) = store.load(&key).await.unwrap() else { panic!("{json}") };
            let difference = record.expires.duration_since(expires).unwrap_or_else(|error| error.duration());
            assert!(difference < Duration::from_millis(1), "{json}: {difference:?}");
        }
    }
}

#[actix_web::test]
async fn clearing_removes_expired_sessions_and_nothing_else() {
    let files = Files::new().await;
    let (live, _) = files.create("{}").await;
    let (unreadable, old_unreadable, expired) = (new_key(), new_key(), new_key());
    for key in [&unreadable, &old_unreadable] {
        fs::write(files.path(key), "of another site").unwrap();
    }
    age(&files.path(&old_unreadable), TWO_WEEKS + HOUR);
    files.store.create(&expired, &data("{}"), SystemTime::now() - HOUR).await.unwrap();
    // Left by writers that were killed, Django's and ours; one is being written.
    let temporary = |end: &str| files.dir.path().join(format!("sessionid{}_out_{end}", live.as_str()));
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
        fs::write(files.dir.path().join(name), "x").unwrap();
        age(&files.dir.path().join(name), 100 * TWO_WEEKS);
    }
    fs::create_dir(files.path(&new_key())).unwrap();
    let before = files.names().len();

    let log = logs::capture();
    assert_eq!(files.store.clear_expired().await.unwrap(), 1, "expired, and not what nobody can read");
    let warned = log.with("1 files were left alone");
    assert!(warned.len() == 1 && warned[0].contains("a directory is in"), "{warned:?}");
    assert_eq!(files.names().len(), before - 2);
    assert!(!temporary("x1y2z3_4").exists() && temporary("abcdefgh").exists());
    assert!(!files.path(&expired).exists() && files.path(&old_unreadable).exists());
    written.unlock().unwrap();
    assert_eq!(files.store.clear_expired().await.unwrap(), 0);
    assert!(!temporary("abcdefgh").exists() && temporary("nowadays").exists());
    assert!(matches!(files.store.load(&live).await.unwrap(), Loaded::Found(_)));
    assert!(matches!(files.store.load(&unreadable).await.unwrap(), Loaded::Unreadable(_)));
}

#[actix_web::test]
async fn all_sessions_are_listed_page_by_page() {
    let files = Files::new().await;
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(200_000));
    let mut keys = Vec::new();
    for n in 0..60 {
        let (key, text) = (new_key(), Codec::new(secret()).compress_from(usize::MAX));
        let text = text.encode(&data(if n % 3 == 0 { &large } else { "{}" })).unwrap();
        fs::write(files.path(&key), if n % 10 == 1 { "unreadable" } else { &text }).unwrap();
        keys.push(key);
    }
    fs::create_dir(files.path(&new_key())).unwrap();
    let (mut cursor, mut seen, mut pages, mut unreadable) = (None, Vec::new(), 0, 0);
    loop {
        let page = files.store.page(cursor.as_ref()).await.unwrap();
        pages += 1;
        unreadable += page.sessions.iter().filter(|session| session.data.is_err()).count();
        seen.extend(page.sessions.into_iter().map(|session| session.key));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
        // Another reader at the same time disturbs nothing.
        files.store.page(None).await.unwrap();
    }
    keys.sort();
    assert_eq!(seen, keys);
    assert_eq!(unreadable, 6);
    assert!(pages > 1, "a page holds no more than some megabytes");
    let all = AnyStore::from(files.store.clone());
    assert_eq!(all.sessions_of_user("7").await.unwrap(), []);
}
