//! Bodies reach the handler whole, whatever was read of them before.

use std::{pin::Pin, time::Duration};

use actix_django_session::csrf::{CsrfMiddleware, CsrfSettings};
use actix_web::{
    App, HttpResponse,
    dev::{Payload, Service as _},
    error::PayloadError,
    http::header,
    test::{self, TestRequest},
    web::{self, Bytes},
};
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};

const SECRET: &str = "abcdefghijklmnopqrstuvwxyzABCDEF";
const LIMIT: usize = 1000;

/// Answers with the body, and whether it broke off.
async fn read(mut body: web::Payload) -> HttpResponse {
    let (mut all, mut broken) = (Vec::new(), false);
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => all.extend_from_slice(&chunk),
            Err(_) => broken = true,
        }
    }
    HttpResponse::Ok().insert_header(("x-broken", broken.to_string())).body(all)
}

type Chunks = Vec<Result<Bytes, PayloadError>>;
type BoxedPayload = Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;

/// A POST with this body. A macro, since actix exports no name for the type.
macro_rules! form {
    ($content_type:expr, $token:expr, $payload:expr) => {{
        let payload: BoxedPayload = Box::pin($payload);
        let mut request = TestRequest::post()
            .uri("/")
            .insert_header((header::COOKIE, format!("csrftoken={SECRET}")))
            .insert_header((header::CONTENT_TYPE, $content_type));
        if let Some(token) = $token {
            request = request.insert_header(("x-csrftoken", token));
        }
        request.to_request().replace_payload(Payload::Stream { payload }).0
    }};
}

/// Status, the body that the handler read, and whether it broke off.
async fn post(content_type: &str, header: Option<&str>, chunks: Chunks) -> (u16, Vec<u8>, bool) {
    let settings = CsrfSettings::default().max_form_bytes(LIMIT);
    let csrf = CsrfMiddleware::new().settings(settings).unwrap();
    let app = test::init_service(App::new().wrap(csrf).route("/", web::post().to(read))).await;
    // As from the network: each chunk arrives a moment after the one before.
    let body = stream::iter(chunks).then(|chunk| async {
        tokio::task::yield_now().await;
        chunk
    });
    let response = app.call(form!(content_type, header, body)).await.unwrap();
    let status = response.status().as_u16();
    let broken = response.headers().get("x-broken").is_some_and(|text| text == "true");
    (status, test::read_body(response).await.to_vec(), broken)
}

fn chunks(body: &[u8], size: usize) -> Chunks {
    body.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect()
}

fn multipart(parts: &[(&str, &str)]) -> Vec<u8> {
    let part = |(disposition, value): &(&str, &str)| {
        format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
    };
    [parts.iter().map(part).collect::<String>(), "--b--\r\n".to_owned()].concat().into_bytes()
}

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=b";

#[actix_web::test]
async fn a_form_reaches_the_handler_in_any_chunks() {
    let form = format!("a=b&csrfmiddlewaretoken={SECRET}&c={}", "x".repeat(500)).into_bytes();
    let token = ("name=\"csrfmiddlewaretoken\"", SECRET);
    let parts = multipart(&[("name=a", "b"), token, ("name=f; filename=f", "\0\r\n--\r\n")]);
    for (content_type, body) in [(FORM, form), (MULTIPART, parts)] {
        for size in [1, 2, 7, 100, 10_000] {
            let (status, read, broken) = post(content_type, None, chunks(&body, size)).await;
            assert_eq!((status, broken), (200, false), "{content_type} in chunks of {size}");
            assert_eq!(read, body, "{content_type} in chunks of {size}");
        }
    }
}

#[actix_web::test]
async fn a_file_longer_than_the_limit_reaches_the_handler() {
    let token = ("name=\"csrfmiddlewaretoken\"", SECRET);
    let file = "x".repeat(50 * LIMIT);
    let body = multipart(&[token, ("name=f; filename=f", &file)]);
    let (status, read, _) = post(MULTIPART, None, chunks(&body, 100)).await;
    assert_eq!((status, read == body), (200, true));
}

#[actix_web::test]
async fn a_token_behind_a_long_file_is_not_found_but_a_header_is() {
    let token = ("name=\"csrfmiddlewaretoken\"", SECRET);
    let file = "x".repeat(50 * LIMIT);
    let body = multipart(&[("name=f; filename=f", &file), token]);
    assert_eq!(post(MULTIPART, None, chunks(&body, 100)).await.0, 403);
    let (status, read, _) = post(MULTIPART, Some(SECRET), chunks(&body, 100)).await;
    assert_eq!((status, read == body), (200, true));
}

#[actix_web::test]
async fn a_form_without_a_declared_length_is_limited_too() {
    let body = format!("csrfmiddlewaretoken={SECRET}&x={}", "x".repeat(LIMIT)).into_bytes();
    assert_eq!(post(FORM, None, chunks(&body, 100)).await.0, 400);
    let body = multipart(&[("name=csrfmiddlewaretoken", SECRET), ("name=x", &"x".repeat(LIMIT))]);
    assert_eq!(post(MULTIPART, None, chunks(&body, 100)).await.0, 400);
}

#[actix_web::test]
async fn a_body_that_breaks_off_counts_as_what_was_read_and_breaks_off_for_the_handler_too() {
    let body = format!("csrfmiddlewaretoken={SECRET}&x=y").into_bytes();
    let mut broken = chunks(&body, 10);
    broken.push(Err(PayloadError::Incomplete(None)));
    assert_eq!(post(FORM, None, broken).await, (200, body.clone(), true));
    let mut early = chunks(&body[..30], 10);
    early.push(Err(PayloadError::Incomplete(None)));
    assert_eq!(post(FORM, None, early).await.0, 403);
}

