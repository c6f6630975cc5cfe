//! Hashes run beside the worker, few at once, and those of callers that have left do not run.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use actix_django_session::auth::password::{
    DjangoVersion, PasswordAlgorithm, PasswordCheck, PasswordHasher, PasswordHashers, PasswordSummary,
    is_password_usable, unusable_password,
};
use actix_web::{ResponseError as _, http::StatusCode};
use futures_util::future::join_all;

/// Some milliseconds, also without optimisations.
fn slow() -> PasswordHashers {
    PasswordHashers::new(PasswordHasher::bcrypt_sha256(9))
}

#[tokio::test]
async fn checks_and_hashes() {
    let hashers = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(10));
    let column = hashers.hash("correct horse").await.unwrap();
    assert_eq!(hashers.check("correct horse", &column).await.unwrap(), PasswordCheck::Right);
    assert_eq!(hashers.check("Correct horse", &column).await.unwrap(), PasswordCheck::Wrong);
    assert_ne!(hashers.hash("correct horse").await.unwrap(), column, "each has its own salt");
    hashers.spend("correct horse").await.unwrap();
}

#[tokio::test]
async fn too_many_that_wait_are_refused_and_the_others_are_answered() {
    let hashers = slow().threads(1).max_waiting(2);
    let results = join_all((0..5).map(|_| hashers.hash("correct horse"))).await;
    let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!((results.len(), refused.len()), (5, 2));
    for error in refused {
        assert!(error.is_store() && error.status_code() == StatusCode::SERVICE_UNAVAILABLE, "{error}");
        assert!(error.to_string().contains("too many others wait"), "{error}");
    }
    hashers.hash("correct horse").await.expect("the places are free again");
}

#[tokio::test]
async fn a_caller_that_leaves_before_its_turn_is_not_hashed() {
    let hashers = PasswordHashers::new(PasswordHasher::bcrypt_sha256(11)).threads(1).max_waiting(1000);
    let mut first = pin!(hashers.hash("correct horse"));
    // Begins, and takes the only thread.
    poll_fn(|context| {
        assert!(first.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    let leaving = join_all((0..1000).map(|_| hashers.hash("battery staple")));
    assert!(tokio::time::timeout(Duration::from_millis(1), leaving).await.is_err());
    // A thousand hashes would take more than the 30 s after which it is an error.
    first.await.unwrap();
    hashers.hash("correct horse").await.unwrap();
}

#[actix_web::test]
async fn the_worker_serves_others_meanwhile() {
    let hashers = slow();
    let mut hash = pin!(hashers.hash("correct horse"));
    let mut turns = 0_u64;
    let column = poll_fn(|context| {
        turns += 1;
        context.waker().wake_by_ref();
        hash.as_mut().poll(context)
    })
    .await;
    assert!(column.is_ok() && turns > 1, "{turns}");
}

#[test]
fn without_a_runtime_it_runs_here() {
    let hashers = PasswordHashers::new(PasswordHasher::md5());
    let column = futures_util::FutureExt::now_or_never(hashers.hash("correct horse")).unwrap().unwrap();
    assert_eq!(hashers.check_blocking("correct horse", &column).unwrap(), PasswordCheck::Right);
}

#[test]
fn parameters_beyond_the_limits_are_refused_without_the_work() {
    let columns = [
        "pbkdf2_sha256$2147483647$abcdefghijklmnopqrstuv$eA==",
        "argon2$argon2id$v=19$m=4294967295,t=1,p=1$YWJjZGVmZ2hpamtsbW5vcHFyc3R1dg$YWJjZA",
        "argon2$argon2id$v=19$m=64,t=4294967295,p=1$YWJjZGVmZ2hpamtsbW5vcHFyc3R1dg$YWJjZA",
        "bcrypt_sha256$$2b$31$abcdefghijklmnopqrstuurByPinJWI/V/0c5apkEb2KJQv7f.gZO",
        "scrypt$32768$abcdefghijklmnopqrstuv$1$131072$eA==",
    ];
    let hashers = PasswordHashers::new(PasswordHasher::md5());
    for column in columns {
        assert!(PasswordSummary::of(column).hasher().is_some(), "it is well formed: {column}");
        assert_eq!(hashers.check_blocking("x", column).unwrap(), PasswordCheck::Wrong, "{column}");
        assert!(!hashers.must_update(column));
    }
    let strict = PasswordHashers::new(PasswordHasher::md5()).max_cost(0);
    let column = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(1)).hash_blocking("x").unwrap();
    assert!(hashers.check_blocking("x", &column).unwrap().is_right());
    assert!(!strict.check_blocking("x", &column).unwrap().is_right());
}

#[test]
fn a_preferred_hasher_that_cannot_work_is_a_configuration_error() {
    for hasher in [
        PasswordHasher::pbkdf2_sha256(0),
        PasswordHasher::argon2(7, 1, 1),
        PasswordHasher::argon2(64, 1, u32::MAX),
        PasswordHasher::bcrypt(32),
        PasswordHasher::scrypt(1 << 15, 8, 1),
        PasswordHasher::scrypt(3, 8, 1),
        PasswordHasher::scrypt(u32::MAX, u32::MAX, u32::MAX),
    ] {
        let error = PasswordHashers::new(hasher).hash_blocking("x").unwrap_err();
        assert!(error.is_configuration(), "{error}");
    }
}

#[test]
fn a_column_of_an_algorithm_that_is_not_accepted_is_wrong() {
    let column = PasswordHashers::new(PasswordHasher::md5()).hash_blocking("x").unwrap();
    let hashers = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(1));
    assert!(!hashers.check_blocking("x", &column).unwrap().is_right());
    let hashers = hashers.accept(PasswordAlgorithm::Md5);
    assert!(hashers.check_blocking("x", &column).unwrap().is_right());
    let scrypt = PasswordHashers::new(PasswordHasher::scrypt(2, 1, 1)).hash_blocking("x").unwrap();
    assert!(hashers.check_blocking("x", &scrypt).unwrap().is_right());
    assert!(!hashers.accept_only([]).check_blocking("x", &scrypt).unwrap().is_right());
}

#[test]
fn an_upgrade_can_be_switched_off() {
    let column = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(5)).hash_blocking("x").unwrap();
    let hashers = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(6));
    assert!(matches!(hashers.check_blocking("x", &column).unwrap(), PasswordCheck::Upgrade(_)));
    assert_eq!(hashers.upgrade(false).check_blocking("x", &column).unwrap(), PasswordCheck::Right);
}

