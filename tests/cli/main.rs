//! The program `django-session`, run as an operator runs it, on sessions that real Djangos wrote.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clear;
mod doctor;
mod fill;
mod memory;
mod passwords;
mod sessions;
mod stores;
#[path = "../support/mod.rs"]
mod support;
mod texts;
mod usage;
mod users;

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use serde_json::Value;

/// The note where signatures are not checked.
pub(crate) const NOT_CHECKED: &str = "signature not checked: no SECRET_KEY given";

/// Text that no output may contain: every secret, password and session key that a test has used.
static HIDDEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub(crate) fn hide(text: &str) {
    assert!(text.len() >= 8, "{text:?} could be anything");
    HIDDEN.lock().unwrap().push(text.to_owned());
}

/// A way to run the program: its environment has nothing but what is given here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cli {
    variables: Vec<(&'static str, String)>,
    shows_keys: bool,
}

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Cli {
    pub(crate) fn on(url: &str) -> Self {
        Self::default().with("DATABASE_URL", url)
    }

    pub(crate) fn secret(self, secret: &str) -> Self {
        hide(secret);
        self.with("SECRET_KEY", secret)
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
        self
    }

    /// Allows whole keys in the output, for a command that shows them on request.
    pub(crate) fn showing_keys(mut self) -> Self {
        self.shows_keys = true;
        self
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_django-session"));
        command.args(args).env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, "")
    }

    pub(crate) fn run_with(&self, args: &[&str], input: impl AsRef<[u8]>) -> Output {
        let mut child = self.start(args);
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.as_ref().to_owned());
        let writer = std::thread::spawn(move || stdin.write_all(&input).ok());
        let output = self.end_of(child);
        writer.join().unwrap();
        output
    }

    /// Waits for the end, and looks for what must not be seen.
    pub(crate) fn end_of(&self, child: Child) -> Output {
        let output = child.wait_with_output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        if !self.shows_keys {
            let all = HIDDEN.lock().unwrap().clone();
            for hidden in &all {
                assert!(!out.contains(hidden) && !err.contains(hidden), "{hidden:?} is seen:\n{out}\n{err}");
            }
        }
        assert!(!err.contains("panicked"), "{err}");
        Output { code: output.status.code(), out, err }
    }
}

impl Output {
    /// Standard output of a run that ends with this code; panics if it is another.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        let (out, err): (String, String) =
            (self.out.chars().take(2000).collect(), self.err.chars().take(2000).collect());
        assert_eq!(self.code, Some(code), "{out}\n{err}");
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text), "no {text:?} in {}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn complains(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no {text:?} in {}\n{}", self.err, self.out);
        self
    }

    #[track_caller]
    pub(crate) fn quiet(self) -> Self {
        assert_eq!(self.err, "", "{}", self.out);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(line).collect()
    }
}
