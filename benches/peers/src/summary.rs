//! Ours beside those that it is compared with, a line each, by the number of clients.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    contender::{LOGIN, OURS, REDIS, REDIS_DURABLE},
    figures::Figures,
    workload::Workload::{self, Create, Read, Untouched, User, Write, WriteAny},
};

/// A workload of a contender, and what it is divided by.
const LINES: [(&str, Workload, &str, Workload); 10] = [
    (OURS, Read, "floor", Read),
    (OURS, Write, "floor", Write),
    (OURS, WriteAny, "floor", WriteAny),
    (OURS, Create, "floor", Create),
    (OURS, Write, REDIS_DURABLE, Write),
    (OURS, WriteAny, REDIS_DURABLE, WriteAny),
    (OURS, Create, REDIS_DURABLE, Create),
    (OURS, Read, REDIS, Read),
    (OURS, Untouched, "bare", Untouched),
    (LOGIN, User, LOGIN, Read),
];

/// A table for `report::rows`.
pub struct Summary {
    pub columns: Vec<String>,
    pub rows: Value,
}

pub fn rows(figures: &Figures) -> Summary {
    let clients: BTreeSet<usize> = figures.cells.iter().map(|cell| cell.clients).collect();
    let find = |contender, workload, clients| {
        figures.cells.iter().find(|cell| {
            (cell.contender, cell.workload, cell.clients, cell.bytes) == (contender, workload, clients, 0)
        })
    };
    let mut rows = Vec::new();
    for (one, workload, other, reference) in LINES {
        let mut row = Map::new();
        for &clients in &clients {
            let cells = find(one, workload, clients).zip(find(other, reference, clients));
            if let Some(ratio) = cells.and_then(|(cell, reference)| cell.ratio(reference)) {
                let text = format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.min, ratio.max);
                row.insert(clients.to_string(), Value::String(text));
            }
        }
        if !row.is_empty() {
            let other = if one == other { format!("own {}", reference.name()) } else { other.to_owned() };
            row.insert("ratio".to_owned(), Value::String(format!("{} / {other}", workload.name())));
            rows.push(Value::Object(row));
        }
    }
    let columns = ["ratio".to_owned()].into_iter().chain(clients.iter().map(ToString::to_string)).collect();
    Summary { columns, rows: Value::Array(rows) }
}
