//! The two sites, and the visitors that go to and fro between them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use actix_django_session::{
    SecretKey, Session, SessionMiddleware, SessionSettings, Store, codec::SessionData,
};
use actix_web::{http::header::HttpDate, web};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    backing::Backing,
    support::{
        django::{Django, Version},
        http::{Client, Reply},
        site::Site,
    },
};

pub(crate) const SECRET: &str = "a secret that both sites know";

pub(crate) const TWO_WEEKS: f64 = 1_209_600.0;

pub(crate) const DELETION: &str =
    "sessionid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; SameSite=Lax";

/// Either site.
pub(crate) trait Server: Sync {
    fn name(&self) -> &'static str;
    fn at(&self, path: &str) -> String;
}

impl Server for Django {
    fn name(&self) -> &'static str {
        "Django"
    }

    fn at(&self, path: &str) -> String {
        self.url(path)
    }
}

impl Server for Site {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn at(&self, path: &str) -> String {
        self.url(path)
    }
}

/// Django's site and ours on one engine.
pub(crate) struct Pair {
    pub(crate) django: Django,
    pub(crate) ours: Site,
    pub(crate) db: Arc<dyn Backing>,
    version: Version,
    pub(crate) requests: Arc<AtomicUsize>,
}

impl Pair {
    pub(crate) fn start(version: &Version, db: impl Backing + 'static) -> Self {
        let db: Arc<dyn Backing> = Arc::new(db);
        let django = start_django(version, &*db, &[("SECRET_KEY", SECRET)]);
        django.prepare();
        let ours = start_ours(&db, SessionSettings::default(), SecretKey::new(SECRET));
        Self { django, ours, db, version: version.clone(), requests: Arc::default() }
    }

    /// One more Django on the same sessions.
    pub(crate) fn django_with(&self, settings: &[(&str, &str)]) -> Django {
        start_django(&self.version, &*self.db, settings)
    }

    /// Another of our sites, on the same sessions.
    pub(crate) fn site(&self, settings: SessionSettings, secret: SecretKey) -> Site {
        start_ours(&self.db, settings, secret)
    }

    /// One of our sites that cannot read the stored sessions.
    pub(crate) fn misled_site(&self, settings: SessionSettings) -> Site {
        let db = self.db.clone();
        Site::start(settings, async move || db.misled_store().await)
    }

    /// Runs `work` with our store, without a site.
    pub(crate) fn with_store<T>(&self, work: impl AsyncFnOnce(Store) -> T) -> T {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async { work(self.db.store(SecretKey::new(SECRET)).await).await })
    }

    /// Runs `work` with a visitor's session, in a request to another of our sites.
    pub(crate) fn in_a_request(&self, visitor: &mut Visitor, work: fn(&Session)) {
        let db = self.db.clone();
        let site = Site::serve(1, async move || {
            let session = SessionMiddleware::new(db.store(SecretKey::new(SECRET)).await);
            move |config: &mut web::ServiceConfig| {
                let handler = move |session: Session| {
                    work(&session);
                    async { "done" }
                };
                config.service(web::scope("").wrap(session.clone()).route("/", web::get().to(handler)));
            }
        });
        assert_eq!(visitor.get(&site, "/").text(), "done");
    }

    pub(crate) fn both_ways(&self) -> [(&dyn Server, &dyn Server); 2] {
        [(&self.django, &self.ours), (&self.ours, &self.django)]
    }

    pub(crate) fn visitor(&self) -> Visitor {
        Visitor { client: Client::new(), requests: self.requests.clone() }
    }

    /// A visitor whose browser presents this key.
    pub(crate) fn visitor_with(&self, key: &str) -> Visitor {
        let mut visitor = self.visitor();
        visitor.client.cookies.insert("sessionid".to_owned(), key.to_owned());
        visitor
    }

    /// A visitor who is logged in at Django.
    pub(crate) fn user(&self) -> Visitor {
        let mut visitor = self.visitor();
        visitor.login(&self.django);
        visitor
    }

    /// The stored data of a session.
    pub(crate) fn data(&self, key: &str) -> SessionData {
        let row = self.db.row(key).unwrap_or_else(|| panic!("no row {key}"));
        let json = self.db.json(&self.version, &[row]).remove(0);
        SessionData::from_json(json.expect("a row that can be read")).unwrap()
    }

    /// The stored data of each readable session, as JSON.
    pub(crate) fn all_json(&self) -> Vec<String> {
        self.db.json(&self.version, &self.db.rows()).into_iter().flatten().collect()
    }

    /// Other engines' tests run beside this one's, and log the same things.
    pub(crate) fn alone_with_logs(&self) -> MutexGuard<'static, ()> {
        static LOGS: Mutex<()> = Mutex::new(());
        LOGS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That a write kept the session's key, where a session has one.
    #[track_caller]
    pub(crate) fn keeps(&self, visitor: &Visitor, key: &str) {
        assert!(!self.db.has_rows() || visitor.the_key() == key, "a write keeps the key");
    }
}

