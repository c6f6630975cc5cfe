//! `doctor`: what it finds on a table of Djangos, and on every table that is ill.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Cli, Output,
    fill::{SECRET, Site, made},
    hide,
    support::{
        postgres::{Database, query, try_query, version},
        proc::PATIENCE,
        required,
    },
};

/// The level and text of the findings about something.
fn about(output: &Output, what: &str) -> Vec<(String, String)> {
    let report = output.json();
    let findings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["about"] == what);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings.map(|finding| (text(&finding["level"]), text(&finding["found"]))).collect()
}

#[track_caller]
fn finds(output: &Output, level: &str, what: &str, text: &str) {
    let findings = about(output, what);
    assert!(
        findings.iter().any(|(of, found)| of == level && found.contains(text)),
        "no {text}: {findings:#?}"
    );
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn a_table_of_djangos_is_understood() {
    let site = Site::fill();
    let cli = site.cli();
    let report = cli.run(&["doctor", "--json"]).code(0).quiet();
    let json = report.json();
    assert_eq!(json["problems"], 0, "{json:#}");
    let live = |sessions: &[crate::fill::Filled]| sessions.iter().filter(|session| !session.expired).count();
    let [present, former, strange, pickled] =
        [&site.present, &site.former, &site.strange, &site.pickled].map(|sessions| live(sessions));
    let all = present + former + strange + pickled + site.old.len() + site.garbage.len();
    let of = |number: usize| format!("{number} of {all} live sessions");
    for (level, what, text) in [
        ("ok", "connection", "PostgreSQL "),
        ("ok", "clock", "agree"),
        ("ok", "table", "public.django_session"),
        ("ok", "columns", "have Django's types"),
        ("ok", "index", "session_key is unique"),
        ("ok", "index", "expire_date has an index"),
        ("ok", "index", "is Django's for LIKE"),
        ("ok", "rights", "SELECT, INSERT, UPDATE, DELETE"),
        ("ok", "size", " rows, "),
        ("ok", "secrets", &format!("the secret key signed {}", of(present + pickled))),
        ("ok", "secrets", &format!("fallback 1 signed {}", of(former))),
        ("ok", "secrets", &format!("fallback 2 signed {}", of(site.old.len()))),
        ("warning", "secrets", &format!("none of the secrets given signed {}", of(strange))),
        ("ok", "formats", &format!("Django 3.1 and later, JSON: {}", of(present + former))),
        ("warning", "formats", &format!("Django 3.1 and later, pickle: {}", of(pickled))),
        ("warning", "formats", &format!("Django before 3.1, JSON: {}", of(site.old.len()))),
        ("ok", "formats", "compressed with zlib"),
        ("warning", "sessions", &format!("not in a format of any Django: {}", of(site.garbage.len()))),
    ] {
        finds(&report, level, what, text);
    }
    cli.run(&["doctor"]).code(0).quiet().says("0 problems, ").says("→ ");
    cli.run(&["doctor", "--sample", "50"]).code(0).says(" live sessions (");
    // Secrets that are wrong, old, new or missing.
    let url = site.database.url();
    hide("quite another secret");
    let wrong = Cli::on(url).secret("quite another secret").run(&["doctor", "--json"]).code(3);
    finds(&wrong, "problem", "secrets", "the secret key signed 0 of");
    finds(&wrong, "problem", "secrets", "none of the secrets given signed");
    let rotated = Cli::on(url).secret("quite another secret").with("SECRET_KEY_FALLBACKS", SECRET);
    let rotated = rotated.run(&["doctor", "--json"]).code(0);
    finds(&rotated, "warning", "secrets", "the secret key signed 0 of");
    let needless = Cli::on(url).secret(SECRET).run(&["doctor", "--json", "--fallback", "needless"]).code(0);
    finds(&needless, "ok", "secrets", "fallback 1 signed 0 of");
    let none = Cli::on(url).run(&["doctor", "--json"]).code(0);
    finds(&none, "warning", "secrets", "no secret was given");
    let salted = site.cli().run(&["doctor", "--json", "--salt-class", "Other"]).code(3);
    finds(&salted, "problem", "secrets", "none of the secrets given signed");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_table_that_is_not_there_is_looked_for() {
    let database = Database::fresh();
    let doctor = |url: &str| Cli::on(url).secret(SECRET).run(&["doctor", "--json"]);
    let nowhere = doctor(database.url()).code(3);
    finds(&nowhere, "problem", "table", "there is no table \"django_session\" in this database");
    database.query("CREATE SCHEMA accounts");
    let url = format!("{}?schema=accounts", database.url());
    Cli::on(&url).run(&["createtable"]).code(0).quiet();
    doctor(&url).code(0);
    finds(&doctor(database.url()).code(3), "problem", "table", "is not on the search_path, but in accounts");
    let other = doctor(&format!("{}?schema=other", database.url())).code(3);
    finds(&other, "problem", "table", "but one in accounts");
    let odd = format!("{}?table=o%27dd%20%22table%22&schema=accounts", database.url());
    Cli::on(&odd).run(&["createtable"]).code(0).quiet();
    Cli::on(&odd).run(&["createtable"]).code(0).quiet(); // what is there stays
    finds(&doctor(&odd).code(0), "ok", "table", "accounts.\"o'dd \"\"table\"\"\"");
    // A plus is a plus, in a store and in the tool alike.
    let plus = format!("{}?table=a+b&schema=accounts", database.url());
    Cli::on(&plus).run(&["createtable"]).code(0).quiet();
    finds(&doctor(&plus).code(0), "ok", "table", "accounts.\"a+b\"");
    Cli::on(&plus).secret(SECRET).run(&["stats"]).code(0).quiet();
    for command in ["stats", "list", "clearsessions"] {
        Cli::on(&odd).secret(SECRET).run(&[command]).code(0).quiet();
    }
    doctor(&format!("{}-not-there", database.url())).code(3).says("there is no such database");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn every_illness_of_a_table_is_found() {
    let cases: &[(&str, i32, &str, &str, &str)] = &[
        (
            "ALTER TABLE django_session DROP COLUMN session_data",
            3,
            "problem",
            "columns",
            "there is no session_data",
        ),
        (
            "ALTER TABLE django_session ALTER expire_date TYPE timestamp",
            3,
            "problem",
            "columns",
            "timestamp without time zone",
        ),
        (
            "ALTER TABLE django_session ALTER session_key TYPE varchar(20) USING left(session_key, 20)",
            3,
            "problem",
            "columns",
            "varying(20)",
        ),
        (
            "DELETE FROM django_session; ALTER TABLE django_session ADD owner int NOT NULL",
            3,
            "problem",
            "columns",
            "\"owner\" is NOT NULL without a default",
        ),
        (
            "ALTER TABLE django_session ADD owner int NOT NULL DEFAULT 0",
            0,
            "ok",
            "columns",
            "of the site's own",
        ),
        (
            "ALTER TABLE django_session DROP CONSTRAINT django_session_pkey",
            3,
            "problem",
            "index",
            "session_key is not unique",
        ),
        ("DROP INDEX django_session_expire_date_a5c62663", 0, "warning", "index", "expire_date has no index"),
        ("CREATE INDEX more ON django_session (md5(session_data))", 0, "ok", "index", "more ("),
        (
            "ALTER TABLE django_session SET (autovacuum_enabled = off)",
            3,
            "problem",
            "vacuum",
            "autovacuum is off",
        ),
        ("ALTER TABLE django_session SET UNLOGGED", 0, "warning", "table", "UNLOGGED"),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'; \
          CREATE TRIGGER slow BEFORE UPDATE ON django_session FOR EACH ROW EXECUTE FUNCTION f()",
            0,
            "warning",
            "triggers",
            "\"slow\"",
        ),
        (
            "ALTER TABLE django_session RENAME TO t; CREATE VIEW django_session AS SELECT * FROM t",
            3,
            "warning",
            "table",
            "is not an ordinary table",
        ),
        (
            "UPDATE django_session SET session_key = 'a b' || session_key WHERE session_key = md5('live1')",
            0,
            "warning",
            "sessions",
            "cannot be in a cookie",
        ),
    ];
    for (sql, code, level, what, text) in cases {
        let database = made(3, 20);
        database.query(sql);
        let report = Cli::on(database.url()).secret(SECRET).run(&["doctor", "--json"]).code(*code);
        finds(&report, level, what, text);
        assert_eq!(report.json()["problems"] == 0, *code == 0, "{sql}");
        Cli::on(database.url()).secret(SECRET).run(&["doctor"]).code(*code).says(text);
    }
}

/// The advice of the findings about something.
fn advice(output: &Output, what: &str) -> Vec<String> {
    let report = output.json();
    let findings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["about"] == what);
    findings.filter_map(|finding| finding["advice"].as_str().map(str::to_owned)).collect()
}

/// Each foreign key is judged by what it does, and the statement that is advised mends it.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_foreign_key_must_let_sessions_be_deleted_and_get_new_keys() {
    const CASES: [(&str, &str, &str); 10] = [
        ("", "problem", "forbids changing them"),
        ("DEFERRABLE INITIALLY DEFERRED", "problem", "forbids changing them"),
        ("ON DELETE CASCADE", "problem", "without ON UPDATE CASCADE"),
        ("ON DELETE SET NULL", "problem", "without ON UPDATE CASCADE"),
        ("ON DELETE RESTRICT ON UPDATE CASCADE", "problem", "forbids deleting them"),
        ("NOT NULL ON DELETE SET NULL ON UPDATE CASCADE", "problem", "forbids deleting them"),
        ("ON DELETE CASCADE ON UPDATE SET NULL", "warning", "loses its session"),
        ("ON DELETE CASCADE ON UPDATE CASCADE", "ok", "also changes"),
        ("ON DELETE SET NULL ON UPDATE CASCADE", "ok", "also changes"),
        ("ON DELETE SET DEFAULT ON UPDATE CASCADE DEFERRABLE", "ok", "also changes"),
    ];
    for (options, level, text) in CASES {
        let database = made(2, 3);
        let not_null = options.strip_prefix("NOT NULL ").map_or("", |_| "NOT NULL");
        let options = options.trim_start_matches("NOT NULL ");
        database.query(&format!(
            "CREATE SCHEMA shop; CREATE TABLE shop.\"Cart\" (n int, \"Session\" varchar(40) {not_null}, \
             CONSTRAINT \"the key\" FOREIGN KEY (\"Session\") REFERENCES django_session {options}); \
             INSERT INTO shop.\"Cart\" SELECT 1, session_key FROM django_session WHERE expire_date > now()"
        ));
        let doctor = || Cli::on(database.url()).secret(SECRET).run(&["doctor", "--json"]);
        let report = doctor();
        if level == "ok" {
            finds(&report, "ok", "references", "shop.\"Cart\" (\"Session\") has a foreign key");
        } else {
            finds(&report, level, "references", text);
            let [statement] = &advice(&report, "references")[..] else { panic!("{report:?}") };
            database.query(statement);
            let deferred = "SELECT condeferrable, condeferred FROM pg_constraint WHERE conname = 'the key'";
            let kept = options.contains("INITIALLY DEFERRED").to_string();
            let kept = Some(kept[..1].to_owned());
            assert_eq!(database.query(deferred), [[kept.clone(), kept]]);
            finds(&doctor().code(0), "ok", "references", "has a foreign key");
        }
        // It is as the report says: a new key, and a logout.
        database
            .query("UPDATE django_session SET session_key = session_key || 'x'; DELETE FROM django_session");
    }
}

