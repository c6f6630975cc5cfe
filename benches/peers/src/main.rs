//! Benchmarks beside the peers. Started by `cargo bench --bench http` and `cargo bench --bench codec`; see
//! benches/README.md.

mod client;
mod codec;
mod contender;
mod content;
mod cookies;
mod cpu;
mod django;
mod figures;
mod http;
mod load;
mod machine;
mod options;
mod postgres;
mod process;
mod redis;
mod report;
mod rows;
mod servers;
mod summary;
mod svg;
mod users;
mod workload;

use std::{error::Error, process::ExitCode};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    if rest.iter().any(|argument| argument == "--help") {
        println!("{}", options::HELP);
        return ExitCode::SUCCESS;
    }
    let done = match command.as_str() {
        "http" => options::Options::parse(&rest).and_then(|options| http::run(&options)),
        "codec" => options::Options::parse(&rest).and_then(|options| codec::run(&options)),
        "serve" => servers::serve(&rest),
        _ => Err("usage: cargo bench --bench http, or --bench codec; see benches/README.md".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{command}: {error}");
            ExitCode::FAILURE
        }
    }
}
