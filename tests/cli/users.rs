//! Users: sessions by login name, what `doctor` says about logins, and new users without Django.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    Cli, Output,
    fill::{FORMER, SECRET, python},
    hide,
    support::{
        django::{Django, Version},
        postgres::Database,
        proc::TempDir,
    },
};

const PASSWORD: &str = "correct horse battery";
const MODEL_BACKEND: &str = "django.contrib.auth.backends.ModelBackend";
const OTHER_BACKEND: &str = "allauth.account.auth_backends.AuthenticationBackend";

/// An empty database of either kind.
enum Place {
    Postgres(Database),
    Sqlite(TempDir),
}

impl Place {
    fn both() -> [Self; 2] {
        [Self::Postgres(Database::fresh()), Self::Sqlite(TempDir::new("users"))]
    }

    fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url().to_owned(),
            Self::Sqlite(dir) => format!("sqlite:///{}/db.sqlite3", dir.path().display()),
        }
    }

    fn execute(&self, sql: &str) {
        match self {
            Self::Postgres(database) => drop(database.query(sql)),
            Self::Sqlite(dir) => {
                let db = rusqlite::Connection::open(dir.path().join("db.sqlite3")).unwrap();
                db.execute_batch(sql).unwrap();
            }
        }
    }
}

fn users_py(version: &Version, url: &str, arguments: &[&str]) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/users.py");
    let all: Vec<&str> = [here.to_str().unwrap()].into_iter().chain(arguments.iter().copied()).collect();
    version.script(&all, Some(url))
}

/// Logs users in with this secret.
fn log_in(version: &Version, url: &str, secret: &str, logins: &[(&str, &str)]) {
    let logins: Vec<String> = logins.iter().map(|(name, backend)| format!("{name}={backend}")).collect();
    let mut arguments = vec![secret, "login"];
    arguments.extend(logins.iter().map(String::as_str));
    users_py(version, url, &arguments).lines().for_each(hide);
}

/// Level, subject and text of each finding.
fn findings(output: &Output) -> Vec<[String; 3]> {
    let report = output.json();
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|finding| ["level", "about", "found"].map(|name| text(finding, name))).collect()
}