#[actix_web::test]
async fn other_bodies_are_not_touched() {
    let body = "x".repeat(50 * LIMIT).into_bytes();
    for content_type in ["application/json", "text/plain"] {
        let (status, read, _) = post(content_type, Some(SECRET), chunks(&body, 100)).await;
        assert_eq!((status, read == body), (200, true), "{content_type}");
    }
}

/// Chunks of this size, one each second.
fn trickle(body: &[u8], size: usize) -> BoxedPayload {
    Box::pin(stream::iter(chunks(body, size)).then(|chunk| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        chunk
    }))
}

#[actix_web::test]
async fn a_form_has_to_come_in_time() {
    tokio::time::pause(); // no test waits
    let short = format!("csrfmiddlewaretoken={SECRET}&x={}", "x".repeat(100)).into_bytes();
    let long = format!("csrfmiddlewaretoken={SECRET}&x={}", "x".repeat(1_000_000)).into_bytes();
    for (content_type, body, size, status) in [
        (FORM, &short, 10, 200),
        (FORM, &short, 5, 408),
        (FORM, &long, 10_000, 200), // a hundred seconds
        (FORM, &long, 5_000, 408),
        (MULTIPART, &short, 5, 408),
        ("text/plain", &short, 5, 200), // the handler's matter
    ] {
        let settings = CsrfSettings::default().form_timeout(Duration::from_secs(20));
        let csrf = CsrfMiddleware::new().settings(settings).unwrap();
        let app = test::init_service(App::new().wrap(csrf).route("/", web::post().to(read))).await;
        let token = (content_type != FORM).then_some(SECRET);
        let response = app.call(form!(content_type, token, trickle(body, size))).await.unwrap();
        assert_eq!(response.status(), status, "{} bytes in chunks of {size}", body.len());
        let read = test::read_body(response).await;
        assert!(status == 408 || read == *body, "{} bytes in chunks of {size}", body.len());
    }
}

#[actix_web::test]
async fn forms_that_are_read_at_once_are_bounded_together() {
    const FORM_BYTES: usize = 100_000;
    let settings = CsrfSettings::default().max_form_bytes(FORM_BYTES).max_buffered_bytes(2 * FORM_BYTES);
    let csrf = CsrfMiddleware::new().settings(settings).unwrap();
    let app = test::init_service(App::new().wrap(csrf).route("/", web::post().to(read))).await;
    let body = |length: usize| {
        let begin = format!("csrfmiddlewaretoken={SECRET}&x=");
        let fill = "x".repeat(length - begin.len());
        [begin, fill].concat().into_bytes()
    };
    let whole = |length: usize| form!(FORM, None::<&str>, stream::iter(chunks(&body(length), 1000)));
    // These stay incomplete.
    let open = || {
        let begin = stream::iter(chunks(&body(FORM_BYTES - 10), 1000));
        form!(FORM, None::<&str>, begin.chain(stream::pending()))
    };
    let mut open: Vec<_> = (0..2).map(|_| Box::pin(app.call(open()))).collect();
    for request in &mut open {
        assert!(request.now_or_never().is_none());
    }
    for (length, status) in [(16_000, 200), (90_000, 503), (16_000, 200)] {
        assert_eq!(app.call(whole(length)).await.unwrap().status(), status, "{length} bytes");
    }
    open.pop();
    for _ in 0..10 {
        let response = app.call(whole(90_000)).await.unwrap();
        assert_eq!((response.status().as_u16(), test::read_body(response).await.len()), (200, 90_000));
    }
    drop(open);
    let response = app.call(whole(FORM_BYTES)).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// Status of a form of which the first part comes at once, and the rest in chunks of this size, one each
/// `pause`.
async fn post_in_two_parts(body: &[u8], first: usize, size: usize, pause: Duration) -> u16 {
    let settings = CsrfSettings::default().form_timeout(Duration::from_secs(20));
    let csrf = CsrfMiddleware::new().settings(settings).unwrap();
    let app = test::init_service(App::new().wrap(csrf).route("/", web::post().to(read))).await;
    let slow = stream::iter(chunks(&body[first..], size)).then(move |chunk| async move {
        tokio::time::sleep(pause).await;
        chunk
    });
    let form = stream::iter(chunks(&body[..first], 1000)).chain(slow);
    app.call(form!(FORM, None::<&str>, form)).await.unwrap().status().as_u16()
}

#[actix_web::test]
async fn bytes_that_came_fast_earn_no_more_than_the_time_limit() {
    tokio::time::pause(); // no test waits
    let body = format!("csrfmiddlewaretoken={SECRET}&x={}", "x".repeat(1_000_000)).into_bytes();
    let fast = 900_000; // at 8 KiB in a second, they are worth 109 seconds
    let seconds = Duration::from_secs;
    assert_eq!(post_in_two_parts(&body, fast, 200_000, seconds(15)).await, 200);
    assert_eq!(post_in_two_parts(&body, fast, 200_000, seconds(25)).await, 408, "a pause");
    assert_eq!(post_in_two_parts(&body, fast, 10_000, seconds(1)).await, 200);
    assert_eq!(post_in_two_parts(&body, fast, 2_500, seconds(1)).await, 408, "a trickle");
    assert_eq!(post_in_two_parts(&body, fast, 30_000, seconds(15)).await, 408, "pauses");
}
