//! Memory of the servers with many connections that wait for their next request.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::Stage;
use crate::{
    Result,
    client::Client,
    contender::{Contender, Keeps, Running},
    cpu,
    workload::Workload,
};

pub const COLUMNS: [&str; 5] = ["contender", "idle", "with_1000", "with_10000", "KiB_per_connection"];

/// A server that takes no more connections leaves new ones without an answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub fn measure(stage: &Stage<'_>) -> Result<Value> {
    let steps: &[usize] = if stage.options.quick { &[1000] } else { &[1000, 10_000] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut found = Vec::new();
    for contender in stage.takes_part(Workload::Memory) {
        let row =
            stage.start(contender).and_then(|running| runtime.block_on(grow(contender, &running, steps)));
        match row {
            Ok(row) => found.push(row),
            Err(error) => println!("{}, memory: {error}", contender.name),
        }
    }
    Ok(Value::Array(found))
}

async fn grow(contender: &Contender, running: &Running, steps: &[usize]) -> Result<Value> {
    let pid = running.server.pid();
    let has_sessions = contender.keeps != Keeps::Nothing;
    let path = if has_sessions { "/read" } else { "/untouched" };
    let mut first = Client::connect(running.port).await?;
    if has_sessions {
        first.ask("POST", "/create/100000/0").await?;
    }
    for _ in 0..64 {
        visit(running.port, &first.cookie, path).await?; // so that all workers have what they keep
    }
    let idle = cpu::resident_kib(pid);
    let (mut sizes, mut clients) = (Vec::new(), Vec::new());
    for &step in steps {
        while clients.len() < step {
            match timeout(PATIENCE, visit(running.port, &first.cookie, path)).await {
                Ok(Ok(client)) => clients.push(client),
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        let open = clients.iter().filter(|client| client.is_open()).count();
        if open < step {
            println!("{} keeps no {step} connections open, but {open}", contender.name);
            break;
        }
        sizes.push(cpu::resident_kib(pid));
    }
    let mib = |kib: Option<&u64>| kib.map(|&kib| kib as f64 / 1024.0);
    let each = sizes.last().map(|&kib| kib.saturating_sub(idle) as f64 / steps[sizes.len() - 1] as f64);
    Ok(json!({
        "contender": contender.name,
        "idle": mib(Some(&idle)),
        "with_1000": mib(sizes.first()),
        "with_10000": mib(sizes.get(1)),
        "KiB_per_connection": each,
    }))
}

/// One request, and the connection stays.
async fn visit(port: u16, cookie: &str, path: &str) -> Result<Client> {
    let mut client = Client::connect(port).await?;
    client.cookie.push_str(cookie);
    let answer = client.ask("GET", path).await?;
    if answer.status == 200 { Ok(client) } else { Err(format!("{path} answers {}", answer.status).into()) }
}
