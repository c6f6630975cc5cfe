//! Spans of `tracing`: the fields that one searches for, and no keys.

use std::{
    io,
    sync::{Arc, Mutex},
};

use actix_django_session::{SecretKey, Session, SessionKey, Store, backend::Memory};
use tracing::Instrument as _;
use tracing_subscriber::{filter::LevelFilter, fmt::format::FmtSpan};

use crate::{
    recorder::Recorder,
    support::{postgres::Database, stores::by_url},
};

/// What the process logs when a span is closed.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

/// Tests of this process are alone while they have the recorder.
#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn spans_have_the_outcome_and_no_keys() {
    let _alone = Recorder::new();
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_span_events(FmtSpan::CLOSE).with_ansi(false);
    let subscriber =
        subscriber.with_max_level(LevelFilter::DEBUG).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let store = Store::new(Memory::new(), SecretKey::new("a secret"));
    let session = Session::new(&store);
    session.insert("n", &1).unwrap();
    session.save().instrument(tracing::info_span!("request", id = 7)).await.unwrap();
    let text = lines.take();
    let expected = r#"request{id=7}:session_store{engine="memory" operation="create" outcome="done"}"#;
    assert!(text.contains(expected), "{text}");
    let key = session.session_key().unwrap();
    assert!(!text.contains(key.as_str()), "{text}");

    assert!(Session::open(&store, &SessionKey::generate()).await.unwrap().is_none());
    let text = lines.take();
    assert!(text.contains(r#"session_store{engine="memory" operation="load" outcome="missing"}"#), "{text}");

    let database = Database::fresh();
    let store = by_url(database.url()).await;
    let session = Session::new(&store);
    session.insert("n", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    lines.take();
    Session::open(&store, &key).await.unwrap().unwrap();
    let text = lines.take();
    for expected in [
        r#"session_store{engine="postgres" operation="load" outcome="found"}"#,
        r#"session_batch{operation="load" requests=1 outcome="done"}"#,
        r#"session_statement{operation="load" attempts=1 outcome="done"}"#,
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains(key.as_str()), "{text}");
}
