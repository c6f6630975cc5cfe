//! The recording of Django, and the same requests to our middleware.

use std::{collections::BTreeMap, fs, path::Path};

use actix_django_session::{
    SameSite, SecretKey, Session, SessionKey, SessionSettings, Store,
    backend::Memory,
    messages::{MessageLevel, MessageSettings, MessageStorage},
};
use actix_web::{App, body::to_bytes, http::header, test};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::{app, support::signing};

/// The key of the signature, in front of the site's secret.
const SALT: &str = "django.contrib.messages";
const PREFIX: &str = "django.http.cookies";

/// The stamp of the recording.
const STAMP: &str = "1r31eq";

pub(crate) const OLD_KEY: &str = "the key before";

/// The file that tests/django/record_messages.py writes, the same for every Django.
pub(crate) fn file() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/messages.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// What identifies a case: override, storage, cookie, session, program.
pub(crate) type Name<'a> = [&'a str; 5];

/// One request's outcome.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) status: u64,
    pub(crate) results: Value,
    pub(crate) cookie: Option<MessagesCookie>,
    pub(crate) session_cookie: Value,
    /// Missing without a session.
    pub(crate) stored: Option<Map<String, Value>>,
    pub(crate) vary: Value,
}

/// A `Set-Cookie` line of the messages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MessagesCookie {
    /// The JSON text; none if the cookie is deleted.
    pub(crate) json: Option<String>,
    /// The exact value, unless it is compressed.
    pub(crate) exact: Option<String>,
    pub(crate) length: usize,
    pub(crate) attributes: String,
}

impl MessagesCookie {
    /// Checks the signature, and replaces our stamp by the recording's.
    fn new(line: &str, secret: &str) -> Self {
        let (value, attributes) = line.strip_prefix("messages=").unwrap().split_once(';').unwrap();
        let attributes = attributes.to_owned();
        if value == "\"\"" {
            return Self { json: None, exact: None, length: 0, attributes };
        }
        let (body, rest) = value.split_once(':').unwrap();
        let (stamp, _) = rest.split_once(':').unwrap();
        let sign = |text: &str| signing::sign(text, SALT, &format!("{PREFIX}{secret}"));
        assert_eq!(sign(&format!("{body}:{stamp}")), value, "the signature");
        let payload = match body.strip_prefix('.') {
            Some(body) => inflate(&URL_SAFE_NO_PAD.decode(body).unwrap()),
            None => URL_SAFE_NO_PAD.decode(body).unwrap(),
        };
        let json = String::from_utf8(payload).unwrap();
        let exact = (!body.starts_with('.')).then(|| sign(&format!("{body}:{STAMP}")));
        Self { json: Some(json), exact, length: value.len(), attributes }
    }
}

fn inflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::ZlibDecoder::new(bytes), &mut out).unwrap();
    out
}

/// The recording by the names of its cases.
pub(crate) struct Recording<'a> {
    pub(crate) file: &'a Value,
    pub(crate) cases: BTreeMap<Name<'a>, Outcome>,
    overrides: BTreeMap<String, &'a Value>,
    secret: &'a str,
    /// How many responses of Django lack the `Vary` of ours.
    pub(crate) without_vary: usize,
}

impl<'a> Recording<'a> {
    pub(crate) fn new(file: &'a Value, names: &'a [[String; 5]]) -> Self {
        let secret = file["settings"]["SECRET_KEY"].as_str().unwrap();
        let (cases, overrides) = (BTreeMap::new(), BTreeMap::new());
        let mut recording = Self { file, cases, overrides, secret, without_vary: 0 };
        for (case, name) in file["cases"].as_array().unwrap().iter().zip(names) {
            recording.overrides.insert(name[0].clone(), &case["override"]);
            let before = &file["sessions"][&name[3]];
            let stored = case.get("stored").unwrap_or(before).as_object().cloned();
            let mut outcome = Outcome {
                status: case["status"].as_u64().unwrap(),
                results: case["results"].clone(),
                cookie: case["set_cookie"].as_str().map(|line| MessagesCookie::new(line, secret)),
                session_cookie: case["session_cookie"].clone(),
                stored,
                vary: case["vary"].clone(),
            };
            // Whoever looks at the cookie depends on it. Django says so of the session's only.
            let mut ops = file["programs"][&name[4]].as_array().unwrap().iter();
            let shows = ops.any(|op| op[0] == "messages" || op[0] == "count_messages");
            if name[1] != "session" && (shows || outcome.cookie.is_some()) && outcome.vary.is_null() {
                outcome.vary = json!("Cookie");
                recording.without_vary += 1;
            }
            let name = [&*name[0], &*name[1], &*name[2], &*name[3], &*name[4]];
            recording.cases.insert(name, outcome);
        }
        recording
    }