/// PostgreSQL 18 has foreign keys that it does not enforce; an older one does not know the words.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_foreign_key_that_is_not_enforced_forbids_nothing() {
    let database = made(2, 3);
    database.query("CREATE TABLE cart (session varchar(40))");
    let add = "ALTER TABLE cart ADD FOREIGN KEY (session) REFERENCES django_session";
    let added = try_query(database.url(), &format!("{add} NOT ENFORCED"));
    assert_eq!(added.is_ok(), version(database.url()) >= 18, "{added:?}");
    let doctor = || Cli::on(database.url()).secret(SECRET).run(&["doctor", "--json"]);
    assert_eq!(about(&doctor().code(0), "references"), []);
    database.query(add);
    finds(&doctor().code(3), "problem", "references", "cart (session) has a foreign key");
}

#[test]
#[ignore = "needs PostgreSQL and faketime: run tests/run"]
fn a_server_out_of_support_is_named() {
    // As https://www.postgresql.org/support/versioning/ has them.
    let ends = ["2025-11-13", "2026-11-12", "2027-11-11", "2028-11-09", "2029-11-08", "2030-11-14"];
    let database = made(0, 3);
    let version = version(database.url());
    let last = ends[version as usize - 13];
    let on = |time: &str| {
        let cli = Cli::on(database.url()).secret(SECRET).with("LD_PRELOAD", &required("TEST_FAKETIME"));
        let cli = cli.with("FAKETIME_DONT_FAKE_MONOTONIC", "1").with("TZ", "UTC");
        cli.with("FAKETIME", &format!("@{time}")).run(&["doctor", "--json"])
    };
    let supported = on(&format!("{last} 12:00:00"));
    finds(&supported, "ok", "version", &format!("PostgreSQL {version}, supported until {last}"));
    let late = on("2035-01-01 12:00:00");
    finds(&late, "warning", "version", &format!("PostgreSQL {version} has been out of support since {last}"));
}

