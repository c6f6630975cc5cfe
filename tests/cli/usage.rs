//! The command line itself: help, mistakes, completions, and what cannot be reached.

use serde_json::json;

use crate::{Cli, NOT_CHECKED, hide};

const COMMANDS: [&str; 10] = [
    "clearsessions",
    "doctor",
    "show",
    "list",
    "revoke",
    "encode",
    "decode",
    "createtable",
    "createuser",
    "stats",
];

#[test]
fn help_is_there_for_all_and_tells_no_secret() {
    let cli =
        Cli::on("postgres://app:hunter2-of-help@127.0.0.1:1/x").secret("a secret that help must not show");
    hide("hunter2-of-help");
    let help = cli.run(&["--help"]).code(0).quiet().says("Exit codes:").says("130  stopped by Ctrl-C");
    for command in COMMANDS.iter().chain(&["completions"]) {
        assert!(help.out.contains(command), "{command}");
        cli.run(&[command, "--help"]).code(0).quiet().says("Examples:").says("Usage: django-session");
        cli.run(&["help", command]).code(0).quiet().says("Examples:");
    }
    assert!(help.out.lines().all(|line| line.chars().count() <= 100), "{}", help.out);
    cli.run(&["--version"]).code(0).says(env!("CARGO_PKG_VERSION"));
}

#[test]
fn mistakes_are_told_without_keys_and_secrets() {
    let cli = Cli::default();
    let (key, secret) = ("8zx2rkbzkeykeykeykeykeykeykeykey", "a-secret-in-the-wrong-place");
    hide(key);
    hide(secret);
    for mistake in [
        &[][..],
        &["nonsense"],
        &[secret],
        &["show"],
        &["show", "one", key],
        &["list", key],
        &["clearsessions", "--batch", "0"],
        &["clearsessions", "--batch", secret],
        &["clearsessions", "--pause", "-1"],
        &["clearsessions", "--limit", "many"],
        &["doctor", "--sample", "0"],
        &["revoke"],
        &["revoke", key, "--all"],
        &["revoke", "--user", "1", "--all"],
        &["encode", "--serializer", "yaml"],
        &["list", "--deadline", "0"],
        &["list", "--user", "1", "--username", "ada"],
        &["list", "--user-model", "Member"],
        &["list", "--user-model", "a.B?key=id:blob"],
        &["doctor", "--django", "5"],
        &["doctor", "--hasher", "sha1"],
        &["createuser"],
        &["createuser", "ada", "--password", secret],
        &["createuser", "ada", secret],
        &["completions", "cobol"],
        &["list", "--secret-key", secret, "--secret-key-file", "/dev/null"],
    ] {
        let output = cli.run(mistake).code(2);
        assert!(
            output.out.is_empty() && output.err.contains("Usage") || output.err.contains("--help"),
            "{mistake:?}"
        );
    }
}

#[test]
fn what_is_missing_is_named() {
    let nothing = Cli::default();
    for command in COMMANDS
        .iter()
        .filter(|command| !["encode", "decode", "revoke", "show", "createuser"].contains(command))
    {
        let output = nothing.clone().secret("some secret").run(&[command]).code(1);
        output.complains("--database-url or the variable DATABASE_URL");
    }
    let memory = Cli::on("memory:");
    memory.run(&["encode"]).code(1).complains("SECRET_KEY is needed");
    memory.clone().with("SECRET_KEY", "").run(&["encode"]).code(1).complains("SECRET_KEY is needed");
    memory.run(&["list", "--secret-key", ""]).code(1).complains("the secret key is empty");
    memory.run(&["list", "--secret-key", "x", "--fallback", ""]).code(1).complains("a fallback key is empty");
    let file = ["list", "--secret-key-file", "/nowhere/key"];
    memory.run(&file).code(1).complains("cannot read /nowhere/key");
    memory.run(&["createtable"]).code(1).complains("only PostgreSQL and SQLite have a table");
}

