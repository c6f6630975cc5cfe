//! The whole benchmark over HTTP: starts everybody, gives them their turns, writes down what was seen.

mod at_size;
mod clearing;
mod held_row;
mod logins;
mod memory;
mod statements;
mod throughput;

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::{
    Result,
    contender::{Contender, Keeps, Running},
    machine,
    options::Options,
    postgres::Postgres,
    process::WorkDir,
    redis::Redis,
    report,
    rows::{self, Keys},
    summary, svg, users,
    workload::Workload,
};

/// Shared by all measurements.
pub struct Stage<'a> {
    options: &'a Options,
    /// Those of the options that start.
    contenders: Vec<&'static Contender>,
    keys: Keys,
    // In this order: the databases end before their files go.
    postgres: Postgres,
    redis: Vec<Redis>,
    dir: WorkDir,
}

impl Stage<'_> {
    fn start(&self, contender: &Contender) -> Result<Running> {
        contender.start(&self.options.target, self.dir.path(), &self.postgres, &self.redis)
    }

    /// Those that do such a thing, by the order of the report.
    fn takes_part(&self, workload: Workload) -> impl Iterator<Item = &'static Contender> {
        self.contenders.iter().copied().filter(move |contender| contender.takes_part(workload))
    }
}

pub fn run(options: &Options) -> Result<()> {
    // 10,000 connections are as many files; the servers inherit it.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;

    let results = options.target.join("bench");
    fs::create_dir_all(&results)?;
    let mut stage = prepare(options)?;
    let machine = machine::describe(options, stage.dir.path(), &stage.postgres, &stage.redis)?;
    print!("{}", report::machine(&machine));
    let (mut running, mut absent) = (Vec::new(), Vec::new());
    for &contender in &options.contenders {
        println!("  {:<28}{}", contender.name, contender.what);
        match stage.start(contender) {
            Ok(server) => running.push((contender, server)),
            Err(error) => absent.push(format!("{} does not start: {error}", contender.name)),
        }
    }
    say(&absent);
    stage.contenders = running.iter().map(|(contender, _)| *contender).collect();

    let figures = throughput::measure(&stage, running)?;
    let held_row = wanted(options, Workload::HeldRow, || held_row::measure(&stage))?;
    let statements = wanted(options, Workload::Statements, || statements::measure(&stage))?;
    let memory = wanted(options, Workload::Memory, || memory::measure(&stage))?;
    let at_size = wanted(options, Workload::AtSize, || at_size::measure(&stage))?;
    let clearing = wanted(options, Workload::Clearing, || clearing::measure(&stage))?;
    let logins = wanted(options, Workload::Logins, || logins::measure(&stage))?;

    print!("{}", report::throughput(&figures));
    let title = "others' requests per second while a transaction holds the row of one session";
    print!("{}", report::rows(title, &held_row::COLUMNS, &held_row));
    print!("{}", report::rows("what the database does for a request", &statements::COLUMNS, &statements));
    let title = "memory of the server by open keep-alive connections, MiB";
    print!("{}", report::rows(title, &memory::COLUMNS, &memory));
    let title = "tables of growing size, 64 clients, any session";
    print!("{}", report::rows(title, &at_size::COLUMNS, &at_size));
    let title = "saving a session while expired ones are cleared, milliseconds";
    print!("{}", report::rows(title, &clearing::COLUMNS, &clearing));
    let title = "time of a failed login by the name that is tried, milliseconds";
    print!("{}", report::rows(title, &logins::COLUMNS, &logins));
    let summary = summary::rows(&figures);
    let columns: Vec<&str> = summary.columns.iter().map(String::as_str).collect();
    let title = "ratios by the number of clients: median (lowest-highest) of the rounds";
    print!("{}", report::rows(title, &columns, &summary.rows));
    say(&absent);
    let all = json!({
        "machine": machine,
        "absent": absent,
        "cells": figures.json(),
        "summary": summary.rows,
        "held_row": held_row,
        "statements": statements,
        "memory": memory,
        "at_size": at_size,
        "clearing": clearing,
        "logins": logins,
    });
    write(&results, "http.json", &serde_json::to_string_pretty(&all)?)?;
    for (name, picture) in svg::pictures(&figures) {
        write(&results, &name, &picture)?;
    }
    Ok(())
}

fn prepare(options: &Options) -> Result<Stage<'_>> {
    let dir = WorkDir::new()?;
    let postgres = Postgres::start(dir.path())?;
    let keys = rows::fill(&postgres, options.rows)?;
    users::fill(&postgres)?;
    let mut redis = Vec::new();
    for keeps in [Keeps::Redis, Keeps::RedisDurable] {
        if options.contenders.iter().any(|contender| contender.keeps == keeps) {
            match Redis::start(dir.path(), keeps) {
                Ok(server) => redis.push(server),
                Err(error) => println!("no Redis, so nobody who needs it: {error}"),
            }
        }
    }
    for redis in &redis {
        redis.fill(options.rows)?;
    }
    Ok(Stage { options, contenders: Vec::new(), keys, postgres, redis, dir })
}

fn say(absent: &[String]) {
    for line in absent {
        println!("\nNOT MEASURED: {line}");
    }
}

fn wanted(options: &Options, workload: Workload, measure: impl FnOnce() -> Result<Value>) -> Result<Value> {
    if options.workloads.contains(&workload) { measure() } else { Ok(json!([])) }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path: PathBuf = dir.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}
