//! Our middleware does the same as Django's MessageMiddleware in every recorded request.
//!
//! The recording is made by tests/django/record_messages.py, and is the same for Django 4.2, 5.2 and 6.1.
//! Where we leave Django on purpose, the deviation is listed here by name, with what we do instead.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    replay::{self, Name, Outcome, Recording},
    support::django::Django,
};

#[test]
#[ignore = "needs Django: run tests/run"]
fn the_recording_is_up_to_date() {
    let versions = Django::versions();
    assert!(!versions.is_empty());
    std::thread::scope(|scope| {
        for version in versions {
            scope.spawn(move || {
                version.script(&["record_messages.py", "--check", "../vectors/messages.json"], None)
            });
        }
    });
}

#[actix_web::test]
async fn we_do_what_django_does() {
    let file = replay::file();
    let names = names(&file);
    let recording = Recording::new(&file, &names);
    assert_eq!(recording.cases.len(), names.len(), "each case has a name of its own");
    assert!(names.len() > 1000, "the recording is short");
    let (mut as_django, mut differences) = (0, Vec::new());
    let mut deviations: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, django) in &recording.cases {
        let ours = recording.request(*name).await;
        if ours == *django {
            as_django += 1;
        } else if let Some(deviation) = on_purpose(&recording, *name, django, &ours) {
            *deviations.entry(deviation).or_default() += 1;
        } else {
            differences.push(format!("{name:?}\n  Django: {django:?}\n  ours:   {ours:?}"));
        }
    }
    assert!(recording.without_vary > 500, "{} without Vary", recording.without_vary);
    println!("{} requests, {as_django} as Django, {deviations:#?}", names.len());
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(as_django > 800, "{as_django} as Django");
}

fn names(file: &Value) -> Vec<[String; 5]> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let cases = file["cases"].as_array().unwrap().iter();
    cases
        .map(|case| ["override", "storage", "cookie", "session", "program"].map(|name| text(&case[name])))
        .collect()
}

/// Cookies whose content Django cannot read, for which it mostly answers 500. Here they are as one with a bad
/// signature.
const UNREADABLE: &[&str] = &[
    "bad_stamp",
    "broken_zlib",
    "empty_stamp",
    "no_stamp",
    "not_zlib",
    "message",
    "number",
    "object",
    "text",
];

/// Cookies with items that are no messages, and those with the messages alone. Django shows some of the
/// items as text, and answers 500 to others.
const WITH_OTHER_ITEMS: &[(&str, &str)] = &[
    ("items", "one"),
    ("nested", "one"),
    ("bare_mark", "one"),
    ("three_items", "one"),
    ("six_items", "one"),
    ("level_text", "one"),
    ("level_null", "one"),
    ("level_list", "one"),
    ("text_number", "one"),
    ("text_null", "one"),
    ("tags_number", "one"),
    ("sentinel_first", "one"),
    ("sentinel_twice", "one_sentinel"),
];

/// The same of the session.
const OTHER_SESSIONS: &[(&str, &str)] =
    &[("items", "one"), ("sentinel", "one"), ("number", "null"), ("raw_list", "null"), ("bad_json", "null")];

/// The name of the deviation, if what we do is what we want to do.
fn on_purpose(
    recording: &Recording<'_>,
    name: Name<'_>,
    django: &Outcome,
    ours: &Outcome,
) -> Option<&'static str> {
    let [over, storage, cookie, session, program] = name;
    if UNREADABLE.contains(&cookie) {
        let wanted = recording.get([over, storage, "other_key", session, program]);
        return same(ours, &wanted).then_some("a signed cookie that cannot be read is ignored");
    }
    if let Some((_, like)) = WITH_OTHER_ITEMS.iter().find(|(name, _)| *name == cookie) {
        let wanted = recording.get([over, storage, like, session, program]);
        return same(ours, &wanted).then_some("items of a cookie that are no messages are ignored");
    }
    if let Some((_, like)) = OTHER_SESSIONS.iter().find(|(name, _)| *name == session) {
        let mut wanted = recording.get([over, storage, cookie, like, program]);
        let of = |name: &str| recording.file["sessions"][name].as_object().cloned();
        if wanted.stored == of(like) {
            wanted.stored = of(session);
        }
        return same(ours, &wanted).then_some("what is no list of messages in the session is ignored");
    }
    let is_compressed = django.cookie.as_ref().is_some_and(|cookie| cookie.exact.is_none());
    (is_compressed && same(ours, django))
        .then_some("zlib-rs compresses to other bytes than zlib, and so often to another length")
}

/// The same but for the length of a cookie that is compressed on both sides. The text in it is the same to
/// the byte, and so is the whole value of one that is not compressed.
fn same(ours: &Outcome, django: &Outcome) -> bool {
    let without_length = |outcome: &Outcome| {
        let mut outcome = outcome.clone();
        if let Some(cookie) = outcome.cookie.as_mut().filter(|cookie| cookie.exact.is_none()) {
            assert!(cookie.length <= 2048);
            cookie.length = 0;
        }
        outcome
    };
    without_length(ours) == without_length(django)
}
