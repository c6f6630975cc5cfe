//! Django middleware in Rust, in each of Django's two forms. The Python stands above its port.
//!
//! ```text
//! cargo run --example django_middleware     # http://127.0.0.1:8080; PORT takes another port
//! curl -i -c jar -b jar http://127.0.0.1:8080
//! ```
//!
//! With `MAINTENANCE_FILE=closed`, the site is closed whenever there is a file of that name.

use std::{env, path::PathBuf, time::Instant};

use actix_django_session::{
    Session, SessionExt as _, SessionMiddleware,
    hooks::{Function, GetResponse, Hooks, Middleware, MiddlewareNotUsed, Next},
    store::MemoryStore,
};
use actix_web::{
    App, Error, HttpResponse, HttpServer,
    dev::ServiceRequest,
    http::header::{HeaderName, HeaderValue, RETRY_AFTER},
    web,
};

// The class form: hooks before and after. A constructor may take its middleware out of the chain.
//
//     class Maintenance(MiddlewareMixin):
//         def __init__(self, get_response):
//             if "MAINTENANCE_FILE" not in os.environ:
//                 raise MiddlewareNotUsed("MAINTENANCE_FILE is not set")
//             self.file = Path(os.environ["MAINTENANCE_FILE"])
//             super().__init__(get_response)
//
//         def process_request(self, request):
//             if self.file.exists():
//                 return HttpResponse("Closed\n", status=503, headers={"Retry-After": "600"})
struct Maintenance {
    file: PathBuf,
}

impl Maintenance {
    fn new() -> Result<Self, MiddlewareNotUsed> {
        let file = env::var_os("MAINTENANCE_FILE");
        let file = file.ok_or_else(|| MiddlewareNotUsed::because("MAINTENANCE_FILE is not set"))?;
        Ok(Self { file: file.into() })
    }
}

impl Middleware for Maintenance {
    type State = ();

    async fn process_request(&self, _: &mut ServiceRequest) -> Result<Next<()>, Error> {
        if self.file.exists() {
            let mut closed = HttpResponse::ServiceUnavailable();
            return Ok(Next::Respond((), closed.insert_header((RETRY_AFTER, "600")).body("Closed\n")));
        }
        Ok(Next::View(()))
    }

    async fn process_response(&self, (): (), response: HttpResponse) -> Result<HttpResponse, Error> {
        Ok(response)
    }
}

// The class form with a session, and with something to remember from one hook to the other.
//
//     class Visits(MiddlewareMixin):
//         def process_request(self, request):
//             request.visits = request.session.get("visits", 0) + 1
//             request.session["visits"] = request.visits
//
//         def process_response(self, request, response):
//             response["X-Visits"] = str(request.visits)
//             return response
struct Visits;

impl Middleware for Visits {
    /// What Django hangs on the request.
    type State = u64;

    async fn process_request(&self, request: &mut ServiceRequest) -> Result<Next<u64>, Error> {
        let session = request.session()?.load().await?;
        let visits = session.update("visits", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        Ok(Next::View(visits))
    }

    async fn process_response(&self, visits: u64, mut response: HttpResponse) -> Result<HttpResponse, Error> {
        response.headers_mut().insert(HeaderName::from_static("x-visits"), HeaderValue::from(visits));
        Ok(response)
    }
}

async fn view(session: Session) -> Result<String, actix_django_session::Error> {
    let visits: Option<u64> = session.get("visits")?;
    Ok(format!("Visit {}\n", visits.unwrap_or_default()))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    // The function form: a factory that takes get_response and answers a function.
    //
    //     def timing(get_response):
    //         def middleware(request):
    //             start = time.monotonic()
    //             response = get_response(request)
    //             response["Server-Timing"] = f"total;dur={(time.monotonic() - start) * 1000:.3f}"
    //             return response
    //         return middleware
    let timing = |get_response: GetResponse| {
        Ok(move |request: ServiceRequest| {
            let get_response = get_response.clone();
            async move {
                let start = Instant::now();
                let mut response = get_response.call(request).await?;
                let header = format!("total;dur={:.3}", start.elapsed().as_secs_f64() * 1000.0);
                response.headers_mut().insert(HeaderName::from_static("server-timing"), header.parse()?);
                Ok(response)
            }
        })
    };

    // Sessions in memory keep the example short. They end with the process.
    let session = SessionMiddleware::new(MemoryStore::new());
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    println!("Listening on http://127.0.0.1:{port}");
    HttpServer::new(move || {
        // Django lists the outermost middleware first; in actix the last wrap is the outermost.
        //
        //     MIDDLEWARE = [timing, Maintenance, SessionMiddleware, Visits]
        App::new()
            .route("/", web::get().to(view))
            .wrap(Hooks::new(|| Ok(Visits)))
            .wrap(session.clone())
            .wrap(Hooks::new(Maintenance::new))
            .wrap(Function::new(timing))
    })
    .bind(("127.0.0.1", port))?
    .run()
    .await
}
