//! The example of a service: its settings, a database that comes late, a stop and a rolling restart under
//! load.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_django_session::{SecretKey, codec::Codec};
use serde_json::Value;

use super::command;
use crate::support::{
    http::Client,
    postgres::{Database, PrivateServer, TABLE},
    proc::{Group, PATIENCE, TempDir, free_port, signal, wait_until},
};

const SECRET: &str = "a secret of this test that is long enough for a service";

/// The variables that the example reads, so that none comes from outside.
const VARIABLES: [&str; 10] = [
    "ADDRESS",
    "METRICS_ADDRESS",
    "DATABASE_URL",
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
    "COOKIE_NAME",
    "INSECURE_COOKIES",
    "WHEN_STORE_FAILS",
    "DRAIN_SECONDS",
    "LOG_LEVEL",
];

/// A running service, killed with this.
struct Service {
    group: Group,
    ports: [u16; 2],
    _dir: TempDir,
}

impl Service {
    fn start(ports: [u16; 2], database: &str, settings: &[(&str, &str)]) -> Self {
        let dir = TempDir::new("production");
        let [address, metrics] = ports.map(|port| format!("127.0.0.1:{port}"));
        let mut command = command("production", dir.path(), &[]);
        for name in VARIABLES {
            command.env_remove(name);
        }
        command.env("ADDRESS", address).env("METRICS_ADDRESS", metrics).env("DATABASE_URL", database);
        command.env("SECRET_KEY", SECRET).env("INSECURE_COOKIES", "1").env("DRAIN_SECONDS", "1");
        command.envs(settings.iter().copied());
        let mut group = Group::start("the example production", &mut command, &dir.path().join("log"));
        group.wait_for_port(ports[0]);
        Self { group, ports, _dir: dir }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports[0])
    }

    fn wait_until_ready(&self) {
        wait_until("the service should be ready", PATIENCE, || is_ready(self.ports[0]));
    }

    fn terminate(&self) {
        signal("TERM", &[i64::from(self.group.id())]);
    }

    /// Waits for its end, which has to be one without an error. Returns the objects of its log.
    fn ends(mut self) -> Vec<Value> {
        let status = self.group.wait(PATIENCE);
        let log = self.group.log();
        assert!(status.success(), "{status}\n{log}");
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.last().unwrap()["message"], "stopped", "{log}");
        assert!(!log.contains(SECRET));
        lines
    }
}

fn is_ready(port: u16) -> bool {
    let url = format!("http://127.0.0.1:{port}/health/ready");
    Client::new().try_request("GET", &url, &[], None).is_ok_and(|reply| reply.status == 200)
}

/// Sends requests only to services that say that they are ready, as a load balancer does.
struct Balancer {
    targets: Mutex<Vec<u16>>,
    next: AtomicUsize,
    is_over: AtomicBool,
}

impl Balancer {
    /// Looks at these ports, every 100 ms.
    fn of(ports: &[u16]) -> (Arc<Self>, JoinHandle<()>) {
        let (targets, next, is_over) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
        let this = Arc::new(Self { targets, next, is_over });
        let (ports, of_thread) = (ports.to_vec(), this.clone());
        let probes = thread::spawn(move || {
            while !of_thread.is_over.load(SeqCst) {
                let ready = ports.iter().copied().filter(|port| is_ready(*port)).collect();
                *of_thread.targets.lock().unwrap() = ready;
                thread::sleep(Duration::from_millis(100));
            }
        });
        (this, probes)
    }

    fn target(&self) -> Option<u16> {
        let targets = self.targets.lock().unwrap();
        (!targets.is_empty()).then(|| targets[self.next.fetch_add(1, SeqCst) % targets.len()])
    }
}

