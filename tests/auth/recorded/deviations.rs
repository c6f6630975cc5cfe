//! Differences from Django's logins, each with its reason and with what Django's outcome becomes. They apply
//! in this order.

use serde_json::Value;

use super::file::{Before, Case, Outcome, Recording};

/// A case, and where it is carried out.
pub(crate) struct Question<'a> {
    pub(crate) recording: &'a Recording,
    pub(crate) case: &'a Case,
    pub(crate) database: &'a str,
}

/// `None`: the rule is not about this case.
type Rule = fn(&Question<'_>, &Outcome) -> Option<Outcome>;

pub(crate) const DEVIATIONS: &[(&str, Rule)] = &[
    ("a key that no user can have is nobody's, where Django answers with 500", impossible_key),
    ("login and logout replace a session of such a key, as of a user who is gone", impossible_key_replaced),
    ("a UUID with signs, underscores or foreign digits is nobody's: Django never writes one", odd_uuid),
    ("an inactive user is not logged in: 403, and nothing is touched", inactive),
    ("who changes the password is not logged out because nothing looked at the user before", not_looked_at),
    ("a response with 5xx loses no session and leaves no orphan", server_error),
];

fn impossible_key(question: &Question<'_>, djangos: &Outcome) -> Option<Outcome> {
    let case = question.case;
    let is_about = matches!(&*case.part, "id" | "user") && case.status.is_none() && djangos.status == 500;
    is_about.then(|| Outcome { status: 200, results: Some(vec![Value::Null]), ..djangos.clone() })
}

fn impossible_key_replaced(question: &Question<'_>, _: &Outcome) -> Option<Outcome> {
    let Question { recording, case, database } = question;
    let json = match &*case.session_name()? {
        "malformed" => "\"abc\"",
        "a list" => "[]",
        _ => return None,
    };
    let mut outcome: Outcome = recording.twin(case, "nobody")?.outcome(database);
    for (_, value) in outcome.data.iter_mut().flatten().filter(|(_, value)| value == "\"99\"") {
        *value = json.to_owned();
    }
    Some(outcome)
}

fn odd_uuid(question: &Question<'_>, djangos: &Outcome) -> Option<Outcome> {
    let Before::Session(pairs) = question.recording.before(question.case) else { return None };
    let id: String = serde_json::from_str(&pairs.first()?.1).ok()?;
    let is_odd = |c: char| !c.is_ascii() || matches!(c, '+' | '_');
    let is_about = question.case.model == "uuid" && id.contains(is_odd);
    is_about.then(|| Outcome { results: Some(vec![Value::Null]), then: None, ..djangos.clone() })
}

fn inactive(question: &Question<'_>, djangos: &Outcome) -> Option<Outcome> {
    let case = question.case;
    let is_login = |op: &Vec<Value>| op[0] == "login" && op[1] == "ida";
    let is_about = case.ops.iter().any(is_login) && case.backends.is_none();
    let nothing = Outcome {
        status: 403,
        before: djangos.before.clone(),
        then: of_before(question),
        ..Outcome::default()
    };
    is_about.then(|| kept(nothing))
}

fn not_looked_at(question: &Question<'_>, djangos: &Outcome) -> Option<Outcome> {
    let Question { recording, case, database } = question;
    let is_about = |other: &&Case| other.part == "update" && other.session_name() == case.session_name();
    let is_of_ann = case.session_name().is_some_and(|name| ["ann", "ann, fallback"].contains(&&*name));
    if !is_of_ann || !is_about(case) || case.ops[0][0] != "set_password" || djangos.status != 200 {
        return None;
    }
    // The same, but for a look at the user before.
    let looked = recording.cases.iter().filter(is_about).find(|other| other.ops[1..] == case.ops[..])?;
    let mut outcome: Outcome = looked.outcome(database);
    outcome.results.as_mut()?.remove(0);
    Some(outcome)
}

fn server_error(question: &Question<'_>, djangos: &Outcome) -> Option<Outcome> {
    let is_about =
        djangos.status >= 500 && djangos.cookie.is_none() && djangos.results.is_some() | raises(question);
    let then = if djangos.then.is_some() { djangos.then.clone() } else { of_before(question) };
    is_about.then(|| kept(Outcome { others: 0, then, ..djangos.clone() }))
}

fn raises(question: &Question<'_>) -> bool {
    // A login with several backends raises as well, unless it names one.
    question.case.ops.iter().any(|op| op[0] == "raise") || question.case.backends.is_some()
}

fn kept(outcome: Outcome) -> Outcome {
    let before = outcome.before.as_ref().map(|_| "kept".to_owned());
    Outcome { before, data: None, cookie: None, ..outcome }
}

/// The user of the session before the request, if that session is still valid afterwards.
fn of_before(question: &Question<'_>) -> Option<String> {
    let Before::Session(pairs) = question.recording.before(question.case) else { return None };
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, json)| &**json);
    let named = |json: &str| question.recording.with_name(question.case, json);
    if named(value("_auth_user_backend")?) != "\"<Model>\"" {
        return None;
    }
    let name = match (value("_auth_user_id")?, &*named(value("_auth_user_hash")?)) {
        ("\"1\"" | "1" | "\" 01\"", "\"<ann>\"" | "\"<ann 2>\"" | "\"<ann 3>\"") => "ann",
        ("\"10\"", "\"<bob>\"") => "bob",
        _ => return None,
    };
    let is_changed = question.case.ops.iter().any(|op| op[0] == "set_password" && op[1] == name);
    (!is_changed).then(|| name.to_owned())
}
