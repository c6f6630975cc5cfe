//! A PostgreSQL of the benchmark's own, with fsync and its defaults.

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
};

use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, Row};

use crate::{
    Result,
    process::{self, Server, User},
};

/// The server, and a connection to it for what goes on beside the measurements.
pub struct Postgres {
    client: Client,
    runtime: Runtime,
    server: Server,
    url: String,
}

impl Postgres {
    pub fn start(dir: &Path) -> Result<Self> {
        let bin = programs()?;
        let user = server_user()?;
        let dir = dir.join("postgres");
        std::fs::create_dir(&dir)?;
        if let Some((uid, gid)) = user {
            chown(&dir, Some(uid), Some(gid))?;
        }
        let mut initdb = Command::new(bin.join("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]);
        initdb.args(["--pgdata=data"]).current_dir(&dir);
        become_user(&mut initdb, user);
        process::output(&mut initdb)?;

        let port = process::free_port()?;
        let mut postgres = Command::new(bin.join("postgres"));
        postgres.args(["-D", "data", "-h", "127.0.0.1", "-p", &port.to_string()]);
        postgres.args(["-c", "max_connections=300", "-c"]);
        postgres.arg(format!("unix_socket_directories={}", dir.display())).current_dir(&dir);
        let server = Server::start("PostgreSQL", &postgres, &dir.join("log"), "QUIT", user)?;

        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut client = None;
        server.wait(|| {
            client = runtime.block_on(connect(&url)).ok();
            client.is_some()
        })?;
        let client = client.ok_or("PostgreSQL takes no connection")?;
        Ok(Self { client, runtime, server, url })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// All that it has logged.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.server.log())?).into_owned())
    }

    /// Runs statements one after the other.
    pub fn script(&self, sql: &str) -> Result<()> {
        self.runtime.block_on(self.client.batch_execute(sql)).map_err(|error| describe(sql, &error).into())
    }

    /// Sends rows as arrays to one statement.
    pub fn execute(&self, sql: &str, columns: &[&[String]]) -> Result<()> {
        let columns: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
            columns.iter().map(|column| column as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
        let done = self.runtime.block_on(self.client.execute(sql, &columns));
        done.map(drop).map_err(|error| describe(sql, &error).into())
    }

    /// All rows.
    pub fn rows(&self, sql: &str) -> Result<Vec<Row>> {
        self.runtime.block_on(self.client.query(sql, &[])).map_err(|error| describe(sql, &error).into())
    }

    /// One row.
    pub fn row(&self, sql: &str) -> Result<Row> {
        let row = self.runtime.block_on(self.client.query_one(sql, &[]));
        row.map_err(|error| describe(sql, &error).into())
    }

    /// How much has been written to the log of changes since the server was made, in bytes.
    pub fn wal_bytes(&self) -> Result<i64> {
        Ok(self.row("SELECT (pg_current_wal_insert_lsn() - '0/0')::int8")?.try_get(0)?)
    }
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn describe(sql: &str, error: &tokio_postgres::Error) -> String {
    let cause = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
    format!("{cause}\n{}", sql.get(..200).unwrap_or(sql))
}

/// Where the server's programs are.
fn programs() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("BENCH_PG_BIN") {
        return Ok(dir.into());
    }
    // Debian keeps them off the PATH, by version.
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = debian.map(|entry| entry.path()).max_by_key(|path| version(path));
    if let Some(bin) = newest.map(|path| path.join("bin")).filter(|bin| bin.join("initdb").exists()) {
        return Ok(bin);
    }
    let dir = process::output(Command::new("pg_config").arg("--bindir"))
        .map_err(|_| "PostgreSQL's initdb was not found: install it, or say in BENCH_PG_BIN where it is")?;
    Ok(dir.trim().into())
}

/// Whom to become, because PostgreSQL refuses to run as root; nobody else when not root.
fn server_user() -> Result<Option<User>> {
    let id = |arguments: &[&str]| -> Option<u32> {
        process::output(Command::new("id").args(arguments)).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return Ok(None);
    }
    let user = |name: &str| Some((id(&["-u", name])?, id(&["-g", name])?));
    let found = user("postgres").or_else(|| user("nobody"));
    found.map(Some).ok_or_else(|| "PostgreSQL does not run as root: add a user postgres".into())
}

fn become_user(command: &mut Command, user: Option<User>) {
    use std::os::unix::process::CommandExt;
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
}
