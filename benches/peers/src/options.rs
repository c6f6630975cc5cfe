//! Options: the measurements, and their length.

use std::{path::PathBuf, time::Duration};

use crate::{
    Result,
    contender::{self, Contender},
    workload::Workload,
};

/// The command line.
#[derive(Debug)]
pub struct Options {
    /// Where figures, pictures and Django's virtual environment go.
    pub target: PathBuf,
    pub quick: bool,
    /// How often every contender has its turn at everything.
    pub rounds: usize,
    /// How long a turn is measured.
    pub time: Duration,
    pub clients: Vec<usize>,
    pub workloads: Vec<Workload>,
    pub contenders: Vec<&'static Contender>,
    /// Sessions in the table before anything is measured.
    pub rows: usize,
    /// Sizes of the table where that is the question.
    pub table_rows: Vec<usize>,
    /// Sessions to be cleared.
    pub expired: usize,
}

/// The allocator that this program, and so each server in Rust, was built with. `launch.rs` chooses it.
pub const ALLOCATOR: &str = if cfg!(feature = "mimalloc") { "mimalloc" } else { "system" };

/// The text of `--help`.
pub const HELP: &str = "options:
  --quick             three minutes: 3 rounds of half a second, 1 and 64 clients, no sizes and large tables
  --allocator NAME    of all servers in Rust: system (the default) or mimalloc
  --rounds N          default 5
  --seconds S         of each turn; default 3
  --clients A,B,…     default 1,16,64,256
  --workloads A,B,…   of read, user, write, write-any, create, untouched, hot, held-row, sizes, statements,
                      memory, at-size, clearing, logins
  --only A,B,…        of the contenders that the output names
  --rows N            sessions in the table beforehand; default 100000
  --table-rows A,B,…  of at-size; default 100000,1000000,10000000
  --expired N         of clearing; default 5000000";

impl Options {
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            target: PathBuf::from("target"),
            quick: arguments.iter().any(|argument| argument == "--quick"),
            rounds: 5,
            time: Duration::from_secs(3),
            clients: vec![1, 16, 64, 256],
            workloads: Workload::ALL.to_vec(),
            contenders: contender::ALL.iter().collect(),
            rows: 100_000,
            table_rows: vec![100_000, 1_000_000, 10_000_000],
            expired: 5_000_000,
        };
        if options.quick {
            options.rounds = 3;
            options.time = Duration::from_millis(500);
            options.clients = vec![1, 64];
            let long = [Workload::Sizes, Workload::AtSize, Workload::Clearing];
            options.workloads.retain(|workload| !long.contains(workload));
        }
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{argument} needs a value\n{HELP}"));
            match argument.as_str() {
                "--quick" => {}
                "--target" => options.target = value()?.into(),
                "--allocator" => {
                    let name = value()?;
                    if name != ALLOCATOR {
                        return Err(
                            format!("--allocator {name}: this program was built with {ALLOCATOR}").into()
                        );
                    }
                }
                "--rounds" => options.rounds = number(value()?)?.max(1),
                "--rows" => options.rows = number(value()?)?,
                "--table-rows" => options.table_rows = numbers(value()?)?,
                "--expired" => options.expired = number(value()?)?,
                "--seconds" => options.time = seconds(value()?)?,
                "--clients" => options.clients = numbers(value()?)?,
                "--workloads" => {
                    options.workloads = value()?.split(',').map(Workload::named).collect::<Result<_>>()?;
                }
                "--only" => {
                    options.contenders = value()?.split(',').map(contender::named).collect::<Result<_>>()?;
                }
                _ => return Err(format!("{argument} is not known\n{HELP}").into()),
            }
        }
        if options.clients.contains(&0) {
            return Err("--clients: there is no load without a client".into());
        }
        options.target = std::path::absolute(&options.target)?;
        Ok(options)
    }
}

fn number(text: &str) -> Result<usize> {
    text.parse().map_err(|_| format!("{text:?} is no number").into())
}

fn numbers(text: &str) -> Result<Vec<usize>> {
    text.split(',').map(number).collect()
}

fn seconds(text: &str) -> Result<Duration> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if (0.1..=600.0).contains(&seconds) => Ok(time),
        _ => Err(format!("{text:?}: a turn takes 0.1 to 600 seconds").into()),
    }
}
