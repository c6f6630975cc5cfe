//! Tables of growing size, where each request is about another session.

use std::{collections::HashMap, sync::Arc};

use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::{Stage, throughput};
use crate::{
    Result,
    contender::{Contender, Running},
    cookies::Anybody,
    figures::{Sample, Spread},
    load::Turn,
    rows,
    workload::Workload,
};

pub const COLUMNS: [&str; 7] =
    ["contender", "workload", "sessions", "requests_per_second", "x_floor", "p50_us", "p99_us"];

const CLIENTS: usize = 64;

pub fn measure(stage: &Stage<'_>) -> Result<Value> {
    let mut found = Vec::new();
    for &rows in &stage.options.table_rows {
        println!("filling tables with {rows} sessions");
        let keys = rows::fill_greatly(&stage.postgres, rows)?;
        let mut running = Vec::new();
        for contender in stage.takes_part(Workload::AtSize) {
            let name = if contender.name == "floor" { "sid" } else { "sessionid" };
            let cookies = keys.iter().map(|key| format!("{name}={key}")).collect();
            let anybody = Arc::new(Anybody { cookies, in_order: false });
            running.push((contender, stage.start(contender)?, anybody));
        }
        for workload in [Workload::Read, Workload::Write] {
            found.extend(rounds(stage, workload, rows, &mut running)?);
        }
    }
    Ok(Value::Array(found))
}

type Entrant<'a> = (&'a Contender, Running, Arc<Anybody>);

fn rounds(
    stage: &Stage<'_>,
    workload: Workload,
    rows: usize,
    running: &mut [Entrant<'_>],
) -> Result<Vec<Value>> {
    let mut samples: HashMap<&str, Vec<Sample>> = HashMap::new();
    for _ in 0..stage.options.rounds {
        running.shuffle(&mut rand::rng());
        for (contender, server, anybody) in running.iter() {
            let turn = Turn {
                anybody: Some(anybody.clone()),
                ..Turn::new(server.port, workload, CLIENTS, stage.options.time)
            };
            samples.entry(contender.name).or_default().push(throughput::sample(&turn, server)?);
        }
    }
    let floor: Vec<f64> =
        samples.get("floor").into_iter().flatten().map(|sample| sample.per_second).collect();
    let names = stage.takes_part(Workload::AtSize).map(|contender| contender.name);
    let rows = names.filter_map(|name| Some((name, samples.get(name)?))).map(|(name, samples)| {
        let median = |values: Vec<f64>| Spread::of(values).map(|spread| spread.median);
        let ratios = samples.iter().zip(&floor).map(|(sample, floor)| sample.per_second / floor);
        json!({
            "contender": name,
            "workload": workload.name(),
            "sessions": rows,
            "requests_per_second": median(samples.iter().map(|sample| sample.per_second).collect()),
            "x_floor": median(ratios.collect()),
            "p50_us": median(samples.iter().map(|sample| sample.p50).collect()),
            "p99_us": median(samples.iter().map(|sample| sample.p99).collect()),
            "errors": samples.iter().map(|sample| sample.errors).sum::<u64>(),
        })
    });
    Ok(rows.collect())
}
