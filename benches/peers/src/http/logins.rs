//! The time of a failed login: it must not tell whether the name exists.

use std::time::Instant;

use serde_json::{Value, json};

use super::Stage;
use crate::{Result, client::Client, contender::Contender, content, figures::Spread, workload::Workload};

pub const COLUMNS: [&str; 9] = [
    "contender",
    "attempts",
    "known_ms",
    "known_min",
    "known_max",
    "unknown_ms",
    "unknown_min",
    "unknown_max",
    "unknown_by_known",
];

pub fn measure(stage: &Stage<'_>) -> Result<Value> {
    let attempts = if stage.options.quick { 10 } else { 50 };
    let mut found = Vec::new();
    for contender in stage.takes_part(Workload::Logins) {
        found.push(compare(stage, contender, attempts)?);
    }
    Ok(Value::Array(found))
}

/// One client, with the two kinds of names in turn.
fn compare(stage: &Stage<'_>, contender: &Contender, attempts: usize) -> Result<Value> {
    let running = stage.start(contender)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let [known, unknown] = runtime.block_on(async {
        let mut client = Client::connect(running.port).await?;
        let mut millis = [Vec::new(), Vec::new()];
        // The first of each kind warms up: connections, and what is computed once.
        for n in 0..=attempts {
            // Whatever comes first in a pair has the same chance of a disturbance.
            for kind in if n % 2 == 0 { [0, 1] } else { [1, 0] } {
                let id = content::FIRST_USER + n;
                let name = if kind == 0 { content::user_name(id) } else { format!("none{id}") };
                let start = Instant::now();
                let answer = client.ask("POST", &format!("/login/{name}")).await?;
                let took = start.elapsed().as_secs_f64() * 1000.0;
                if (answer.status, answer.body) != (200, "no") {
                    return Err(format!("login answers {} {:?}", answer.status, answer.body).into());
                }
                if n > 0 {
                    millis[kind].push(took);
                }
            }
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(millis.map(Spread::of))
    })?;
    let (Some(known), Some(unknown)) = (known, unknown) else { return Err("no attempt was made".into()) };
    Ok(json!({
        "contender": contender.name,
        "attempts": attempts,
        "known_ms": known.median, "known_min": known.min, "known_max": known.max,
        "unknown_ms": unknown.median, "unknown_min": unknown.min, "unknown_max": unknown.max,
        "unknown_by_known": unknown.median / known.median,
    }))
}
