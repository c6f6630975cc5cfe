//! The file that `tests/django/record_login.py` writes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

#[derive(Deserialize)]
pub(crate) struct Recording {
    pub(crate) recorded: Vec<String>,
    pub(crate) secrets: Vec<String>,
    /// For each key type: name, key, whether active.
    pub(crate) users: BTreeMap<String, Vec<(String, Value, bool)>>,
    sessions: BTreeMap<String, Box<RawValue>>,
    /// For each key type: what a name in angle brackets stands for.
    values: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) tables: PermissionTables,
    pub(crate) cases: Vec<Case>,
}

#[derive(Deserialize)]
pub(crate) struct PermissionTables {
    pub(crate) types: Vec<(i32, String, String)>,
    pub(crate) permissions: Vec<(i32, i32, String)>,
    pub(crate) groups: Vec<(i32, String, Vec<i32>)>,
    pub(crate) asked: Vec<String>,
    pub(crate) modules: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) part: String,
    #[serde(default)]
    pub(crate) model: String,
    session: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) ops: Vec<Vec<Value>>,
    pub(crate) status: Option<u16>,
    pub(crate) backends: Option<Vec<String>>,
    // Of hashes:
    #[serde(default)]
    pub(crate) secret: String,
    #[serde(default)]
    pub(crate) column: String,
    // Of permissions:
    #[serde(default)]
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, bool>,
    #[serde(default, rename = "in")]
    pub(crate) groups: Vec<i32>,
    #[serde(default)]
    pub(crate) own: Vec<i32>,
    outcome: Option<Box<RawValue>>,
    outcomes: Option<Vec<(Vec<String>, Box<RawValue>)>>,
}

/// What a browser presents.
pub(crate) enum Before {
    NoCookie,
    Unknown,
    /// Names and JSON texts.
    Session(Vec<(String, String)>),
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) results: Option<Vec<Value>>,
    pub(crate) cookie: Option<String>,
    pub(crate) before: Option<String>,
    #[serde(deserialize_with = "texts")]
    pub(crate) data: Option<Vec<(String, String)>>,
    pub(crate) others: usize,
    pub(crate) last_login: Vec<String>,
    pub(crate) then: Option<String>,
}

fn texts<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Vec<(String, String)>>, D::Error> {
    let pairs: Vec<(String, Box<RawValue>)> = Vec::deserialize(from)?;
    Ok(Some(pairs.into_iter().map(|(name, json)| (name, json.get().to_owned())).collect()))
}

impl Recording {
    pub(crate) fn read() -> Self {
        serde_json::from_str(include_str!("../../vectors/login.json")).unwrap()
    }

    pub(crate) fn of<'a>(&'a self, part: &'a str) -> impl Iterator<Item = &'a Case> {
        self.cases.iter().filter(move |case| case.part == part)
    }

    /// The case that begins with another named session and is the same otherwise.
    pub(crate) fn twin(&self, case: &Case, session: &str) -> Option<&Case> {
        let session = format!("\"{session}\"");
        self.cases.iter().find(|other| {
            other.session.as_deref().map(RawValue::get) == Some(&session)
                && (&other.part, &other.ops, other.status, &other.backends)
                    == (&case.part, &case.ops, case.status, &case.backends)
        })
    }

    /// What the browser of a case presents, with values for their names.
    pub(crate) fn before(&self, case: &Case) -> Before {
        let mut json = case.session.as_deref().map_or("null", RawValue::get);
        if let Some(named) =
            serde_json::from_str::<String>(json).ok().and_then(|name| self.sessions.get(&name))
        {
            json = named.get();
        }
        match json {
            "null" => Before::NoCookie,
            "\"unknown\"" => Before::Unknown,
            pairs => {
                let pairs: Vec<(String, Box<RawValue>)> = serde_json::from_str(pairs).unwrap();
                let value = |json: Box<RawValue>| self.with_values(case, json.get());
                Before::Session(pairs.into_iter().map(|(name, json)| (name, value(json))).collect())
            }
        }
    }

    /// A text of the case with values for their names.
    pub(crate) fn with_values(&self, case: &Case, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.values[&case.model] {
            text = text.replace(name, value);
        }
        let repeated = || {
            let (number, item) = text.strip_prefix("\"<")?.strip_suffix(">\"")?.split_once(" x ")?;
            Some(format!("\"{}\"", item.repeat(number.parse().ok()?)))
        };
        repeated().unwrap_or(text)
    }

    /// The reverse, for a JSON text that is one value: a hash without a name is `<new>`.
    pub(crate) fn with_name(&self, case: &Case, json: &str) -> String {
        let Ok(text) = serde_json::from_str::<String>(json) else { return json.to_owned() };
        let is_hash =
            text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) && !text.starts_with("0000");
        match self.values[&case.model].iter().find(|(_, value)| **value == text) {
            Some((name, _)) => format!("\"{name}\""),
            None if is_hash => "\"<new>\"".to_owned(),
            None => json.to_owned(),
        }
    }
}

impl Case {
    /// The outcome with the newest Django on this kind of database.
    pub(crate) fn outcome<'a, T: Deserialize<'a>>(&'a self, database: &str) -> T {
        let json = self.outcome.as_ref().or_else(|| {
            let outcomes = self.outcomes.iter().flatten();
            let label = |labels: &&String| labels.ends_with(database);
            let newest =
                outcomes.filter_map(|(labels, json)| Some((labels.iter().filter(label).max()?, json)));
            newest.max_by_key(|(label, _)| *label).map(|(_, json)| json)
        });
        serde_json::from_str(json.expect("an outcome").get()).unwrap()
    }

    /// The name of what it begins with, if that has one.
    pub(crate) fn session_name(&self) -> Option<String> {
        serde_json::from_str(self.session.as_deref()?.get()).ok()
    }

    /// For messages.
    pub(crate) fn title(&self) -> String {
        let session: String = self.session.as_deref().map_or("", RawValue::get).chars().take(300).collect();
        let rest = [
            self.status.map(|status| format!("status {status}")),
            self.backends.as_ref().map(|b| b.join(" ")),
        ];
        let ops: Vec<String> = self.ops.iter().map(|op| Value::from(op.clone()).to_string()).collect();
        format!(
            "{} {} {session}: {} {}",
            self.part,
            self.model,
            ops.join(" "),
            rest.into_iter().flatten().collect::<String>()
        )
    }
}
