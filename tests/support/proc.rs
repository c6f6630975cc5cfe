//! Processes that a test starts, and that end with it.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to start or to stop, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(60);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port of 127.0.0.1 that nothing listens on, and that no other call of this process gets.
pub fn free_port() -> u16 {
    for _ in 0..1000 {
        // Below the range that the system hands to outgoing connections, which could take it
        // before the server does.
        let n = std::process::id().wrapping_mul(89) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (n % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 20000 and 32000");
}

/// Waits until `ready` says so, and panics when that takes longer than `limit`.
pub fn wait_until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < limit, "waited {limit:?} without success: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal such as `"TERM"`; a negative id means a process group.
pub fn signal(signal: &str, ids: &[i64]) {
    let ids = ids.iter().map(ToString::to_string);
    // The shell's own kill: a small Debian has no other.
    let status = Command::new("sh")
        .args(["-c", "sig=$1; shift; for id; do kill -s \"$sig\" -- \"$id\"; done", "sh", signal])
        .args(ids)
        .stderr(Stdio::null()) // a process that has exited already is no error
        .status();
    status.expect("sh should start");
}

/// The processes that `parent` started and that still run.
pub fn children(parent: u32) -> Vec<i64> {
    let Ok(entries) = fs::read_dir("/proc/self/..") else {
        let output = Command::new("pgrep").args(["-P", &parent.to_string()]).output();
        let output = output.expect("without /proc, pgrep should start").stdout;
        return String::from_utf8_lossy(&output).lines().filter_map(|id| id.parse().ok()).collect();
    };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id: &i64| {
        // `pid (name) state ppid …`, and the name may hold anything.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        after_name.split_whitespace().nth(1) == Some(&parent.to_string())
    })
    .collect()
}

/// A number that the kernel has of a process, such as `VmRSS:`, its memory in KiB.
pub fn status_of(id: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/status")).expect("the process should run, on Linux");
    let value = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel should know it");
    value.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Runs a command to its end and gives what it wrote to standard output.
///
/// Panics when it fails or takes longer than ten minutes.
pub fn run(what: &str, command: &mut Command, input: &[u8]) -> String {
    let dir = TempDir::new("run");
    let [stdin, stdout] = ["stdin", "stdout"].map(|name| dir.path().join(name));
    // Files, because pipes can fill up on both sides.
    fs::write(&stdin, input).unwrap();
    command.stdin(File::open(&stdin).unwrap());
    let out = File::create(&stdout).unwrap();
    let mut group = Group::start_with(what, command, &dir.path().join("stderr"), out);
    let status = group.wait(Duration::from_secs(600));
    let output = String::from_utf8_lossy(&fs::read(&stdout).unwrap()).into_owned();
    assert!(status.success(), "{what}: {status}\n{output}\n{}", group.log());
    output
}

/// A directory that goes when this does.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(name: &str) -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap_or_else(|e| panic!("cannot make {}: {e}", path.display()));
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A process that was just killed may still be writing.
        for _ in 0..10 {
            if fs::remove_dir_all(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A started program with all that it starts in turn: a process group, killed when this drops.
#[derive(Debug)]
pub struct Group {
    what: String,
    child: Child,
    log: PathBuf,
}

impl Group {
    /// Starts the command with its output going to the file `log`.
    pub fn start(what: &str, command: &mut Command, log: &Path) -> Self {
        let out = File::options().append(true).create(true).open(log);
        let out = out.unwrap_or_else(|e| panic!("cannot write {}: {e}", log.display()));
        command.stdin(Stdio::null());
        Self::start_with(what, command, log, out)
    }

    fn start_with(what: &str, command: &mut Command, log: &Path, out: File) -> Self {
        let err = File::options().append(true).create(true).open(log).unwrap();
        let child = command.stdout(out).stderr(err).process_group(0).spawn();
        let child = child.unwrap_or_else(|e| panic!("cannot start {what}: {e}"));
        Self { what: what.to_owned(), child, log: log.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its output so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Panics if it has exited.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended: {status}\n{}", self.what, self.log());
        }
    }

    /// Waits until a server answers at the port, and panics if the process exits first.
    pub fn wait_for_port(&mut self, port: u16) {
        let what = format!("{} should listen on port {port}", self.what);
        wait_until(&what, PATIENCE, || {
            self.assert_running();
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    /// Waits for the end of the program that was started.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} should end", self.what);
        let mut status = None;
        wait_until(&what, limit, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Sends the signal to the whole group.
    pub fn signal(&self, name: &str) {
        signal(name, &[-i64::from(self.id())]);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal("KILL");
        self.child.wait().ok();
    }
}
