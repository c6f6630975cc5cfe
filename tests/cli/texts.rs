//! `encode` and `decode`, on texts that Djangos of all times have written.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::{Cli, hide, support::django::Django, support::proc::TempDir};

const VECTORS: [(&str, &str); 7] = [
    ("1.11", include_str!("../vectors/codec-1.11.29.json")),
    ("2.2", include_str!("../vectors/codec-2.2.28.json")),
    ("3.0", include_str!("../vectors/codec-3.0.14.json")),
    ("3.2", include_str!("../vectors/codec-3.2.25.json")),
    ("3.2 with SHA-1", include_str!("../vectors/codec-3.2.25-sha1.json")),
    ("4.2", include_str!("../vectors/codec-4.2.30.json")),
    ("6.1", include_str!("../vectors/codec-6.1.3.json")),
];
const SECRET: &str = "django-insecure-!k3y-for-vectors_(0)#";

/// Vectors of this kind that were made with `SECRET`, of sessions: some are of lists, to be refused.
fn vectors(text: &str, kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(text).unwrap();
    let all = all["vectors"].as_array().unwrap().iter();
    all.filter(|vector| vector["kind"] == kind && vector["secret"] == SECRET).cloned().collect()
}

fn cli() -> Cli {
    Cli::default().secret(SECRET)
}

#[test]
fn every_django_is_decoded() {
    for (version, text) in VECTORS {
        let mut vectors = vectors(text, "encode");
        vectors.retain(|vector| vector["json"].as_str().unwrap().starts_with('{'));
        let texts: Vec<&str> = vectors.iter().map(|vector| vector["encoded"].as_str().unwrap()).collect();
        let output = cli().run_with(&["decode"], texts.join("\n")).code(0).quiet();
        let lines: Vec<&str> = output.out.lines().collect();
        assert_eq!(lines.len(), vectors.len(), "Django {version}");
        assert!(vectors.len() > 40, "Django {version}");
        for (line, vector) in lines.iter().zip(&vectors) {
            assert_eq!(vector["json"], **line, "Django {version}: {}", vector["name"]);
        }
    }
}

#[test]
fn what_django_cannot_read_is_reported_by_its_line() {
    let vectors = vectors(VECTORS[6].1, "decode");
    let simple = |vector: &&Value| {
        !vector["encoded"].as_str().unwrap().trim().is_empty() && vector["fallbacks"] == json!([])
    };
    let vectors: Vec<&Value> = vectors.iter().filter(simple).collect();
    let readable =
        |vector: &Value| vector["readable"] == true && vector["decoded"].as_str().unwrap().starts_with('{');
    let input: String =
        vectors.iter().map(|vector| vector["encoded"].as_str().unwrap().replace('\n', "") + "\n").collect();
    let output = cli().run_with(&["decode"], input).code(1);
    for (number, vector) in (1..).zip(&vectors) {
        let refused = output.err.contains(&format!("line {number}: "));
        // Skips texts of several lines, and the formats from before 3.1, which are read anyway.
        let encoded = vector["encoded"].as_str().unwrap();
        let name = vector["name"].as_str().unwrap();
        if encoded.contains('\n') || !encoded.contains(':') || name.contains("sha1") {
            continue;
        }
        assert!(!(readable(vector) && refused), "line {number}: {name} is refused");
        assert!(vector["logged"] == false || refused, "line {number}: {name} is accepted");
    }
    assert_eq!(output.out.lines().count() + output.err.lines().count(), vectors.len());
}

#[test]
fn lines_go_there_and_back() {
    let lines = "{\"a\":1}\n\n  {\"b\":[1,2.0,\"\\u00e9\"],\"big\":123456789012345678901234567890}\r\n{}\n";
    let encoded = cli().run_with(&["encode"], lines).code(0).quiet();
    assert_eq!(encoded.out.lines().count(), 3);
    let decoded = cli().run_with(&["decode"], &encoded.out).code(0).quiet();
    let compact = "{\"a\":1}\n{\"b\":[1,2.0,\"\\u00e9\"],\"big\":123456789012345678901234567890}\n{}\n";
    assert_eq!(decoded.out, compact);
    // Another class, another signature.
    cli()
        .run_with(&["decode", "--salt-class", "MyStore"], &encoded.out)
        .code(1)
        .complains("line 1: no secret key");
    let salted = cli().run_with(&["encode", "--salt-class", "MyStore"], lines).code(0);
    assert_eq!(cli().run_with(&["--salt-class", "MyStore", "decode"], &salted.out).code(0).out, compact);
    // Pickles, read by the same command.
    let pickled = cli().run_with(&["encode", "--serializer", "pickle"], lines).code(0).quiet();
    assert_ne!(pickled.out.split(':').next(), encoded.out.split(':').next());
    assert_eq!(cli().run_with(&["decode"], &pickled.out).code(0).out, compact);
    // Broken lines in between.
    let broken =
        cli().run_with(&["encode"], b"{\"a\":1}\nno json\n[1]\n{\"b\":\xff}\n{\"c\":3}".as_slice()).code(1);
    assert_eq!(broken.out.lines().count(), 2);
    for number in 2..5 {
        assert!(broken.err.contains(&format!("django-session: line {number}: ")), "{}", broken.err);
    }
}

