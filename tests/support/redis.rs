//! Redis: private servers, clusters and sentinels, and a client that knows nothing of the crate.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use super::certificates::Certificates;
use super::proc::{self, Group, PATIENCE, TempDir};
use super::required;

/// A reply of Redis, in the second version of its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Nil,
    Int(i64),
    /// Simple or in bulk.
    Text(Vec<u8>),
    Error(String),
    Array(Vec<Reply>),
}

impl Reply {
    pub fn text(&self) -> String {
        match self {
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("no text: {other:?}"),
        }
    }

    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            other => panic!("no number: {other:?}"),
        }
    }

    pub fn array(&self) -> &[Reply] {
        match self {
            Self::Array(replies) => replies,
            other => panic!("no array: {other:?}"),
        }
    }
}

/// Asks on a connection of its own, after AUTH if there is a password.
pub fn command<A: AsRef<[u8]>>(port: u16, password: Option<&str>, command: &[A]) -> Result<Reply, String> {
    let ask = || -> std::io::Result<Reply> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = BufReader::new(stream);
        if let Some(password) = password {
            exchange(&mut stream, &[b"AUTH", password.as_bytes()])?;
        }
        let command: Vec<&[u8]> = command.iter().map(AsRef::as_ref).collect();
        exchange(&mut stream, &command)
    };
    ask().map_err(|error| error.to_string())
}

fn exchange(stream: &mut BufReader<TcpStream>, command: &[&[u8]]) -> std::io::Result<Reply> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for part in command {
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    stream.get_mut().write_all(&bytes)?;
    reply(stream)
}

fn reply(stream: &mut impl BufRead) -> std::io::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1).ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let number = || rest.parse::<i64>().unwrap_or_else(|e| panic!("{line}: {e}"));
    Ok(match kind {
        "+" => Reply::Text(rest.as_bytes().to_vec()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Int(number()),
        "$" if number() >= 0 => {
            let mut bytes = vec![0; number() as usize + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Reply::Text(bytes)
        }
        "*" if number() >= 0 => Reply::Array((0..number()).map(|_| reply(stream)).collect::<Result<_, _>>()?),
        "$" | "*" => Reply::Nil,
        _ => panic!("no answer of Redis: {line}"),
    })
}

/// A server for one test alone, without persistence; stops with this.
#[derive(Debug)]
pub struct Redis {
    // In this order: the server ends before its files go.
    group: Option<Group>,
    arguments: Vec<String>,
    password: Option<String>,
    port: u16,
    tls_port: Option<u16>,
    dir: TempDir,
}

impl Redis {
    /// Starts with such settings of redis.conf as `("requirepass", "secret")`.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let dir = TempDir::new("redis");
        let port = proc::free_port();
        let mut arguments = Vec::new();
        let mut set = |name: &str, value: &str| {
            arguments.push(format!("--{name}"));
            // Some settings have more words than one.
            arguments.extend(
                if value.is_empty() { vec![""] } else { value.split(' ').collect() }
                    .into_iter()
                    .map(str::to_owned),
            );
        };
        set("port", &port.to_string());
        set("bind", "127.0.0.1");
        set("save", "");
        set("appendonly", "no");
        set("unixsocket", "redis.sock");
        for (name, value) in settings {
            set(name, value);
        }
        let value = |wanted: &str| settings.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let password = value("requirepass").map(str::to_owned);
        let tls_port = value("tls-port").map(|port| port.parse().unwrap());
        let mut redis = Self { group: None, arguments, password, port, tls_port, dir };
        redis.start_again();
        redis
    }

    /// As `start`, and also with TLS on a second port.
    pub fn start_tls(certificates: &Certificates, settings: &[(&str, &str)]) -> Self {
        let port = proc::free_port().to_string();
        let files = ["ca.pem", "server.pem", "key.pem"].map(|name| certificates.path(name));
        let [ca, server, key] = files.each_ref().map(|path| path.to_str().unwrap());
        let mut all = vec![("tls-port", &*port), ("tls-cert-file", server), ("tls-key-file", key)];
        all.extend([("tls-ca-cert-file", ca), ("tls-auth-clients", "no")]);
        all.extend(settings);
        Self::start(&all)
    }

    /// With the password, if it has one.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map_or(String::new(), |password| format!(":{password}@"));
        format!("redis://{password}127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn tls_port(&self) -> u16 {
        self.tls_port.expect("a server with TLS")
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Everything that it has logged, from before a stop too.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Panics when it does not answer, or with an error.
    pub fn command<A: AsRef<[u8]>>(&self, parts: &[A]) -> Reply {
        match self.try_command(parts) {
            Ok(Reply::Error(error)) => panic!("{error}"),
            Ok(reply) => reply,
            Err(error) => panic!("{error}\n{}", self.log()),
        }
    }

    pub fn try_command<A: AsRef<[u8]>>(&self, parts: &[A]) -> Result<Reply, String> {
        command(self.port, self.password.as_deref(), parts)
    }

    /// Ends it without a word to anybody.
    pub fn kill(&mut self) {
        self.group = None;
    }

    /// Starts again, empty, with the same port and settings, and waits until it answers.
    pub fn start_again(&mut self) {
        assert!(self.group.is_none(), "the server runs already");
        let mut command = Command::new(required("TEST_REDIS_SERVER"));
        command.current_dir(self.dir.path()).args(&self.arguments);
        let mut group = Group::start("a private Redis", &mut command, &self.dir.path().join("log"));
        proc::wait_until("a private Redis should answer", PATIENCE, || {
            group.assert_running();
            self.try_command(&["PING"]).is_ok()
        });
        self.group = Some(group);
    }

    /// Stops it in its tracks: connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.group.as_ref().expect("the server is stopped").signal("STOP");
    }

    pub fn resume(&self) {
        self.group.as_ref().expect("the server is stopped").signal("CONT");
    }

    /// The lines of INFO.
    pub fn info(&self, name: &str, section: &[&str]) -> String {
        let Ok(Reply::Text(text)) = self.try_command(section) else { return String::new() };
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().to_owned()
    }
}