    /// What Django did in another case.
    pub(crate) fn get(&self, name: Name<'_>) -> Outcome {
        let found = self.cases.iter().find(|(known, _)| **known == name);
        found.unwrap_or_else(|| panic!("not recorded: {name:?}")).1.clone()
    }

    /// The same request, to our middleware.
    pub(crate) async fn request(&self, [over, storage, cookie, session, program]: Name<'_>) -> Outcome {
        let over = self.overrides[over];
        let settings = session_settings(over);
        let cookie_name = over["SESSION_COOKIE_NAME"].as_str().unwrap_or("sessionid");
        let secret = || SecretKey::new(self.secret).with_fallbacks([OLD_KEY]);
        let store = Store::new(Memory::new(), secret());
        let key = seed(&store, &self.file["sessions"][session]).await;
        let mut cookies = Vec::new();
        cookies.extend(key.as_ref().map(|key| format!("{cookie_name}={}", key.as_str())));
        cookies.extend(self.file["cookies"][cookie].as_str().map(|value| format!("messages={value}")));

        let configure = app::configure(store.clone(), settings, secret(), message_settings(over, storage));
        let app = test::init_service(App::new().configure(configure)).await;
        let mut request =
            test::TestRequest::post().uri("/ops").set_json(self.file["programs"][program].clone());
        if !cookies.is_empty() {
            request = request.insert_header((header::COOKIE, cookies.join("; ")));
        }
        let response = test::call_service(&app, request.to_request()).await;

        let status = u64::from(response.status().as_u16());
        let headers = response.headers().clone();
        let text = |name| headers.get_all(name).map(|value| value.to_str().unwrap().to_owned());
        let line = |name: &str| {
            let mut lines = text(header::SET_COOKIE).filter(|line| line.starts_with(&format!("{name}=")));
            let line = lines.next();
            assert_eq!(lines.next(), None);
            line
        };
        let session_line = line(cookie_name);
        let deleted = session_line.as_ref().is_some_and(|line| line.contains("=\"\""));
        let new_key = session_line.as_ref().filter(|_| !deleted).map(|line| {
            let value = line.split(['=', ';']).nth(1).unwrap();
            SessionKey::parse(value).unwrap()
        });
        let body = to_bytes(response.into_body()).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        Outcome {
            status,
            results: body["results"].clone(),
            cookie: line("messages").map(|line| MessagesCookie::new(&line, self.secret)),
            session_cookie: match session_line {
                None => Value::Null,
                Some(_) => json!(if deleted { "deleted" } else { "set" }),
            },
            stored: stored(&store, new_key.or(key)).await,
            vary: text(header::VARY).next().map_or(Value::Null, Value::String),
        }
    }
}

async fn seed(store: &Store, data: &Value) -> Option<SessionKey> {
    let session = Session::new(store);
    session.extend(data.as_object()?).unwrap();
    session.save().await.unwrap();
    session.session_key()
}

async fn stored(store: &Store, key: Option<SessionKey>) -> Option<Map<String, Value>> {
    let session = Session::open(store, &key?).await.unwrap()?;
    let value = |key: &String| serde_json::from_str(&session.get_json(key).unwrap()).unwrap();
    Some(session.keys().iter().map(|key| (key.clone(), value(key))).collect())
}

fn session_settings(over: &Value) -> SessionSettings {
    let mut settings = SessionSettings::default();
    for (name, value) in over.as_object().into_iter().flatten() {
        settings = match name.as_str() {
            "SESSION_COOKIE_DOMAIN" => settings.cookie_domain(value.as_str().unwrap()),
            "SESSION_COOKIE_SECURE" => settings.cookie_secure(value == true),
            "SESSION_COOKIE_HTTPONLY" => settings.cookie_httponly(value == true),
            "SESSION_COOKIE_PATH" => settings.cookie_path(value.as_str().unwrap()),
            "SESSION_COOKIE_NAME" => settings.cookie_name(value.as_str().unwrap()),
            "SESSION_COOKIE_SAMESITE" => settings.cookie_samesite(match value.as_str() {
                Some("Strict") => Some(SameSite::Strict),
                Some("None") => Some(SameSite::None),
                None => None,
                Some(other) => panic!("{other}"),
            }),
            _ => settings,
        };
    }
    settings
}

fn message_settings(over: &Value, storage: &str) -> MessageSettings {
    let mut settings = MessageSettings::default().storage(match storage {
        "fallback" => MessageStorage::Fallback,
        "cookie" => MessageStorage::Cookie,
        _ => MessageStorage::Session,
    });
    if let Some(level) = over["MESSAGE_LEVEL"].as_i64() {
        settings = settings.level(MessageLevel::new(level));
    }
    for (level, tag) in over["MESSAGE_TAGS"].as_object().into_iter().flatten() {
        settings = settings.tag(MessageLevel::new(level.parse().unwrap()), tag.as_str().unwrap());
    }
    settings
}
