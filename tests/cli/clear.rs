//! `clearsessions`: its batches, its end by Ctrl-C, its errors, and several at once.

use std::{process::Command, time::Duration};

use tokio::runtime::Runtime;

use crate::{
    Cli, Output,
    fill::{count, made},
    support::{
        postgres::{Database, PrivateServer, query, try_query, version},
        proc::{self, PATIENCE},
    },
};

/// The table locked against all writes, until this drops.
struct Locked(Runtime, tokio_postgres::Client);

impl Locked {
    fn new(url: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute("BEGIN; LOCK TABLE django_session IN SHARE MODE").await.unwrap();
            client
        });
        Self(runtime, client)
    }

    fn release(self) {
        self.0.block_on(self.1.batch_execute("COMMIT")).unwrap();
    }
}

/// How many a run says that it cleared.
fn cleared(output: &Output) -> u64 {
    let line = output.out.lines().find_map(|line| line.strip_prefix("cleared "));
    let number = line.unwrap_or_else(|| panic!("{output:?}")).split(' ').next().unwrap();
    number.replace(',', "").parse().unwrap()
}

fn expired(database: &Database) -> u64 {
    count(database.url(), "expire_date < now()")
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn expired_sessions_go_and_live_ones_stay() {
    let database = made(2500, 100);
    let cli = Cli::on(database.url()); // and no secret
    cli.run(&["clearsessions", "--dry-run"]).code(0).quiet().says("would clear 2,500 expired sessions\n");
    cli.run(&["clearsessions", "--dry-run", "--limit", "7"]).code(0).says("would clear 7 expired sessions\n");
    let some = cli.run(&["clearsessions", "--limit", "1200", "--batch", "500"]).code(0);
    assert_eq!(cleared(&some.complains("there may be more")), 1200);
    // The oldest first.
    assert_eq!(
        (expired(&database), count(database.url(), "expire_date < now() - interval '1301 minutes'")),
        (1300, 0)
    );
    assert_eq!(cleared(&cli.run(&["clearsessions", "--limit", "0"]).code(0)), 0);
    assert_eq!(
        cleared(&cli.run(&["clearsessions", "--pause", "0.01", "--batch", "300"]).code(0).quiet()),
        1300
    );
    assert_eq!(cleared(&cli.run(&["clearsessions"]).code(0).quiet()), 0);
    assert_eq!((expired(&database), count(database.url(), "true")), (0, 100));
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn the_owner_may_vacuum_too() {
    let database = made(500, 10);
    let cli = Cli::on(database.url());
    cli.run(&["clearsessions", "--vacuum", "--batch", "100"])
        .code(0)
        .quiet()
        .says("cleared 500 expired sessions");
    let vacuumed =
        "SELECT 1 FROM pg_stat_user_tables WHERE relname = 'django_session' AND last_vacuum IS NOT NULL";
    proc::wait_until("it should be vacuumed", PATIENCE, || !database.query(vacuumed).is_empty());
    let role = format!("role_{}", database.url().rsplit('/').next().unwrap());
    database.query(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT, UPDATE, DELETE ON django_session TO {role}; \
         UPDATE django_session SET expire_date = now() - interval '1 day'"
    ));
    let other = Cli::on(&database.url().replace("postgres@", &format!("{role}@")));
    let cleared = other.run(&["clearsessions", "--vacuum"]).code(0).says("cleared 10 expired sessions");
    cleared.complains("no VACUUM: this role is not the table's owner");
    // PostgreSQL 17 and later have a right for it.
    let granted = try_query(database.url(), &format!("GRANT MAINTAIN ON django_session TO {role}"));
    database.query("INSERT INTO django_session VALUES (md5('late'), '', now() - interval '1 day')");
    let has_right = version(database.url()) >= 17;
    assert_eq!(granted.is_ok(), has_right, "{granted:?}");
    let maintainer = other.run(&["clearsessions", "--vacuum"]).code(0);
    assert_eq!(maintainer.err.is_empty(), has_right, "{}", maintainer.err);
    database.query(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    Cli::on("memory:").run(&["clearsessions", "--vacuum"]).code(1).complains("--vacuum is for PostgreSQL");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn ctrl_c_ends_after_the_running_batch() {
    let database = made(5000, 10);
    let cli = Cli::on(database.url());
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let before = expired(&database);
        let child = cli.start(&["clearsessions", "--batch", "10", "--pause", "0.1"]);
        proc::wait_until("some should be cleared", PATIENCE, || expired(&database) + 30 <= before);
        proc::signal(signal, &[i64::from(child.id())]);
        let output = cli.end_of(child).code(code).complains("stopping after the current batch");
        let output = output.complains("run it again to continue");
        assert!(cleared(&output).is_multiple_of(10));
        assert_eq!(cleared(&output), before - expired(&database));
    }
    // In the middle of a long pause.
    let child = cli.start(&["clearsessions", "--batch", "10", "--pause", "3600"]);
    let before = expired(&database);
    proc::wait_until("the first batch should be cleared", PATIENCE, || expired(&database) < before);
    proc::signal("INT", &[i64::from(child.id())]);
    assert_eq!(cleared(&cli.end_of(child).code(130)), 10);
    // A batch that waits for others: it may end, or be left behind.
    let locked = Locked::new(database.url());
    let waiting = |number: usize| {
        let sql = "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) \
                   WHERE NOT granted AND datname = current_database()";
        query(database.url(), sql).len() == number
    };
    let before = expired(&database);
    let mut first = cli.start(&["clearsessions", "--batch", "10"]);
    proc::wait_until("a batch should wait", PATIENCE, || waiting(1));
    proc::signal("INT", &[i64::from(first.id())]);
    std::thread::sleep(Duration::from_millis(300));
    assert!(first.try_wait().unwrap().is_none(), "it waits for its batch");
    proc::signal("INT", &[i64::from(first.id())]);
    cli.end_of(first).code(130).complains("stopped: cleared 0 expired sessions");
    proc::wait_until("the abandoned batch should end", PATIENCE, || waiting(0));
    let second = cli.start(&["clearsessions", "--batch", "10"]);
    proc::wait_until("another batch should wait", PATIENCE, || waiting(1));
    proc::signal("INT", &[i64::from(second.id())]);
    std::thread::sleep(Duration::from_millis(300));
    locked.release();
    assert_eq!(cleared(&cli.end_of(second).code(130)), 10);
    assert_eq!(before - expired(&database), 10);
    // And to the end.
    let left = expired(&database);
    assert_eq!(cleared(&cli.run(&["clearsessions"]).code(0)), left);
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn two_at_once_share_the_work() {
    let database = made(20_000, 100);
    let cli = Cli::on(database.url());
    let started = [(); 2].map(|()| cli.start(&["clearsessions", "--batch", "100"]));
    let sum: u64 = started.map(|child| cleared(&cli.end_of(child).code(0).quiet())).iter().sum();
    // One may have ended while the last rows were locked by the other.
    assert_eq!(sum + expired(&database), 20_000);
    assert_eq!((expired(&database), count(database.url(), "true")), (0, 100));
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_batch_that_fails_is_an_error_that_says_what_was_done() {
    let database = made(50, 0);
    let cli = Cli::on(database.url());
    let locked = Locked::new(database.url());
    // The error is the lock's, or the timeout's if time runs out in the last attempt.
    let is_told = |output: Output| {
        let told = ["another transaction has locked", "did not answer within"];
        assert!(told.iter().any(|text| output.err.contains(text)), "{output:?}");
        output
    };
    let late = is_told(cli.run(&["clearsessions", "--deadline", "2"]).code(1));
    late.complains("0 had been cleared before").says("cleared 0 expired sessions");
    let url = format!("{}?deadline=1.5", database.url());
    is_told(Cli::on(&url).run(&["clearsessions"]).code(1));
    locked.release();
    // A row that refuses to go, after some that went.
    database.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$; \
         CREATE TRIGGER refuse BEFORE DELETE ON django_session FOR EACH ROW \
         WHEN (old.session_key = md5('expired3')) EXECUTE FUNCTION refuse()",
    );
    // The oldest is number 50.
    let refused = cli.run(&["clearsessions", "--batch", "10"]).code(1).complains("not this one");
    let refused = refused.complains("1 expired session could not be deleted");
    assert_eq!((cleared(&refused), expired(&database)), (49, 1));
    database.query("DROP TABLE django_session");
    cli.run(&["clearsessions"]).code(1).complains("the table of sessions does not exist");
    cli.run(&["clearsessions", "--dry-run"]).code(1).complains("the table of sessions does not exist");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn sessions_to_which_a_table_refers_are_left_and_the_rest_is_cleared() {
    let database = made(2500, 10);
    let cli = Cli::on(database.url());
    // The oldest ones.
    database.query(
        "CREATE TABLE cart (session varchar(40) REFERENCES django_session); \
         INSERT INTO cart SELECT session_key FROM django_session ORDER BY expire_date LIMIT 1200",
    );
    for batch in ["1000", "7"] {
        let left = cli.run(&["clearsessions", "--batch", batch]).code(1);
        let left = left.complains("1200 expired sessions could not be deleted").complains("\"cart\"");
        let number = if batch == "7" { 0 } else { 1300 };
        assert_eq!((cleared(&left.complains("ON DELETE CASCADE")), expired(&database)), (number, 1200));
    }
    cli.run(&["clearsessions", "--limit", "0"]).code(0);
    database.query("TRUNCATE cart");
    assert_eq!(cleared(&cli.run(&["clearsessions"]).code(0).quiet()), 1200);
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_server_that_dies_is_an_error_and_the_rest_is_cleared_later() {
    let mut server = PrivateServer::start(&[("fsync", "off")]);
    let url = server.url();
    let cli = Cli::on(&url);
    cli.run(&["createtable"]).code(0);
    let rows = "INSERT INTO django_session SELECT md5('x' || i), 'x', now() - interval '1 day' \
                FROM generate_series(1, 3000) i";
    server.query(rows);
    let child = cli.start(&["clearsessions", "--batch", "10", "--pause", "0.05"]);
    proc::wait_until("some should be cleared", PATIENCE, || count(&url, "true") < 2950);
    server.stop_fast();
    let output = cli.end_of(child).code(1).complains("had been cleared before. Run it again to continue");
    server.start_again();
    assert_eq!(count(&url, "true"), 3000 - cleared(&output));
    let rest = cleared(&cli.run(&["clearsessions"]).code(0));
    assert_eq!(rest + cleared(&output), 3000);
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn progress_is_a_bar_on_a_terminal_and_lines_elsewhere() {
    let database = made(900, 0);
    let cli = Cli::on(database.url());
    let slow = ["clearsessions", "--batch", "5", "--pause", "0.06", "--limit", "600"];
    let lines = cli.run(&slow).code(0);
    let line = lines.err.lines().next().unwrap_or_default();
    assert!(
        line.starts_with("cleared ") && line.contains(" of 600, ") && line.contains(" left"),
        "{lines:?}"
    );
    assert!(!lines.err.contains('\u{1b}') && !lines.err.contains('\r'), "{lines:?}");
    // script(1) of util-linux is a terminal; other systems have other ones.
    if !Command::new("script").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return;
    }
    let program = env!("CARGO_BIN_EXE_django-session");
    let mut script = Command::new("script");
    script.args([
        "-qec",
        &format!("stty cols 100; exec {program} clearsessions --batch 10 --pause 0.05"),
        "/dev/null",
    ]);
    script.env("DATABASE_URL", database.url()).env("TERM", "xterm");
    let screen = proc::run("script", &mut script, b"");
    assert!(screen.contains(" of 300, ") && screen.contains('\r') && screen.contains('█'), "{screen:?}");
    assert!(screen.contains("cleared 300 expired sessions in "), "{screen:?}");
}