/// Three masters with a third of the slots each, and replicas if wanted.
#[derive(Debug)]
pub struct RedisCluster {
    pub masters: Vec<Redis>,
    pub replicas: Vec<Redis>,
}

impl RedisCluster {
    pub fn start() -> Self {
        Self::start_with(false, Redis::start)
    }

    /// Each master with one replica, which takes its place a second after it has gone.
    pub fn start_with_replicas() -> Self {
        Self::start_with(true, Redis::start)
    }

    /// With TLS, also between each other.
    pub fn start_tls(certificates: &Certificates) -> Self {
        let tls = [("tls-cluster", "yes")];
        Self::start_with(false, |settings| Redis::start_tls(certificates, &[settings, &tls].concat()))
    }

    fn start_with(replicas: bool, start: impl Fn(&[(&str, &str)]) -> Redis) -> Self {
        let node = |_| {
            let bus = proc::free_port();
            let settings = [
                ("cluster-enabled", "yes"),
                ("cluster-node-timeout", "1000"),
                ("cluster-port", &bus.to_string()),
            ];
            // Each master serves its slots without the others.
            let settings = [&settings[..], &[("cluster-require-full-coverage", "no")]].concat();
            (start(&settings), bus)
        };
        let masters: Vec<_> = (0..3).map(node).collect();
        let replicas: Vec<_> = (0..if replicas { 3 } else { 0 }).map(node).collect();
        for (number, (master, _)) in masters.iter().enumerate() {
            let [from, to] = [number, number + 1].map(|number| (number * 16_384 / 3).to_string());
            let to = (to.parse::<u32>().unwrap() - 1).to_string();
            master.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            master.command(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]);
        }
        let (first, _) = &masters[0];
        for (node, bus) in masters.iter().chain(&replicas).skip(1) {
            let [port, bus] = [node.tls_port.unwrap_or(node.port), *bus].map(|port| port.to_string());
            first.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let nodes = masters.len() + replicas.len();
        for (node, _) in masters.iter().chain(&replicas) {
            proc::wait_until("the nodes of the cluster should meet", PATIENCE, || {
                node.info("cluster_known_nodes", &["CLUSTER", "INFO"]) == nodes.to_string()
            });
        }
        for ((replica, _), (master, _)) in replicas.iter().zip(&masters) {
            let id = master.command(&["CLUSTER", "MYID"]).text();
            proc::wait_until("a replica should know its master", PATIENCE, || {
                replica.try_command(&["CLUSTER", "REPLICATE", &id]) == Ok(Reply::Text(b"OK".to_vec()))
            });
            wait_for_replication(replica);
        }
        let first_of = |nodes: Vec<(Redis, u16)>| nodes.into_iter().map(|(node, _)| node).collect();
        let cluster = Self { masters: first_of(masters), replicas: first_of(replicas) };
        cluster.wait_until_ok();
        cluster
    }