/// Counts up until the end, in a session of its own, at most so often. Returns its key and the last number.
fn visitor(balancer: Arc<Balancer>, confirmed: Arc<AtomicUsize>) -> JoinHandle<(String, u64)> {
    thread::spawn(move || {
        let (mut client, mut count) = (Client::new(), 0);
        while !balancer.is_over.load(SeqCst) && count < 20_000 {
            let Some(port) = balancer.target() else {
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            let url = format!("http://127.0.0.1:{port}/visits");
            let reply = client.post_form(&url, &[]);
            count += 1;
            assert_eq!((reply.status, reply.text().trim()), (200, &*count.to_string()));
            confirmed.fetch_add(1, SeqCst);
            thread::sleep(Duration::from_millis(2));
        }
        (client.cookies["sessionid"].clone(), count)
    })
}

fn stored_visits(database: &Database, key: &str) -> u64 {
    let sql = format!("SELECT session_data FROM django_session WHERE session_key = '{key}'");
    let text = database.query(&sql)[0][0].clone().unwrap();
    let data = Codec::new(SecretKey::new(SECRET)).decode(&text).unwrap();
    data.get_json("visits").unwrap().parse().unwrap()
}

#[test]
fn every_problem_of_the_settings_is_a_sentence() {
    let dir = TempDir::new("production");
    let wrong = [
        ("ADDRESS", "8080"),
        ("METRICS_ADDRESS", "localhost"),
        ("DATABASE_URL", ""),
        ("SECRET_KEY", "hunter2"),
        ("INSECURE_COOKIES", "yes"),
        ("WHEN_STORE_FAILS", "ignore"),
        ("DRAIN_SECONDS", "1.5"),
        ("LOG_LEVEL", "loud"),
    ];
    let mut command = command("production", dir.path(), &[]);
    for name in VARIABLES {
        command.env_remove(name);
    }
    let output = command.envs(wrong).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), wrong.len(), "{said}");
    for (name, _) in wrong {
        assert!(said.lines().any(|line| line.starts_with(&format!("production: {name} "))), "{name}: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_database_that_comes_late_makes_it_ready() {
    let mut database = PrivateServer::with_table(&[]);
    database.stop_fast();
    let url = format!("{}?deadline=1", database.url());
    let service = Service::start([free_port(), free_port()], &url, &[]);
    let mut client = Client::new();
    for _ in 0..2 {
        assert_eq!(client.get(&service.url("/health/live")).status, 200);
        let ready = client.get(&service.url("/health/ready"));
        assert_eq!((ready.status, ready.text().as_str()), (503, "the session store is away\n"));
        assert_eq!(client.post_form(&service.url("/visits"), &[]).status, 503);
    }
    database.start_again();
    service.wait_until_ready();
    assert_eq!(client.post_form(&service.url("/visits"), &[]).text(), "1\n");
    assert_eq!(client.get(&service.url("/visits")).text(), "1\n");

    // It goes once more.
    database.stop_fast();
    wait_until("the service should not be ready", PATIENCE, || !is_ready(service.ports[0]));
    assert_eq!(client.get(&service.url("/visits")).status, 503);
    database.start_again();
    service.wait_until_ready();
    assert_eq!(client.post_form(&service.url("/visits"), &[]).text(), "2\n");

    wait_until("the recovery should be logged", PATIENCE, || {
        client.get(&service.url("/visits"));
        service.group.log().contains("works again")
    });

    let metrics = client.get(&format!("http://127.0.0.1:{}/metrics", service.ports[1])).text();
    for line in [
        "actix_django_session_outages_total{part=\"store\"}",
        "actix_django_session_operations_total{engine=\"postgres\",operation=\"create\",result=\"done\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert_eq!(client.get(&service.url("/metrics")).status, 404, "not for visitors");
    service.terminate();
    let log = service.ends();
    let has = |text: &str| log.iter().any(|line| line["message"].as_str().unwrap().contains(text));
    assert!(has("started") && has("the session store is ready") && has("works again"), "{log:#?}");
    assert!(log.iter().any(|line| line["path"] == "/visits" && line["status"] == 503));
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn it_serves_pages_without_the_database_if_told_so() {
    let mut database = PrivateServer::with_table(&[]);
    let url = format!("{}?deadline=1", database.url());
    let service = Service::start([free_port(), free_port()], &url, &[("WHEN_STORE_FAILS", "anonymous")]);
    service.wait_until_ready();
    let mut client = Client::new();
    assert_eq!(client.post_form(&service.url("/visits"), &[]).text(), "1\n");
    database.stop_fast();
    assert_eq!(client.get(&service.url("/visits")).text(), "not known at the moment\n");
    assert_eq!(client.post_form(&service.url("/visits"), &[]).status, 503);
    assert!(is_ready(service.ports[0]), "a balancer must not take all processes away");
    let metrics = client.get(&format!("http://127.0.0.1:{}/metrics", service.ports[1])).text();
    assert!(metrics.contains("actix_django_session_degraded_requests_total 1\n"), "{metrics}");
}

/// The status line, the headers and the body of a response on a connection that is kept alive.
fn visit_on(connection: &mut BufReader<TcpStream>) -> (String, String) {
    let head = b"POST /visits HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    connection.get_mut().write_all(head).unwrap();
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        assert!(connection.read_line(&mut head).unwrap() > 0, "closed: {head}");
        let line = head[start..].to_ascii_lowercase();
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).unwrap();
    (head.to_ascii_lowercase(), String::from_utf8(body).unwrap())
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_stop_under_load_answers_every_request_and_loses_nothing() {
    let database = Database::fresh();
    database.query(TABLE);
    let service = Service::start([free_port(), free_port()], database.url(), &[]);
    service.wait_until_ready();
    let (balancer, probes) = Balancer::of(&service.ports[..1]);
    let confirmed = Arc::<AtomicUsize>::default();
    let visitors: Vec<_> = (0..8).map(|_| visitor(balancer.clone(), confirmed.clone())).collect();
    wait_until("visits should be confirmed", PATIENCE, || confirmed.load(SeqCst) > 200);

    let mut kept_alive = BufReader::new(TcpStream::connect(("127.0.0.1", service.ports[0])).unwrap());
    let (head, _) = visit_on(&mut kept_alive);
    assert!(head.starts_with("http/1.1 200") && !head.contains("connection: close"), "{head}");

    // A save that has to wait for a row until long after the server takes no more connections.
    let mut waiting = Client::new();
    let url = service.url("/visits");
    assert_eq!(waiting.post_form(&url, &[]).text(), "1\n");
    let key = waiting.cookies["sessionid"].clone();
    let lock = format!(
        "BEGIN; SELECT 1 FROM django_session WHERE session_key = '{key}' FOR UPDATE; \
         SELECT pg_sleep(3); COMMIT"
    );
    let locked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3)%' \
                  AND datname = current_database() AND wait_event = 'PgSleep'";
    thread::scope(|scope| {
        scope.spawn(|| database.query(&lock));
        wait_until("the row should be locked", PATIENCE, || {
            database.query(locked)[0][0].as_deref() == Some("1")
        });
        let answer = scope.spawn(|| {
            let reply = waiting.post_form(&url, &[]);
            (reply.status, reply.text())
        });
        thread::sleep(Duration::from_millis(200)); // the request is on its way
        service.terminate();
        wait_until("it should say that it stops", PATIENCE, || {
            Client::new().get(&service.url("/health/ready")).text() == "stopping\n"
        });
        // Still served, for a balancer that does not know it yet; the connection ends with it.
        let (head, _) = visit_on(&mut kept_alive);
        assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
        wait_until("no more connections should be taken", PATIENCE, || {
            TcpStream::connect(("127.0.0.1", service.ports[0])).is_err()
        });
        assert!(!answer.is_finished(), "the request is still in flight");
        assert_eq!(answer.join().unwrap(), (200, "2\n".to_owned()));
    });
    service.ends();
    balancer.is_over.store(true, SeqCst);
    probes.join().unwrap();
    assert_eq!(stored_visits(&database, &key), 2);
    for visitor in visitors {
        let (key, count) = visitor.join().unwrap(); // each of its requests was answered by a 200
        assert_eq!(stored_visits(&database, &key), count);
    }
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_rolling_restart_under_load_loses_nothing() {
    let database = Database::fresh();
    database.query(TABLE);
    let ports = [[free_port(), free_port()], [free_port(), free_port()]];
    let start = |ports| {
        let service = Service::start(ports, database.url(), &[]);
        service.wait_until_ready();
        service
    };
    let mut services = ports.map(|ports| Some(start(ports)));
    let (balancer, probes) = Balancer::of(&ports.map(|ports| ports[0]));
    let confirmed = Arc::<AtomicUsize>::default();
    let visitors: Vec<_> = (0..8).map(|_| visitor(balancer.clone(), confirmed.clone())).collect();
    let more_visits = |what: &str| {
        let before = confirmed.load(SeqCst);
        wait_until(what, PATIENCE, || confirmed.load(SeqCst) > before + 200);
    };
    more_visits("two processes should serve");
    for (service, ports) in services.iter_mut().zip(ports) {
        let old = service.take().unwrap();
        old.terminate();
        let served = old.ends().iter().filter(|line| line["path"] == "/visits").count();
        assert!(served > 0, "it had a part of the load");
        more_visits("the other process should serve alone");
        *service = Some(start(ports));
        more_visits("both should serve");
    }
    balancer.is_over.store(true, SeqCst);
    probes.join().unwrap();
    let mut sum = 0;
    for visitor in visitors {
        let (key, count) = visitor.join().unwrap();
        assert_eq!(stored_visits(&database, &key), count);
        sum += count;
    }
    assert_eq!(sum, confirmed.load(SeqCst) as u64);
    assert!(sum > 1000, "{sum}");
}
