//! A real Chromium, told what to do over WebDriver.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::http::Client;
use super::proc::{self, Group, TempDir};
use super::required;

/// A headless browser with a profile of its own, closed with this.
///
/// Looking for an element waits up to ten seconds for it, and panics when there is none.
#[derive(Debug)]
pub struct Browser {
    // In this order: the browser ends before its profile goes.
    _driver: Group,
    _dir: TempDir,
    session: String,
}

impl Browser {
    pub fn start() -> Self {
        let dir = TempDir::new("browser");
        let port = proc::free_port();
        let mut command = Command::new(required("TEST_CHROMEDRIVER"));
        command.arg(format!("--port={port}"));
        // Chromium writes to the home directory too, with any profile.
        command.env("HOME", dir.path());
        let mut driver = Group::start("chromedriver", &mut command, &dir.path().join("log"));
        driver.wait_for_port(port);
        let args = [
            "--headless",
            "--no-sandbox", // root cannot have the sandbox
            "--disable-gpu",
            "--disable-dev-shm-usage",
            // It must request nothing but the test's own pages.
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1000,800",
        ];
        let mut args = args.map(str::to_owned).to_vec();
        args.push(format!("--user-data-dir={}", dir.path().join("profile").display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "timeouts": { "implicit": 10_000, "pageLoad": 40_000, "script": 30_000 },
            "goog:chromeOptions": { "binary": required("TEST_CHROMIUM"), "args": args },
        }}});
        let base = format!("http://127.0.0.1:{port}/session");
        let started = command_at("POST", &base, &wanted)
            .unwrap_or_else(|error| panic!("Chromium does not start: {error}\n{}", driver.log()));
        let id = started["sessionId"].as_str().expect("a session id");
        Self { _driver: driver, _dir: dir, session: format!("{base}/{id}") }
    }

    pub fn goto(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    pub fn url(&self) -> String {
        text_of(&self.get("url"))
    }

    pub fn title(&self) -> String {
        text_of(&self.get("title"))
    }

    /// Panics when the CSS selector finds nothing.
    pub fn find(&self, css: &str) {
        self.element(css, "GET", "name", &Value::Null);
    }

    pub fn click(&self, css: &str) {
        self.element(css, "POST", "click", &json!({}));
    }

    /// Types into a field, after what it holds.
    pub fn type_text(&self, css: &str, text: &str) {
        self.element(css, "POST", "value", &json!({ "text": text }));
    }

    /// The text that a reader sees. After a click that leads to another page this may still be the
    /// old page's: `wait_for_text` then.
    pub fn text(&self, css: &str) -> String {
        text_of(&self.element(css, "GET", "text", &Value::Null))
    }

    /// Waits until the element's text holds `text`.
    pub fn wait_for_text(&self, css: &str, text: &str) {
        let what = format!("{css} should say {text:?}");
        proc::wait_until(&what, proc::PATIENCE, || self.text(css).contains(text));
    }

    /// Runs the body of a function; a promise is awaited.
    pub fn script(&self, body: &str) -> Value {
        self.post("execute/sync", &json!({ "script": body, "args": [] }))
    }

    /// The cookies of the page, as WebDriver describes them.
    pub fn cookies(&self) -> Vec<Value> {
        self.get("cookie").as_array().cloned().unwrap_or_default()
    }

    pub fn cookie(&self, name: &str) -> Option<Value> {
        self.cookies().into_iter().find(|cookie| cookie["name"] == name)
    }

    /// Saves what the window shows as PNG.
    pub fn screenshot(&self, file: &Path) {
        let png = STANDARD.decode(text_of(&self.get("screenshot"))).expect("base64");
        std::fs::write(file, png).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }

    /// Does something with the first element that the selector finds.
    fn element(&self, css: &str, method: &str, what: &str, body: &Value) -> Value {
        let mut result = Err(String::new());
        proc::wait_until(&format!("{css} should stay in the page"), proc::PATIENCE, || {
            let found = self.post("element", &json!({ "using": "css selector", "value": css }));
            let id = found.as_object().and_then(|element| element.values().next());
            let path = format!("element/{}/{what}", text_of(id.expect("an element")));
            result = self.command(method, &path, body);
            // The page may have changed in between.
            // Chromium's errors for an element whose page is gone.
            let gone = ["stale element reference", "does not belong to the document"];
            !matches!(&result, Err(error) if gone.iter().any(|text| error.contains(text)))
        });
        result.unwrap_or_else(|error| panic!("browser: {what} of {css}: {error}"))
    }

    fn get(&self, path: &str) -> Value {
        let result = self.command("GET", path, &Value::Null);
        result.unwrap_or_else(|error| panic!("browser: {path}: {error}"))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let result = self.command("POST", path, body);
        result.unwrap_or_else(|error| panic!("browser: {path} {body}: {error}"))
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        command_at(method, &format!("{}/{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Lets Chromium close by itself, with the processes that it puts into other groups.
        command_at("DELETE", &self.session, &Value::Null).ok();
    }
}

fn command_at(method: &str, url: &str, body: &Value) -> Result<Value, String> {
    let body = (method == "POST").then(|| body.to_string());
    let headers = [("content-type", "application/json")];
    let body = body.as_deref().map(str::as_bytes);
    let reply = Client::new().try_request(method, url, &headers, body);
    let reply = reply.map_err(|error| error.to_string())?;
    let value = reply.json()["value"].take();
    if reply.status == 200 { Ok(value) } else { Err(value["message"].to_string()) }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}
