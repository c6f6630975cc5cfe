//! Real Django: the site in `tests/django` under each version, and its decoder of session texts.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::http::{Client, Reply};
use super::proc::{self, Group, TempDir};
use super::required;

/// The superuser that `prepare` makes.
pub const USER: &str = "admin";
pub const PASSWORD: &str = "correct horse";

/// An installed Django.
#[derive(Clone, Debug)]
pub struct Version {
    /// Such as `5.2.19`.
    pub name: String,
    python: PathBuf,
}

impl Version {
    /// Decodes session texts: one request for each, as `tests/django/decode.py` describes it, and
    /// one answer for each, `None` where Django could not read the text.
    pub fn decode(&self, requests: &[Value]) -> Vec<Option<Value>> {
        let parse =
            |json: String| serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        let answers = self.decode_to_text(requests).into_iter();
        answers.map(|answer| answer.map(parse)).collect()
    }

    /// As `decode`, for JSON that must be seen exactly, or that is nested too deep for a `Value`.
    pub fn decode_to_text(&self, requests: &[Value]) -> Vec<Option<String>> {
        let lines: Vec<String> = requests.iter().map(|line| format!("{line}\n")).collect();
        let what = format!("Django {}: decode.py", self.name);
        let mut command = self.python(&["decode.py"]);
        let output = proc::run(&what, &mut command, lines.concat().as_bytes());
        let answer = |line: &str| (line != "CORRUPTED").then(|| line.to_owned());
        let answers: Vec<_> = output.lines().map(answer).collect();
        assert_eq!(answers.len(), requests.len(), "an answer for each request");
        answers
    }

    /// Runs a script of `tests/django`; panics with what it said if it fails.
    pub fn script(&self, args: &[&str], database_url: Option<&str>) -> String {
        let mut command = self.python(args);
        command.envs(database_url.map(|url| ("DATABASE_URL", url)));
        proc::run(&format!("Django {}: {}", self.name, args.join(" ")), &mut command, b"")
    }

    /// Its Python.
    pub fn python_path(&self) -> PathBuf {
        self.python.clone()
    }

    /// As `script`, with settings of the site.
    pub fn script_with(&self, args: &[&str], settings: &[(&str, &str)]) -> String {
        let mut command = self.python(args);
        command.envs(settings.iter().copied());
        proc::run(&format!("Django {}: {}", self.name, args.join(" ")), &mut command, b"")
    }

    fn python(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.args(args).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/django"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// The site of `tests/django`, served by gunicorn; stops with this.
#[derive(Debug)]
pub struct Django {
    pub version: Version,
    settings: Vec<(String, String)>,
    port: u16,
    // In this order: the server ends before its files go.
    group: Group,
    _dir: TempDir,
}

impl Django {
    /// The versions that the site runs under.
    pub fn versions() -> Vec<Version> {
        installed("TEST_DJANGO")
    }

    /// The versions that can decode session texts.
    pub fn codec_versions() -> Vec<Version> {
        installed("TEST_DJANGO_CODEC")
    }

    /// Serves the site with settings such as `("SECRET_KEY", "…")`; what there is to set is in
    /// `tests/django/site_under_test/settings.py`.
    pub fn start(version: &Version, database_url: &str, settings: &[(&str, &str)]) -> Self {
        let dir = TempDir::new("django");
        let port = proc::free_port();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut settings: Vec<_> = settings.iter().map(own).collect();
        settings.push(("DATABASE_URL".to_owned(), database_url.to_owned()));
        let bind = format!("127.0.0.1:{port}");
        let mut command = version.python(&["-m", "gunicorn", "--threads=4"]);
        command.args(["--bind", &bind, "site_under_test.wsgi"]).envs(settings.iter().cloned());
        let what = format!("Django {}", version.name);
        let mut group = Group::start(&what, &mut command, &dir.path().join("log"));
        group.wait_for_port(port);
        let django = Self { version: version.clone(), settings, port, group, _dir: dir };
        // The port opens before the site is loaded.
        let first = Client::new().try_request("GET", &django.url("/untouched"), &[], None);
        match first {
            Ok(reply) if reply.status == 200 => django,
            other => panic!("{what} does not serve its site: {other:?}\n{}", django.log()),
        }
    }

    /// Makes the tables and the superuser; may be run again at any time.
    pub fn prepare(&self) {
        self.manage("prepare");
    }

    /// Runs a command of `manage.py` with the site's settings and gives what it wrote.
    pub fn manage(&self, name: &str) -> String {
        let mut command = self.version.python(&["manage.py", name]);
        command.envs(self.settings.iter().cloned());
        proc::run(&format!("Django {}: {name}", self.version.name), &mut command, b"")
    }

    /// The address of a path such as `/admin/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Logs the superuser in through the admin's form; the client then has the session's cookie.
    pub fn login(&self, client: &mut Client) {
        let reply = self.try_login(client, USER, PASSWORD);
        assert_eq!(reply.status, 302, "the login failed:\n{}\n{}", reply.text(), self.log());
    }

    /// Sends the admin's login form; a login that worked answers with a redirect.
    pub fn try_login(&self, client: &mut Client, user: &str, password: &str) -> Reply {
        let page = "/admin/login/?next=/admin/";
        self.submit(client, page, page, &[("username", user), ("password", password)])
    }

    /// Opens a page and sends the form on it, with its CSRF token, to the path `action`.
    pub fn submit(&self, client: &mut Client, page: &str, action: &str, fields: &[(&str, &str)]) -> Reply {
        let url = self.url(page);
        let form = client.get(&url).text();
        let token = form.split_once("name=\"csrfmiddlewaretoken\" value=\"");
        let token = token.and_then(|(_, rest)| rest.split('"').next());
        let token = token.unwrap_or_else(|| panic!("no form at {url}:\n{form}\n{}", self.log()));
        let mut fields = fields.to_vec();
        fields.push(("csrfmiddlewaretoken", token));
        client.post_form(&self.url(action), &fields)
    }

    /// The log of gunicorn and Django.
    pub fn log(&self) -> String {
        self.group.log()
    }
}

/// Reads lines of `version=path of its python`.
fn installed(variable: &str) -> Vec<Version> {
    let lines = required(variable);
    let versions = lines.lines().map(|line| {
        let (name, python) = line.split_once('=').expect("version=path");
        Version { name: name.to_owned(), python: PathBuf::from(python) }
    });
    versions.collect()
}
