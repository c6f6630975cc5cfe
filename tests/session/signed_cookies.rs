//! Sessions in the cookie itself.

use std::time::{Duration, SystemTime};

use actix_django_session::{SecretKey, Session, SessionSettings, Store};
use serde_json::json;

use crate::support::{http::Client, signing, site::Site};

const SECRET: &str = "a secret";

fn store() -> Store {
    Store::signed_cookies(SecretKey::new(SECRET))
}

fn site(settings: SessionSettings) -> Site {
    Site::start(settings, async || store())
}

fn ask(client: &mut Client, site: &Site, program: serde_json::Value) -> crate::support::http::Reply {
    let json = [("content-type", "application/json")];
    client.request("POST", &site.url("/ops"), &json, Some(program.to_string().as_bytes()))
}

#[test]
fn a_visit_of_several_requests() {
    let site = site(SessionSettings::default());
    let mut visitor = Client::new();
    ask(&mut visitor, &site, json!([["set", "k", 1]]));
    let first = visitor.cookies["sessionid"].clone();
    assert!(first.starts_with("eyJrIjoxfQ:"), "the data, which anybody can read: {first}");

    let reply = ask(&mut visitor, &site, json!([["get", "k"]]));
    assert_eq!(reply.json()["results"], json!([1]));
    assert!(reply.set_cookies().is_empty(), "reading sets no cookie");

    ask(&mut visitor, &site, json!([["incr", "k"], ["cycle_key"]]));
    assert_ne!(visitor.cookies["sessionid"], first);
    assert_eq!(ask(&mut visitor, &site, json!([["get", "k"]])).json()["results"], json!([2]));

    ask(&mut visitor, &site, json!([["flush"]]));
    assert_eq!(visitor.cookies.get("sessionid"), None);
}

#[test]
fn a_tampered_cookie_is_an_empty_session() {
    let site = site(SessionSettings::default());
    let mut visitor = Client::new();
    ask(&mut visitor, &site, json!([["set", "admin", false]]));
    let right = visitor.cookies["sessionid"].clone();
    let forged = right.replacen("eyJhZG1pbiI6ZmFsc2V9", "eyJhZG1pbiI6dHJ1ZX0", 1);
    assert_ne!(forged, right);
    visitor.cookies.insert("sessionid".into(), forged.clone());
    let reply = ask(&mut visitor, &site, json!([["get", "admin"], ["keys"]]));
    assert_eq!(reply.json()["results"], json!([null, []]));
    assert_eq!(visitor.cookies["sessionid"], forged, "a look leaves the cookie alone");
    ask(&mut visitor, &site, json!([["set", "k", 1]]));
    assert_eq!(ask(&mut visitor, &site, json!([["items"]])).json()["results"], json!([[["k", 1]]]));
}

#[test]
fn a_session_that_does_not_fit_is_an_error_and_the_old_one_stays() {
    let site = site(SessionSettings::default());
    let logs = site.logs();
    let mut visitor = Client::new();
    ask(&mut visitor, &site, json!([["set", "k", 1]]));
    let before = visitor.cookies["sessionid"].clone();
    // Random text does not shrink.
    let noise: String =
        (0..200).map(|_| actix_django_session::SessionKey::generate().as_str().to_owned()).collect();
    let reply = ask(&mut visitor, &site, json!([["set", "noise", noise]]));
    assert_eq!((reply.status, reply.set_cookies().len()), (500, 0));
    assert!(!reply.text().contains("4096"), "the client learns no more");
    assert_eq!(logs.with("browsers keep 4096").len(), 1, "{:?}", logs.lines());
    assert_eq!(visitor.cookies["sessionid"], before);
    assert_eq!(ask(&mut visitor, &site, json!([["get", "k"]])).json()["results"], json!([1]));
}

#[test]
fn the_cookie_name_and_attributes_count_against_the_limit() {
    let settings = SessionSettings::default().cookie_name("n".repeat(200));
    let site = site(settings);
    let mut visitor = Client::new();
    // About 3,900 bytes signed: fits alone, and not with such a name.
    let noise: String =
        (0..142).map(|_| actix_django_session::SessionKey::generate().as_str().to_owned()).collect();
    let reply = ask(&mut visitor, &site, json!([["set", "noise", noise]]));
    assert_eq!((reply.status, reply.set_cookies().len()), (500, 0));
}

#[test]
fn its_age_is_limited_and_its_own_expiry_kept() {
    let site = site(SessionSettings::default().cookie_age(Duration::from_secs(100)));
    let look = |json: &str, seconds_ago: u64| {
        let saved = SystemTime::now() - Duration::from_secs(seconds_ago);
        let text = signing::text(json, saved, signing::COOKIES, SECRET);
        let mut visitor = Client::new();
        visitor.cookies.insert("sessionid".into(), text.clone());
        let reply = ask(&mut visitor, &site, json!([["get", "k"]]));
        let live = reply.json()["results"] == json!([1]);
        // An expired session is gone, unlike one that cannot be read: its cookie is deleted.
        assert_eq!(visitor.cookies.get("sessionid"), live.then_some(&text), "{json}, {seconds_ago} s ago");
        live
    };
    assert!(look(r#"{"k":1}"#, 98));
    assert!(!look(r#"{"k":1}"#, 102));
    assert!(look(r#"{"k":1,"_session_expiry":300}"#, 200), "longer than others");
    assert!(!look(r#"{"k":1,"_session_expiry":10}"#, 20), "shorter than others");
    assert!(!look(r#"{"k":1,"_session_expiry":"2020-01-01T00:00:00+00:00"}"#, 1));
}

#[actix_web::test]
async fn it_can_be_used_outside_a_request() {
    let store = store();
    let session = Session::new(&store);
    session.insert("k", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    session.insert("k", &2).unwrap();
    session.save().await.unwrap();
    assert_ne!(session.session_key().unwrap(), key, "what is saved is the key");
    let again = Session::open(&store, &session.session_key().unwrap()).await.unwrap().unwrap();
    assert_eq!(again.get("k").unwrap(), Some(2));
    assert!(store.sessions().next().await.unwrap_err().is_configuration());
}

/// The text is signed anew with the present time, so the key is another one.
#[test]
fn an_explicit_save_of_an_unchanged_session_reaches_the_browser() {
    let site = site(SessionSettings::default());
    let saved = SystemTime::now() - Duration::from_secs(1000);
    let text = signing::text(r#"{"k":1}"#, saved, signing::COOKIES, SECRET);
    let mut visitor = Client::new();
    visitor.cookies.insert("sessionid".into(), text.clone());
    let reply = ask(&mut visitor, &site, json!([["get", "k"], ["flags"], ["save"], ["flags"]]));
    let results = &reply.json()["results"];
    assert_eq!((&results[1]["modified"], &results[3]["modified"]), (&json!(false), &json!(true)));
    assert_eq!(reply.set_cookies().len(), 1, "as Django's");
    assert_eq!(results[3]["key"], *visitor.cookies["sessionid"]);
    assert_ne!(visitor.cookies["sessionid"], text);
    assert_eq!(ask(&mut visitor, &site, json!([["get", "k"]])).json()["results"], json!([1]));

    let before = visitor.cookies.clone();
    let reply = ask(&mut visitor, &site, json!([["save"], ["status", 500]]));
    assert_eq!((reply.set_cookies().len(), &visitor.cookies), (0, &before));
}
