//! The contenders, and how each is started.

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result, cpu, django,
    postgres::Postgres,
    process::{self, Server},
    redis::Redis,
    workload::Workload,
};

/// Where a contender keeps its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    Nothing,
    Postgres,
    Redis,
    /// All in the cookie.
    Cookie,
}

/// Somebody to compare.
#[derive(Debug)]
pub struct Contender {
    pub name: &'static str,
    pub keeps: Keeps,
    pub what: &'static str,
}

pub const OURS: &str = "actix-django-session";

/// Ours with a setting that matters where sessions are saved again.
pub const EXACT: &str = "exact-expiry";

/// Ours with the login around everything.
pub const LOGIN: &str = "with-login";

pub const AXUM_LOGIN: &str = "axum-login";

pub const ALL: [Contender; 10] = [
    Contender { name: "bare", keeps: Keeps::Nothing, what: "actix-web that does nothing" },
    Contender {
        name: "floor",
        keeps: Keeps::Postgres,
        what: "by hand: actix-web, deadpool-postgres, no signature",
    },
    Contender { name: OURS, keeps: Keeps::Postgres, what: "this crate: Store::connect" },
    Contender { name: EXACT, keeps: Keeps::Postgres, what: "this crate with exact_expiry(true)" },
    Contender { name: LOGIN, keeps: Keeps::Postgres, what: "this crate with AuthMiddleware around the app" },
    Contender {
        name: "actix-session-redis",
        keeps: Keeps::Redis,
        what: "actix-session, Redis without persistence: not durable",
    },
    Contender {
        name: "actix-session-cookie",
        keeps: Keeps::Cookie,
        what: "actix-session, everything in the encrypted cookie: nothing on the server",
    },
    Contender { name: "tower-sessions", keeps: Keeps::Postgres, what: "axum, tower-sessions-sqlx-store" },
    Contender {
        name: AXUM_LOGIN,
        keeps: Keeps::Postgres,
        what: "axum-login on tower-sessions: loads the user of every request",
    },
    Contender { name: "django", keeps: Keeps::Postgres, what: "Django, db engine, gunicorn" },
];

pub fn named(name: &str) -> Result<&'static Contender> {
    let names = || ALL.iter().map(|contender| contender.name).collect::<Vec<_>>().join(", ");
    let found = ALL.iter().find(|contender| contender.name == name);
    found.ok_or_else(|| format!("there is no contender {name:?}, only {}", names()).into())
}

impl Contender {
    pub fn takes_part(&self, workload: Workload) -> bool {
        match workload {
            Workload::Write | Workload::Hot | Workload::Statements if self.name == EXACT => true,
            _ if self.name == EXACT => false,
            Workload::User => ["floor", LOGIN, AXUM_LOGIN, "django"].contains(&self.name),
            Workload::Logins => [LOGIN, "django"].contains(&self.name),
            Workload::Untouched => true,
            Workload::Read | Workload::Statements if self.name == LOGIN => true,
            Workload::Statements if self.name == AXUM_LOGIN => true,
            _ if [LOGIN, AXUM_LOGIN].contains(&self.name) => false,
            // Every browser has its own copy of such a session: there is nothing to share, nor to count.
            Workload::Hot => !matches!(self.keeps, Keeps::Nothing | Keeps::Cookie),
            Workload::Statements => self.keeps == Keeps::Postgres,
            // Their sessions are easily made in great numbers.
            Workload::AtSize => ["floor", OURS, "django"].contains(&self.name),
            Workload::Clearing => self.name == OURS,
            // More than 4 KB do not fit into a cookie.
            Workload::Sizes => !matches!(self.keeps, Keeps::Nothing | Keeps::Cookie),
            Workload::Memory => true,
            _ => self.keeps != Keeps::Nothing,
        }
    }

    /// Starts its server, and waits until that answers.
    pub fn start(
        &self,
        target: &Path,
        dir: &Path,
        postgres: &Postgres,
        redis: Option<&Redis>,
    ) -> Result<Running> {
        let port = process::free_port()?;
        let mut command = match self.name {
            "django" => django::gunicorn(target, port)?,
            name => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["serve", name, &port.to_string()]);
                command
            }
        };
        match (self.keeps, redis) {
            (Keeps::Postgres, _) => command.env("BENCH_DATABASE", postgres.url()),
            (Keeps::Redis, Some(redis)) => command.env("BENCH_DATABASE", redis.url()),
            (Keeps::Redis, None) => return Err("there is no Redis".into()),
            (Keeps::Nothing | Keeps::Cookie, _) => command.env_remove("BENCH_DATABASE"),
        };
        let log = dir.join(format!("{}.log", self.name));
        // gunicorn has children to stop; the others have nothing to lose.
        let signal = if self.name == "django" { "TERM" } else { "KILL" };
        let server = Server::start(self.name, &command, &log, signal, None)?;
        server.wait_for_port(port)?;
        settle(&server);
        let database = match self.keeps {
            Keeps::Postgres => Some(postgres.pid()),
            Keeps::Redis => redis.map(Redis::pid),
            Keeps::Nothing | Keeps::Cookie => None,
        };
        Ok(Running { port, server, database })
    }
}

/// Waits until a server has no more to do: gunicorn listens long before its processes have read their Python.
fn settle(server: &Server) {
    let start = Instant::now();
    let mut used = cpu::micros(server.pid());
    while start.elapsed() < process::PATIENCE {
        thread::sleep(Duration::from_millis(100));
        let now = cpu::micros(server.pid());
        if now.saturating_sub(used) < 5_000 {
            return;
        }
        used = now;
    }
}

/// A contender's server.
#[derive(Debug)]
pub struct Running {
    pub port: u16,
    pub server: Server,
    /// The process of its database.
    pub database: Option<u32>,
}
