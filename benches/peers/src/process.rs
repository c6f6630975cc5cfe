//! Servers that end with the benchmark, however that ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::Result;

/// How long a server may take to start.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A user and a group, to be instead of root.
pub type User = (u32, u32);

// The shell says the server's id, and stops it when the pipe to us breaks: that happens even if we are
// killed.
const KEEPER: &str = r#"log=$1 signal=$2; shift 2
"$@" </dev/null >>"$log" 2>&1 & echo $!
trap '' INT HUP TERM; cat >/dev/null; kill -s "$signal" $! 2>/dev/null; wait"#;

/// A running server.
#[derive(Debug)]
pub struct Server {
    name: String,
    pid: u32,
    log: PathBuf,
    keeper: Child,
    pipe: Option<ChildStdin>,
}

impl Server {
    /// Starts a program with its output going to a file. `signal` stops it.
    pub fn start(
        name: &str,
        program: &Command,
        log: &Path,
        signal: &str,
        user: Option<User>,
    ) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(log).arg(signal).arg(program.get_program());
        command.args(program.get_args());
        for (key, value) in program.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = program.get_current_dir() {
            command.current_dir(dir);
        }
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let pipe = keeper.stdin.take();
        let mut line = String::new();
        if let Some(out) = keeper.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let pid = line.trim().parse().map_err(|_| format!("{name}: sh did not say its process id"))?;
        Ok(Self { name: name.to_owned(), pid, log: log.to_owned(), keeper, pipe })
    }

    /// Its process, whose children it may have.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until `ready` says so. Errors with the end of the log if the server ends first or takes too
    /// long.
    pub fn wait(&self, mut ready: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        while !ready() {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
            let ended = stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with(['Z', 'X']));
            if ended || stat.is_empty() || start.elapsed() > PATIENCE {
                let what = if start.elapsed() > PATIENCE { "does not answer" } else { "ended" };
                return Err(format!("{} {what}:\n{}", self.name, self.last_words()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until something answers at the port.
    pub fn wait_for_port(&self, port: u16) -> Result<()> {
        self.wait(|| TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    /// The file with what it writes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The end of what it wrote.
    pub fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.pipe.take());
        self.keeper.wait().ok();
    }
}

/// A directory for the servers' files, which goes when the benchmark ends.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    keeper: Child,
    pipe: Option<ChildStdin>,
}

impl WorkDir {
    pub fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        // After the servers: they end when the same moment comes.
        let script =
            "trap '' INT HUP TERM; cat >/dev/null; sleep 0.5; rm -rf \"$1\" || { sleep 5; rm -rf \"$1\"; }";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&path).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = command.spawn()?;
        let pipe = keeper.stdin.take();
        Ok(Self { path, keeper, pipe })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        drop(self.pipe.take());
        self.keeper.wait().ok();
    }
}

/// A port of 127.0.0.1 that nothing listens on, below those that outgoing connections get.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1000 {
        let n = std::process::id().wrapping_mul(89).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + u16::try_from(n % 12_000).unwrap_or_default();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free between 20000 and 32000".into())
}

/// Runs a program to its end and gives what it wrote. Errors if it fails, with that.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{program}: {error}"))?;
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    if output.status.success() {
        Ok(out.into_owned())
    } else {
        Err(format!("{program}: {}\n{out}{err}", output.status).into())
    }
}
