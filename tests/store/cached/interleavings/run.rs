//! One execution of a scenario, step by step.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_django_session::{Session, SessionKey, Store};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use super::world::{Call, Defect, Place, Reply, State, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Sets `n` to 2.
    Save,
    Rename,
    Load,
    Delete,
}

#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) actions: Vec<Action>,
    /// The process of each action.
    pub(super) processes: Vec<usize>,
    /// Whether the session is in the cache at first.
    pub(super) is_cached: bool,
    /// How many faults one execution may have.
    pub(super) faults: usize,
    /// The action that has them; `None` for all of them.
    pub(super) faults_of: Option<usize>,
    /// Whether callers and processes end, and no call fails by itself.
    pub(super) only_ends: bool,
    pub(super) defect: Defect,
}

/// A decision of the scheduler. Numbers are those of actions, waiting calls and processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Start(usize),
    /// A call is carried out and answered.
    Pass(usize),
    /// A call is not carried out; its caller gets an error.
    Fail(usize),
    /// A call is carried out; its reply is lost.
    Lose(usize),
    /// Its caller gets no reply. It may be carried out later, or never.
    Late(usize),
    /// The caller of an action is dropped. Its call may be carried out later, or never.
    Drop(usize),
    /// A process ends, with its runtime.
    Crash(usize),
    /// The cache forgets all that it has.
    Evict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
    Loaded(Option<i64>),
}

struct Actor {
    action: Action,
    process: usize,
    handle: Option<JoinHandle<()>>,
    outcome: Arc<Mutex<Option<Outcome>>>,
    is_gone: bool,
    /// The actions that were confirmed before this one started.
    after: Vec<usize>,
}

impl Actor {
    fn outcome(&self) -> Option<Outcome> {
        self.outcome.lock().unwrap().clone()
    }

    fn is_running(&self) -> bool {
        self.handle.is_some() && !self.is_gone && self.outcome().is_none()
    }

    fn is_waiting_to_start(&self) -> bool {
        self.handle.is_none() && !self.is_gone
    }
}

pub(super) struct Run {
    world: World,
    key: SessionKey,
    runtimes: Vec<Option<Runtime>>,
    stores: Vec<Store>,
    sessions: Vec<Option<Session>>,
    actors: Vec<Actor>,
    faults: Vec<Choice>,
    max_faults: usize,
    faults_of: Option<usize>,
    only_ends: bool,
    /// Processes whose cache has failed.
    cache_failed: BTreeSet<usize>,
    /// Whether the log is to say everything.
    pub(super) is_verbose: bool,
    pub(super) log: Vec<String>,
}

/// Runs what can run.
const IDLE: Duration = Duration::from_millis(1);
/// After a failure the cache is left alone for a second.
const PAUSE: Duration = Duration::from_millis(1100);

