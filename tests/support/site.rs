//! Our side of the test site: an actix application that understands the language of
//! `tests/django/site_under_test/ops.py`.

use std::{
    future::Future,
    sync::mpsc,
    thread,
    time::{Duration, SystemTime},
};

use actix_django_session::{Error, Expiry, LazySession, Session, SessionMiddleware, SessionSettings, Store};
use actix_web::{
    App, HttpResponse, HttpServer, dev::ServerHandle, error::ErrorInternalServerError, http::StatusCode, web,
};
use serde_json::{Map, Value, json};

use super::logs::{self, Logs};

/// A running site; stops with this.
#[derive(Debug)]
pub struct Site {
    port: u16,
    server: ServerHandle,
    threads: logs::Threads,
    thread: Option<thread::JoinHandle<()>>,
}

impl Site {
    /// Serves sessions of the store that `open` makes, on two workers.
    pub fn start<F, S>(settings: SessionSettings, open: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = S>,
        S: Into<Store>,
    {
        Self::start_with(2, settings, open)
    }

    pub fn start_with<F, S>(
        workers: usize,
        settings: SessionSettings,
        open: impl FnOnce() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = S>,
        S: Into<Store>,
    {
        Self::serve(workers, async move || {
            let store: Store = open().await.into();
            let session = SessionMiddleware::new(store.clone()).settings(settings).unwrap();
            move |config: &mut web::ServiceConfig| {
                config.app_data(web::Data::new(store.clone()));
                config.service(
                    web::scope("")
                        .wrap(session.clone())
                        .route("/untouched", web::get().to(async || "untouched"))
                        .route("/ops", web::post().to(ops)),
                );
            }
        })
    }

    /// Serves whatever `configure` adds to an application.
    pub fn serve<F, C>(workers: usize, configure: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = C>,
        C: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    {
        let (tell, told) = mpsc::channel();
        let threads = logs::Threads::default();
        let of_workers = threads.clone();
        let thread = thread::spawn(move || {
            // It keeps the store until the end, and then logs what is still counted.
            of_workers.lock().unwrap().insert(thread::current().id());
            actix_web::rt::System::new().block_on(async move {
                let configure = configure().await;
                let server = HttpServer::new(move || {
                    // Each worker makes the application for itself, on its thread.
                    of_workers.lock().unwrap().insert(thread::current().id());
                    App::new().configure(configure.clone())
                })
                .workers(workers)
                .backlog(4096)
                .disable_signals()
                .shutdown_timeout(1)
                .bind("127.0.0.1:0")
                .unwrap();
                let port = server.addrs()[0].port();
                let server = server.run();
                tell.send((port, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (port, server) = told.recv().expect("the site should start");
        Self { port, server, threads, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Collects what its workers log from now on, and nothing of other sites in this process.
    pub fn logs(&self) -> Logs {
        logs::capture_threads(&self.threads)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.server.stop(false)); // the command is sent at once, only its answer would be awaited
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Runs a program and answers its results; an operation that fails ends it with a 500.
async fn ops(
    lazy: LazySession,
    store: web::Data<Store>,
    program: web::Json<Vec<Vec<Value>>>,
) -> Result<HttpResponse, actix_web::Error> {
    let presented = lazy.session_key();
    let mut status = StatusCode::OK;
    let mut results = Vec::new();
    for op in &*program {
        let (name, args) = op.split_first().unwrap();
        let result = match name.as_str().unwrap() {
            "status" => {
                status = StatusCode::from_u16(args[0].as_u64().unwrap() as u16).unwrap();
                Value::Null
            }
            "raise" => return Err(ErrorInternalServerError("raised")),
            "sleep" => {
                actix_web::rt::time::sleep(Duration::from_secs_f64(args[0].as_f64().unwrap())).await;
                Value::Null
            }
            "delete_row" => {
                if let Some(key) = &presented {
                    store.delete(key).await?;
                }
                Value::Null
            }
            // Django's flags may be looked at without a load.
            "flags" if lazy.loaded().is_none() => json!({
                "accessed": false, "modified": false, "empty": lazy.is_empty(),
                "key": lazy.session_key().map(|key| key.as_str().to_owned()),
            }),
            name => run(&lazy.load().await?, name, args).await?,
        };
        results.push(result);
    }
    Ok(HttpResponse::build(status).json(json!({"results": results})))
}

/// One operation on a session.
pub async fn run(session: &Session, name: &str, args: &[Value]) -> Result<Value, actix_web::Error> {
    let key = || args[0].as_str().unwrap();
    Ok(match name {
        "get" => session.get(key())?.unwrap_or_default(),
        "set" => done(session.insert(key(), &args[1]))?,
        "incr" => session.update(key(), |n: Option<i64>| n.unwrap_or(0) + 1)?.into(),
        "pop" => session.remove(key())?.unwrap_or_default(),
        "del" => session.discard(key())?.into(),
        "has" => session.contains_key(key()).into(),
        "setdefault" => session.get_or_insert(key(), args[1].clone())?,
        "update" => done(session.extend(args[0].as_object().unwrap()))?,
        "keys" => json!(session.keys()),
        "items" => json!(session.items::<Value>()?),
        "clear" => done(session.clear())?,
        "flush" => done(session.flush())?,
        "cycle_key" => done(session.cycle_key())?,
        "save" => done(session.save().await)?,
        "modified" => done(session.set_modified())?,
        "flags" => json!({
            "accessed": session.accessed(), "modified": session.modified(), "empty": session.is_empty(),
            "key": session.session_key().map(|key| key.as_str().to_owned()),
        }),
        "set_expiry" => match &args[0] {
            Value::Null => done(session.set_expiry(Expiry::Default))?,
            zero if *zero == 0 => done(session.set_expiry(Expiry::BrowserClose))?,
            Value::Number(n) if n.as_i64().is_some_and(|n| n < 0) => {
                done(session.set_expiry(n.as_i64().unwrap()))?
            }
            seconds => done(session.set_expiry(Duration::from_secs(seconds.as_u64().unwrap())))?,
        },
        "set_expiry_date" => done(session.set_expiry(iso(key())))?,
        "set_expiry_in" => {
            done(session.set_expiry(SystemTime::now() + Duration::from_secs(args[0].as_u64().unwrap())))?
        }
        "expiry_age" => match session.get_expiry_age() {
            whole if whole.fract() == 0.0 => (whole as i64).into(),
            fraction => fraction.into(),
        },
        "expiry_date" => {
            let since = session.get_expiry_date().duration_since(SystemTime::UNIX_EPOCH);
            since.unwrap().as_secs_f64().into()
        }
        "browser_close" => session.get_expire_at_browser_close().into(),
        "set_test_cookie" => done(session.set_test_cookie())?,
        "test_cookie_worked" => session.test_cookie_worked().into(),
        "delete_test_cookie" => match session.delete_test_cookie()? {
            true => Value::Null,
            false => return Err(ErrorInternalServerError("KeyError")), // as the language has it
        },
        "user" => session.get("_auth_user_id")?.unwrap_or_default(),
        other => panic!("no such operation: {other}"),
    })
}

fn done(answer: Result<(), Error>) -> Result<Value, Error> {
    answer.map(|()| Value::Null)
}

/// `YYYY-MM-DDTHH:MM:SS.ffffff+00:00`.
pub fn iso(text: &str) -> SystemTime {
    use cookie::time::{OffsetDateTime, format_description::well_known::Rfc3339};
    OffsetDateTime::parse(text, &Rfc3339).unwrap_or_else(|e| panic!("{text}: {e}")).into()
}

/// The reverse of `iso`.
pub fn to_iso(time: SystemTime) -> String {
    use cookie::time::{OffsetDateTime, format_description::well_known::Rfc3339};
    OffsetDateTime::from(time).format(&Rfc3339).unwrap().replace('Z', "+00:00")
}

/// A program, as the body of a request to `/ops`.
pub fn program(ops: &[Value]) -> Value {
    Value::Array(ops.to_vec())
}

/// An object of a JSON text, for comparisons.
pub fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}
