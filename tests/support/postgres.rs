//! PostgreSQL: a fresh database on the shared server, or a private server.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use super::certificates::Certificates;
use super::proc::{self, Group, PATIENCE, TempDir};
use super::required;

/// Rows of columns, as text.
pub type Rows = Vec<Vec<Option<String>>>;

/// Runs SQL on a connection of its own; works inside and outside of async code.
pub fn query(url: &str, sql: &str) -> Rows {
    try_query(url, sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
}

/// The server's major version.
pub fn version(url: &str) -> u32 {
    let rows = query(url, "SELECT current_setting('server_version_num')::int / 10000");
    rows[0][0].as_ref().unwrap().parse().unwrap()
}

/// As `query`, for a server that may refuse or be away.
pub fn try_query(url: &str, sql: &str) -> Result<Rows, String> {
    let mut config: Config = url.parse().map_err(|e| format!("{url}: {e}"))?;
    config.connect_timeout(Duration::from_secs(10));
    let work = async {
        let (client, connection) = config.connect(NoTls).await?;
        let connection = tokio::spawn(connection);
        let messages = client.simple_query(sql).await?;
        drop(client);
        connection.await.ok(); // so that the server has seen the end of it
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok::<Rows, tokio_postgres::Error>(rows.collect())
    };
    // A thread of its own, because a runtime cannot wait inside another one.
    let answer = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async { tokio::time::timeout(PATIENCE, work).await })
        });
        thread.join().unwrap()
    });
    match answer {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => Err(match error.as_db_error() {
            Some(error) => error.to_string(),
            None => error.to_string(),
        }),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

/// An empty database on the server of `tests/run`, dropped with this.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
    url: String,
}

impl Database {
    pub fn fresh() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = required("TEST_POSTGRES_URL");
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        query(&server, &format!("CREATE DATABASE {name} TEMPLATE template0"));
        let (base, _) = server.rsplit_once('/').expect("TEST_POSTGRES_URL should name a database");
        let url = format!("{base}/{name}");
        Self { server, name, url }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn query(&self, sql: &str) -> Rows {
        query(&self.url, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The connections that a test leaves open must not keep it alive. A failure is not worth
        // hiding the test's own: the server goes soon.
        try_query(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).ok();
    }
}

/// Makes the table of sessions.
pub const TABLE: &str = "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, \
                         session_data text NOT NULL, expire_date timestamptz NOT NULL)";

/// A server for one test alone, to be stopped, killed and paused; stops with this.
#[derive(Debug)]
pub struct PrivateServer {
    // In this order: the server ends before its files go.
    group: Option<Group>,
    settings: Vec<String>,
    bin: PathBuf,
    port: u16,
    dir: TempDir,
    /// Locales that the machine itself need not have.
    locales: Option<TempDir>,
}

impl PrivateServer {
    /// As `start`; its messages are German.
    pub fn start_german(settings: &[(&str, &str)]) -> Self {
        // Other versions than the machine's own come without translations.
        let (bin, dir) = Self::initialized(required("TEST_PG_BIN"));
        let locales = directory_of_server("locales");
        let locale = locales.path().join("de_DE.UTF-8");
        let mut localedef = as_server_user("localedef".as_ref(), dir.path());
        localedef.args(["-i", "de_DE", "-f", "UTF-8"]).arg(locale);
        proc::run("localedef", &mut localedef, b"");
        let mut all = vec![("lc_messages", "de_DE.UTF-8")];
        all.extend(settings);
        Self::serve(bin, dir, &all, Some(locales))
    }

    /// Starts with such settings as `("log_statement", "all")`.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with(settings, |_| ())
    }

    /// As `start`, with an empty table of sessions.
    pub fn with_table(settings: &[(&str, &str)]) -> Self {
        let server = Self::start(settings);
        server.query(TABLE);
        server
    }