fn start_django(version: &Version, db: &dyn Backing, settings: &[(&str, &str)]) -> Django {
    let of_db = db.settings();
    let mut all: Vec<(&str, &str)> = of_db.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend(settings);
    Django::start(version, &db.database_url(), &all)
}

fn start_ours(db: &Arc<dyn Backing>, settings: SessionSettings, secret: SecretKey) -> Site {
    let db = db.clone();
    Site::start(settings, async move || db.store(secret).await)
}

/// A browser. A clone has cookies of its own from then on.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) client: Client,
    pub(crate) requests: Arc<AtomicUsize>,
}

impl Visitor {
    pub(crate) fn key(&self) -> Option<&str> {
        self.client.cookies.get("sessionid").map(String::as_str)
    }

    pub(crate) fn the_key(&self) -> String {
        self.key().expect("a session's cookie").to_owned()
    }

    pub(crate) fn ask(&mut self, server: &dyn Server, program: &Value) -> Reply {
        self.ask_raw(server, &program.to_string())
    }

    /// A program in JSON as only Python takes it.
    pub(crate) fn ask_raw(&mut self, server: &dyn Server, program: &str) -> Reply {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let json = [("content-type", "application/json")];
        self.client.request("POST", &server.at("/ops"), &json, Some(program.as_bytes()))
    }

    pub(crate) fn get(&mut self, server: &dyn Server, path: &str) -> Reply {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.client.get(&server.at(path))
    }

    /// Logs in through the admin's form.
    pub(crate) fn login(&mut self, django: &Django) {
        self.requests.fetch_add(2, Ordering::Relaxed);
        django.login(&mut self.client);
    }

    /// Opens a page of the admin and sends the form on it.
    pub(crate) fn submit(
        &mut self,
        django: &Django,
        page: &str,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Reply {
        self.requests.fetch_add(2, Ordering::Relaxed);
        django.submit(&mut self.client, page, action, fields)
    }

    /// The results of a program that must succeed.
    pub(crate) fn run(&mut self, server: &dyn Server, program: &Value) -> Vec<Value> {
        let reply = self.ask(server, program);
        assert_eq!(reply.status, 200, "{}: {program}: {}", server.name(), reply.text());
        reply.json()["results"].as_array().unwrap().clone()
    }

    /// The value under a key of the session.
    pub(crate) fn look(&mut self, server: &dyn Server, name: &str) -> Value {
        self.run(server, &json!([["get", name]])).remove(0)
    }
}

/// A `Set-Cookie` line without what depends on the moment, with Max-Age beside it.
pub(crate) fn shape(line: &str, key: &str) -> (String, Option<f64>) {
    let mut max_age = None;
    let mut expires: Option<SystemTime> = None;
    let parts = line.split("; ").map(|part| match part.split_once('=') {
        Some(("expires", date)) => {
            expires = Some(date.parse::<HttpDate>().unwrap().into());
            "expires=…".to_owned()
        }
        Some(("Max-Age", seconds)) => {
            max_age = Some(seconds.parse::<f64>().unwrap());
            "Max-Age=…".to_owned()
        }
        Some(("sessionid", value)) if value == key => "sessionid=…".to_owned(),
        _ => part.to_owned(),
    });
    let shape = parts.collect::<Vec<_>>().join("; ");
    assert_eq!(max_age.is_some(), expires.is_some(), "{line}");
    if let (Some(max_age), Some(expires)) = (max_age, expires) {
        near(unix(expires) - unix(SystemTime::now()), max_age, line);
    }
    (shape, max_age)
}

pub(crate) fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[track_caller]
pub(crate) fn near(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() <= 2.0, "{what}: {a} and {b}");
}
