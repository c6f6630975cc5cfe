//! Any bytes in a session's file, as they are and with a valid signature: read, missing or unreadable, as the
//! text says. An unreadable file is left alone.

#![no_main]

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Session, SessionKey, SessionSettings, Store,
    backend::{Backend as _, Files, Replace, Replaced},
    codec::Codec,
};
use actix_django_session_fuzz::{
    block_on, far_away, items, kept,
    signing::{codec, signed, signed_before_3_1, signed_payload},
    site::{KNOWN, Pages},
};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1000;

/// Larger files are not even read.
const LARGEST_FILE: usize = LIMIT * 4 / 3 + 256;

struct Directory {
    path: PathBuf,
    files: Files,
    store: Store,
    pages: Pages,
    codec: Codec,
    key: SessionKey,
}

thread_local! {
    static DIRECTORY: &'static Directory = kept(Directory::new());
}

fuzz_target!(|input: &[u8]| {
    DIRECTORY.with(|directory| {
        directory.check(input);
        directory.check(signed_payload(input).as_bytes());
        directory.check(signed_before_3_1(input).as_bytes());
        if let Ok(text) = std::str::from_utf8(input) {
            directory.check(signed(text).as_bytes());
        }
    });
});

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("session-files-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path); // of a process that had this id
        fs::create_dir_all(&path).expect("a directory for temporary files");
        let codec = codec().read_legacy(true).max_session_bytes(LIMIT);
        let files = block_on(Files::open(&path)).expect("it is there");
        let store = Store::new(files.clone(), codec.clone());
        let pages = Pages::new(store.clone(), SessionSettings::default());
        Self { path, files, store, pages, codec, key: SessionKey::parse(KNOWN).expect("a key") }
    }

    fn check(&self, content: &[u8]) {
        let file = self.path.join("sessionidabcdefgh");
        fs::write(&file, content).expect("a file");
        let text = std::str::from_utf8(content).ok().filter(|_| content.len() <= LARGEST_FILE);
        // Django makes the file before it writes it.
        let expected = match content {
            [] => Some(Vec::new()),
            _ => text.and_then(|text| self.codec.decode(text).ok()).map(|data| items(&data)),
        };
        let opened = block_on(Session::open(&self.store, &self.key));
        let mut sessions = self.store.sessions();
        let listed = block_on(sessions.next()).expect("a disk").expect("one file is there");
        assert!(block_on(sessions.next()).expect("a disk").is_none());
        assert_eq!(listed.data.as_ref().ok().map(items), expected);
        let there = || fs::read(&file).ok();
        match opened {
            Ok(None) => {
                assert!(listed.is_expired());
                assert!(has_an_end(expected.as_deref()));
                assert_eq!(there().as_deref(), Some(content));
                assert_eq!(block_on(self.store.clear_expired()).expect("a disk"), 1);
                assert!(!file.exists());
            }
            Err(error) => {
                assert!(error.is_unreadable() || error.is_too_large(), "{error}");
                assert_eq!(expected, None);
                assert_ne!(self.pages.write_as_known(), KNOWN, "a write begins a session beside it");
                assert_eq!(there().as_deref(), Some(content), "what cannot be read was written over");
                assert_eq!(block_on(self.store.clear_expired()).expect("a disk"), 0);
            }
            Ok(Some(session)) => {
                let entry = block_on(self.store.entry(&self.key)).expect("a disk");
                // A session that expires during the check has no single expected result.
                if listed.expires > SystemTime::now() + Duration::from_secs(60) {
                    let entry = entry.expect("a live session");
                    assert_eq!(entry.value.as_deref(), Some(content));
                    assert_eq!(entry.data.as_ref().ok().map(items), expected);
                    let late = Replace::new(&self.key, "another text", far_away()).value("x");
                    let refused = block_on(self.files.replace(late)).expect("a disk");
                    assert!(matches!(refused, Replaced::Conflict(_)));
                    assert_eq!(there().as_deref(), Some(content));
                    assert_eq!(block_on(self.store.clear_expired()).expect("a disk"), 0);
                    self.write(&session, &expected.expect("it was read"));
                }
            }
        }
        for left in fs::read_dir(&self.path).expect("it is there") {
            let left = left.expect("a name").path();
            let name = left.file_name().unwrap_or_default().to_string_lossy().into_owned();
            assert!(!name.contains("_out_"), "{name} was left behind");
            fs::remove_file(left).expect("ours");
        }
    }

    /// A visitor's request that writes.
    fn write(&self, session: &Session, before: &[(String, String)]) {
        session.insert("who", "Ada").expect("open");
        if let Err(error) = block_on(session.save()) {
            assert!(error.is_too_large(), "{error}");
            return;
        }
        assert_eq!(session.session_key().as_ref(), Some(&self.key));
        let entry = block_on(self.store.entry(&self.key)).expect("a disk").expect("it was saved");
        let (who, others): (Vec<_>, Vec<_>) =
            items(&entry.data.expect("ours")).into_iter().partition(|(key, _)| key == "who");
        assert_eq!(who, [("who".to_owned(), "\"Ada\"".to_owned())]);
        let expected = before.iter().filter(|(key, _)| key != "who").cloned();
        assert_eq!(others, expected.collect::<Vec<_>>());
    }
}

/// Only what a session itself says can have ended a file that was written now.
fn has_an_end(items: Option<&[(String, String)]>) -> bool {
    items.unwrap_or_default().iter().any(|(key, _)| key == "_session_expiry")
}
