//! Every recorded case again. Where Django raises, the password is wrong here, and the column left alone.

use actix_django_session::auth::password::{PasswordCheck, PasswordSummary};
use serde_json::Value;

use super::{RECORDED, accepting, hasher, recorded};

fn text(password: &Value) -> String {
    match password.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let times = password["times"].as_u64().unwrap() as usize;
            password["repeat"].as_str().unwrap().repeat(times)
        }
    }
}

/// How often an answer differs from Django's, which is only where a reason is named.
#[derive(Debug, Default, PartialEq)]
struct Differences {
    /// Django before 3.2 verifies no variety of Argon2 but Argon2i. Later ones, and this crate, verify all.
    variety: usize,
    /// Django before 3.2 updates neither for a short salt nor for another variety.
    old_update: usize,
    /// Django would update a column that no password fits, as one with `+60` iterations.
    hopeless: usize,
}

/// In the order of `RECORDED`.
const DIFFERENCES: [Differences; 7] = [
    Differences { variety: 62, old_update: 33, hopeless: 33 },
    Differences { variety: 62, old_update: 33, hopeless: 33 },
    Differences { variety: 62, old_update: 33, hopeless: 33 },
    Differences { variety: 0, old_update: 0, hopeless: 46 },
    Differences { variety: 0, old_update: 0, hopeless: 63 },
    Differences { variety: 0, old_update: 0, hopeless: 59 },
    Differences { variety: 0, old_update: 0, hopeless: 58 },
];

fn replay(version: &str, file: &Value) -> Differences {
    let is_old = ["1.11", "2.2", "3.0"].contains(&version);
    let mut differences = Differences::default();
    let (mut right, mut wrong, mut raised) = (0, 0, 0);
    for case in file["cases"].as_array().unwrap() {
        let hashers = accepting(hasher(&file["preferred"][case["by"].as_str().unwrap()]), &file["hashers"]);
        let column = case["column"].as_str().unwrap();
        let password = text(&case["password"]);
        let check = hashers.check_blocking(&password, column).unwrap();
        let update = hashers.must_update(column);
        match case["right"].as_bool() {
            Some(true) => right += 1,
            Some(false) => wrong += 1,
            None => raised += 1,
        }
        if check.is_right() != (case["right"] == true) {
            let argon2 = column.starts_with("argon2$argon2id$") || column.starts_with("argon2$argon2d$");
            assert!(is_old && argon2 && check.is_right(), "{version}: {case}");
            differences.variety += 1;
        }
        // An exception, or a column of no hasher, is to be left alone.
        if update != (case["update"] == true) {
            match update {
                false => {
                    let summary = PasswordSummary::of(column);
                    assert!(summary.hasher().is_none() && case["right"] != true, "{version}: {case}");
                    differences.hopeless += 1;
                }
                true => {
                    assert!(is_old && case["update"] == false, "{version}: {case}");
                    differences.old_update += 1;
                }
            }
        }
        let upgrades = matches!(check, PasswordCheck::Upgrade(_));
        assert_eq!(upgrades, check.is_right() && update, "{version}: {case}");
        if let PasswordCheck::Upgrade(new) = check {
            assert_eq!(PasswordSummary::of(&new).hasher(), Some(hashers.preferred()), "{case}");
            let again = hashers.check_blocking(&password, &new).unwrap();
            assert_eq!(again, PasswordCheck::Right, "{version}: {case}");
        }
    }
    assert!(right > 190 && wrong > 190 && raised > 80, "{version}: {right} {wrong} {raised}");
    differences
}

#[test]
fn every_recorded_column() {
    let found = std::thread::scope(|scope| {
        let replays = RECORDED.map(|version| scope.spawn(move || replay(version, &recorded(version))));
        replays.map(|replay| replay.join().unwrap())
    });
    assert_eq!(found, DIFFERENCES);
}