/// The statements that are advised can be run.
fn follow(database: &Database, report: &Output, what: &str) {
    for advice in advice(report, what) {
        let begins = ["ALTER TABLE", "CREATE ", "DROP "].iter().filter_map(|word| advice.find(word)).min();
        if let Some(statement) = begins.map(|at| advice[at..].split(['→', ';']).next().unwrap()) {
            database.query(statement.split(", and ").next().unwrap());
        }
    }
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_partitioned_table_gets_no_advice_that_cannot_be_followed() {
    const ROWS: &str = "INSERT INTO django_session SELECT md5(i::text), 'x', now() + i * interval '1 hour' \
         FROM generate_series(-5, 5) i";
    let columns =
        "session_key varchar(40) NOT NULL, session_data text NOT NULL, expire_date timestamptz NOT NULL";
    for (definition, key) in [
        (
            "PRIMARY KEY (session_key, expire_date)) PARTITION BY RANGE (expire_date)",
            "begins the unique index",
        ),
        ("UNIQUE (session_key, expire_date)) PARTITION BY RANGE (expire_date)", "begins the unique index"),
        ("PRIMARY KEY (session_key)) PARTITION BY HASH (session_key)", "session_key is unique"),
    ] {
        let database = Database::fresh();
        let bounds =
            if definition.contains("HASH") { "FOR VALUES WITH (MODULUS 1, REMAINDER 0)" } else { "DEFAULT" };
        database.query(&format!(
            "CREATE TABLE django_session ({columns}, {definition}; \
             CREATE TABLE part PARTITION OF django_session {bounds}; \
             CREATE INDEX more ON django_session (md5(session_data)); \
             CREATE INDEX lik ON django_session (session_key varchar_pattern_ops)"
        ));
        database.query(ROWS);
        let doctor = |table: &str| {
            let url = format!("{}?table={table}", database.url());
            Cli::on(&url).run(&["doctor", "--json"])
        };
        let report = doctor("django_session").code(0);
        finds(&report, "ok", "table", "public.django_session, partitioned");
        finds(&report, "ok", "index", key);
        finds(&report, "warning", "index", "expire_date has no index");
        // The figures are those of the partitions.
        let size = about(&report, "size").remove(0).1;
        assert!(size.starts_with("11 rows, 54.5 % of them expired; ") && !size.contains(" 0 B"), "{size}");
        finds(&report, "ok", "vacuum", "dead rows; last vacuum never");
        follow(&database, &report, "index");
        finds(&doctor("django_session").code(0), "ok", "index", "expire_date has an index");
        // A partition by itself: its indexes belong to the whole.
        let report = doctor("part");
        assert!(
            !report.out.contains("DROP INDEX") && !report.out.contains("PRIMARY KEY ("),
            "{}",
            report.out
        );
        follow(&database, &report, "index");
    }
    // Without any unique index.
    let database = Database::fresh();
    database.query(&format!(
        "CREATE TABLE django_session ({columns}) PARTITION BY HASH (session_key); \
         CREATE TABLE part PARTITION OF django_session FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
    ));
    let report = Cli::on(database.url()).run(&["doctor", "--json"]).code(3);
    finds(&report, "problem", "index", "session_key is not unique");
    follow(&database, &report, "index");
    finds(
        &Cli::on(database.url()).run(&["doctor", "--json"]).code(0),
        "ok",
        "index",
        "session_key is unique",
    );
}

/// Updates every row, also its date or not. Returns the report, once the server has counted them.
fn after_updates(database: &Database, updates: &[&str]) -> Output {
    let counted = "SELECT coalesce(sum(n_tup_upd), 0) FROM pg_stat_user_tables";
    let count = || database.query(counted)[0][0].as_ref().unwrap().parse::<u64>().unwrap();
    let rows: u64 =
        database.query("SELECT count(*) FROM django_session")[0][0].as_ref().unwrap().parse().unwrap();
    let (before, start) = (count(), Instant::now());
    for columns in updates {
        database.query(&format!("UPDATE django_session SET {columns}"));
        database.query("VACUUM django_session");
    }
    while count() < before + rows * updates.len() as u64 {
        assert!(start.elapsed() < PATIENCE, "{} updates are counted", count());
        thread::sleep(Duration::from_millis(50));
    }
    Cli::on(database.url()).run(&["doctor", "--json"])
}

const SAVED: &str = "session_data = session_data";
const MOVED: &str = "session_data = session_data, expire_date = expire_date + interval '1 s'";

/// Half of the room in each page is enough for HOT updates of all its rows.
const ROOMY: &str = "ALTER TABLE django_session SET (fillfactor = 45); VACUUM FULL django_session";

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn updates_get_advice_only_where_it_helps() {
    // Dates that move: room in the pages makes no difference.
    let database = made(0, 5_500);
    let report = after_updates(&database, &[MOVED, MOVED]).code(0);
    finds(&report, "ok", "updates", "11,000 updates, 0.0 % of them HOT");
    let advised = advice(&report, "updates").remove(0);
    assert!(advised.contains("moves expire_date") && !advised.contains("fillfactor"), "{advised}");

    // Too few to say.
    let database = made(0, 500);
    let report = after_updates(&database, &[MOVED]).code(0);
    finds(&report, "ok", "updates", "500 updates, 0.0 % of them HOT");
    assert_eq!(advice(&report, "updates"), [""; 0]);

    // All of them are HOT.
    let database = made(0, 5_500);
    ROOMY.split("; ").for_each(|statement| drop(database.query(statement)));
    let report = after_updates(&database, &[SAVED, SAVED]).code(0);
    finds(&report, "ok", "updates", "11,000 updates, 100.0 % of them HOT");
    assert_eq!(advice(&report, "updates"), [""; 0]);

    // Half of them, and there is room.
    let report = after_updates(&database, &[MOVED, MOVED]).code(0);
    finds(&report, "ok", "updates", "22,000 updates, 50.0 % of them HOT");
    let advised = advice(&report, "updates").remove(0);
    assert!(advised.contains("moves expire_date") && !advised.contains("fillfactor"), "{advised}");

    // The same without room for the next ones.
    database.query("ALTER TABLE django_session RESET (fillfactor)");
    let report = after_updates(&database, &[]).code(0);
    let advised = advice(&report, "updates").remove(0);
    assert!(advised.contains("ALTER TABLE public.django_session SET (fillfactor = 90)"), "{advised}");
    follow(&database, &report, "updates");
    let options = "SELECT reloptions::text FROM pg_class WHERE relname = 'django_session'";
    assert_eq!(database.query(options)[0][0].as_deref(), Some("{fillfactor=90}"));
    let advised = advice(&after_updates(&database, &[]).code(0), "updates").remove(0);
    assert!(!advised.contains("fillfactor"), "{advised}");
}

/// A partitioned table takes no fillfactor. A partition on another server is not this server's to change.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn the_room_in_pages_is_a_matter_of_the_partitions() {
    let database = Database::fresh();
    let (server, name) = database.url().rsplit_once('/').unwrap();
    let port = server.rsplit_once(':').unwrap().1;
    database.query(&format!(
        "CREATE EXTENSION postgres_fdw; \
         CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw \
         OPTIONS (host '127.0.0.1', port '{port}', dbname '{name}'); \
         CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'postgres', password_required 'false'); \
         CREATE TABLE elsewhere (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, \
         expire_date timestamptz NOT NULL); \
         CREATE TABLE django_session (session_key varchar(40) NOT NULL, session_data text NOT NULL, \
         expire_date timestamptz NOT NULL) PARTITION BY HASH (session_key); \
         CREATE FOREIGN TABLE far_part PARTITION OF django_session FOR VALUES WITH (MODULUS 2, REMAINDER 0) \
         SERVER far OPTIONS (table_name 'elsewhere'); \
         CREATE TABLE near_part PARTITION OF django_session FOR VALUES WITH (MODULUS 2, REMAINDER 1) \
         WITH (fillfactor = 45); \
         CREATE INDEX lik ON near_part (session_key varchar_pattern_ops); \
         INSERT INTO near_part SELECT session_key, 'x', now() + interval '1 day' FROM (\
         SELECT md5(i::text) AS session_key FROM generate_series(1, 22000) i) k \
         WHERE satisfies_hash_partition('django_session'::regclass, 2, 1, session_key)"
    ));
    database.query("CREATE INDEX ON near_part (expire_date)");
    let moved = format!("UPDATE near_part SET {MOVED}");
    for statement in ["UPDATE near_part SET session_data = 'y'", &moved, "VACUUM near_part"] {
        database.query(statement);
    }
    database.query("ALTER TABLE near_part RESET (fillfactor)");
    let report = after_updates(&database, &[]);
    finds(&report, "ok", "updates", " updates, 50.0 % of them HOT");
    let advised = advice(&report, "updates").remove(0);
    assert!(advised.contains("ALTER TABLE public.near_part SET (fillfactor = 90), and so each"), "{advised}");
    follow(&database, &report, "updates");
    // The only index by which a session is found is not advised away.
    let part = Cli::on(&format!("{}?table=near_part", database.url())).run(&["doctor", "--json"]);
    finds(&part, "ok", "index", "lik (");
    assert!(!part.out.contains("DROP INDEX"), "{}", part.out);
    // Nothing is known about the pages of another server.
    let far = Cli::on(&format!("{}?table=far_part", database.url())).run(&["doctor", "--json"]);
    assert_eq!(about(&far, "updates"), []);
}