    /// As `start`; `prepare` does something with the files before it starts.
    pub fn start_with(settings: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> Self {
        let (bin, dir) = Self::initialized(required("TEST_PG_SERVER"));
        prepare(&dir.path().join("data"));
        Self::serve(bin, dir, settings, None)
    }

    /// The files of a server that was never started.
    fn initialized(bin: String) -> (PathBuf, TempDir) {
        let (bin, dir) = (PathBuf::from(bin), directory_of_server("postgres"));
        let mut initdb = as_server_user(&bin.join("initdb"), dir.path());
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8"]);
        initdb.args(["--no-locale", "--no-sync", "--pgdata=data"]);
        proc::run("initdb", &mut initdb, b"");
        (bin, dir)
    }

    /// With TLS, and no other way in for anybody but this machine's own tests by name `postgres`.
    pub fn start_tls(certificates: &Certificates, settings: &[(&str, &str)]) -> Self {
        let mut all = vec![("ssl", "on"), ("ssl_cert_file", "server.pem")];
        all.extend([("ssl_key_file", "key.pem"), ("ssl_ca_file", "ca.pem")]);
        all.extend(settings);
        Self::start_with(&all, |data| {
            for name in ["server.pem", "key.pem", "ca.pem"] {
                own(&certificates.path(name), &data.join(name));
            }
        })
    }

    /// A standby of this server. `name` is its name in the replication.
    pub fn standby(&self, name: &str, settings: &[(&str, &str)]) -> Self {
        let (bin, dir) = (self.bin.clone(), directory_of_server("postgres"));
        let mut backup = as_server_user(&bin.join("pg_basebackup"), dir.path());
        let conninfo = format!("host=127.0.0.1 port={} user=postgres application_name={name}", self.port);
        backup.args([
            "--pgdata=data",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
            "--dbname",
            &conninfo,
        ]);
        proc::run("pg_basebackup", &mut backup, b"");
        let mut all = vec![("hot_standby", "on")];
        all.extend(settings);
        Self::serve(bin, dir, &all, None)
    }

    /// Lets nobody in but by these lines of `pg_hba.conf`, until the answer is dropped.
    pub fn replace_rules(&self, rules: &str) -> Rules {
        let file = self.dir.path().join("data/pg_hba.conf");
        let before = fs::read_to_string(&file).unwrap();
        let postmaster = self.processes()[0];
        let changed = Rules { file, before, postmaster };
        changed.set(rules);
        changed
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        self.query("SELECT pg_promote(true)");
    }

    fn serve(bin: PathBuf, dir: TempDir, settings: &[(&str, &str)], locales: Option<TempDir>) -> Self {
        let settings = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut server = Self { group: None, settings, bin, port: proc::free_port(), dir, locales };
        server.start_again();
        server
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// By its Unix socket.
    pub fn socket_url(&self) -> String {
        format!("host={} port={} user=postgres dbname=postgres", self.dir.path().display(), self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn query(&self, sql: &str) -> Rows {
        query(&self.url(), sql)
    }

    /// Everything that it has logged, from before a stop too.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Stops as `pg_ctl stop -m fast` does: connections are ended, nothing is lost.
    pub fn stop_fast(&mut self) {
        self.end("INT");
    }

    /// Kills every process of the server at once.
    pub fn kill(&mut self) {
        self.pause(); // none of them notices that the others are gone
        proc::signal("KILL", &self.processes());
        self.group = None;
    }

    /// Starts again with the same files, port and settings, and waits until it takes queries.
    pub fn start_again(&mut self) {
        assert!(self.group.is_none(), "the server runs already");
        let mut command = as_server_user(&self.bin.join("postgres"), self.dir.path());
        command.args(["-D", "data", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.args(["-c", &format!("unix_socket_directories={}", self.dir.path().display())]);
        command.envs(self.locales.as_ref().map(|locales| ("LOCPATH", locales.path())));
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let mut group = Group::start("a private PostgreSQL", &mut command, &self.log_file());
        let url = self.url();
        proc::wait_until("a private PostgreSQL should take queries", PATIENCE, || {
            group.assert_running();
            try_query(&url, "SELECT 1").is_ok()
        });
        self.group = Some(group);
    }

    /// Stops it in its tracks: connections stay open, and nothing answers.
    pub fn pause(&self) {
        // The postmaster first, so that it starts no more children.
        proc::signal("STOP", &self.processes()[..1]);
        proc::signal("STOP", &self.processes()[1..]);
    }

    pub fn resume(&self) {
        proc::signal("CONT", &self.processes());
    }

    /// The postmaster and its children. They are no process group: each child leads its own.
    fn processes(&self) -> Vec<i64> {
        let id = self.group.as_ref().expect("the server is stopped").id();
        let mut ids = vec![i64::from(id)];
        ids.extend(proc::children(id));
        ids
    }

    fn end(&mut self, signal: &str) {
        let ids = self.processes();
        proc::signal(signal, &ids[..1]);
        proc::signal("CONT", &ids); // a paused one would not notice
        self.group.take().expect("the server is stopped").wait(PATIENCE);
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

/// The connections that are let in, for a time.
#[derive(Debug)]
pub struct Rules {
    file: PathBuf,
    before: String,
    postmaster: i64,
}

impl Rules {
    fn set(&self, rules: &str) {
        fs::write(&self.file, rules).unwrap();
        proc::signal("HUP", &[self.postmaster]);
        std::thread::sleep(Duration::from_millis(300)); // it reads them when it gets to it
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        self.set(&self.before);
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        if self.group.is_none() {
            return;
        }
        if std::thread::panicking() {
            self.kill();
        } else {
            self.end("QUIT"); // unlike a kill, leaves no shared memory behind
        }
    }
}

/// Copies a file for the server alone.
fn own(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
    if let Some((uid, gid)) = server_user() {
        chown(to, Some(uid), Some(gid)).unwrap();
    }
}

/// A directory of the user that PostgreSQL may run as.
pub fn directory_of_server(name: &str) -> TempDir {
    let dir = TempDir::new(name);
    if let Some((uid, gid)) = server_user() {
        chown(dir.path(), Some(uid), Some(gid)).unwrap();
    }
    dir
}

/// A command run as the user that PostgreSQL may run as.
pub fn as_server_user(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir);
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    command
}

/// Whom to become, because PostgreSQL refuses to run as root; nobody else when not root.
fn server_user() -> Option<(u32, u32)> {
    let id = |args: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(args).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let user = |name: &str| Some((id(&["-u", name])?, id(&["-g", name])?));
    Some(user("postgres").or_else(|| user("nobody")).expect("a user postgres or nobody"))
}
