//! The report as text.

use std::fmt::Write;

use serde_json::Value;

use crate::figures::{Cell, Figures, Spread};

/// The machine of the measurement.
pub fn machine(machine: &Value) -> String {
    let mut out = String::from("\n");
    for (name, value) in machine.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        let _ = writeln!(out, "  {name:<22}{value}");
    }
    out + "\n"
}

/// A table for each workload and number of clients.
pub fn throughput(figures: &Figures) -> String {
    let mut out = String::new();
    let mut last = None;
    for cell in &figures.cells {
        let place = (cell.workload, cell.clients, cell.bytes);
        if last != Some(place) {
            last = Some(place);
            heading(&mut out, cell);
        }
        line(&mut out, cell, figures.reference(cell), figures.own_read(cell));
    }
    out
}

/// Under which something was measured.
pub fn circumstances(clients: usize, bytes: usize) -> String {
    let clients = if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
    let size = match bytes {
        0 => return clients,
        bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        bytes => format!("{} KiB", bytes >> 10),
    };
    format!("{clients}, sessions of {size}")
}

fn heading(out: &mut String, cell: &Cell) {
    let workload = cell.workload;
    let circumstances = circumstances(cell.clients, cell.bytes);
    let _ = writeln!(out, "\n{}: {}; {circumstances}", workload.name(), workload.meaning());
    let _ = writeln!(
        out,
        "  {:<28}{:>9} {:>17} {:>8} {:>15} {:>8} {:>8} {:>9} {:>9}",
        "",
        "req/s",
        "(range)",
        format!("x {}", workload.reference()),
        "(range)",
        "p50 us",
        "p99 us",
        "cpu us",
        "+ db us"
    );
}

fn line(out: &mut String, cell: &Cell, reference: Option<&Cell>, own_read: Option<&Cell>) {
    let rate = cell.spread(|sample| sample.per_second);
    let ratio = reference.and_then(|reference| cell.ratio(reference));
    let range = |spread: Option<Spread>, digits: usize| {
        spread.map_or(String::new(), |s| format!("({:.digits$}-{:.digits$})", s.min, s.max))
    };
    let median =
        |value: Option<f64>, digits: usize| value.map_or("failed".to_owned(), |v| format!("{v:.digits$}"));
    let _ = write!(
        out,
        "  {:<28}{:>9} {:>17} {:>8} {:>15} {:>8} {:>8} {:>9} {:>9}",
        cell.contender,
        median(rate.map(|s| s.median), 0),
        range(rate, 0),
        ratio.map_or(String::new(), |s| format!("{:.2}", s.median)),
        range(ratio, 2),
        median(cell.median(|sample| sample.p50), 0),
        median(cell.median(|sample| sample.p99), 0),
        median(cell.median(|sample| sample.server_cpu), 1),
        median(cell.median(|sample| sample.database_cpu), 1),
    );
    if let Some(ratio) = own_read.and_then(|read| cell.ratio(read)) {
        let _ = write!(out, "  x own read: {:.2} {}", ratio.median, range(Some(ratio), 2));
    }
    if let Some(lost) = cell.lost() {
        let _ = write!(out, "  increments lost: {lost}");
    }
    if cell.errors() > 0 {
        let _ = write!(out, "  ERRORS: {}", cell.errors());
    }
    out.push('\n');
}

/// A table of some members of objects.
pub fn rows(title: &str, columns: &[&str], rows: &Value) -> String {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{title}\n");
    let longest = |name: &str| rows.iter().filter_map(|row| row[name].as_str()).map(str::len).max();
    let mut widths: Vec<usize> =
        columns.iter().map(|name| name.len().max(9).max(longest(name).unwrap_or(0))).collect();
    widths[0] = widths[0].max(22);
    let mut put = |index: usize, text: &str| {
        let _ = match index {
            0 => write!(out, "  {text:<width$}", width = widths[0]),
            _ => write!(out, " {text:>width$}", width = widths[index]),
        };
        if index + 1 == columns.len() {
            out.push('\n');
        }
    };
    for (index, name) in columns.iter().enumerate() {
        put(index, &name.replace('_', " "));
    }
    for row in rows {
        for (index, name) in columns.iter().enumerate() {
            match &row[*name] {
                Value::String(text) => put(index, text),
                Value::Number(number) if number.is_u64() => put(index, &number.to_string()),
                Value::Number(number) => put(index, &format!("{:.2}", number.as_f64().unwrap_or_default())),
                _ => put(index, "-"),
            }
        }
    }
    out
}
