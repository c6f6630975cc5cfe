//! Hands over to the package that knows the peers: its dependencies are no business of any other build.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Builds and runs it, with the rest of the command line.
pub(crate) fn launch(benchmark: &str) -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    // Cargo says so when it is to be measured; with `cargo test --all-targets` it is only to be built.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("to measure: cargo bench --bench {benchmark}");
        return ExitCode::SUCCESS;
    }
    arguments.retain(|argument| argument != "--bench");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = env::current_dir().map_or(target.clone(), |here| here.join(target));
    // An allocator is a choice of the build.
    let mimalloc = arguments.windows(2).any(|pair| pair == ["--allocator", "mimalloc"]);
    let features: &[&str] = if mimalloc { &["--features", "mimalloc"] } else { &[] };
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--release", "--quiet", "--manifest-path"])
        .arg(root.join("benches/peers/Cargo.toml"))
        .args(features)
        .arg("--target-dir")
        .arg(target.join("bench-peers"))
        .args(["--", benchmark, "--target"])
        .arg(&target)
        .args(arguments)
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo does not start: {error}");
            ExitCode::FAILURE
        }
    }
}
