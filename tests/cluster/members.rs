//! Three PostgreSQL, a Patroni for each, and an etcd that knows which of them leads.

use std::{
    fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::json;

use super::DEADLINE;
use crate::support::{
    postgres::{as_server_user, directory_of_server, try_query},
    proc::{self, Group, PATIENCE, TempDir, wait_until},
    required,
};

/// A lock that is not renewed ends after 20 seconds, and then there is an election; all that on a busy
/// machine.
pub(crate) const ELECTION: Duration = Duration::from_secs(180);

/// The etcd server, which knows the current leader.
struct Etcd {
    port: u16,
    // In this order: the server ends before its files go.
    _group: Group,
    _dir: TempDir,
}

impl Etcd {
    fn start() -> Self {
        let (dir, port) = (TempDir::new("etcd"), proc::free_port());
        let [clients, peers] = [port, proc::free_port()].map(|port| format!("http://127.0.0.1:{port}"));
        let mut command = Command::new(required("TEST_ETCD"));
        command.current_dir(dir.path()).args(["--name", "one", "--data-dir", "data"]);
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("one={peers}")]);
        let mut group = Group::start("etcd", &mut command, &dir.path().join("log"));
        group.wait_for_port(port);
        Self { port, _group: group, _dir: dir }
    }
}

/// One PostgreSQL and the Patroni that starts it.
pub(crate) struct Member {
    pub(crate) name: String,
    port: u16,
    group: Option<Group>,
    dir: TempDir,
}

impl Member {
    fn start(name: &str, etcd: &Etcd) -> Self {
        let (dir, port) = (directory_of_server("member"), proc::free_port());
        let [postgres, rest] = [port, proc::free_port()].map(|port| format!("127.0.0.1:{port}"));
        let path = dir.path();
        // JSON is YAML too.
        let settings = json!({
            "scope": "sessions",
            "name": name,
            "restapi": { "listen": rest, "connect_address": rest },
            "etcd3": { "host": format!("127.0.0.1:{}", etcd.port) },
            "bootstrap": {
                "dcs": {
                    "ttl": 20,
                    "loop_wait": 1,
                    "retry_timeout": 3,
                    // Nothing is confirmed before a standby has it, and who has it all may become the leader.
                    "synchronous_mode": true,
                    "synchronous_mode_strict": true,
                    "postgresql": { "use_pg_rewind": true },
                },
                "initdb": [{ "encoding": "UTF8" }, { "auth": "trust" }, "no-locale", "no-sync"],
            },
            "postgresql": {
                "listen": postgres,
                "connect_address": postgres,
                "data_dir": path.join("data"),
                "bin_dir": required("TEST_PG_BIN"),
                "pgpass": path.join("pgpass"),
                "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 trust",
                    "host replication all 127.0.0.1/32 trust"],
                "authentication": {
                    "superuser": { "username": "postgres" },
                    "replication": { "username": "follower" },
                },
                "parameters": { "unix_socket_directories": path },
            },
        });
        fs::write(path.join("patroni.yml"), settings.to_string()).unwrap();
        let mut member = Self { name: name.to_owned(), port, group: None, dir };
        member.start_again();
        member
    }

    pub(crate) fn start_again(&mut self) {
        let patroni = required("TEST_PATRONI");
        let mut command = as_server_user(Path::new(&patroni), self.dir.path());
        command.arg("patroni.yml").env("HOME", self.dir.path());
        let what = format!("Patroni of {}", self.name);
        self.group = Some(Group::start(&what, &mut command, &self.dir.path().join("log")));
    }

    /// Rows of one column; none if it does not answer.
    pub(crate) fn ask(&self, sql: &str) -> Vec<String> {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.port);
        let rows = try_query(&url, sql).unwrap_or_default();
        rows.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()
    }

    fn leads(&self) -> bool {
        self.ask("SELECT pg_is_in_recovery()") == ["f"]
    }

    /// Patroni, PostgreSQL and all that they started: whatever works in the directory. PostgreSQL outlives
    /// its Patroni.
    fn processes(&self) -> Vec<i64> {
        let place = self.dir.path().canonicalize().unwrap();
        let ids = fs::read_dir("/proc").unwrap();
        let ids = ids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        ids.filter(|id: &i64| {
            fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|works_in| works_in.starts_with(&place))
        })
        .collect()
    }

    pub(crate) fn freeze(&self) {
        // Twice, since the one or the other may have started something meanwhile.
        for _ in 0..2 {
            proc::signal("STOP", &self.processes());
        }
    }

    fn thaw(&self) {
        proc::signal("CONT", &self.processes());
    }

    pub(crate) fn kill(&mut self) {
        self.freeze(); // none of them notices that the others are gone
        proc::signal("KILL", &self.processes());
        self.group = None;
        wait_until("all of a member should be gone", PATIENCE, || self.processes().is_empty());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.thaw();
        self.group = None; // nobody starts PostgreSQL again
        // At once, but unlike a kill this leaves no shared memory behind.
        proc::signal("QUIT", &self.processes());
        let start = Instant::now();
        while !self.processes().is_empty() && start.elapsed() < Duration::from_secs(10) {
            sleep(Duration::from_millis(50));
        }
        proc::signal("KILL", &self.processes());
    }
}

pub(crate) struct Cluster {
    // In this order: the members end before what they ask.
    pub(crate) members: Vec<Member>,
    _etcd: Etcd,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let etcd = Etcd::start();
        let members = ["one", "two", "three"].map(|name| Member::start(name, &etcd));
        Self { members: members.into(), _etcd: etcd }
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> = self.members.iter().map(|member| format!("127.0.0.1:{}", member.port)).collect();
        format!(
            "postgres://postgres@{}/postgres?target_session_attrs=read-write&deadline={}",
            hosts.join(","),
            DEADLINE.as_secs()
        )
    }

    /// Waits until one leads and all others follow, at least one of them with all that was confirmed. The
    /// leader.
    pub(crate) fn wait_until_whole(&self) -> usize {
        let followers =
            "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1 DESC";
        let mut leader = None;
        self.wait(|| {
            leader = (0..self.members.len()).find(|&at| {
                let member = &self.members[at];
                member.leads() && matches!(&member.ask(followers)[..], [one, _] if one == "sync")
            });
            leader.is_some()
        });
        leader.unwrap()
    }

    /// Waits until another one leads. It is not asked itself, since it may not answer.
    pub(crate) fn wait_for_another(&self, than: usize) -> usize {
        let others = (0..self.members.len()).filter(|at| *at != than);
        let mut leader = None;
        self.wait(|| {
            leader = others.clone().find(|&at| self.members[at].leads());
            leader.is_some()
        });
        leader.unwrap()
    }

    fn wait(&self, mut ready: impl FnMut() -> bool) {
        let start = Instant::now();
        while !ready() {
            if start.elapsed() > ELECTION {
                let logs: Vec<_> = self.members.iter().map(Member::log).collect();
                panic!("the cluster is not ready after {ELECTION:?}\n{}", logs.join("\n\n"));
            }
            sleep(Duration::from_millis(100));
        }
    }
}