#[test]
fn secrets_come_from_many_places() {
    let dir = TempDir::new("secret");
    let [with_newline, with_two] = ["one", "two"].map(|name| dir.path().join(name));
    std::fs::write(&with_newline, "a secret of a file\n").unwrap();
    std::fs::write(&with_two, "a secret of a file\n\n").unwrap();
    hide("a secret of a file");
    let args =
        |path: &std::path::Path| ["encode", "--secret-key-file", path.to_str().unwrap()].map(str::to_owned);
    let run = |cli: &Cli, args: &[String]| {
        cli.run_with(&args.iter().map(String::as_str).collect::<Vec<_>>(), "{}").code(0).quiet().out
    };
    let none = Cli::default();
    let [one, two] = [&with_newline, &with_two].map(|path| run(&none, &args(path)));
    let of_file = none.clone().secret("a secret of a file");
    assert_eq!(of_file.run_with(&["decode"], &one).code(0).out, "{}\n");
    assert_eq!(of_file.run_with(&["decode"], &two).code(1).out, "");
    // The command line before the environment, and a secret that looks like an option.
    let other = none.secret("another secret");
    assert_eq!(other.run_with(&["decode", "--secret-key", "a secret of a file"], &one).code(0).out, "{}\n");
    let path = with_newline.to_str().unwrap();
    assert_eq!(other.run_with(&["decode", "--secret-key-file", path], &one).code(0).out, "{}\n");
    let dashed = other.run_with(&["--secret-key", "--dashed secret", "encode"], "{}").code(0);
    other.run_with(&["decode"], &dashed.out).code(1);
    let fallbacks = ["decode", "--fallback", "x", "--fallback", "--dashed secret"];
    assert_eq!(other.run_with(&fallbacks, &dashed.out).code(0).out, "{}\n");
    let variable = other.with("SECRET_KEY_FALLBACKS", "x,a secret of a file,");
    assert_eq!(variable.run_with(&["decode"], &one).code(0).out, "{}\n");
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let lines = "{\"a\":1}\n".repeat(50_000);
    for (command, input) in [("encode", lines.clone()), ("decode", cli().run_with(&["encode"], &lines).out)] {
        let mut child = cli().start(&[command]);
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 8]).unwrap();
        drop(out);
        let output = cli().end_of(child).code(0).quiet();
        assert_eq!(output.out, "");
        writer.join().unwrap();
    }
    // Help and completions are output, too.
    let mut child = cli().start(&["completions", "bash"]);
    drop(child.stdout.take());
    cli().end_of(child).code(0).quiet();
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn django_reads_what_was_encoded() {
    let lines = ["{\"a\":1}", "{\"b\":[1,2.5,\"\\u00e9\"],\"c\":null}", "{}"];
    let long = format!("{{\"x\":\"{}\"}}", "long ".repeat(2000));
    let lines: Vec<&str> = lines.into_iter().chain([long.as_str()]).collect();
    let encoded = cli().run_with(&["encode"], lines.join("\n")).code(0).out;
    let requests: Vec<Value> =
        encoded.lines().map(|text| json!({"secret": SECRET, "encoded": text})).collect();
    for version in Django::codec_versions() {
        let answers = version.decode_to_text(&requests);
        for (answer, line) in answers.iter().zip(&lines) {
            // Before 3.1 no Django knew today's format.
            let old = ["1.", "2.", "3.0"].iter().any(|old| version.name.starts_with(old));
            assert_eq!(answer.as_deref(), (!old).then_some(*line), "Django {}", version.name);
        }
    }
}
