//! The checked-in vectors and recordings are what the Djangos on this machine do: each is made again and
//! compared.

use crate::support::{django::Django, postgres::Database};

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn the_recordings_of_the_middleware() {
    std::thread::scope(|scope| {
        for version in Django::versions() {
            scope.spawn(move || {
                let database = Database::fresh();
                let minor = version.name.rsplit_once('.').unwrap().0;
                let file = format!("../vectors/middleware-{minor}.json");
                version.script(&["record_middleware.py", "--check", &file], Some(database.url()));
            });
        }
    });
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn the_recording_of_the_session_object() {
    let versions = Django::versions();
    assert!(!versions.is_empty());
    for version in versions {
        version.script(&["record_object.py", "--check", "../vectors/object.json"], None);
    }
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn the_vectors() {
    let versions = Django::codec_versions();
    assert!(!versions.is_empty());
    for version in versions {
        version.script(&["make_vectors.py", "--check"], None);
        version.script(&["make_pickles.py", "--check"], None);
        if version.name.starts_with("3.2") {
            version.script(&["make_vectors.py", "--sha1", "--check"], None);
        }
        if version.name.starts_with("6.") {
            version.script(&["make_vectors.py", "--headers", "--check"], None);
            version.script(&["make_vectors.py", "--expiry", "--check"], None);
        }
    }
}
