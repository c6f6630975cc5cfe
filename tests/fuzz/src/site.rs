//! A site with one visitor who is known.

use std::{pin::Pin, rc::Rc};

use actix_django_session::{
    Error, LazySession, Session, SessionKey, SessionMiddleware, SessionSettings, Store,
    backend::{Backend as _, Insert, Memory},
    codec::{Codec, JsonSerializer, Serializer as _, SessionData},
};
use actix_web::{
    App, HttpResponse,
    http::header::{self, HeaderMap, HeaderValue},
    test::{TestRequest, call_service, init_service, read_body},
    web,
};

use crate::{block_on, far_away};

/// The key of the one who is known. The recorded headers have it.
pub const KNOWN: &str = "abcdefgh";

type Asking = Pin<Box<dyn Future<Output = Answer>>>;

/// Asks for a page with these lines of `Cookie`. A service of actix has no name.
type Ask = dyn Fn(&str, Vec<HeaderValue>) -> Asking;

/// The pages of a site in this process: `/untouched`, `/look`, `/write` and `/flush`, as to the session.
pub struct Pages(Box<Ask>);

/// Pages, and the memory that has their sessions.
pub struct Site {
    pages: Pages,
    memory: Memory,
}

/// The parts of a response that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The lines of `Set-Cookie`.
    pub set_cookie: Vec<String>,
    /// The lines of `Vary`.
    pub vary: Vec<String>,
    /// `200 …`, with the body.
    pub page: String,
}

impl Pages {
    /// Pages whose sessions are in this store.
    pub fn new(store: Store, settings: SessionSettings) -> Self {
        let middleware = SessionMiddleware::new(store).settings(settings).expect("a browser's");
        let app = App::new()
            .wrap(middleware)
            .route("/untouched", web::get().to(|| async { HttpResponse::Ok().body("untouched") }))
            .route("/look", web::get().to(look))
            .route("/write", web::get().to(write))
            .route("/flush", web::get().to(flush));
        let app = Rc::new(block_on(init_service(app)));
        let ask = Box::new(move |path: &str, cookies: Vec<HeaderValue>| -> Asking {
            let (app, mut request) = (app.clone(), TestRequest::with_uri(path));
            for line in cookies {
                request = request.append_header((header::COOKIE, line));
            }
            Box::pin(async move {
                let response = call_service(&*app, request.to_request()).await;
                let lines = |name| lines(response.headers(), &name);
                let (set_cookie, vary) = (lines(header::SET_COOKIE), lines(header::VARY));
                let status = response.status().as_u16();
                let body = read_body(response).await;
                Answer { set_cookie, vary, page: format!("{status} {}", String::from_utf8_lossy(&body)) }
            })
        });
        Self(ask)
    }

    /// Gets a page with these lines of `Cookie`.
    pub fn ask(&self, path: &str, cookies: Vec<HeaderValue>) -> Answer {
        block_on((self.0)(path, cookies))
    }

    /// Has the visitor write whose cookie is [`KNOWN`], and returns the key that he has then.
    pub fn write_as_known(&self) -> String {
        let answer = self.ask("/write", vec![HeaderValue::from_static("sessionid=abcdefgh")]);
        assert_eq!(answer.page, "200 written");
        let [line] = &answer.set_cookie[..] else { panic!("{answer:?}") };
        let value = line.strip_prefix("sessionid=").and_then(|rest| rest.split(';').next());
        value.expect("a cookie").to_owned()
    }
}

impl Site {
    /// A site with one visitor who is known.
    pub fn new(settings: SessionSettings) -> Self {
        let memory = Memory::new();
        let store = Store::new(memory.clone(), Codec::unsigned(JsonSerializer));
        let site = Self { pages: Pages::new(store, settings), memory };
        site.set_known(&SessionData::from_json(r#"{"who":"Ada"}"#).expect("a dict"));
        site
    }

    /// Replaces the data of the known visitor's session.
    pub fn set_known(&self, data: &SessionData) {
        let (key, value) = (key(KNOWN), JsonSerializer.dumps(data).expect("JSON"));
        block_on(async {
            self.memory.delete(&key).await.expect("memory");
            self.memory.insert(Insert::new(&key, value, far_away())).await.expect("memory");
        });
    }

    /// Gets a page with these lines of `Cookie`.
    pub fn ask(&self, path: &str, cookies: Vec<HeaderValue>) -> Answer {
        self.pages.ask(path, cookies)
    }

    /// Whether there is a session under this key; then it is ended.
    pub fn end(&self, of: &str) -> bool {
        block_on(self.memory.delete(&key(of))).expect("memory")
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        block_on(self.memory.list(None)).expect("memory").entries.len()
    }
}

fn key(of: &str) -> SessionKey {
    SessionKey::parse(of).expect("a key")
}

fn lines(headers: &HeaderMap, name: &header::HeaderName) -> Vec<String> {
    headers.get_all(name).map(|line| line.to_str().expect("our headers are ASCII").to_owned()).collect()
}

async fn look(session: Session) -> HttpResponse {
    let who: Result<Option<String>, _> = session.get("who");
    HttpResponse::Ok().body(who.ok().flatten().unwrap_or_else(|| "nobody".to_owned()))
}

async fn write(session: Session) -> Result<HttpResponse, Error> {
    session.insert("who", "Ada")?;
    Ok(HttpResponse::Ok().body("written"))
}

async fn flush(session: LazySession) -> Result<HttpResponse, Error> {
    session.flush()?;
    Ok(HttpResponse::Ok().body("flushed"))
}
