//! Other processes: they count with us, may not enter, or find the disk full.

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::SystemTime,
};

use actix_django_session::{
    SessionKey,
    backend::{Backend as _, Files, Insert, Replace, Replaced},
};

use super::{Directory, HOUR, count, encoded, new_key};
use crate::support::proc::TempDir;

/// Says to this test program, started once more, what it is to do, where, and with which session.
const TASK: &str = "TEST_FILE_TASK";
const DIRECTORY: &str = "TEST_FILE_DIRECTORY";
const KEY: &str = "TEST_FILE_KEY";

/// Run by the tests below in processes of their own; by itself it does nothing.
#[actix_web::test]
async fn a_task_in_a_process_of_its_own() {
    let Ok(task) = env::var(TASK) else { return };
    let dir = PathBuf::from(env::var(DIRECTORY).unwrap());
    let key = env::var(KEY).ok().map(|key| SessionKey::parse(&key).unwrap());
    match &task[..] {
        "count" => {
            let key = key.unwrap();
            let workers = (0..WORKERS).map(|_| count(&dir, &key, INCREMENTS));
            futures_util::future::try_join_all(workers).await.unwrap();
        }
        "open" => match Files::open(&dir).await {
            Ok(_) => println!("[opened]"),
            Err(error) => println!("[{}]", error.with_causes()),
        },
        "fill" => fill(&dir).await,
        "doubt" => doubt(&dir, &key.unwrap()).await,
        other => panic!("{other}"),
    }
}

/// This program, to do a task, begun by a shell that first does something else.
fn task(program: &Path, name: &str, dir: &Path, first: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{first}\nexec \"$@\"")).arg("sh").arg(program);
    command.args(["--exact", "file::processes::a_task_in_a_process_of_its_own", "--nocapture"]);
    command.env(TASK, name).env(DIRECTORY, dir);
    command
}

fn this_program() -> PathBuf {
    env::current_exe().unwrap()
}

fn succeeded(output: Output) -> String {
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{}\n{text}", output.status);
    text
}

const PROCESSES: usize = 2;
const WORKERS: usize = 8;
const INCREMENTS: usize = 25;