impl Run {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let world = World::new(scenario.defect);
        let processes = scenario.processes.iter().max().unwrap() + 1;
        let mut runtimes = Vec::new();
        for _ in 0..processes {
            // Its clock stands still, and moves when nothing else can run.
            let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtimes.push(Some(runtime));
        }
        let stores: Vec<Store> = (0..processes).map(|process| world.store(process)).collect();
        let runtime = runtimes[0].as_ref().unwrap();
        let session = Session::new(&stores[0]);
        session.insert("n", &1).unwrap();
        runtime.block_on(session.save()).unwrap();
        let key = session.session_key().unwrap();
        let mut sessions = Vec::new();
        for (action, process) in scenario.actions.iter().zip(&scenario.processes) {
            let runtime = runtimes[*process].as_ref().unwrap();
            sessions.push(match action {
                Action::Save | Action::Rename => {
                    runtime.block_on(Session::open(&stores[*process], &key)).unwrap()
                }
                Action::Load | Action::Delete => None,
            });
        }
        if !scenario.is_cached {
            world.state().rows.remove(&Place::Cache);
        }
        world.close_gates();
        let actor = |(action, process): (&Action, &usize)| Actor {
            action: *action,
            process: *process,
            handle: None,
            outcome: Arc::default(),
            is_gone: false,
            after: Vec::new(),
        };
        let actors = scenario.actions.iter().zip(&scenario.processes).map(actor).collect();
        let &Scenario { faults: max_faults, faults_of, only_ends, .. } = scenario;
        let (faults, cache_failed, log) = (Vec::new(), BTreeSet::new(), Vec::new());
        let mut run = Self {
            world,
            key,
            runtimes,
            stores,
            sessions,
            actors,
            faults,
            max_faults,
            faults_of,
            only_ends,
            cache_failed,
            is_verbose: false,
            log,
        };
        // Where each process has one action, it makes no difference when a writer starts.
        if processes == scenario.actions.len() {
            for (index, action) in scenario.actions.iter().enumerate() {
                if *action != Action::Load {
                    run.start(index);
                }
            }
        }
        run
    }

    fn run(&self, process: usize, time: Duration) {
        if let Some(runtime) = &self.runtimes[process] {
            runtime.block_on(async move { tokio::time::sleep(time).await });
        }
    }

    pub(super) fn step(&mut self, choice: Choice) {
        match choice {
            Choice::Start(actor) => self.start(actor),
            Choice::Pass(call) => {
                self.answer(call, "", |world, place, key, call| world.effect(place, key, call))
            }
            Choice::Fail(call) => self.answer(call, "fails: ", |_, _, _, _| Reply::Failed),
            Choice::Lose(call) => self.answer(call, "its reply is lost: ", |world, place, key, call| {
                world.effect(place, key, call);
                Reply::Lost
            }),
            Choice::Late(call) => self.late(call),
            Choice::Drop(actor) => self.drop_caller(actor),
            Choice::Crash(process) => self.crash(process),
            Choice::Evict => {
                self.log.push("the cache forgets all".to_owned());
                self.world.state().rows.remove(&Place::Cache);
            }
        }
        if !matches!(choice, Choice::Start(_) | Choice::Pass(_)) {
            self.faults.push(choice);
        }
        self.settle();
    }

    fn start(&mut self, index: usize) {
        let confirmed = |actor: &&usize| self.actors[**actor].outcome() == Some(Outcome::Done);
        let after = (0..self.actors.len()).collect::<Vec<_>>().iter().filter(confirmed).copied().collect();
        let actor = &mut self.actors[index];
        actor.after = after;
        let (outcome, action, key) = (actor.outcome.clone(), actor.action, self.key.clone());
        let (store, session) = (self.stores[actor.process].clone(), self.sessions[index].take());
        let runtime = self.runtimes[actor.process].as_ref().unwrap();
        let handle = runtime.spawn(async move {
            let done = match (action, session) {
                (Action::Save, Some(session)) => {
                    session.insert("n", &2).unwrap();
                    session.save().await.map(|()| Outcome::Done)
                }
                (Action::Rename, Some(session)) => {
                    session.cycle_key().unwrap();
                    session.save().await.map(|()| Outcome::Done)
                }
                (Action::Delete, _) => store.delete(&key).await.map(|_| Outcome::Done),
                (Action::Load, _) => Session::open(&store, &key)
                    .await
                    .map(|session| Outcome::Loaded(session.and_then(|session| session.get("n").unwrap()))),
                (_, None) => panic!("no session"),
            };
            *outcome.lock().unwrap() = Some(done.unwrap_or(Outcome::Refused));
        });
        let process = actor.process;
        self.log.push(format!("{index}: {action:?} starts"));
        self.world.state().name_task(handle.id(), &index.to_string());
        actor.handle = Some(handle);
        self.run_as(&index.to_string(), process);
    }

    fn run_as(&self, task: &str, process: usize) {
        task.clone_into(&mut self.world.state().running);
        self.run(process, IDLE);
    }

    fn answer(
        &mut self,
        index: usize,
        how: &str,
        reply: impl Fn(&World, Place, &SessionKey, &Call) -> Reply,
    ) {
        let call = self.world.state().pending.remove(index);
        let answer = reply(&self.world, call.place, &call.key, &call.call);
        let text = {
            let mut state = self.world.state();
            state.traces.entry(call.task.clone()).or_default().push(answer.event());
            if self.is_verbose {
                format!("{how}{}: {} -> {answer:?}", call.task, state.describe(&call.event()))
            } else {
                String::new()
            }
        };
        self.log.push(text);
        if matches!(answer, Reply::Failed | Reply::Lost) && call.place == Place::Cache {
            self.cache_failed.insert(call.process);
        }
        if let Some(reply) = call.reply {
            let _ = reply.send(answer);
            self.run_as(&call.task, call.process);
        }
    }

    fn late(&mut self, index: usize) {
        let (task, process, place, reply) = {
            let mut state = self.world.state();
            let call = &mut state.pending[index];
            (call.task.clone(), call.process, call.place, call.reply.take())
        };
        self.log.push(format!("{task}: no reply from the {place:?}, which may be late"));
        self.world.state().traces.entry(task.clone()).or_default().push(Reply::Lost.event());
        if place == Place::Cache {
            self.cache_failed.insert(process);
        }
        let _ = reply.unwrap().send(Reply::Lost);
        self.run_as(&task, process);
    }

    /// Calls whose caller is gone may be carried out later if they change something.
    fn leave_orphans(&self, is_gone: impl Fn(&super::world::Pending) -> bool) {
        let mut state = self.world.state();
        state.pending.retain(|call| !is_gone(call) || !matches!(call.call, Call::Get));
        for call in &mut state.pending {
            if is_gone(call) {
                call.reply = None;
            }
        }
    }

    fn drop_caller(&mut self, index: usize) {
        let (name, process) = (index.to_string(), self.actors[index].process);
        self.log.push(format!("{index}: the caller is dropped"));
        self.actors[index].is_gone = true;
        self.actors[index].handle.as_ref().unwrap().abort();
        self.leave_orphans(|call| call.task == name);
        self.run_as(&name, process);
    }

    fn crash(&mut self, process: usize) {
        self.log.push(format!("process {process} ends"));
        self.world.state().running = "crash".to_owned();
        self.leave_orphans(|call| call.process == process);
        self.runtimes[process] = None;
        for actor in self.actors.iter_mut().filter(|actor| actor.process == process) {
            actor.is_gone |= actor.outcome().is_none();
        }
    }

    /// If nothing else can happen, time passes: the crate may want to retry something.
    fn settle(&self) {
        let can_go_on = |run: &Self| {
            run.actors.iter().any(Actor::is_waiting_to_start)
                || run.world.state().pending.iter().any(|call| call.reply.is_some())
        };
        for process in 0..self.runtimes.len() {
            for _ in 0..3 {
                if can_go_on(self) {
                    return;
                }
                "time".clone_into(&mut self.world.state().running);
                self.run(process, PAUSE);
            }
        }
    }

    pub(super) fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for (index, actor) in self.actors.iter().enumerate() {
            if actor.is_waiting_to_start() {
                choices.push(Choice::Start(index));
            }
        }
        let state = self.world.state();
        choices.extend((0..state.pending.len()).map(Choice::Pass));
        let live = |index: &usize| state.pending[*index].reply.is_some();
        let is_over = choices.is_empty() || !(0..state.pending.len()).any(|index| live(&index));
        if self.faults.len() == self.max_faults || is_over {
            return choices;
        }
        let may_fail =
            |process: usize| self.faults_of.is_none_or(|index| self.actors[index].process == process);
        let may_be_lost =
            |index: &usize| !self.only_ends && live(index) && may_fail(state.pending[*index].process);
        for index in (0..state.pending.len()).filter(may_be_lost) {
            choices.push(Choice::Fail(index));
            if !matches!(state.pending[index].call, Call::Get) {
                choices.extend([Choice::Lose(index), Choice::Late(index)]);
            }
        }
        let running = (0..self.actors.len()).filter(|index| self.actors[*index].is_running());
        let may_be_dropped = |index: &usize| may_fail(self.actors[*index].process);
        choices.extend(running.filter(may_be_dropped).map(Choice::Drop));
        let may_end = |process: &usize| self.runtimes[*process].is_some() && may_fail(*process);
        for process in (0..self.runtimes.len()).filter(may_end) {
            if state.pending.iter().any(|call| call.process == process && call.reply.is_some()) {
                choices.push(Choice::Crash(process));
            }
        }
        if self.faults_of.is_none() && state.rows.get(&Place::Cache).is_some_and(|rows| !rows.is_empty()) {
            choices.push(Choice::Evict);
        }
        choices
    }

    /// Whether nothing more has to happen.
    pub(super) fn is_over(&self) -> bool {
        let state = self.world.state();
        !self.actors.iter().any(Actor::is_waiting_to_start)
            && !state.pending.iter().any(|call| call.reply.is_some())
    }

    /// The state on which the rest depends: equal summaries have equal futures.
    pub(super) fn summary(&self) -> String {
        let actors = self.actors.iter().map(|actor| {
            let started = actor.handle.is_some();
            format!("{started} {} {:?} {:?}", actor.is_gone, actor.outcome(), actor.after)
        });
        let actors: Vec<String> = actors.collect();
        let faults = self.faults.iter().map(|fault| match fault {
            // The numbers of calls differ from order to order; the traces say which ones they were.
            Choice::Crash(process) => format!("crash {process}"),
            Choice::Evict => "evict".to_owned(),
            Choice::Drop(_) => "drop".to_owned(),
            _ => "call".to_owned(),
        });
        let faults: Vec<String> = faults.collect();
        let failed = &self.cache_failed;
        // The reads of a finished action make no difference, unless it has left something to be done.
        let is_relevant = |state: &State, task: &str| {
            let actor = task.split('.').next().and_then(|number| number.parse::<usize>().ok());
            let is_running = actor.is_some_and(|actor| self.actors[actor].is_running());
            is_running || !failed.is_empty() || state.pending.iter().any(|call| call.task == task)
        };
        format!("{actors:?} {faults:?} {failed:?}\n{}", self.world.state().summary(is_relevant))
    }

    /// At every moment.
    pub(super) fn check(&self) -> Result<(), String> {
        let old_is = |action, n: Option<i64>| match action {
            Action::Delete | Action::Rename => n.is_some(),
            Action::Save => n == Some(1),
            Action::Load => false,
        };
        for actor in &self.actors {
            if actor.outcome() == Some(Outcome::Done) && self.cache_failed.is_empty() {
                let n = self.world.state().n(Place::Cache, &self.key);
                if old_is(actor.action, n) {
                    return Err(format!("after {:?} the cache has n = {n:?}", actor.action));
                }
            }
            let Some(Outcome::Loaded(n)) = actor.outcome() else { continue };
            for before in actor.after.iter().map(|index| &self.actors[*index]) {
                let same_process = before.process == actor.process;
                if old_is(before.action, n) && (same_process || self.cache_failed.is_empty()) {
                    return Err(format!("a load after {:?} found n = {n:?}", before.action));
                }
            }
        }
        Ok(())
    }

    /// When all is quiet. Ends the run.
    pub(super) fn check_end(&self) -> Result<(), String> {
        let stuck = self.actors.iter().any(Actor::is_running);
        if stuck {
            return Err("an action does not end".to_owned());
        }
        if self.has_lost_its_protection() {
            return Ok(());
        }
        self.world.state().pending.clear();
        self.compare()?;
        // Every process goes on, and a new one.
        self.world.open_gates();
        let (new, store) = (self.runtime(), self.world.store(9));
        let live = self.runtimes.iter().zip(&self.stores);
        let live = live.filter_map(|(runtime, store)| Some((runtime.as_ref()?, store)));
        let all: Vec<(&Runtime, &Store)> = live.chain([(&new, &store)]).collect();
        for late in [Duration::ZERO, Duration::from_secs(2 * 60 * 60)] {
            self.world.advance(late);
            for (runtime, store) in &all {
                runtime.block_on(async { tokio::time::sleep(PAUSE).await });
                let keys = self.world.state().keys();
                for key in keys.into_iter().chain([self.key.clone()]) {
                    let session = runtime.block_on(Session::open(store, &key)).unwrap();
                    let n: Option<i64> = session.and_then(|session| session.get("n").unwrap());
                    let stored = self.world.state().n(Place::Database, &key);
                    if n != stored {
                        return Err(format!("at the end a load finds n = {n:?}, the row is {stored:?}"));
                    }
                    // The cache is used again, as soon as no lease is left.
                    let cached = self.world.state().n(Place::Cache, &key);
                    if cached != stored && !late.is_zero() {
                        return Err(format!("at last the cache has n = {cached:?}, the row {stored:?}"));
                    }
                }
            }
            self.compare()?;
        }
        Ok(())
    }

    fn runtime(&self) -> Runtime {
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }

    /// Beyond what a lease can do: two faults, of which the second hits what protects from the first one.
    fn has_lost_its_protection(&self) -> bool {
        let is_evicted = self.faults.contains(&Choice::Evict) && self.faults.len() > 1;
        let crashed = self.faults.iter().filter_map(|fault| match fault {
            Choice::Crash(process) => Some(process),
            _ => None,
        });
        // The process that knew what is outdated is no more.
        is_evicted || crashed.into_iter().any(|process| self.cache_failed.contains(process))
    }

    fn compare(&self) -> Result<(), String> {
        let state = self.world.state();
        for key in state.keys() {
            let (cached, stored) = (state.n(Place::Cache, &key), state.n(Place::Database, &key));
            if cached.is_some() && cached != stored {
                return Err(format!("when all is quiet the cache has n = {cached:?}, the row is {stored:?}"));
            }
        }
        Ok(())
    }
}
