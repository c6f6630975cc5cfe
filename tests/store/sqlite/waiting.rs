//! Waiting for an SQLite file, and changes in doubt.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use actix_django_session::{
    Error, SessionKey,
    backend::{Backend as _, Insert, Replace, Replaced, Sqlite},
};
use actix_web::rt::{spawn, time::sleep};
use rusqlite::Connection;

use crate::support::proc::TempDir;

fn later(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

/// A file with a write-ahead log, and one session with the value `old`.
struct Scene {
    dir: TempDir,
    sqlite: Sqlite,
    key: SessionKey,
}

impl Scene {
    async fn new() -> Self {
        let dir = TempDir::new("sqlite");
        let db = Connection::open(dir.path().join("db.sqlite3")).unwrap();
        let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        let sqlite = Sqlite::open(dir.path().join("db.sqlite3")).await.unwrap();
        sqlite.create_table().await.unwrap();
        let scene = Self { dir, sqlite, key: SessionKey::generate() };
        scene.sqlite.insert(Insert::new(&scene.key, "old", later(3600))).await.unwrap();
        scene
    }

    /// Another process, as SQLite sees it.
    fn other(&self) -> Connection {
        let db = Connection::open(self.dir.path().join("db.sqlite3")).unwrap();
        db.busy_timeout(Duration::from_secs(30)).unwrap();
        db
    }

    async fn value(&self) -> String {
        let row = self.sqlite.get(&self.key).await.unwrap().unwrap();
        String::from_utf8(row.value.unwrap().to_vec()).unwrap()
    }

    async fn replace(&self, expected: &'static str, value: &'static str) -> Result<Replaced, Error> {
        self.sqlite.replace(Replace::new(&self.key, expected, later(3600)).value(value)).await
    }
}

#[actix_web::test]
async fn reads_do_not_wait_for_writers() {
    let scene = Scene::new().await;
    let other = scene.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writers: Vec<_> = (0..40)
        .map(|_| {
            let sqlite = scene.sqlite.clone();
            spawn(async move {
                let key = SessionKey::generate();
                sqlite.insert(Insert::new(&key, "new", later(3600))).await
            })
        })
        .collect();
    sleep(Duration::from_millis(200)).await;
    let begin = Instant::now();
    for _ in 0..100 {
        assert_eq!(scene.value().await, "old");
    }
    println!("100 reads behind 40 waiting writers: {:?}", begin.elapsed());
    assert!(writers.iter().all(|writer| !writer.is_finished()), "the reads came first");
    assert!(begin.elapsed() < Duration::from_secs(3));
    other.execute_batch("COMMIT").unwrap();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
}

#[actix_web::test]
async fn writers_that_wait_in_vain_have_changed_nothing() {
    let scene = Scene::new().await;
    let other = scene.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let replaces = (0..8).map(|_| scene.replace("old", "new"));
    let (begin, replaced) = (Instant::now(), futures_util::future::join_all(replaces).await);
    assert!(begin.elapsed() > Duration::from_secs(4), "they wait as long as Django does");
    for replaced in replaced {
        assert!(replaced.unwrap_err().is_store(), "nothing was changed, and that is certain");
    }
    other.execute_batch("COMMIT").unwrap();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(scene.value().await, "old");
    assert_eq!(scene.replace("old", "new").await.unwrap(), Replaced::Done);
}

#[actix_web::test]
async fn a_caller_that_leaves_waits_no_more() {
    let scene = Scene::new().await;
    let other = scene.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let replaces = (0..40).map(|_| scene.replace("old", "new"));
    let left = tokio::time::timeout(Duration::from_millis(200), futures_util::future::join_all(replaces));
    assert!(left.await.is_err());
    sleep(Duration::from_millis(300)).await; // one attempt may be under way
    other.execute_batch("COMMIT").unwrap();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(scene.value().await, "old");
}

/// A statement that runs for longer than anybody waits.
#[actix_web::test]
async fn a_change_that_is_running_at_the_deadline_is_in_doubt() {
    let scene = Scene::new().await;
    let other = scene.other();
    other.execute_batch("CREATE TABLE n (n); CREATE TABLE size (rows); INSERT INTO size VALUES (2)").unwrap();
    let fill = format!("INSERT INTO n SELECT value FROM json_each('[{}0]')", "0,".repeat(99));
    other.execute_batch(&fill).unwrap();
    let slow = "SELECT count(*) FROM \
                (WITH RECURSIVE d(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM d, size WHERE i < rows) \
                 SELECT i FROM d), n a, n b, n c WHERE a.n + b.n + c.n + i < 0";
    let begin = Instant::now();
    other.query_row(slow, [], |_| Ok(())).unwrap();
    let mut rows = (9.0 / begin.elapsed().as_secs_f64() * 2.0).ceil() as u32;
    let trigger = format!(
        "CREATE TRIGGER slow BEFORE UPDATE ON django_session WHEN old.session_key = '{}' BEGIN {slow}; END",
        scene.key.as_str(),
    );
    other.execute_batch(&trigger).unwrap();

    let second = SessionKey::generate();
    scene.sqlite.insert(Insert::new(&second, "old", later(3600))).await.unwrap();
    let begin = loop {
        other.execute("UPDATE size SET rows = ?", [rows]).unwrap();
        let begin = Instant::now();
        let running = scene.replace("old", "new");
        let waiting = async {
            sleep(Duration::from_millis(100)).await;
            scene.sqlite.replace(Replace::new(&second, "old", later(3600)).value("new")).await
        };
        let reading = async {
            sleep(Duration::from_secs(1)).await;
            (scene.value().await, begin.elapsed())
        };
        let (running, waiting, (read, after)) = futures_util::future::join3(running, waiting, reading).await;
        if running.unwrap() == Replaced::Unknown {
            assert!(waiting.unwrap_err().is_store());
            assert!(read == "old" && after < Duration::from_secs(4), "read after {after:?}");
            break begin;
        }
        // The machine was busier when its speed was measured.
        rows *= 2;
        assert!(rows < 10_000, "{rows} rows take {:?}", begin.elapsed());
        let back = "UPDATE django_session SET session_data = 'old' WHERE session_key <> ?1";
        other.execute("UPDATE size SET rows = 0", []).unwrap();
        other.execute(back, [""]).unwrap();
    };

    // In the end it is made; what waited behind it is not.
    while scene.value().await == "old" {
        assert!(begin.elapsed() < Duration::from_secs(120));
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_millis(300)).await;
    let row = scene.sqlite.get(&second).await.unwrap().unwrap();
    assert_eq!(row.value.as_deref(), Some(&b"old"[..]));
}

/// Says to this test program, started once more, which file to use.
const FILE: &str = "TEST_SQLITE_FILE";

/// Run by the test below in a process of its own; by itself it does nothing.
#[actix_web::test]
async fn a_save_in_a_process_of_its_own() {
    let Some(path) = env::var_os(FILE).map(PathBuf::from) else { return };
    let sqlite = Sqlite::open(&path).await.unwrap();
    sqlite.create_table().await.unwrap();
    let key = SessionKey::generate();
    sqlite.insert(Insert::new(&key, "old", later(3600))).await.unwrap();
    let large = "x".repeat(1 << 20);
    let replaced = sqlite.replace(Replace::new(&key, "old", later(3600)).value(large)).await.unwrap();
    assert_eq!(replaced, Replaced::Unknown);
    let other = SessionKey::generate();
    let inserted = sqlite.insert(Insert::new(&other, "y".repeat(1 << 20), later(3600)));
    assert!(inserted.await.unwrap_err().is_store());
    let row = sqlite.get(&key).await.unwrap().unwrap();
    assert_eq!(row.value.as_deref(), Some(&b"old"[..]), "this one was not made");
    assert_eq!(
        sqlite.replace(Replace::new(&key, "old", later(3600)).value("new")).await.unwrap(),
        Replaced::Done
    );
}

#[actix_web::test]
async fn a_change_that_the_disk_may_have_taken_is_in_doubt() {
    let dir = TempDir::new("sqlite");
    // Files of 256 or 512 KiB at most, by the shell; writing more is an error of the disk.
    let script = "trap '' XFSZ; ulimit -f 512; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(env::current_exe().unwrap());
    command.args(["--exact", "sqlite::waiting::a_save_in_a_process_of_its_own", "--nocapture"]);
    let output = command.env(FILE, dir.path().join("db.sqlite3")).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(Path::new(&dir.path().join("db.sqlite3")).exists());
}
