//! What a URL may say, and how mistakes in it are named.

use super::*;

fn servers(url: &str) -> (Kind, Vec<String>, u32) {
    let target = parse(url).unwrap().target;
    (target.kind, target.servers.iter().map(ToString::to_string).collect(), target.db)
}

fn one(server: &str, db: u32) -> (Kind, Vec<String>, u32) {
    (Kind::Server, vec![server.to_owned()], db)
}

#[test]
fn forms() {
    assert_eq!(servers("redis://h"), one("h:6379", 0));
    assert_eq!(servers("redis://h:1234/"), one("h:1234", 0));
    assert_eq!(servers("redis://[::1]:1234/5"), one("[::1]:1234", 5));
    assert_eq!(servers("redis://[::1]?db=5"), one("[::1]:6379", 5));
    assert_eq!(servers("redis+unix:///run/redis.sock?db=2"), one("/run/redis.sock", 2));
    let both = vec!["a:1".to_owned(), "b:26379".to_owned()];
    assert_eq!(servers("redis+sentinel://a:1,b/main/3"), (Kind::Sentinel("main".to_owned()), both, 3));
    let both = vec!["a:1".to_owned(), "b:6379".to_owned()];
    assert_eq!(servers("redis+cluster://a:1,b"), (Kind::Cluster, both, 0));
}

#[test]
fn credentials() {
    let of = |url: &str| {
        let target = parse(url).unwrap().target;
        (target.user.unwrap_or_default(), target.password.unwrap_or_default())
    };
    assert_eq!(of("redis://h"), (String::new(), String::new()));
    assert_eq!(of("redis://:p@h"), (String::new(), "p".to_owned()));
    assert_eq!(of("redis://u:p%40%2f:x@h"), ("u".to_owned(), "p@/:x".to_owned()));
    assert_eq!(of("redis+unix://u:p@/path"), ("u".to_owned(), "p".to_owned()));
    assert_eq!(of("redis+cluster://u:p@a,b"), ("u".to_owned(), "p".to_owned()));
}

#[test]
fn parameters() {
    let settings = parse("redis://h?prefix=a%3Ab+c&version=7&deadline=0.25").unwrap();
    assert_eq!(
        (settings.prefix.as_str(), settings.version, settings.deadline),
        ("a:b+c", 7, Duration::from_millis(250))
    );
    let settings = parse("redis://h").unwrap();
    assert_eq!((settings.prefix.as_str(), settings.version), ("", 1));
}

#[test]
fn mistakes_are_named_and_no_password_is_repeated() {
    for (url, says) in [
        ("", "has the form"),
        ("localhost", "has the form"),
        ("http://secret@h", "has the form"),
        ("redis://", "has the form"),
        ("redis://:secret@", "has the form"),
        ("redis://:secret@h:port", "port"),
        ("redis://:secret@h:99999", "port"),
        ("redis://:secret", "port"),
        ("redis://::1", "port"),
        ("redis://secret@h", "no password"),
        ("redis://:secr/et@h", "%2F"),
        ("redis://:secr?et=x@h", "%3F"),
        ("redis://:secr@et@h", "%40"),
        ("redis://:secr#et@h", "%23"),
        ("redis://:%ffsecret@h", "UTF-8"),
        ("redis://:secr?et=x%40h", "port"),
        ("redis://:secret@h/secret", "no number"),
        ("redis://:secret@h/1?db=1", "twice"),
        ("redis://:secret@h?db=1&db=1", "db twice"),
        ("redis://:secret@h?db=secret", "db of"),
        ("redis://:secret@h?deadline=0", "deadline"),
        ("redis://:secret@h?deadline=-1", "deadline"),
        ("redis://:secret@h?deadline=1e300", "deadline"),
        ("redis://:secret@h?deadline=secret", "deadline"),
        ("redis://:secret@h?perfix=a", "perfix: the known ones are ca, db, deadline, prefix, version"),
        ("redis://:secret@h?ca=/secret", "rediss://"),
        ("redis://:secret@a,b", "several"),
        ("redis+cluster://:secret@a/1", "only database 0"),
        ("redis+sentinel://:secret@a", "name of the master"),
        ("redis+unix://:secret@h/path", "redis+unix:///path"),
        ("redis+unix://:secret", "has the form"),
    ] {
        let error = parse(url).unwrap_err();
        assert!(error.is_configuration(), "{url}: {error}");
        let text = error.with_causes();
        assert!(text.contains(says), "{url}: {text}");
        assert!(!text.contains("secr") && !text.contains("et="), "{url}: {text}");
    }
}
