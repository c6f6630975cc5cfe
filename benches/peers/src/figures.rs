//! Measurements: samples, and their medians and ranges.

use serde_json::{Value, json};

use crate::workload::Workload;

/// One turn of one contender.
#[derive(Clone, Debug)]
pub struct Sample {
    pub per_second: f64,
    /// Microseconds.
    pub p50: f64,
    pub p99: f64,
    /// Microseconds of processor time per request.
    pub server_cpu: f64,
    pub database_cpu: f64,
    pub errors: u64,
    /// Increments of the hot session that were confirmed and are not there.
    pub lost: Option<i64>,
}

/// All turns of a contender at one thing. Position is round; none where the turn failed.
#[derive(Debug)]
pub struct Cell {
    pub workload: Workload,
    pub clients: usize,
    /// Bytes of cart.
    pub bytes: usize,
    pub contender: &'static str,
    pub samples: Vec<Option<Sample>>,
}

/// The middle and the ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min, max })
    }

    fn json(self) -> Value {
        json!({"median": self.median, "min": self.min, "max": self.max})
    }
}

impl Cell {
    pub fn spread(&self, value: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.samples.iter().flatten().map(value).collect())
    }

    pub fn median(&self, value: impl Fn(&Sample) -> f64) -> Option<f64> {
        self.spread(value).map(|spread| spread.median)
    }

    /// Requests per second, as a multiple of the other's in the same round.
    pub fn ratio(&self, reference: &Self) -> Option<Spread> {
        let pairs = self.samples.iter().zip(&reference.samples);
        let ratios =
            pairs.filter_map(|(one, other)| Some(one.as_ref()?.per_second / other.as_ref()?.per_second));
        Spread::of(ratios.collect())
    }

    pub fn errors(&self) -> u64 {
        self.samples.iter().flatten().map(|sample| sample.errors).sum()
    }

    pub fn lost(&self) -> Option<i64> {
        self.samples.iter().flatten().filter_map(|sample| sample.lost).reduce(|sum, lost| sum + lost)
    }
}

/// Everything, by the way that it was measured.
#[derive(Debug, Default)]
pub struct Figures {
    pub cells: Vec<Cell>,
}

impl Figures {
    pub fn add(&mut self, key: (Workload, usize, usize, &'static str), sample: Option<Sample>) {
        let (workload, clients, bytes, contender) = key;
        let found = self.cells.iter_mut().find(|cell| {
            (cell.workload, cell.clients, cell.bytes, cell.contender) == (workload, clients, bytes, contender)
        });
        match found {
            Some(cell) => cell.samples.push(sample),
            None => self.cells.push(Cell { workload, clients, bytes, contender, samples: vec![sample] }),
        }
    }

    /// The same thing done by the one that others are compared with.
    pub fn reference(&self, of: &Cell) -> Option<&Cell> {
        self.cells.iter().find(|cell| {
            (cell.workload, cell.clients, cell.bytes) == (of.workload, of.clients, of.bytes)
                && cell.contender == of.workload.reference()
        })
    }

    /// What the same contender does where the session is read and no user is loaded.
    pub fn own_read(&self, of: &Cell) -> Option<&Cell> {
        let is_read = |cell: &&Cell| {
            (cell.workload, cell.clients, cell.bytes, cell.contender)
                == (Workload::Read, of.clients, of.bytes, of.contender)
        };
        self.cells.iter().find(is_read).filter(|_| of.workload == Workload::User)
    }

    pub fn json(&self) -> Value {
        let cells = self.cells.iter().map(|cell| {
            let spread = |value: fn(&Sample) -> f64| cell.spread(value).map(Spread::json);
            let per_second: Vec<Option<f64>> =
                cell.samples.iter().map(|sample| sample.as_ref().map(|s| s.per_second)).collect();
            json!({
                "workload": cell.workload.name(),
                "clients": cell.clients,
                "cart_bytes": cell.bytes,
                "contender": cell.contender,
                "reference": cell.workload.reference(),
                "ratio": self.reference(cell).and_then(|other| cell.ratio(other)).map(Spread::json),
                "ratio_to_own_read": self.own_read(cell).and_then(|read| cell.ratio(read)).map(Spread::json),
                "requests_per_second": spread(|sample| sample.per_second),
                "p50_us": spread(|sample| sample.p50),
                "p99_us": spread(|sample| sample.p99),
                "server_cpu_us": spread(|sample| sample.server_cpu),
                "database_cpu_us": spread(|sample| sample.database_cpu),
                "errors": cell.errors(),
                "lost_increments": cell.lost(),
                "rounds": per_second,
            })
        });
        cells.collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![f64::NAN, 3.0, 1.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(vec![9.0, 3.0, 1.0]).unwrap().median, 3.0);
    }
}
