//! Forwards what the Rust half does not serve to Django, and streams both ways.
//!
//! A path that is moved to Rust gets a route. Everything else still goes to Django, so both can be deployed
//! at any time. In production a web server such as nginx often does the same.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web,
};
use awc::{Client, ClientResponse, Connector, error::SendRequestError};

/// Headers of one connection. They say nothing about the request or the response itself (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What a visitor could forge, to pass for another address, or for an encrypted connection.
const FORWARDED: [HeaderName; 5] = [
    header::FORWARDED,
    header::X_FORWARDED_FOR,
    header::X_FORWARDED_HOST,
    header::X_FORWARDED_PROTO,
    HeaderName::from_static("x-forwarded-port"),
];

/// Django's address, and the connections to it of one worker.
#[derive(Clone)]
pub(crate) struct Upstream {
    origin: String,
    client: Client,
}

impl Upstream {
    /// `origin` is such as `http://127.0.0.1:8001`. To be called once in each worker.
    pub(crate) fn new(origin: &str) -> Self {
        let connector = Connector::new()
            .timeout(Duration::from_secs(5))
            // Shorter than gunicorn's, so that no request goes to a connection that is about to close.
            .conn_keep_alive(Duration::from_secs(10))
            .limit(100);
        // No timeout: an upload or a download may take as long as it likes.
        let client = Client::builder().connector(connector).disable_timeout();
        let client = client.no_default_headers().disable_redirects().finish();
        Self { origin: origin.to_owned(), client }
    }
}

/// The service of every path that no route has.
pub(crate) async fn forward(
    request: HttpRequest,
    body: web::Payload,
    upstream: web::Data<Upstream>,
) -> HttpResponse {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path}", upstream.origin);
    let mut forwarded = upstream.client.request(request.method().clone(), url).no_decompress();
    for (name, value) in end_to_end(request.headers()) {
        // The length follows from the body below. Expect is answered here.
        if !FORWARDED.contains(name) && name != header::CONTENT_LENGTH && name != header::EXPECT {
            forwarded = forwarded.append_header((name.clone(), value.clone()));
        }
    }
    let connection = request.app_config();
    let scheme = if connection.secure() { "https" } else { "http" };
    forwarded = forwarded.insert_header((header::X_FORWARDED_PROTO, scheme));
    if let Some(peer) = request.peer_addr() {
        forwarded = forwarded.insert_header((header::X_FORWARDED_FOR, peer.ip().to_string()));
    }
    if let Some(host) = request.headers().get(header::HOST) {
        forwarded = forwarded.insert_header((header::X_FORWARDED_HOST, host.clone()));
    }

    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let sent = match length(request.headers()) {
        _ if chunked => forwarded.send_stream(body).await,
        Some(length) => forwarded.send_body(SizedStream::new(length, body)).await,
        None => forwarded.send().await,
    };
    match sent {
        Ok(response) => stream_back(request.method(), response),
        Err(error) => refuse(&error),
    }
}

fn stream_back<S>(method: &Method, response: ClientResponse<S>) -> HttpResponse
where
    ClientResponse<S>: futures_util::Stream<Item = Result<web::Bytes, awc::error::PayloadError>> + 'static,
{
    let mut back = HttpResponseBuilder::new(response.status());
    for (name, value) in end_to_end(response.headers()) {
        if name != header::CONTENT_LENGTH {
            // append: each Set-Cookie stays a header of its own.
            back.append_header((name.clone(), value.clone()));
        }
    }
    let length = length(response.headers());
    let without_body = method == Method::HEAD || response.status() == StatusCode::NOT_MODIFIED;
    match length {
        // The length of what a GET would send.
        Some(length) if without_body => back.body(SizedStream::new(length, futures_util::stream::empty::<NoBody>())),
        None if without_body => back.finish(),
        Some(length) => back.body(SizedStream::new(length, response)),
        None => back.streaming(response),
    }
}

type NoBody = Result<web::Bytes, std::io::Error>;

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The headers that are for the other end, and not for this connection.
fn end_to_end(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let listed: Vec<String> = headers
        .get_all(header::CONNECTION)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    headers
        .iter()
        .filter(move |(name, _)| !HOP_BY_HOP.contains(name) && !listed.iter().any(|listed| *name == listed.as_str()))
}

fn refuse(error: &SendRequestError) -> HttpResponse {
    eprintln!("shared_login: Django does not answer: {error}");
    HttpResponse::BadGateway().body("Django does not answer. Try again in a moment.\n")
}