/// Another primary key, as of a site's own model.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn indexes_that_belong_to_constraints_are_not_dropped() {
    let database = made(3, 3);
    database.query(
        "ALTER TABLE django_session DROP CONSTRAINT django_session_pkey, ADD id serial PRIMARY KEY, \
         ADD number int GENERATED ALWAYS AS (id * 2) STORED UNIQUE",
    );
    let doctor = || Cli::on(database.url()).run(&["doctor", "--json"]);
    let report = doctor().code(3);
    finds(&report, "problem", "index", "session_key is not unique");
    assert!(!report.out.contains("PRIMARY KEY") && !report.out.contains("_pkey;"), "{}", report.out);
    follow(&database, &report, "index");
    finds(&doctor().code(0), "ok", "index", "session_key is unique");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn times_without_a_zone_are_named_and_mended() {
    let database = made(3, 5);
    let moments = "SELECT session_key, expire_date AT TIME ZONE 'UTC' FROM django_session ORDER BY 1";
    let before = database.query(moments);
    database.query(
        "ALTER TABLE django_session ALTER expire_date TYPE timestamp USING expire_date AT TIME ZONE 'UTC'",
    );
    let name = database.url().rsplit_once('/').unwrap().1.to_owned();
    database.query(&format!("ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'"));
    let doctor = || Cli::on(database.url()).run(&["doctor", "--json"]);
    let report = doctor().code(3);
    finds(&report, "problem", "columns", "expire_date is timestamp without time zone");
    finds(&report, "ok", "size", "8 rows, 37.5 % of them expired");
    follow(&database, &report, "columns");
    doctor().code(0);
    assert_eq!(database.query(moments), before);
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn an_index_that_was_left_invalid_is_found() {
    let database = made(0, 5);
    // A unique one that cannot be made, since all rows have the same text.
    let failed =
        try_query(database.url(), "CREATE UNIQUE INDEX CONCURRENTLY half ON django_session (session_data)");
    failed.unwrap_err();
    let report = Cli::on(database.url()).secret(SECRET).run(&["doctor", "--json"]).code(3);
    finds(&report, "problem", "index", "half (");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn rights_that_are_missing_are_named() {
    let database = made(20, 5);
    let role = format!("role_{}", database.url().rsplit('/').next().unwrap());
    let url = database.url().replace("postgres@", &format!("{role}:pass-of-the-role@"));
    hide("pass-of-the-role");
    database.query(&format!("CREATE ROLE {role} LOGIN PASSWORD 'pass-of-the-role'"));
    database.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC"); // as PostgreSQL 15 and later have it
    let cli = Cli::on(&url).secret(SECRET);
    let all = ["SELECT", "INSERT", "UPDATE", "DELETE"];
    for granted in 0..all.len() {
        let missing = all[granted..].join(", ");
        let report = cli.run(&["doctor", "--json"]).code(3);
        finds(&report, "problem", "rights", &format!("the role lacks {missing}"));
        if granted == 0 {
            for command in [&["list"][..], &["stats"], &["clearsessions"], &["clearsessions", "--dry-run"]] {
                cli.run(command).code(1).complains("the role lacks a right");
            }
            cli.run(&["show", "8zx2rkbz"]).code(1).complains("the role lacks a right");
            cli.run(&["revoke", "--all", "--yes"]).code(1).complains("the role lacks a right");
        }
        database.query(&format!("GRANT {} ON django_session TO {role}", all[granted]));
    }
    finds(&cli.run(&["doctor", "--json"]), "ok", "rights", "SELECT, INSERT, UPDATE, DELETE");
    let may_not_delete = format!("REVOKE DELETE ON django_session FROM {role}");
    database.query(&may_not_delete);
    cli.run(&["clearsessions"])
        .code(1)
        .complains("the role lacks a right")
        .says("cleared 0 expired sessions");
    cli.run(&["revoke", "8zx2rkbz"]).code(1).complains("the role lacks a right");
    cli.run(&["createtable", "--database-url", &format!("{url}?table=other")])
        .code(1)
        .complains("may not create tables");
    database.query("ALTER TABLE django_session ENABLE ROW LEVEL SECURITY");
    finds(&cli.run(&["doctor", "--json"]), "warning", "rights", "row level security");
    database.query(&format!("ALTER ROLE {role} SET default_transaction_read_only = on"));
    finds(&cli.run(&["doctor", "--json"]), "problem", "connection", "it is read-only");
    database.query(&format!("ALTER ROLE {role} NOLOGIN"));
    let report = cli.run(&["doctor", "--json"]).code(3);
    finds(&report, "problem", "connection", "refuses this user or password");
    cli.run(&["list"]).code(1).complains("refuses this user or password");
    query(database.url(), &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_large_table_is_looked_at_by_samples() {
    let database = made(120_000, 10_000);
    database.query("DROP INDEX django_session_expire_date_a5c62663");
    let report = Cli::on(database.url()).secret(SECRET).run(&["doctor", "--json", "--sample", "100"]).code(3);
    finds(&report, "problem", "index", "expire_date has no index");
    finds(&report, "warning", "size", "130,000 rows, 92.3 % of them expired");
    finds(&report, "ok", "secrets", "sessions (100.0 %)");
    database.query("DELETE FROM django_session");
    finds(&Cli::on(database.url()).run(&["doctor", "--json"]), "ok", "size", "0 rows");
}
