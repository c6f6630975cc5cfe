//! Forwards what the Rust half does not serve to Django, and streams both ways.
//!
//! A path that is moved to Rust gets a route. Everything else still goes to Django, so both can be deployed
//! at any time. In production a web server such as nginx often does the same.

use std::{
    error::Error as StdError,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodyStream, SizedStream},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    rt::{self, net::TcpStream, time::timeout},
    web::{self, Bytes},
};
use futures_util::{Stream, StreamExt, stream};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;

/// Headers of one connection. They say nothing about the request or the response itself (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers of proxies. A visitor could forge them, to pass for another address or an encrypted connection.
const FORWARDED: [HeaderName; 5] = [
    header::FORWARDED,
    header::X_FORWARDED_FOR,
    header::X_FORWARDED_HOST,
    header::X_FORWARDED_PROTO,
    HeaderName::from_static("x-forwarded-port"),
];

/// Django's address.
#[derive(Clone, Copy)]
pub(crate) struct Upstream(pub(crate) SocketAddr);

type Error = Box<dyn StdError + Send + Sync>;

/// The service of every path that has no route.
pub(crate) async fn forward(
    request: HttpRequest,
    body: web::Payload,
    upstream: web::Data<Upstream>,
) -> HttpResponse {
    let sent = match to_django(&request, body) {
        Ok(forwarded) => send(upstream.0, forwarded).await,
        Err(error) => return HttpResponse::BadRequest().body(format!("{error}\n")),
    };
    let answer = match sent {
        Ok(response) => to_visitor(&request, response),
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| {
        eprintln!("shared_login: Django does not answer: {error}");
        HttpResponse::BadGateway().body("Django does not answer. Try again in a moment.\n")
    })
}

/// Sends the request on a connection of its own. On one host that costs little, and no request ever meets a
/// connection that is about to be closed.
async fn send(
    upstream: SocketAddr,
    request: hyper::Request<Upload>,
) -> Result<hyper::Response<Incoming>, Error> {
    let stream = timeout(Duration::from_secs(5), TcpStream::connect(upstream)).await??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the response's body, or when that is dropped.
    rt::spawn(connection);
    Ok(sender.send_request(request).await?)
}

fn to_django(request: &HttpRequest, body: web::Payload) -> Result<hyper::Request<Upload>, Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut forwarded = hyper::Request::builder().method(request.method().as_str()).uri(path);
    for (name, value) in end_to_end(request.headers()) {
        // `Expect` is answered by actix-web.
        if !FORWARDED.contains(name) && *name != header::EXPECT {
            forwarded = forwarded.header(name.as_str(), value.as_bytes());
        }
    }
    let scheme = if request.app_config().secure() { "https" } else { "http" };
    forwarded = forwarded.header("x-forwarded-proto", scheme).header("connection", "close");
    if let Some(peer) = request.peer_addr() {
        forwarded = forwarded.header("x-forwarded-for", peer.ip().to_string());
    }
    if let Some(host) = request.headers().get(header::HOST) {
        forwarded = forwarded.header("x-forwarded-host", host.as_bytes());
    }
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let length = match length(request.headers()) {
        _ if chunked => None,
        length => Some(length.unwrap_or(0)),
    };
    Ok(forwarded.body(Upload { body, length })?)
}

fn to_visitor(request: &HttpRequest, response: hyper::Response<Incoming>) -> Result<HttpResponse, Error> {
    let (head, body) = response.into_parts();
    let mut headers = HeaderMap::new();
    for (name, value) in &head.headers {
        // append: each Set-Cookie stays a header of its own.
        headers.append(name.as_str().try_into()?, HeaderValue::from_bytes(value.as_bytes())?);
    }
    let status = StatusCode::from_u16(head.status.as_u16())?;
    let mut back = HttpResponseBuilder::new(status);
    for (name, value) in end_to_end(&headers).filter(|(name, _)| **name != header::CONTENT_LENGTH) {
        back.append_header((name.clone(), value.clone()));
    }
    let length = length(&headers);
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        // The length of a 304 is that of the page which it stands for.
        if let Some(length) = length {
            back.insert_header((header::CONTENT_LENGTH, length.to_string()));
        }
        return Ok(back.finish());
    }
    let body = match request.method() == "HEAD" {
        true => stream::empty().left_stream(), // beside the length of what a GET would send
        false => Download(body).right_stream(),
    };
    Ok(match length {
        Some(length) => back.body(SizedStream::new(length, body)),
        // Not `streaming`, which adds a Content-Type where there is none.
        None => back.body(BodyStream::new(body)),
    })
}

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
    headers.iter().filter(move |(name, _)| {
        !HOP_BY_HOP.contains(name) && !listed.iter().any(|listed| name.as_str() == listed)
    })
}

/// The body of a request, as hyper sends it.
struct Upload {
    body: web::Payload,
    /// None: in chunks, as long as there are any.
    length: Option<u64>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let part = ready!(self.body.poll_next_unpin(cx));
        Poll::Ready(part.map(|part| part.map(Frame::data).map_err(io::Error::other)))
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The body of a response, as actix-web sends it.
struct Download(Incoming);

impl Stream for Download {
    type Item = Result<Bytes, hyper::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Some(Ok(data)),
                    Err(_) => continue, // trailers, which are of one connection
                },
                Some(Err(error)) => Some(Err(error)),
                None => None,
            });
        }
    }
}
