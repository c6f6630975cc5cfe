//! Django middleware in Rust, in each of Django's two forms. The Python is above its port.
//!
//! ```text
//! cargo run --example django_middleware     # http://127.0.0.1:8080; PORT selects another port
//! curl -i -c jar -b jar http://127.0.0.1:8080
//! ```
//!
//! With `MAINTENANCE_FILE=closed`, the site is closed as long as a file of that name exists.

use std::{env, path::PathBuf, time::Instant};

use actix_django_session::{
    SecretKey, Session, SessionExt as _, SessionMiddleware, Store,
    backend::Memory,
    hooks::{Flow, Hooks, Middleware, MiddlewareNotUsed, Optional},
};
use actix_web::{
    App, Error, HttpResponse, HttpServer,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue, RETRY_AFTER},
    middleware::{Next, from_fn},
    web,
};

// The class form: one method before the handler, one after it. The constructor may decline.
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

    async fn process_request(&self, _: &mut ServiceRequest) -> Result<Flow<()>, Error> {
        if self.file.exists() {
            let mut closed = HttpResponse::ServiceUnavailable();
            let response = closed.insert_header((RETRY_AFTER, "600")).body("Closed\n");
            return Ok(Flow::Break(((), response)));
        }
        Ok(Flow::Continue(()))
    }

    async fn process_response(&self, (): (), response: HttpResponse) -> Result<HttpResponse, Error> {
        Ok(response)
    }
}

// The class form with a session, and with a value that the first method passes to the second.
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
    /// Django stores it as an attribute of the request.
    type State = u64;

    async fn process_request(&self, request: &mut ServiceRequest) -> Result<Flow<u64>, Error> {
        let session = request.session()?.load().await?;
        let visits = session.update("visits", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        Ok(Flow::Continue(visits))
    }

    async fn process_response(&self, visits: u64, mut response: HttpResponse) -> Result<HttpResponse, Error> {
        response.headers_mut().insert(HeaderName::from_static("x-visits"), HeaderValue::from(visits));
        Ok(response)
    }
}

// The function form. In actix-web it is an async function; `next.call` is Django's `get_response`.
//
//     def timing(get_response):
//         def middleware(request):
//             start = time.monotonic()
//             response = get_response(request)
//             response["Server-Timing"] = f"total;dur={(time.monotonic() - start) * 1000:.3f}"
//             return response
//         return middleware
async fn timing(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let start = Instant::now();
    let mut response = next.call(request).await?;
    let header = format!("total;dur={:.3}", start.elapsed().as_secs_f64() * 1000.0);
    response.headers_mut().insert(HeaderName::from_static("server-timing"), header.parse()?);
    Ok(response)
}

async fn view(session: Session) -> Result<String, actix_django_session::Error> {
    let visits: Option<u64> = session.get("visits")?;
    Ok(format!("Visit {}\n", visits.unwrap_or_default()))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    // Sessions in memory keep the example short. They are lost when the process exits.
    let store = Store::new(Memory::new(), SecretKey::new("insecure-key-of-the-example"));
    let session = SessionMiddleware::new(store);
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    println!("Listening on http://127.0.0.1:{port}");
    HttpServer::new(move || {
        // Django lists the outermost middleware first; in actix-web the last `wrap` is the outermost.
        //
        //     MIDDLEWARE = [timing, Maintenance, SessionMiddleware, Visits]
        App::new()
            .route("/", web::get().to(view))
            .wrap(Hooks::new(Visits))
            .wrap(session.clone())
            // Left out where the constructor declines. It wraps a `from_fn` in the same way.
            .wrap(Optional::new(|| Maintenance::new().map(Hooks::new)))
            .wrap(from_fn(timing))
    })
    .bind(("127.0.0.1", port))?
    .run()
    .await
}
