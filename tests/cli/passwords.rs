//! Passwords that are not in the URL: `PGPASSWORD` and the password file, as for psql.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use crate::{
    Cli, hide,
    support::{postgres::PrivateServer, proc::TempDir, required},
};

const RIGHT: &str = "right: and \\ secret";

/// Whether psql connects with these variables.
fn psql_connects(url: &str, variables: &[(&'static str, String)]) -> bool {
    let psql = Path::new(&required("TEST_PG_BIN")).join("psql");
    let mut command = Command::new(psql);
    command.args(["--no-password", url, "-c", "SELECT 1"]);
    command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
    command.output().unwrap().status.success()
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_password_is_looked_for_where_psql_looks() {
    let server = PrivateServer::with_table(&[]);
    server.query(&format!(
        "CREATE ROLE app LOGIN SUPERUSER PASSWORD '{RIGHT}'; CREATE ROLE other LOGIN PASSWORD 'x'"
    ));
    hide(RIGHT);
    hide("wrong-and-secret");
    let rules = ["host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"];
    let _rules = server.replace_rules(&(rules.join("\n") + "\nlocal all all scram-sha-256\n"));
    let (port, home) = (server.port(), TempDir::new("home"));
    let file = home.path().join(".pgpass");
    let url = format!("postgres://app@127.0.0.1:{port}/postgres");
    let socket = server.socket_url();
    let directory = socket.split(['=', ' ']).nth(1).unwrap();
    let by_socket = format!("postgres://app@{}:{port}/postgres", directory.replace('/', "%2F"));
    let escaped = RIGHT.replace('\\', "\\\\").replace(':', "\\:");
    let lines = |lines: &[&str]| lines.join("\n") + "\n";
    let cases: &[(&str, String, u32, bool)] = &[
        (&url, lines(&[&format!("127.0.0.1:{port}:postgres:app:{escaped}")]), 0o600, true),
        (&url, lines(&[&format!("*:*:*:*:{escaped}")]), 0o400, true),
        (
            &url,
            lines(&[
                &format!("#127.0.0.1:{port}:postgres:app:x"),
                "",
                "*:*:*:other:x",
                &format!("*:{port}:*:app:{escaped}"),
            ]),
            0o600,
            true,
        ),
        (&url, lines(&["*:*:*:app:wrong-and-secret", &format!("*:*:*:*:{escaped}")]), 0o600, false),
        (&url, lines(&[&format!("localhost:*:*:*:{escaped}")]), 0o600, false),
        (&url, lines(&[&format!("*:1:*:*:{escaped}")]), 0o600, false),
        (&url, lines(&[&format!("*:*:template1:*:{escaped}")]), 0o600, false),
        (&url, lines(&[&format!("*:*:*:*:{escaped}")]), 0o644, false),
        (&url, lines(&[&format!("*:*:*:*:{escaped}")]), 0o640, false),
        (&url, lines(&[&format!("*:*:*:*:{escaped}:and more")]), 0o600, true),
        (&url, format!("*:*:*:*:{escaped}\r\n"), 0o600, true),
        (&url, format!("*:*:*:*:{escaped}"), 0o600, true),
        (&by_socket, lines(&[&format!("{directory}:*:*:*:{escaped}")]), 0o600, true),
        (&by_socket, lines(&[&format!("localhost:*:*:*:{escaped}")]), 0o600, false),
    ];
    let connects = |url: &str, variables: &[(&'static str, String)]| {
        let cli = variables.iter().fold(Cli::on(url), |cli, (name, value)| cli.with(name, value));
        let output = cli.run(&["stats"]);
        assert_ne!(output.err.contains("password"), output.code == Some(0), "{output:?}");
        let connected = output.code == Some(0);
        assert_eq!(psql_connects(url, variables), connected, "psql differs: {url} {variables:?}");
        connected
    };
    let path = |name, path: &Path| (name, path.to_str().unwrap().to_owned());
    for (url, text, mode, right) in cases {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
        assert_eq!(connects(url, &[path("PGPASSFILE", &file)]), *right, "{text} {mode:o}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(&file, format!("*:*:*:*:{escaped}")).unwrap();
    let variable = |value: &str| ("PGPASSWORD", value.to_owned());
    for (url, variables, right) in [
        (&*url, vec![], false),
        (&url, vec![variable(RIGHT)], true),
        (&url, vec![variable("wrong-and-secret"), path("PGPASSFILE", &file)], false),
        (&url, vec![variable(""), path("PGPASSFILE", &file)], true),
        (&url, vec![path("PGPASSFILE", home.path())], false),
        (&url, vec![path("PGPASSFILE", Path::new("/nowhere"))], false),
        // The URL's own comes first.
        (&url.replace("app@", "app:wrong-and-secret@"), vec![variable(RIGHT)], false),
        (&url.replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:"), vec![path("PGPASSFILE", &file)], true),
    ] {
        assert_eq!(connects(url, &variables), right, "{url} {variables:?}");
    }
    // psql takes the home directory from the system's list of users, too; HOME comes first.
    let cli = Cli::on(&url).with("HOME", home.path().to_str().unwrap());
    cli.run(&["stats"]).code(0);
}
