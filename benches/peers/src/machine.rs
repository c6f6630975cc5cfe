//! The machine of the measurement.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    Result, django,
    options::{self, Options},
    postgres::Postgres,
    process,
    redis::Redis,
};

/// The machine and the versions, for the report.
pub fn describe(options: &Options, dir: &Path, postgres: &Postgres, redis: &[Redis]) -> Result<Value> {
    let said = |program: &str, arguments: &[&str]| {
        let text =
            process::output(Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")));
        text.map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let mut versions = locked();
    versions.push(format!("PostgreSQL {}", postgres.row("SHOW server_version")?.try_get::<_, String>(0)?));
    versions.extend(redis.first().and_then(|redis| redis.version().ok()));
    versions.push(django::DJANGO.replace("==", " "));
    Ok(json!({
        "commit": said("git", &["describe", "--always", "--dirty", "--exclude=*"]),
        "date": said("date", &["-u", "+%F"]),
        "kernel": said("uname", &["-sr"]),
        "processor": model.trim_start_matches([' ', '\t', ':']),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "fdatasync_us": sync_micros(dir)?,
        "rust": said("rustc", &["--version"]),
        "versions": versions,
        "allocator": options::ALLOCATOR,
        "rows": options.rows,
        "rounds": options.rounds,
        "seconds": options.time.as_secs_f64(),
    }))
}

/// The peers as Cargo.lock has them.
fn locked() -> Vec<String> {
    let lock = include_str!("../Cargo.lock");
    let peers = [
        "actix-web",
        "actix-session",
        "axum",
        "axum-login",
        "deadpool-postgres",
        "tower-sessions",
        "tower-sessions-sqlx-store",
    ];
    let mut found = Vec::new();
    for package in lock.split("[[package]]") {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))?;
            Some(line.trim_matches('"'))
        };
        if let (Some(name), Some(version)) = (field("name"), field("version"))
            && peers.contains(&name)
        {
            found.push(format!("{name} {version}"));
        }
    }
    found
}

/// How long the disk below PostgreSQL takes to keep 8 KiB for good: the least that a commit waits.
fn sync_micros(dir: &Path) -> Result<u64> {
    let path = dir.join("sync");
    let file = File::create(&path)?;
    let (page, times) = ([7_u8; 8192], 200);
    file.write_all_at(&page, 0)?;
    file.sync_all()?;
    let start = Instant::now();
    for _ in 0..times {
        file.write_all_at(&page, 0)?;
        file.sync_data()?;
    }
    let micros = start.elapsed().as_micros() / times;
    fs::remove_file(path)?;
    Ok(u64::try_from(micros)?)
}