    /// Of all masters.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.masters.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The master that has the slot of a key.
    pub fn owner(&self, key: &str) -> usize {
        let slot = self.keyslot(key);
        (0..3).find(|n| slot < (n + 1) * 16_384 / 3).unwrap()
    }

    /// As Redis computes it.
    pub fn keyslot(&self, key: &str) -> usize {
        let running = self.masters.iter().find(|node| node.group.is_some()).expect("a running master");
        running.command(&["CLUSTER", "KEYSLOT", key]).int() as usize
    }

    pub fn kill(&mut self, master: usize) {
        self.masters[master].kill();
    }

    /// Until every master that runs says that all is well.
    pub fn wait_until_ok(&self) {
        for node in self.masters.iter().chain(&self.replicas).filter(|node| node.group.is_some()) {
            proc::wait_until("the cluster should be well", PATIENCE, || {
                node.info("cluster_state", &["CLUSTER", "INFO"]) == "ok"
                    && node.info("cluster_slots_ok", &["CLUSTER", "INFO"]) == "16384"
            });
        }
    }
}

/// A master, a replica, and a sentinel that alone decides which is which.
#[derive(Debug)]
pub struct RedisSentinel {
    pub sentinel: Redis,
    pub master: Redis,
    pub replica: Redis,
}

impl RedisSentinel {
    /// With settings for master and replica.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        // Each may become a replica of the other, and has to log in there.
        let password =
            settings.iter().find(|(name, _)| *name == "requirepass").map_or("", |(_, value)| *value);
        let log_in = [("masterauth", password)];
        let settings = if password.is_empty() { settings.to_vec() } else { [settings, &log_in].concat() };
        let master = Redis::start(&settings);
        let of = format!("127.0.0.1 {}", master.port);
        let replica = Redis::start(&[&settings[..], &[("replicaof", &of)]].concat());
        wait_for_replication(&replica);

        let (dir, port) = (TempDir::new("sentinel"), proc::free_port());
        let mut config = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main {of} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
        );
        if !password.is_empty() {
            config.push_str(&format!("sentinel auth-pass main {password}\n"));
        }
        fs::write(dir.path().join("sentinel.conf"), config).unwrap();
        let arguments = ["sentinel.conf", "--sentinel"].map(str::to_owned).to_vec();
        let mut sentinel = Redis { group: None, arguments, password: None, port, tls_port: None, dir };
        sentinel.start_again();
        proc::wait_until(
            "the sentinel should know the replica",
            PATIENCE,
            || matches!(sentinel.try_command(&["SENTINEL", "REPLICAS", "main"]), Ok(Reply::Array(all)) if all.len() == 1),
        );
        Self { sentinel, master, replica }
    }

    pub fn url(&self) -> String {
        let password =
            self.master.password.as_ref().map_or(String::new(), |password| format!(":{password}@"));
        format!("redis+sentinel://{password}127.0.0.1:{}/main", self.sentinel.port)
    }

    /// Until the replica is the master.
    pub fn wait_for_failover(&self) {
        proc::wait_until("the replica should become the master", PATIENCE, || {
            let master = self.sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
            master.array()[1].text() == self.replica.port.to_string()
                && self.replica.info("role", &["INFO", "replication"]) == "master"
        });
    }
}

fn wait_for_replication(replica: &Redis) {
    proc::wait_until("a replica should have what its master has", PATIENCE, || {
        replica.info("master_link_status", &["INFO", "replication"]) == "up"
    });
}
