//! `cargo bench --bench codec`: starts the benchmark proper, which has a package of its own in
//! `benches/peers`.

use std::process::ExitCode;

#[path = "peers/launch.rs"]
mod launch;

fn main() -> ExitCode {
    launch::launch("codec")
}
