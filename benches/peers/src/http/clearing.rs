//! The cost for visitors of clearing millions of expired sessions beside them.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Stage, throughput::quantile};
use crate::{
    Result,
    contender::{self, Running},
    content, django,
    load::{self, Turn},
    process, rows,
    workload::Workload,
};

pub const COLUMNS: [&str; 8] =
    ["how", "seconds", "p50_before", "p99_before", "max_before", "p50_during", "p99_during", "max_during"];

/// Visitors, each of whom saves every few milliseconds.
const CLIENTS: usize = 4;
const REST: Duration = Duration::from_millis(5);

pub fn measure(stage: &Stage<'_>) -> Result<Value> {
    let ours = tool(&stage.options.target)?;
    let ours = |arguments: &[&str]| {
        let mut command = Command::new(&ours);
        command.arg("clearsessions").args(arguments).env("DATABASE_URL", stage.postgres.url());
        command
    };
    let ways = [
        ("Django's clearsessions", django_clears(stage)?),
        ("django-session clearsessions", ours(&[])),
        ("… --pause 0.02", ours(&["--pause", "0.02"])),
        ("… --vacuum", ours(&["--vacuum"])),
    ];
    let mut found = Vec::new();
    for (how, mut command) in ways {
        println!("clearing {} sessions: {how}", stage.options.expired);
        rows::fill_with_expired(&stage.postgres, stage.options.expired, stage.options.rows)?;
        let server = stage.start(contender::named(contender::OURS)?)?;
        let before = use_sessions(&server, stage.options.time)?;
        let begin = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut during = Vec::new();
        while is_running(&mut child)? {
            during.extend(use_sessions(&server, Duration::from_secs(1))?);
        }
        let seconds = begin.elapsed().as_secs_f64();
        let left = "SELECT count(*) FROM django_session WHERE expire_date < now() - interval '1 minute'";
        let left: i64 = stage.postgres.row(left)?.try_get(0)?;
        if left > 0 {
            println!("{how}: {left} expired sessions are left");
            continue;
        }
        let (before, during) = (quantiles(before), quantiles(during));
        found.push(json!({
            "how": how, "seconds": seconds,
            "p50_before": before[0], "p99_before": before[1], "max_before": before[2],
            "p50_during": during[0], "p99_during": during[1], "max_during": during[2],
        }));
    }
    Ok(Value::Array(found))
}

/// The operator's tool, built as its users build it.
fn tool(target: &Path) -> Result<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = target.join("bench-peers");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--quiet", "--features", "cli", "--bin", "django-session"]);
    process::output(cargo.arg("--target-dir").arg(&target).current_dir(root))?;
    Ok(target.join("release/django-session"))
}

/// The same as `manage.py clearsessions`.
fn django_clears(stage: &Stage<'_>) -> Result<Command> {
    let mut python = Command::new(django::environment(&stage.options.target)?.join("python"));
    let code = "import site_under_load\n\
                from django.core.management import call_command\n\
                call_command('clearsessions')";
    python.args(["-c", code]).current_dir(django::files());
    python.env("BENCH_DATABASE", stage.postgres.url()).env("BENCH_SECRET", content::SECRET);
    python.env("BENCH_HASH", content::HASH_VALUE).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(python)
}

fn is_running(child: &mut Child) -> Result<bool> {
    match child.try_wait()? {
        None => Ok(true),
        Some(status) if status.success() => Ok(false),
        Some(status) => Err(format!("clearing failed: {status}").into()),
    }
}

fn use_sessions(server: &Running, time: Duration) -> Result<Vec<u32>> {
    let turn = Turn {
        rest: REST,
        warm_up: Duration::ZERO,
        ..Turn::new(server.port, Workload::Write, CLIENTS, time)
    };
    let (say, _hear) = mpsc::channel();
    let seen = load::run(&turn, &say)?;
    match seen.errors.into_iter().next() {
        None => Ok(seen.micros),
        Some((error, times)) => Err(format!("{times} times: {error}").into()),
    }
}

/// p50, p99 and the longest, in milliseconds.
fn quantiles(mut micros: Vec<u32>) -> [f64; 3] {
    micros.sort_unstable();
    [0.5, 0.99, 1.0].map(|part| quantile(&micros, part) / 1000.0)
}
