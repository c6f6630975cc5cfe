//! Waiting for a directory: a locked file holds up only those who want to lock it.

use std::{
    fs::File,
    time::{Duration, Instant, SystemTime},
};

use actix_django_session::{
    SessionKey,
    backend::{Backend as _, Replace, Replaced},
};
use actix_web::rt::{spawn, time::sleep};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{Directory, HOUR, encoded};

/// Another process has the session's file locked, until this is dropped.
fn locked(directory: &Directory, key: &SessionKey) -> File {
    let file = File::open(directory.path(key)).unwrap();
    file.lock().unwrap();
    file
}

#[actix_web::test]
async fn a_locked_file_holds_up_only_those_who_want_to_lock_it() {
    let directory = Directory::new().await;
    let (stuck, _) = directory.insert(r#"{"a":1}"#).await;
    let (other, value) = directory.insert(r#"{"b":1}"#).await;
    let lock = locked(&directory, &stuck);
    let logouts: Vec<_> = (0..40)
        .map(|_| {
            let (files, key) = (directory.files.clone(), stuck.clone());
            spawn(async move { files.delete(&key).await })
        })
        .collect();
    sleep(Duration::from_millis(200)).await;
    let begin = Instant::now();
    for _ in 0..50 {
        directory.found(&other).await;
        directory.found(&stuck).await;
    }
    let change = Replace::new(&other, value, SystemTime::now() + HOUR).value(encoded(r#"{"b":2}"#));
    assert_eq!(directory.files.replace(change).await.unwrap(), Replaced::Done);
    directory.insert(r#"{"c":1}"#).await;
    println!("100 reads, a save and an insert beside 40 logouts of a locked file: {:?}", begin.elapsed());
    assert!(logouts.iter().all(|logout| !logout.is_finished()), "the others came first");
    assert!(begin.elapsed() < Duration::from_secs(3));
    drop(lock);
    let deleted = join_all(logouts).await.into_iter().map(|logout| logout.unwrap().unwrap());
    assert_eq!(deleted.filter(|deleted| *deleted).count(), 1);
}

#[actix_web::test]
async fn a_caller_that_leaves_waits_no_more() {
    let directory = Directory::new().await;
    let (key, _) = directory.insert(r#"{"a":1}"#).await;
    let lock = locked(&directory, &key);
    let logouts = (0..40).map(|_| directory.files.delete(&key));
    assert!(timeout(Duration::from_millis(100), join_all(logouts)).await.is_err());
    sleep(Duration::from_millis(100)).await; // one attempt may be under way
    drop(lock);
    sleep(Duration::from_millis(300)).await;
    directory.found(&key).await;
}

#[actix_web::test]
async fn those_who_wait_in_vain_have_changed_nothing() {
    let directory = Directory::new().await;
    let (key, value) = directory.insert(r#"{"a":1}"#).await;
    let lock = locked(&directory, &key);
    let change = || Replace::new(&key, value.clone(), SystemTime::now() + HOUR).value(encoded(r#"{"a":2}"#));
    let saves = join_all((0..20).map(|_| directory.files.replace(change()))).await;
    for save in saves {
        let error = save.unwrap_err();
        assert!(error.is_store() && error.to_string().contains("locked for too long"), "{error}");
    }
    drop(lock);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(directory.found(&key).await.value.as_deref(), Some(&value[..]));
    assert_eq!(directory.files.replace(change()).await.unwrap(), Replaced::Done);
}
