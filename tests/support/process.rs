//! A site in a process of its own: this test program, started once more to run the one test that serves.

use std::{env, os::unix::process::parent_id, process::Command, thread, time::Duration};

use super::proc::{Group, PATIENCE, TempDir, wait_until};

/// Says to the test that it is to serve, and what.
const SERVE: &str = "TEST_SERVE";

#[derive(Debug)]
pub struct Process {
    port: u16,
    group: Group,
    _dir: TempDir,
}

impl Process {
    /// Runs the test `serves`, which reads its arguments by [`asked_to_serve`].
    pub fn start(serves: &str, what: &str) -> Self {
        Self::start_with(serves, what, &[])
    }

    pub fn start_with(serves: &str, what: &str, environment: &[(&str, &str)]) -> Self {
        let dir = TempDir::new("process");
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", serves, "--include-ignored", "--nocapture"]).env(SERVE, what);
        command.envs(environment.iter().copied());
        let group = Group::start("a site in a process of its own", &mut command, &dir.path().join("log"));
        let mut process = Self { port: 0, group, _dir: dir };
        wait_until("the process should serve", PATIENCE, || {
            process.group.assert_running();
            process.port = process.said("port").unwrap_or(0) as u16;
            process.port != 0
        });
        process
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn id(&self) -> u32 {
        self.group.id()
    }

    pub fn log(&self) -> String {
        self.group.log()
    }

    /// The last number that it gave to this, by printing `[what number]`.
    pub fn said(&self, what: &str) -> Option<u64> {
        let log = self.group.log();
        let complete = &log[..log.rfind('\n')?];
        complete.rsplit(&format!("[{what} ")).next()?.split(']').next()?.parse().ok()
    }
}

/// The arguments of this process, if it was started to serve.
pub fn asked_to_serve() -> Option<String> {
    env::var(SERVE).ok()
}

/// Says on which port, and serves until the process that started this one exits.
pub fn serve_until_orphaned(port: u16, mut meanwhile: impl FnMut()) {
    let parent = parent_id();
    println!("[port {port}]");
    while parent_id() == parent {
        thread::sleep(Duration::from_millis(50));
        meanwhile();
    }
}
