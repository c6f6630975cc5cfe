//! Instructions and allocations per request, counted by valgrind: figures that do not depend on what else the
//! machine does. See benches/README.md.

#[path = "../content.rs"]
#[allow(dead_code)] // shared with the benchmarks by time
mod content;

use std::{
    env,
    process::{Command, ExitCode},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, SecretKey, Session, SessionKey, SessionMiddleware, Store,
    backend::{Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row},
    codec::{Codec, SessionData},
};
use actix_web::{App, HttpResponse, cookie::Cookie, middleware::Condition, rt::System, test, web};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// `bare` is the same request to a handler without session and middleware: it is subtracted from the others.
const KINDS: [&str; 7] = ["bare", "untouched", "read", "write", "create", "rotate", "logout"];

/// Requests of the shorter run. The longer one has twice as many; the difference is without the start.
const REQUESTS: usize = 500;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["requests", kind, count] => {
            count.parse().map_err(Into::into).and_then(|count| requests(kind, count))
        }
        [] => measure(&KINDS),
        ["--help", ..] => {
            println!("instructions [KIND…]: counts for {}", KINDS.join(", "));
            Ok(())
        }
        ref kinds => measure(kinds),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table, and leaves callgrind's profile of each kind beside the program.
fn measure(kinds: &[&str]) -> Result<()> {
    let bare = count("bare")?;
    println!("| a request | instructions | less bare | allocations | less bare |\n|---|---|---|---|---|");
    for kind in kinds {
        let (instructions, allocations) = if *kind == "bare" { bare } else { count(kind)? };
        let (more, more_allocations) = (instructions - bare.0, allocations - bare.1);
        println!("| `{kind}` | {instructions} | {more} | {allocations} | {more_allocations} |");
    }
    Ok(())
}

/// Instructions and allocations of one request.
fn count(kind: &str) -> Result<(i64, i64)> {
    let per_request = |count: fn(&str, usize) -> Result<i64>| -> Result<i64> {
        let (more, less) = (count(kind, 2 * REQUESTS)?, count(kind, REQUESTS)?);
        Ok((more - less + REQUESTS as i64 / 2) / REQUESTS as i64)
    };
    Ok((per_request(instructions)?, per_request(allocations)?))
}

fn instructions(kind: &str, requests: usize) -> Result<i64> {
    let profile = env::current_exe()?.with_file_name(format!("callgrind.{kind}.{requests}"));
    let option = format!("--callgrind-out-file={}", profile.display());
    let printed = valgrind(&["--tool=callgrind", &option], kind, requests)?;
    number_after(&printed, "Collected : ")
}

fn allocations(kind: &str, requests: usize) -> Result<i64> {
    number_after(&valgrind(&["--leak-check=no"], kind, requests)?, "total heap usage: ")
}

/// Runs this program under valgrind. Returns what valgrind prints.
fn valgrind(options: &[&str], kind: &str, requests: usize) -> Result<String> {
    let mut command = Command::new("valgrind");
    command.args(options).arg(env::current_exe()?).args(["requests", kind, &requests.to_string()]);
    let output = command.output().map_err(|error| format!("valgrind does not start: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(printed) } else { Err(printed.into()) }
}

fn number_after(printed: &str, label: &str) -> Result<i64> {
    let (_, rest) = printed.split_once(label).ok_or_else(|| format!("valgrind did not print {label:?}"))?;
    let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    Ok(number.replace(',', "").parse()?)
}

/// Makes so many requests, one after the other, without a socket.
fn requests(kind: &str, count: usize) -> Result<()> {
    System::new().block_on(async {
        let store = Store::new(OneRow::new()?, SecretKey::new(content::SECRET));
        let session = SessionMiddleware::new(store);
        let handler = match kind {
            "bare" | "untouched" => web::get().to(untouched),
            "read" => web::get().to(read),
            "write" => web::get().to(write),
            "create" => web::get().to(create),
            "rotate" => web::get().to(rotate),
            "logout" => web::get().to(logout),
            _ => return Err(format!("{kind} is none of {}", KINDS.join(", ")).into()),
        };
        // Without it, the same types: `Condition` boxes the body as the middleware does.
        let session = Condition::new(kind != "bare", session);
        let app = test::init_service(App::new().wrap(session).route("/", handler)).await;
        // A visitor without a session has a cookie of another name.
        let name = if kind == "create" { "csrftoken" } else { "sessionid" };
        for _ in 0..count {
            let cookie = Cookie::new(name, "8zx2rkbz8zx2rkbz8zx2rkbz8zx2rkbz");
            let request = test::TestRequest::get().cookie(cookie).to_request();
            let response = test::call_service(&app, request).await;
            let is_as_expected = response.status().is_success()
                && response.headers().contains_key("set-cookie")
                    == matches!(kind, "write" | "create" | "rotate" | "logout");
            if !is_as_expected {
                return Err(format!("{kind}: {:?} {:?}", response.status(), response.headers()).into());
            }
        }
        Ok(())
    })
}

type Answer = Result<HttpResponse, Error>;

async fn untouched() -> Answer {
    said(None)
}

async fn read(session: Session) -> Answer {
    let counter: Option<u64> = session.get(content::COUNTER)?;
    let user: Option<String> = session.get(content::USER)?;
    said(counter.and(user))
}

async fn write(session: Session) -> Answer {
    session.update(content::COUNTER, |n: Option<u64>| n.unwrap_or_default() + 1)?;
    said(None)
}

async fn create(session: Session) -> Answer {
    session.insert(content::USER, "100000")?;
    session.insert(content::BACKEND, content::BACKEND_VALUE)?;
    session.insert(content::HASH, content::HASH_VALUE)?;
    session.insert(content::COUNTER, &0)?;
    said(None)
}

async fn rotate(session: Session) -> Answer {
    session.cycle_key()?;
    said(None)
}

async fn logout(session: Session) -> Answer {
    session.flush()?;
    said(None)
}

fn said(user: Option<String>) -> Answer {
    Ok(HttpResponse::Ok().body(user.unwrap_or_default()))
}

/// A backend that costs nothing: one row, whose key is every key.
struct OneRow(Mutex<Row>);

impl OneRow {
    fn new() -> Result<Self> {
        let mut data = SessionData::default();
        data.set_json(content::USER, "\"100000\"")?;
        data.set_json(content::BACKEND, format!("\"{}\"", content::BACKEND_VALUE))?;
        data.set_json(content::HASH, format!("\"{}\"", content::HASH_VALUE))?;
        data.set_json(content::COUNTER, "1000000")?; // of one length in all requests
        let value = Codec::new(SecretKey::new(content::SECRET)).encode(&data)?;
        let expires = SystemTime::now() + Duration::from_secs(3600);
        Ok(Self(Mutex::new(Row::new(value, expires))))
    }
}

impl Backend for OneRow {
    async fn get(&self, _: &SessionKey) -> Result<Option<Row>, Error> {
        Ok(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    async fn insert(&self, _: Insert<'_>) -> Result<Inserted, Error> {
        Ok(Inserted::Done)
    }

    async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
        let mut row = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if row.value.as_ref() != Some(&change.expected) {
            return Ok(Replaced::Conflict(row.clone()));
        }
        *row = Row::new(change.value.unwrap_or(change.expected), change.expires);
        Ok(Replaced::Done)
    }

    async fn delete(&self, _: &SessionKey) -> Result<bool, Error> {
        Ok(true)
    }

    async fn list(&self, _: Option<Cursor>) -> Result<Page, Error> {
        Ok(Page::new(Vec::new(), None))
    }
}
