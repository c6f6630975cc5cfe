//! The checked-in recordings are what the Djangos on this machine do: each is made again and compared.

use crate::support::django::Django;

#[test]
#[ignore = "needs Django: run tests/run"]
fn the_recording_of_hosts() {
    let versions = Django::versions();
    assert!(!versions.is_empty());
    for version in versions {
        version.script(&["record_host.py", "--check", "../vectors/host.json"], None);
    }
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn the_recording_of_checks() {
    let versions = Django::versions();
    assert!(!versions.is_empty());
    for version in versions {
        version.script(&["record_csrf.py", "--check", "../vectors/csrf.json"], None);
    }
}
