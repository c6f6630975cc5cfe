//! Django's server, a child of this process.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::python;

/// The demo account, made at the first start.
pub(crate) const USER: &str = "ada";
pub(crate) const PASSWORD: &str = "difference engine";

/// How to start the site.
pub(crate) struct Site {
    pub(crate) python: PathBuf,
    /// The directory with the database and the log.
    pub(crate) dir: PathBuf,
    pub(crate) secret: String,
}

impl Site {
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join("db.sqlite3")
    }

    /// Makes the tables and the demo account.
    pub(crate) fn prepare(&self) -> Result<(), String> {
        let mut command = self.command(&["manage.py", "prepare_demo"]);
        command.env("DEMO_USER", USER).env("DEMO_PASSWORD", PASSWORD);
        python::output(&mut command).map_err(|why| format!("Django cannot prepare its database: {why}"))?;
        Ok(())
    }

    /// Starts the server, and waits until it answers.
    pub(crate) fn start(&self) -> Result<Django, String> {
        let log = self.dir.join("django.log");
        let file = || File::options().append(true).create(true).open(&log);
        let file = || file().map_err(|error| format!("cannot write {}: {error}", log.display()));
        let port = free_port().ok_or("no port between 20000 and 32000 is free")?;
        let mut command = self.command(&["-m", "gunicorn", "--bind", &format!("127.0.0.1:{port}")]);
        // The pipe tells the child when this process has exited, however that came about.
        command.stdin(Stdio::piped()).stdout(file()?).stderr(file()?);
        // Ctrl-C is for this process, which first serves what is in flight, and then stops Django.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|error| format!("cannot start Django: {error}"))?;
        let mut django = Django { child, port };
        django.wait_until_ready(&log)?;
        Ok(django)
    }

    fn command(&self, args: &[&str]) -> Command {
        let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shared_login/django");
        let mut command = Command::new(&self.python);
        command.args(args).current_dir(site).env("SECRET_KEY", &self.secret).env("DATABASE", self.database());
        command.env("DJANGO_SETTINGS_MODULE", "shop.settings").env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// The running server. It stops when this is dropped.
pub(crate) struct Django {
    child: Child,
    port: u16,
}

impl Django {
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<(), String> {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("Django has stopped ({status}): see {}", log.display()));
            }
            if start.elapsed() > Duration::from_secs(30) {
                return Err(format!("Django does not start within 30 seconds: see {}", log.display()));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Django {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > Duration::from_secs(10) {
                self.child.kill().ok();
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A port below those that the system hands to outgoing connections, one of which could be faster.
fn free_port() -> Option<u16> {
    let start = std::process::id() % 12_000;
    let mut ports =
        (0..1000).map(|n| 20_000 + (start + n * 7) % 12_000).filter_map(|port| u16::try_from(port).ok());
    ports.find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
}
