//! What there is with the feature, and without.

use std::process::Command;

/// The dependencies of the library with these features.
fn dependencies(arguments: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--quiet", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let output = cargo.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whoever has no facade can register nothing.
#[test]
fn only_the_feature_brings_the_facade() {
    let features = "postgres,sqlite,redis,tls,auth,csrf,messages,cli,test-suite";
    let has_facade = |tree: &str| tree.lines().any(|line| line.starts_with("metrics v"));
    for arguments in [&["--no-default-features"][..], &[], &["--features", features]] {
        assert!(!has_facade(&dependencies(arguments)), "{arguments:?}");
    }
    let tree = dependencies(&["--no-default-features", "--features", "metrics"]);
    assert!(has_facade(&tree), "{tree}");
}
