//! Every interleaving of a writer, a reader and a logout, each of which may fail or be dropped at each await.
//!
//! The cache and the database are fakes. Each of their calls waits at a gate, and the search tries every
//! order in which the gates can open: a search in depth over decisions, from the beginning for each of them.
//! States that do not differ have the same future, which is searched once; the executions are counted all the
//! same.
//!
//! Between two calls of one task nothing happens that others could see. So there is one gate for a call:
//! what comes after its effect comes before the gate of the next one.

mod run;
mod world;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Instant,
};

use self::{
    run::{Action, Choice, Run, Scenario},
    world::Defect,
};
use crate::support::at_length;

/// The search over one scenario.
struct Search<'a> {
    scenario: &'a Scenario,
    /// The number of executions that begin in a state.
    known: HashMap<u64, u128>,
    steps: u64,
}

#[derive(Debug, Default)]
struct Found {
    executions: u128,
    states: usize,
    steps: u64,
}

impl Search<'_> {
    fn all(scenario: &Scenario) -> Result<Found, String> {
        let mut search = Search { scenario, known: HashMap::new(), steps: 0 };
        let executions = search.from(&mut Vec::new(), None)?;
        Ok(Found { executions, states: search.known.len(), steps: search.steps })
    }

    fn run(&mut self, choices: &[Choice], is_verbose: bool) -> Run {
        let mut run = Run::new(self.scenario);
        run.is_verbose = is_verbose;
        choices.iter().for_each(|choice| run.step(*choice));
        self.steps += choices.len() as u64;
        run
    }

    /// Counts the executions that begin with these choices. Errors with the first one that breaks a promise.
    fn from(&mut self, choices: &mut Vec<Choice>, run: Option<Run>) -> Result<u128, String> {
        let run = run.unwrap_or_else(|| self.run(choices, false));
        if let Err(broken) = run.check() {
            return Err(self.explain(choices, &broken));
        }
        let mut hasher = DefaultHasher::new();
        run.summary().hash(&mut hasher);
        let state = hasher.finish();
        if let Some(known) = self.known.get(&state) {
            return Ok(*known);
        }
        let next = run.choices();
        assert!(choices.len() < 60, "{}", self.explain(choices, "it does not end"));
        let mut executions = 0;
        let mut run = Some(run);
        if let Some(run) = run.take_if(|run| run.is_over()) {
            if let Err(broken) = run.check_end() {
                return Err(self.explain(choices, &broken));
            }
            executions = 1;
        }
        for choice in next {
            choices.push(choice);
            // The first one goes on from here, the others begin anew.
            let run = run.take().map(|mut run| {
                run.step(choice);
                self.steps += 1;
                run
            });
            executions += self.from(choices, run)?;
            choices.pop();
        }
        self.known.insert(state, executions);
        Ok(executions)
    }

    fn explain(&mut self, choices: &[Choice], broken: &str) -> String {
        let log = self.run(choices, true).log.join("\n  ");
        format!("{:?}: {broken}\n  {log}", self.scenario)
    }
}

use Action::{Delete, Load, Rename, Save};

/// The processes of three actions: one for all, or one for each.
const PROCESSES: [[usize; 3]; 2] = [[0, 0, 0], [0, 1, 2]];

fn scenario(actions: &[Action], processes: &[usize], is_cached: bool, faults: usize) -> Scenario {
    Scenario {
        actions: actions.to_vec(),
        processes: processes[..actions.len()].to_vec(),
        is_cached,
        faults,
        faults_of: None,
        only_ends: false,
        defect: Defect::None,
    }
}

/// Returns the number of executions, all of which keep the promises.
fn all_of(scenarios: impl IntoIterator<Item = Scenario>) -> u128 {
    let mut executions = 0;
    for scenario in scenarios {
        let start = Instant::now();
        let found = Search::all(&scenario).unwrap_or_else(|broken| panic!("{broken}"));
        let (states, steps) = (found.states, found.steps);
        println!(
            "{scenario:?}: {} executions, {states} states, {steps} steps in {:?}",
            found.executions,
            start.elapsed()
        );
        executions += found.executions;
    }
    println!("{executions} executions");
    executions
}

/// After a logout nobody finds the session, after a save nobody finds older data, and when all is quiet the
/// cache holds nothing that differs from the row.
#[test]
fn in_no_order_does_anything_outdated_stay_in_the_cache() {
    let mut scenarios = Vec::new();
    for writer in [Save, Rename] {
        for processes in &PROCESSES {
            scenarios.push(scenario(&[writer, Load, Delete], processes, true, 0));
            if at_length() {
                scenarios.push(scenario(&[writer, Load, Delete], processes, false, 0));
            }
        }
    }
    assert!(all_of(scenarios) > 3_000_000);
}

/// The same if one of two fails or is dropped at any moment: a call is not carried out, its reply is lost, it
/// is carried out late or never; the caller is dropped, its process ends, the cache forgets its values.
#[test]
fn no_fault_of_one_of_two_leaves_anything_outdated_in_the_cache() {
    let faults = if at_length() { 2 } else { 1 };
    let mut scenarios = Vec::new();
    for actions in [[Save, Delete], [Load, Delete], [Save, Load], [Rename, Load], [Rename, Delete]] {
        for processes in &PROCESSES {
            for is_cached in [true, false] {
                let writers = actions.iter().filter(|action| **action != Load).count();
                let is_large =
                    writers == 2 && (!is_cached || actions[0] == Rename && *processes == PROCESSES[0]);
                if at_length() || !is_large {
                    scenarios.push(scenario(&actions, processes, is_cached, faults));
                }
            }
        }
    }
    assert!(all_of(scenarios) > 200_000);
}

/// A logout whose caller is dropped, or whose process ends, beside a writer and a reader.
fn logout() -> Scenario {
    let all = scenario(&[Save, Load, Delete], &PROCESSES[1], true, 1);
    Scenario { faults_of: Some(2), only_ends: true, ..all }
}

/// The same beside a writer and a reader.
#[test]
fn no_fault_of_a_logout_beside_a_writer_and_a_reader_leaves_the_session_in_the_cache() {
    let mut scenarios = vec![logout()];
    if at_length() {
        for writer in [Save, Rename] {
            for processes in &PROCESSES {
                scenarios.push(scenario(&[writer, Load, Delete], processes, true, 1));
            }
        }
    }
    assert!(all_of(scenarios) > 1_000_000);
}

/// The search sees what it is to see: a cache that does not do its part.
#[test]
fn a_cache_with_a_defect_is_found() {
    for defect in [Defect::NoCompare, Defect::NoLeasesOfWriters, Defect::LeasesAreTaken] {
        let broken = Search::all(&Scenario { defect, ..logout() });
        println!("{}", broken.expect_err("the defect is not found"));
    }
}
