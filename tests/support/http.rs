//! An HTTP client that shows everything and does little by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use ureq::{Agent, SendBody, http};

/// A browser's memory for cookies, and requests that carry them.
///
/// The cookies go by their names alone: two servers on two ports of one host share them, as they
/// do in a browser. Domain, Path and Secure are not looked at. Nothing is followed or retried.
/// A clone has a jar of its own.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    pub cookies: BTreeMap<String, String>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub url: String,
    pub status: u16,
    /// In the order received, names in lower case, values as they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0) // a server that was restarted must not surprise
            .allow_non_standard_methods(true)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)));
        Self { agent: config.build().into(), cookies: BTreeMap::new() }
    }

    pub fn get(&mut self, url: &str) -> Reply {
        self.request("GET", url, &[], None)
    }

    pub fn post_json(&mut self, url: &str, body: &Value) -> Reply {
        let json = [("content-type", "application/json")];
        self.request("POST", url, &json, Some(body.to_string().as_bytes()))
    }

    pub fn post_form(&mut self, url: &str, fields: &[(&str, &str)]) -> Reply {
        let pairs = fields.iter().map(|(name, value)| format!("{}={}", quote(name), quote(value)));
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let body = pairs.collect::<Vec<_>>().join("&");
        self.request("POST", url, &form, Some(body.as_bytes()))
    }

    /// Goes where a redirect points.
    pub fn follow(&mut self, reply: &Reply) -> Reply {
        let to = reply.header("location").unwrap_or_else(|| panic!("no redirect: {reply:?}"));
        if to.starts_with("http") {
            return self.get(to);
        }
        assert!(to.starts_with('/'), "a Location that is not understood here: {to}");
        let origin = reply.url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        self.get(&format!("{origin}{to}"))
    }

    /// Any request. A `cookie` header given here goes out alone, instead of those of the jar.
    pub fn request(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Reply {
        self.try_request(method, url, headers, body).unwrap_or_else(|error| panic!("{method} {url}: {error}"))
    }

    /// As `request`, for a server that may not answer.
    pub fn try_request(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Reply, ureq::Error> {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, value.as_bytes());
        }
        let raw = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("cookie"));
        if !raw && !self.cookies.is_empty() {
            let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
            request = request.header("cookie", pairs.collect::<Vec<_>>().join("; ").as_bytes());
        }
        let mut response = match body {
            Some(body) => self.agent.run(request.body(body)?)?,
            None => self.agent.run(request.body(SendBody::none())?)?,
        };
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let reply = Reply {
            url: url.to_owned(),
            status: response.status().as_u16(),
            headers: response.headers().iter().map(|(n, v)| (n.to_string(), text(v))).collect(),
            body: response.body_mut().read_to_vec()?,
        };
        for line in reply.set_cookies() {
            self.keep(line);
        }
        Ok(reply)
    }

    fn keep(&mut self, line: &str) {
        let mut parts = line.split(';').map(|part| part.trim().split_once('=').unwrap_or((part, "")));
        let (name, value) = parts.next().unwrap_or_default();
        let attribute = |wanted: &str| {
            let mut parts = parts.clone();
            parts.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let expired = match attribute("max-age").and_then(|age| age.parse::<i64>().ok()) {
            Some(age) => age <= 0,
            None => attribute("expires").is_some_and(|date| date.contains("1970")),
        };
        if expired {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

impl Reply {
    /// The first header of that name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    /// Every header of that name (in lower case).
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Every `Set-Cookie` line, exactly as it came.
    pub fn set_cookies(&self) -> Vec<&str> {
        self.all("set-cookie")
    }

    /// The `Set-Cookie` line of that cookie; panics when it was set twice.
    pub fn set_cookie(&self, name: &str) -> Option<&str> {
        let mut lines = self.set_cookies();
        lines.retain(|line| line.split('=').next() == Some(name));
        assert!(lines.len() < 2, "{name} was set twice: {lines:?}");
        lines.pop()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics when it is not.
    pub fn json(&self) -> Value {
        let json = serde_json::from_slice(&self.body);
        json.unwrap_or_else(|e| panic!("{} {}: {e}: {}", self.status, self.url, self.text()))
    }
}

fn quote(text: &str) -> String {
    let quoted = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    quoted.collect()
}
