//! Requests per second, latency and processor time, in alternating rounds.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rand::seq::SliceRandom;

use super::Stage;
use crate::{
    Result,
    contender::{Contender, Keeps, Running},
    cookies::{self, Anybody},
    cpu,
    figures::{Figures, Sample},
    load::{self, Seen, Turn, Window},
    report, rows,
    workload::Workload,
};

/// Clients where their number is not the question.
const SOME: usize = 16;

/// Sizes of the cart in a session, in bytes.
const SIZES: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];

struct Job {
    workload: Workload,
    clients: usize,
    bytes: usize,
}

impl Job {
    fn has(&self, contender: &Contender) -> bool {
        contender.takes_part(self.workload) && (self.bytes == 0 || contender.takes_part(Workload::Sizes))
    }
}

/// Gives everybody their turns. The servers end with it.
pub fn measure(stage: &Stage<'_>, mut running: Vec<(&Contender, Running)>) -> Result<Figures> {
    let jobs = jobs(stage);
    let mut figures = Figures::default();
    let mut anybody: HashMap<&str, Arc<Anybody>> = HashMap::new();
    if stage.options.workloads.contains(&Workload::WriteAny) {
        for (contender, _) in running.iter().filter(|(one, _)| one.takes_part(Workload::WriteAny)) {
            anybody.insert(contender.name, Arc::new(cookies::any(contender, &stage.keys)?));
        }
    }
    for round in 0..stage.options.rounds {
        for job in &jobs {
            // Another contender comes first, or after a slow one, every time.
            running.shuffle(&mut rand::rng());
            print!(
                "round {} {} {}:",
                round + 1,
                job.workload.name(),
                report::circumstances(job.clients, job.bytes)
            );
            for (contender, server) in &running {
                if job.has(contender) {
                    let anybody = anybody.get(contender.name).filter(|_| job.workload == Workload::WriteAny);
                    if anybody.is_some() {
                        // Contenders that share a table write to the same sessions.
                        rows::restore(&stage.postgres, contender)?;
                    }
                    let sample = turn(stage, job, contender, server, anybody.cloned());
                    let rate = sample.as_ref().map_or(f64::NAN, |sample| sample.per_second);
                    print!("  {} {rate:.0}", contender.name);
                    figures.add((job.workload, job.clients, job.bytes, contender.name), sample);
                }
            }
            println!();
            clean_up(stage, job)?;
        }
    }
    let order = |name: &str| stage.options.contenders.iter().position(|contender| contender.name == name);
    let job = |workload, clients, bytes| {
        jobs.iter().position(|job| (job.workload, job.clients, job.bytes) == (workload, clients, bytes))
    };
    figures.cells.sort_by_key(|cell| (job(cell.workload, cell.clients, cell.bytes), order(cell.contender)));
    Ok(figures)
}

fn jobs(stage: &Stage<'_>) -> Vec<Job> {
    let options = stage.options;
    let mut jobs = Vec::new();
    for &workload in options.workloads.iter().filter(|workload| workload.is_throughput()) {
        // One client alone does not crowd.
        let crowd = options.clients.iter().copied().filter(|&clients| clients > 1 || !options.quick);
        let few = matches!(workload, Workload::Untouched | Workload::Hot);
        let clients: Vec<usize> = if few { crowd.collect() } else { options.clients.clone() };
        jobs.extend(clients.into_iter().map(|clients| Job { workload, clients, bytes: 0 }));
    }
    if options.workloads.contains(&Workload::Sizes) {
        let sizes = if options.quick { &SIZES[1..2] } else { &SIZES };
        for &bytes in sizes {
            let both = [Workload::Read, Workload::Write];
            jobs.extend(both.map(|workload| Job { workload, clients: SOME, bytes }));
        }
    }
    jobs
}

/// One turn; what goes wrong is said, and leaves a hole.
fn turn(
    stage: &Stage<'_>,
    job: &Job,
    contender: &Contender,
    server: &Running,
    anybody: Option<Arc<Anybody>>,
) -> Option<Sample> {
    let turn = Turn {
        session: job.workload != Workload::Create && contender.keeps != Keeps::Nothing,
        bytes: job.bytes,
        anybody,
        warm_up: (stage.options.time / 5).max(Duration::from_millis(200)),
        ..Turn::new(server.port, job.workload, job.clients, stage.options.time)
    };
    match sample(&turn, server) {
        Ok(sample) => Some(sample),
        Err(error) => {
            println!(
                "\n{} failed at {}: {error}\n{}",
                contender.name,
                job.workload.name(),
                server.server.last_words()
            );
            None
        }
    }
}

pub(super) fn sample(turn: &Turn, server: &Running) -> Result<Sample> {
    let pids = [Some(server.server.pid()), server.database];
    let used = || pids.map(|pid| pid.map_or(0, cpu::micros));
    let (mut seen, before, after) = watched(turn, used)?;
    seen.micros.sort_unstable();
    let requests = seen.micros.len() as f64;
    let at = |part| quantile(&seen.micros, part);
    let each = |index: usize| after[index].saturating_sub(before[index]) as f64 / requests;
    Ok(Sample {
        per_second: requests / turn.time.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        server_cpu: each(0),
        database_cpu: each(1),
        errors: seen.errors.values().sum(),
        lost: seen.lost,
    })
}

/// Of sorted times.
pub(super) fn quantile(micros: &[u32], part: f64) -> f64 {
    let index = ((micros.len() as f64 * part) as usize).min(micros.len().saturating_sub(1));
    micros.get(index).map_or(f64::NAN, |&micros| f64::from(micros))
}

/// Runs a turn in a thread of its own, and samples something at the start and the end of its window.
pub(super) fn watched<T: Default>(turn: &Turn, look: impl Fn() -> T) -> Result<(Seen, T, T)> {
    let (say, hear) = mpsc::channel::<Window>();
    let (seen, before, after) = thread::scope(|scope| {
        let load = scope.spawn(move || load::run(turn, &say));
        let (mut before, mut after) = (T::default(), T::default());
        if let Ok(window) = hear.recv() {
            sleep_until(window.begin);
            before = look();
            sleep_until(window.end);
            after = look();
        }
        (load.join(), before, after)
    });
    let seen = seen.map_err(|_| "the load generator failed")??;
    for (error, times) in &seen.errors {
        println!("\n{times} times: {error}");
    }
    Ok((seen, before, after))
}

fn sleep_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

/// So that those who create faster do not have larger tables afterwards.
fn clean_up(stage: &Stage<'_>, job: &Job) -> Result<()> {
    rows::tidy(&stage.postgres)?;
    match job.workload {
        Workload::WriteAny => {
            stage.contenders.iter().try_for_each(|contender| rows::restore(&stage.postgres, contender))
        }
        Workload::Create => stage.redis.iter().try_for_each(|redis| redis.fill(stage.options.rows)),
        _ => Ok(()),
    }
}