#[test]
fn long_passwords() {
    let mib = "x".repeat(1 << 20);
    let hashers = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(2));
    let column = hashers.hash_blocking(&mib).unwrap();
    assert!(hashers.check_blocking(&mib, &column).unwrap().is_right());
    let longer = mib + "x";
    assert!(hashers.hash_blocking(&longer).unwrap_err().is_value());
    assert!(!hashers.check_blocking(&longer, &column).unwrap().is_right());
    let bcrypt = PasswordHashers::new(PasswordHasher::bcrypt(4));
    let column = bcrypt.hash_blocking(&longer[..72]).unwrap();
    assert!(bcrypt.check_blocking(&longer[..72], &column).unwrap().is_right());
    assert!(
        !bcrypt.check_blocking(&longer[..73], &column).unwrap().is_right(),
        "not the first 72 bytes alone"
    );
    assert!(bcrypt.hash_blocking(&longer[..73]).unwrap_err().is_value());
}

#[test]
fn nothing_shows_a_password_or_a_column() {
    let hashers = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(2));
    let column = PasswordHashers::new(PasswordHasher::md5()).hash_blocking("hunter2").unwrap();
    let check = hashers.clone().accept(PasswordAlgorithm::Md5).check_blocking("hunter2", &column).unwrap();
    assert_eq!(format!("{check:?}"), "Upgrade(…)");
    let parts: Vec<_> = column.split('$').collect();
    let shown = format!("{:?} {} {hashers:?}", PasswordSummary::of(&column), PasswordSummary::of(&column));
    assert!(!shown.contains(parts[1]) && !shown.contains(parts[2]), "{shown}");
}

#[test]
fn unusable_columns() {
    let column = unusable_password();
    assert!(!is_password_usable(&column) && is_password_usable("") && is_password_usable("x"));
    assert!(column.len() == 41 && column != unusable_password());
    let hashers = PasswordHashers::new(PasswordHasher::md5());
    assert_eq!(hashers.check_blocking(&column, &column).unwrap(), PasswordCheck::Wrong);
    assert_eq!(hashers.check_blocking("", "").unwrap(), PasswordCheck::Wrong);
}

#[test]
fn the_defaults_are_those_of_each_release() {
    let shown = |version: DjangoVersion, name| {
        version.hasher(PasswordAlgorithm::from_name(name).unwrap()).map(|hasher| hasher.to_string())
    };
    let iterations = [
        (DjangoVersion::V4_2, 600_000, 1),
        (DjangoVersion::V5_0, 720_000, 1),
        (DjangoVersion::V5_1, 870_000, 5),
        (DjangoVersion::V5_2, 1_000_000, 5),
        (DjangoVersion::V6_0, 1_200_000, 5),
        (DjangoVersion::V6_1, 1_500_000, 5),
    ];
    for (version, iterations, p) in iterations {
        let pbkdf2 = format!("pbkdf2_sha256, {iterations} iterations");
        assert_eq!(PasswordHashers::django(version).preferred().to_string(), pbkdf2);
        assert_eq!(shown(version, "pbkdf2_sha256"), Some(pbkdf2));
        assert_eq!(shown(version, "scrypt"), Some(format!("scrypt, N=16384 r=8 p={p}")));
        assert_eq!(shown(version, "sha1"), None);
    }
    let default = PasswordHashers::default().preferred();
    assert_eq!(default, PasswordHashers::django(DjangoVersion::V5_2).preferred());
}