#[track_caller]
fn finds(output: &Output, level: &str, about: &str, found: &str) {
    let all = findings(output);
    assert!(
        all.iter().any(|[l, a, text]| l == level && a == about && text.contains(found)),
        "no {level} {about} {found}: {all:#?}"
    );
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn sessions_are_found_by_the_name_of_their_user() {
    let version = Django::versions().remove(0);
    for place in Place::both() {
        let url = place.url();
        users_py(&version, &url, &[SECRET, "make"]);
        let [ada, bob] = ["ada", "bob"].map(|name| (name, MODEL_BACKEND));
        log_in(&version, &url, SECRET, &[ada, ada, bob]);
        hide("the password of ada and bob");
        let cli = Cli::on(&url).secret(SECRET);
        let by_name = cli.run(&["list", "--username", "ada"]).code(0).quiet();
        assert_eq!(by_name.out.lines().count(), 2);
        assert_eq!(by_name.out, cli.run(&["list", "--user", "1"]).code(0).out);
        for nobody in ["Ada", "ada ", "--", "1"] {
            let argument = format!("--username={nobody}");
            let output = cli.run(&["list", &argument]).code(4);
            assert_eq!(output.complains(&format!("there is no user {nobody}")).out, "");
            cli.run(&["revoke", &argument]).code(4);
        }
        assert_eq!(cli.run(&["list", "--username", "carl"]).code(0).quiet().out, "");
        cli.run(&["revoke", "--username", "ada"]).code(0).quiet().says("revoked 2 sessions\n");
        assert_eq!(cli.run(&["list"]).code(0).out.lines().count(), 1);
        // Another model, here by another column of the same table.
        place.execute("UPDATE auth_user SET email = 'bob@example.com' WHERE username = 'bob'");
        let model = ["--user-model", "auth.User?login=email&without=date_joined"];
        let listed = cli.run(&[&["list", "--username", "bob@example.com"], &model[..]].concat()).code(0);
        assert_eq!(listed.out.lines().count(), 1);
        let elsewhere = ["list", "--username", "ada", "--user-model", "accounts.Member"];
        cli.run(&elsewhere).code(1).complains("there is no table \"accounts_member\" in this database");
        let unfit = ["list", "--username", "ada", "--user-model", "auth.User?login=nick"];
        cli.run(&unfit).code(1).complains("nick");
    }
    let memory = Cli::on("memory:").run(&["list", "--username", "ada"]).code(1);
    memory.complains("the table of users is in PostgreSQL or SQLite");
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn doctor_compares_hashes_and_logins() {
    for version in Django::versions() {
        for place in Place::both() {
            let (url, name) = (place.url(), version.name.as_str());
            users_py(&version, &url, &[SECRET, "make"]);
            let login = |name| (name, MODEL_BACKEND);
            log_in(
                &version,
                &url,
                SECRET,
                &[login("ada"), login("bob"), ("bob", OTHER_BACKEND), login("dora")],
            );
            log_in(&version, &url, FORMER, &[login("ada")]);
            let cli = Cli::on(&url).secret(SECRET).with("SECRET_KEY_FALLBACKS", FORMER);
            let report = cli.run(&["doctor", "--json", "--django", name]).code(0).quiet();
            let ok = [
                ("users", "\"auth_user\" and the tables that belong to it exist"),
                ("passwords", "unusable: no password fits: 2 of 4 users (50.0 %)"),
                ("logins", "django.contrib.auth.backends.ModelBackend: 4 of 5 logins (80.0 %)"),
                ("logins", "the secret key made the hash of 3 of 5 logins (60.0 %)"),
                ("logins", "a fallback made the hash of 1 of 5 logins (20.0 %)"),
                ("logins", "of inactive users: 1 of 5 logins (20.0 %)"),
            ];
            for (about, found) in ok {
                finds(&report, "ok", about, found);
            }
            finds(&report, "warning", "passwords", "md5: 1 of 4 users (25.0 %)");
            finds(&report, "warning", "logins", &format!("{OTHER_BACKEND}: 1 of 5 logins"));
            let all = findings(&report);
            let pbkdf2 =
                |[level, _, text]: &&[String; 3]| level == "ok" && text.starts_with("pbkdf2_sha256, ");
            assert!(all.iter().any(|finding| pbkdf2(&finding)), "{all:#?}");
            assert!(!all.iter().any(|[.., text]| text.contains("no user has")), "{all:#?}");
            // Another version than the site's, another hasher, none; backends that are listed.
            let other = if name.starts_with("4.2") { "6.1" } else { "4.2" };
            let report = cli.run(&["doctor", "--json", "--django", other]).code(0);
            finds(&report, "warning", "passwords", "no user has pbkdf2_sha256");
            let report = cli.run(&["doctor", "--json", "--django", name, "--hasher", "argon2"]).code(0);
            finds(&report, "warning", "passwords", "no user has argon2id, v=19");
            let listed = ["doctor", "--json", "--backend", MODEL_BACKEND, "--backend", OTHER_BACKEND];
            let report = cli.run(&listed).code(0);
            finds(&report, "ok", "passwords", "not compared");
            finds(&report, "ok", "logins", &format!("{OTHER_BACKEND}: 1 of 5 logins"));
            // Other passwords, users who are gone, and secrets that are wrong or missing.
            place.execute("UPDATE auth_user SET password = '!x' WHERE username = 'bob'");
            let report = cli.run(&["doctor", "--json"]).code(0);
            let other = "made by no secret given, for the password in the table: 2 of 5 logins";
            finds(&report, "ok", "logins", other);
            let without = Cli::on(&url).run(&["doctor", "--json"]).code(0);
            finds(&without, "ok", "logins", "so no hash was checked");
            place.execute("DELETE FROM auth_user WHERE username = 'bob'");
            let report = cli.run(&["doctor", "--json"]).code(0);
            finds(&report, "ok", "logins", "of users who do not exist: 2 of 5 logins");
            // Tables that are missing.
            place.execute("DROP TABLE auth_user_user_permissions");
            let report = cli.run(&["doctor", "--json"]).code(3);
            finds(&report, "problem", "users", "there is no table \"auth_user_user_permissions\"");
            place.execute("ALTER TABLE auth_user RENAME TO elsewhere");
            let report = cli.run(&["doctor", "--json"]).code(0);
            let named =
                "there is no table \"auth_user\" in this database, and users are logged in in 5 of 5 live";
            finds(&report, "warning", "users", named);
            let report = cli.run(&["doctor", "--json", "--django", name]).code(3);
            finds(&report, "problem", "users", "there is no table \"auth_user\"");
        }
    }
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn doctor_names_the_rights_that_logins_need() {
    let database = Database::fresh();
    let cli = Cli::on(database.url());
    cli.run(&["createtable"]).code(0);
    cli.run(&["createuser", "ada", "--create-tables", "--no-password"]).code(0);
    let role = format!("reader_of_users_{}", std::process::id());
    database.query(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON django_session TO {role}"
    ));
    let url = database.url().replace("postgres@", &format!("{role}@"));
    assert!(url.contains(&role), "{url}");
    let as_role = Cli::on(&url);
    let report = as_role.run(&["doctor", "--json"]).code(3);
    finds(&report, "problem", "rights", "the role may not SELECT ON \"auth_user\"");
    finds(
        &report,
        "warning",
        "rights",
        "the role may not UPDATE (\"password\", \"last_login\") ON \"auth_user\"",
    );
    database.query(&format!(
        "GRANT SELECT ON auth_user TO {role}; GRANT UPDATE (password, last_login) ON auth_user TO {role}"
    ));
    let report = as_role.run(&["doctor", "--json"]).code(0);
    finds(&report, "ok", "rights", "SELECT on \"auth_user\", and UPDATE for logins");
    finds(&report, "ok", "logins", "nobody is logged in");
    as_role.run(&["createuser", "bob", "--no-password"]).code(1).complains("the role lacks a right");
    database.query(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn a_created_user_is_one_of_django() {
    hide(PASSWORD);
    for version in Django::versions() {
        for place in Place::both() {
            let (url, name) = (place.url(), version.name.as_str());
            let cli = Cli::on(&url);
            if matches!(place, Place::Postgres(_)) {
                let none = cli.run_with(&["createuser", "ada"], PASSWORD).code(1);
                none.complains("there is no table \"auth_user\"").complains("--create-tables");
            }
            let create = |arguments: &[&str], input: &str| {
                cli.run_with(&[&["createuser", "--django", name], arguments].concat(), input)
            };
            let ada = ["ada", "--create-tables", "--superuser", "--email", "Ada@Example.COM"];
            create(&ada, &format!("{PASSWORD}\n")).code(0).quiet().says("created user ada, id 1\n");
            create(&["bob", "--staff", "--no-password"], "").code(0).quiet().says("id 2\n");
            create(&["carl", "--any-password", "--hasher", "scrypt"], "1\r\n").code(0).quiet();
            create(&["ada"], PASSWORD).code(1).complains("there is a user ada already");
            for (password, why) in [
                ("", "the password is empty"),
                ("\n", "the password is empty"),
                ("short", "This password is too short."),
                ("password123", "This password is too common."),
                ("8412097345", "This password is entirely numeric."),
                ("somebody@x", "The password is too similar to the email address."),
                ("two lines\nof text", "must be one line"),
            ] {
                let dora = ["dora", "--email", "somebody@x"];
                assert_eq!(create(&dora, password).code(1).complains(why).out, "", "{password:?}");
            }
            for bad in [&["a b"][..], &["a/b"], &[&"x".repeat(151)], &[""], &["dora", "--email", "x"]] {
                create(bad, PASSWORD).code(2);
            }
            let check = |name: &str, password: &str| -> Value {
                serde_json::from_str(&users_py(&version, &url, &[SECRET, "check", name, password])).unwrap()
            };
            let expected = json!({
                "id": 1, "email": "Ada@example.com", "active": true, "staff": true, "superuser": true,
                "usable": true, "outdated": false, "right": true,
            });
            assert_eq!(check("ada", PASSWORD), expected, "Django {name}");
            let bob = check("bob", "x");
            assert_eq!([&bob["staff"], &bob["superuser"], &bob["usable"]], [true, false, false], "{bob}");
            let carl = check("carl", "1");
            assert_eq!([&carl["right"], &carl["outdated"], &carl["staff"]], [true, false, false], "{carl}");
        }
    }
}

/// Types keys on a real terminal, and returns what it showed.
fn on_a_terminal(url: &str, keys: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/terminal.py");
    let mut command = Command::new(python(&Django::versions().remove(0)));
    command.arg(here).args(keys).arg("--").arg(env!("CARGO_BIN_EXE_django-session")).args(arguments);
    let output = command.env_clear().env("DATABASE_URL", url).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(!shown.contains("secret-on-a-terminal"), "{shown}");
    (output.status.code(), shown)
}

#[test]
#[ignore = "needs Django, for its Python: run tests/run"]
fn a_password_that_is_typed_is_not_shown() {
    let dir = TempDir::new("terminal");
    let url = format!("sqlite:///{}/db.sqlite3", dir.path().display());
    let typed = "secret-on-a-terminal\\n";
    let create = |keys: &[&str], name: &str| {
        on_a_terminal(&url, keys, &["createuser", name, "--create-tables", "--django", "4.2"])
    };
    let (code, shown) = create(&[typed, typed], "ada");
    assert_eq!(
        (code, shown.as_str()),
        (Some(0), "Password: \r\nPassword (again): \r\ncreated user ada, id 1\r\n")
    );
    let (code, shown) = create(&[typed, "another-one\\n"], "bob");
    assert!(code == Some(1) && shown.contains("the passwords differ"), "{shown}");
    let (code, shown) = create(&["secret-on-a\\x03"], "bob");
    assert!(code == Some(1) && shown.contains("interrupted: nothing was created"), "{shown}");
    // Backspace takes back a character of two bytes, Ctrl-U the line.
    let edited = "x\\x15secret-on-a-terminal\\xc3\\xa9\\x7f\\n";
    assert_eq!(create(&[edited, typed], "bob").0, Some(0));
    let version = Django::versions().remove(0);
    let checked = users_py(&version, &url, &[SECRET, "check", "bob", "secret-on-a-terminal"]);
    assert!(checked.contains("\"right\": true"), "{checked}");
}
