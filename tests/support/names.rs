//! Names in place of what is different each time, as in the recordings of tests/django/names.py.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::{
    site::{iso, to_iso},
    table::{Row, read},
};

pub fn shift(now: SystemTime, seconds: f64) -> SystemTime {
    let distance = Duration::from_secs_f64(seconds.abs());
    if seconds < 0.0 { now - distance } else { now + distance }
}

/// `<now+N>` in a program becomes a date.
pub fn replace_dates(value: &Value, now: SystemTime) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| replace_dates(item, now)).collect(),
        Value::String(text) if text.starts_with("<now") => {
            to_iso(shift(now, text.trim_matches(['<', '>']).trim_start_matches("now").parse().unwrap()))
                .into()
        }
        other => other.clone(),
    }
}

/// Keys and dates under the names that the recording gives them, in the order of their sight.
#[derive(Debug)]
pub struct Names(Vec<(String, String)>);

impl Names {
    pub fn new(same: Option<&str>) -> Self {
        Self(same.map(|key| (key.to_owned(), "<same>".to_owned())).into_iter().collect())
    }

    pub fn key(&mut self, key: &str) -> String {
        if let Some((_, name)) = self.0.iter().find(|(known, _)| known == key) {
            return name.clone();
        }
        let new = self.0.iter().filter(|(_, name)| name != "<same>").count();
        let name = if new == 0 { "<new>".to_owned() } else { format!("<new{}>", new + 1) };
        self.0.push((key.to_owned(), name.clone()));
        name
    }

    pub fn cookie(&mut self, line: &str) -> String {
        let (value, attributes) = line.strip_prefix("sessionid=").unwrap().split_once(';').unwrap();
        if value == "\"\"" {
            return line.to_owned();
        }
        let key = self.key(value);
        let attributes: Vec<&str> = attributes.split(';').collect();
        let attributes = attributes.iter().map(|attribute| match attribute.trim().starts_with("expires=") {
            true => " expires=<expires>",
            false => attribute,
        });
        format!("sessionid={key};{}", attributes.collect::<Vec<_>>().join(";"))
    }

    /// A row with its data decoded; what cannot be read is null.
    pub fn row(&mut self, row: &Row, secret: &str, now: SystemTime) -> Value {
        let data = read(&row.text, secret);
        let data = data.and_then(|text| serde_json::from_str::<Map<String, Value>>(&text).ok());
        let data =
            data.map(|data| Value::Object(data.into_iter().map(|(k, v)| (k, self.result(v, now))).collect()));
        let expires_in = match row.expires.duration_since(now) {
            Ok(later) => later.as_secs_f64(),
            Err(earlier) => -earlier.duration().as_secs_f64(),
        };
        let tens = (expires_in / 10.0).round() as i64 * 10;
        json!({"key": self.key(&row.key), "data": data, "expires_in": tens})
    }

    pub fn result(&mut self, value: Value, now: SystemTime) -> Value {
        match value {
            Value::Object(mut flags) if flags.contains_key("accessed") => {
                if let Some(key) = flags["key"].as_str().map(str::to_owned) {
                    flags.insert("key".into(), self.key(&key).into());
                }
                Value::Object(flags)
            }
            // An expiry_date, or a date that was stored.
            Value::Number(n) if n.as_f64().is_some_and(|n| n > 1e9) => {
                let since =
                    n.as_f64().unwrap() - now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
                now_plus(since)
            }
            Value::String(text) if text.len() == 32 && text.contains('T') && text.ends_with("+00:00") => {
                let date = iso(&text);
                now_plus(
                    date.duration_since(now)
                        .map_or_else(|before| -before.duration().as_secs_f64(), |after| after.as_secs_f64()),
                )
            }
            Value::Array(items) => items.into_iter().map(|item| self.result(item, now)).collect(),
            other => other,
        }
    }
}

fn now_plus(seconds: f64) -> Value {
    format!("<now{:+}>", (seconds / 10.0).round() as i64 * 10).into()
}
