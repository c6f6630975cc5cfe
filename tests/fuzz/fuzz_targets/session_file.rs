//! Any bytes in a session's file, as they are and with a right signature: read, missing or unreadable, as the text
//! says. What cannot be read is left alone.

#![no_main]

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Session, SessionKey,
    codec::Codec,
    store::{FileStore, Loaded, Outcome, Seen, SessionStore as _},
};
use actix_django_session_fuzz::{
    block_on, far_away, items, kept,
    signing::{codec, signed, signed_before_3_1, signed_payload},
};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1000;

/// Larger files are not even read.
const LARGEST_FILE: usize = 2 * LIMIT + 4096;

struct Directory {
    path: PathBuf,
    store: FileStore,
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
        let store = block_on(FileStore::open(&path, codec.clone())).expect("it is there");
        Self { path, store, codec, key: SessionKey::parse("abcdefgh").expect("a key") }
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
        let loaded = block_on(self.store.load(&self.key)).expect("a disk");
        let page = block_on(self.store.page(None)).expect("a disk");
        let [listed] = &page.sessions[..] else { panic!("one file is there") };
        assert_eq!(listed.data.as_ref().ok().map(items), expected);
        match loaded {
            Loaded::Missing => {
                assert!(listed.expires <= SystemTime::now());
                assert!(has_an_end(expected.as_deref()));
                assert_eq!(fs::read(&file).ok().as_deref(), Some(content));
                assert_eq!(block_on(self.store.clear_expired()).expect("a disk"), 1);
                assert!(!file.exists());
            }
            Loaded::Unreadable(_) => {
                assert_eq!(expected, None);
                self.write(None);
                assert_eq!(
                    fs::read(&file).ok().as_deref(),
                    Some(content),
                    "what cannot be read was written over"
                );
                assert_eq!(block_on(self.store.clear_expired()).expect("a disk"), 0);
            }
            Loaded::Found(record) => {
                assert_eq!(Some(items(&record.data)), expected);
                assert_eq!(record.seen.as_bytes(), content);
                // What ends while this looks on has no one answer.
                if record.expires > SystemTime::now() + Duration::from_secs(60) {
                    let late = Seen::new("another text");
                    let refused = block_on(self.store.update(&self.key, &late, &record.data, far_away()));
                    assert!(matches!(refused.expect("a disk"), Outcome::Changed(_)));
                    assert_eq!(fs::read(&file).ok().as_deref(), Some(content));
                    assert_eq!(block_on(self.store.clear_expired()).expect("a disk"), 0);
                    self.write(Some(&items(&record.data)));
                }
            }
            _ => panic!("a new answer"),
        }
        for left in fs::read_dir(&self.path).expect("it is there") {
            let left = left.expect("a name").path();
            let name = left.file_name().unwrap_or_default().to_string_lossy().into_owned();
            assert!(!name.contains("_out_"), "{name} was left behind");
            fs::remove_file(left).expect("ours");
        }
    }

    /// A visitor's request that writes.
    fn write(&self, before: Option<&[(String, String)]>) {
        let session = block_on(Session::open(&self.store, &self.key)).expect("a disk");
        session.insert("who", "Ada").expect("open");
        if let Err(error) = block_on(session.save()) {
            assert!(error.is_too_large(), "{error}");
            return;
        }
        let key = session.session_key().expect("a saved session has a key");
        assert_eq!(key == self.key, before.is_some());
        let Loaded::Found(record) = block_on(self.store.load(&key)).expect("a disk") else {
            panic!("it was saved")
        };
        assert_eq!(record.data.get_json("who"), Some("\"Ada\""));
        let others: Vec<_> = items(&record.data).into_iter().filter(|(key, _)| key != "who").collect();
        let expected = before.unwrap_or_default().iter().filter(|(key, _)| key != "who").cloned();
        assert_eq!(others, expected.collect::<Vec<_>>());
    }
}

/// Only what a session itself says can have ended a file that was written now.
fn has_an_end(items: Option<&[(String, String)]>) -> bool {
    items.unwrap_or_default().iter().any(|(key, _)| key == "_session_expiry")
}