#[test]
fn only_encode_needs_a_secret() {
    let memory = Cli::on("memory:");
    memory.run(&["list"]).code(0).complains(NOT_CHECKED);
    memory.run(&["show", "8zx2rkbz"]).code(4).complains(NOT_CHECKED);
    memory.run(&["revoke", "--user", "1"]).code(0).complains(NOT_CHECKED).says("revoked 0 sessions\n");
    let stats = memory.run(&["stats", "--json"]).code(0).complains(NOT_CHECKED).json();
    assert_eq!(stats["signature_checked"], false);
    memory.run(&["clearsessions"]).code(0).quiet().says("cleared 0 expired sessions");
    memory.run(&["revoke", "8zx2rkbz"]).code(4).says("revoked 0 sessions\n");
    memory.run(&["revoke", "--all", "--yes"]).code(0).quiet().says("revoked 0 sessions\n");
    memory.run(&["doctor"]).code(0).quiet().says("no secret was given");
    let checked = memory.clone().secret("some secret").run(&["stats", "--json"]).code(0).quiet().json();
    assert_eq!(checked["signature_checked"], true);
    // JSON and pickles, signed by anybody.
    let someone = Cli::default().secret("a secret of someone");
    for serializer in ["json", "pickle"] {
        let text = someone.run_with(&["encode", "--serializer", serializer], "{\"a\":1}").code(0).out;
        let decoded = Cli::default().run_with(&["decode"], &text).code(0).complains(NOT_CHECKED);
        assert_eq!(decoded.json(), json!({"a": 1}));
        Cli::default().secret("some secret").run_with(&["decode"], &text).code(1);
    }
}

#[test]
fn empty_arguments_are_refused() {
    let cli = Cli::on("memory:").secret("some secret");
    for arguments in [
        &["revoke", ""][..],
        &["revoke", "8zx2rkbz", ""],
        &["revoke", " "],
        &["revoke", "--user", ""],
        &["revoke", "--user= "],
        &["list", "--user", ""],
        &["list", "--username", ""],
        &["revoke", "--username", ""],
        &["createuser", ""],
    ] {
        let output = cli.run(arguments).code(2).complains("is a shell variable unset?");
        assert_eq!(output.out, "", "{arguments:?}");
    }
    for input in ["", "\n", " \n\t\n"] {
        let output = cli.run_with(&["revoke", "-"], input).code(2).complains("no key on standard input");
        assert_eq!(output.out, "", "{input:?}");
    }
    cli.run_with(&["revoke", "-"], "\n8zx2rkbz\n\n").code(4).says("revoked 0 sessions\n");
}

#[test]
fn urls_that_lead_nowhere_are_told_without_their_passwords() {
    let password = "hunter2-of-the-url";
    hide(password);
    hide("secret_of_the_url");
    for (url, why) in [
        (format!("mysql://app:{password}@db/site"), "no store has this kind of URL"),
        (format!("postgres://app:{password}@127.0.0.1:port/site"), "not of the form postgres://"),
        (format!("postgres://app:{password}@127.0.0.1:1/site"), "the database is away"),
        (format!("postgres://app:{password}@127.0.0.1:1/site?sslmode=requited"), "sslmode"),
        (
            format!("postgres://app:{password}@127.0.0.1:1/site?sslmode=verify-full&sslrootcert=/nowhere"),
            "sslrootcert",
        ),
        (format!("postgres://app:{password}@127.0.0.1:1/site?deadline=soon"), "deadline"),
        (format!("postgres://app:{password}@127.0.0.1:1/site?table=%00"), "cannot name a table"),
        (format!("postgres://app:hunter2?{password}=1@127.0.0.1:1/site"), "an @ after its question mark"),
        (
            "postgres://app:hunter2?secret_of_the_url=1@127.0.0.1:1/site".to_owned(),
            "an @ after its question mark",
        ),
        ("redis://app:hunter2?secret_of_the_url=1@127.0.0.1:1/0".to_owned(), "an @ after its question mark"),
        ("sqlite:////nowhere/at/all.sqlite3".to_owned(), "cannot open the file"),
        ("file:///nowhere/at/all".to_owned(), "nowhere"),
        ("memory:?x=1".to_owned(), "no parameter"),
    ] {
        let cli = Cli::on(&url).secret("some secret");
        for command in
            [&["list"][..], &["clearsessions"], &["show", "8zx2rkbz"], &["stats"], &["revoke", "--user", "1"]]
        {
            cli.run(command).code(1).complains(why);
        }
        let doctor = cli.run(&["doctor"]);
        match doctor.code {
            // A store that is away is a finding.
            Some(3) => assert!(doctor.says("problem  connection").err.is_empty()),
            _ => drop(doctor.code(1).complains(why)),
        }
    }
}

#[test]
fn completions_are_scripts_of_their_shells() {
    for (shell, sign) in
        [("bash", "complete -F"), ("zsh", "#compdef django-session"), ("fish", "complete -c")]
    {
        Cli::default().run(&["completions", shell]).code(0).quiet().says(sign).says("clearsessions");
    }
}