#[actix_web::test]
async fn two_processes_count_exactly() {
    let directory = Directory::new().await;
    let (key, _) = directory.insert(r#"{"n":0}"#).await;
    let start = || {
        let mut command = task(&this_program(), "count", directory.dir.path(), "");
        let command = command.env(KEY, key.as_str());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let processes: Vec<_> = (0..PROCESSES).map(|_| start()).collect();
    for process in processes {
        succeeded(process.wait_with_output().unwrap());
    }
    let n = directory.data(&key).await.get_json("n").map(str::to_owned);
    assert_eq!(n, Some((PROCESSES * WORKERS * INCREMENTS).to_string()));
    assert_eq!(directory.names(), [key.as_str()], "nothing is left behind");
}

#[actix_web::test]
async fn a_directory_without_rights_is_named_at_once() {
    let dir = TempDir::new("file");
    // Whom rights do not bind becomes somebody else, who may not get to where this program is.
    let program = dir.path().join("program");
    // Copied by another program. While this one has the copy open for writing, a process that another test
    // starts has it open too, and the copy cannot be run ("text file busy").
    assert!(Command::new("cp").arg(this_program()).arg(&program).status().unwrap().success());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let sessions = dir.path().join("sessions");
    fs::create_dir(&sessions).unwrap();
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    for (mode, opens) in [(0o000, false), (0o444, false), (0o555, false), (0o333, false), (0o777, true)] {
        fs::set_permissions(&sessions, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = task(&program, "open", &sessions, "");
        if root {
            command.uid(65534).gid(65534);
        }
        let said = succeeded(command.current_dir("/").output().unwrap());
        assert_eq!(said.contains("[opened]"), opens, "{mode:o}: {said}");
        assert!(opens || said.contains("this user lacks a right in "), "{mode:o}: {said}");
    }
}

/// A write that the disk refuses is an error that says so, and changes nothing.
async fn fill(dir: &Path) {
    let files = Files::open(dir).await.unwrap();
    let (key, value, then) = (new_key(), encoded(r#"{"a":1}"#), SystemTime::now() + HOUR);
    files.insert(Insert::new(&key, value.clone(), then)).await.unwrap();
    let noise: String = (0..40_000).map(|_| new_key().as_str()[..5].to_owned()).collect();
    let large = encoded(&format!(r#"{{"noise":"{noise}"}}"#));
    let (renamed, created) = (new_key(), new_key());
    let update = Replace::new(&key, value.clone(), then).value(large.clone());
    for error in [
        files.replace(update.clone()).await.unwrap_err(),
        files.replace(update.new_key(&renamed)).await.unwrap_err(),
        files.insert(Insert::new(&created, large, then)).await.unwrap_err(),
    ] {
        assert!(error.is_store(), "{error:?}");
        println!("[{}]", error.with_causes());
    }
    let row = files.get(&key).await.unwrap().unwrap();
    assert_eq!(row.value.as_deref(), Some(&value[..]), "the session is as it was");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "nothing is left behind");
    let smaller = files.replace(Replace::new(&key, value, then).value(encoded(r#"{"a":2}"#))).await.unwrap();
    assert_eq!(smaller, Replaced::Done, "and can be saved when there is room");
}

#[actix_web::test]
async fn a_disk_that_takes_no_more_is_an_error_and_no_loss() {
    let dir = TempDir::new("file");
    // Files of 8 or 16 KiB at most, by the shell; writing more is an error and no signal.
    let first = "trap '' XFSZ; ulimit -f 16";
    let command = &mut task(&this_program(), "fill", dir.path(), first);
    let said = succeeded(command.output().unwrap());
    assert_eq!(said.matches("(ulimit -f)").count(), 3, "{said}");
}

/// In a directory that cannot be read, so that its changes cannot be brought to the disk.
async fn doubt(dir: &Path, key: &SessionKey) {
    let files = Files::open_lazy(dir).unwrap();
    let (old, new, newer) = (encoded(r#"{"a":1}"#), encoded(r#"{"a":2}"#), encoded(r#"{"a":3}"#));
    let (renamed, then) = (new_key(), SystemTime::now() + HOUR);
    let update = Replace::new(key, old, then).value(new.clone());
    assert_eq!(files.replace(update.clone()).await.unwrap(), Replaced::Unknown);
    assert!(matches!(files.replace(update).await.unwrap(), Replaced::Conflict(_)), "it was made");
    // A rename begins with the new file. Without it on the disk, nothing is changed.
    let rename = Replace::new(key, new.clone(), then).value(newer).new_key(&renamed);
    assert!(files.replace(rename).await.unwrap_err().is_store());
    assert_eq!(files.get(key).await.unwrap().unwrap().value.as_deref(), Some(&new[..]));
    assert!(files.get(&renamed).await.unwrap().is_none());
}

#[actix_web::test]
async fn a_change_that_may_not_be_on_the_disk_is_in_doubt() {
    let dir = TempDir::new("file");
    let program = dir.path().join("program");
    assert!(Command::new("cp").arg(this_program()).arg(&program).status().unwrap().success());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let sessions = dir.path().join("sessions");
    fs::create_dir(&sessions).unwrap();
    let files = Files::open(&sessions).await.unwrap();
    let (key, then) = (new_key(), SystemTime::now() + HOUR);
    files.insert(Insert::new(&key, encoded(r#"{"a":1}"#), then)).await.unwrap();
    let file = sessions.join(format!("sessionid{}", key.as_str()));
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if root {
        for path in [&sessions, &file] {
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        }
    }
    fs::set_permissions(&sessions, fs::Permissions::from_mode(0o333)).unwrap();
    let mut command = task(&program, "doubt", &sessions, "");
    if root {
        command.uid(65534).gid(65534);
    }
    succeeded(command.env(KEY, key.as_str()).current_dir("/").output().unwrap());
    fs::set_permissions(&sessions, fs::Permissions::from_mode(0o755)).unwrap();
}

/// As above with a file system that is full, where one can be mounted.
#[actix_web::test]
async fn a_disk_that_is_full_is_an_error_and_no_loss() {
    let mount = "mount -t tmpfs -o size=64k tmpfs \"$TEST_FILE_DIRECTORY\"";
    let dir = TempDir::new("file");
    let namespace = [["-m"].as_slice(), &["-r", "-m"]].into_iter().find(|flags| {
        let mut command = Command::new("unshare");
        let tried = command.args(*flags).args(["sh", "-c", mount]).env(DIRECTORY, dir.path()).output();
        tried.is_ok_and(|output| output.status.success())
    });
    let Some(flags) = namespace else {
        println!("no file system can be mounted here: only the limit of a file's size was tested");
        return;
    };
    let task = task(&this_program(), "fill", dir.path(), mount);
    let mut command = Command::new("unshare");
    command.args(flags).arg(task.get_program()).args(task.get_args());
    let output = command.env(TASK, "fill").env(DIRECTORY, dir.path()).output().unwrap();
    let said = succeeded(output);
    assert_eq!(said.matches("is full; the stored sessions are unchanged").count(), 3, "{said}");
}
