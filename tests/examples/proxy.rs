//! The proxy of the example `shared_login`, before an upstream that is a bare socket.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use actix_web::web;

use crate::support::{http::Client, proc::free_port, site::Site};

#[path = "../../examples/shared_login/proxy.rs"]
mod code;

/// The proxy, and the socket that it forwards to.
struct Proxy {
    site: Site,
    upstream: TcpListener,
}

impl Proxy {
    fn start() -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = serve(upstream.local_addr().unwrap());
        Self { site, upstream }
    }

    /// Sends the start of a request, and returns its connection and that to the upstream.
    fn open(&self, request: &str) -> (Wire, Wire) {
        let mut visitor = Wire(TcpStream::connect(("127.0.0.1", self.site.port())).unwrap());
        visitor.send(request);
        (visitor, Wire(self.upstream.accept().unwrap().0))
    }

    /// Answers a request with these bytes; returns the request's head, and all that the visitor gets.
    fn exchange(&self, request: &str, response: &str) -> (String, String) {
        let (mut visitor, mut django) = self.open(request);
        let head = django.read_until("\r\n\r\n");
        django.send(response);
        drop(django);
        (head, visitor.rest())
    }
}

fn serve(upstream: SocketAddr) -> Site {
    Site::serve(1, async move || {
        move |config: &mut web::ServiceConfig| {
            config.app_data(web::Data::new(code::Upstream(upstream)));
            config.default_service(web::to(code::forward));
        }
    })
}

struct Wire(TcpStream);

impl Wire {
    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    fn read_until(&mut self, end: &str) -> String {
        self.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let mut byte = [0];
            let n =
                self.0.read(&mut byte).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&text)));
            assert!(n == 1, "closed after {:?}", String::from_utf8_lossy(&text));
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }

    fn rest(&mut self) -> String {
        self.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut text = Vec::new();
        self.0.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }
}

fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.split("\r\n\r\n").next().unwrap().split("\r\n").skip(1);
    let pairs = lines.filter_map(|line| line.split_once(": "));
    pairs.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[test]
fn a_request_arrives_as_it_was_sent() {
    let proxy = Proxy::start();
    let request = "POST /a%20b/%2F..;x?q=%C3%A9&q=+ HTTP/1.1\r\nHost: Shop.example:8443\r\nCookie: a=1; b=2\r\n\
        Content-Type: text/plain\r\nContent-Length: 5\r\nX-Two: 1\r\nX-Two: 2\r\nAccept-Encoding: gzip\r\n\
        User-Agent: test\r\nExpect: 100-continue\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
        TE: trailers\r\nProxy-Authorization: Basic x\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 443\r\n\r\nhello";
    let (mut visitor, mut django) = proxy.open(request);
    let head = django.read_until("\r\n\r\nhello");
    assert!(head.starts_with("POST /a%20b/%2F..;x?q=%C3%A9&q=+ HTTP/1.1\r\n"), "{head}");
    for (name, expected) in [
        ("host", &["Shop.example:8443"] as &[&str]),
        ("cookie", &["a=1; b=2"]),
        ("content-type", &["text/plain"]),
        ("content-length", &["5"]),
        ("x-two", &["1", "2"]),
        ("accept-encoding", &["gzip"]),
        ("user-agent", &["test"]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-forwarded-proto", &["http"]),
        ("x-forwarded-host", &["Shop.example:8443"]),
    ] {
        assert_eq!(values(&head, name), expected, "{name} in {head}");
    }
    let gone =
        ["expect", "x-hop", "keep-alive", "te", "proxy-authorization", "forwarded", "x-forwarded-port"];
    for name in gone {
        assert!(values(&head, name).is_empty(), "{name} in {head}");
    }
    assert_eq!(values(&head, "connection"), ["close"], "one connection for one request");
    django.send("HTTP/1.1 204 No Content\r\n\r\n");
    let response = visitor.rest();
    assert!(response.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n"), "{response}");
}

#[test]
fn a_response_arrives_as_it_was_sent() {
    let proxy = Proxy::start();
    let (_, response) = proxy.exchange(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 418 I'm a teapot\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=\"2, 3\"; Path=/\r\nVary: Cookie\r\n\
         Content-Length: 3\r\nContent-Encoding: gzip\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\ntea",
    );
    assert!(response.starts_with("HTTP/1.1 418 ") && response.ends_with("\r\n\r\ntea"), "{response}");
    let mut cookies = values(&response, "set-cookie");
    cookies.sort_unstable();
    assert_eq!(cookies, ["a=1; Path=/", "b=\"2, 3\"; Path=/"]);
    assert_eq!(values(&response, "content-length"), ["3"]);
    assert_eq!(values(&response, "content-encoding"), ["gzip"]);
    assert_eq!(values(&response, "vary"), ["Cookie"]);
    assert!(
        values(&response, "x-hop").is_empty() && values(&response, "keep-alive").is_empty(),
        "{response}"
    );
    assert!(values(&response, "transfer-encoding").is_empty(), "{response}");
}

#[test]
fn a_response_without_a_body_keeps_its_length() {
    let proxy = Proxy::start();
    for (request, answer, length) in [
        ("HEAD", "200 OK\r\nContent-Length: 4825", &["4825"] as &[&str]),
        ("HEAD", "200 OK\r\nX-Length: none", &[]),
        ("GET", "304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 4825", &["4825"]),
        ("GET", "304 Not Modified\r\nETag: \"x\"", &[]),
        ("GET", "204 No Content\r\nX-Length: none", &[]),
        ("GET", "302 Found\r\nLocation: /a?b=%20c\r\nContent-Length: 0", &["0"]),
    ] {
        let request = format!("{request} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let (_, response) = proxy.exchange(&request, &format!("HTTP/1.1 {answer}\r\n\r\n"));
        let (head, body) =
            response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}: {response:?}"));
        assert_eq!(body, "", "{answer}: {response}");
        assert!(head.starts_with(&format!("HTTP/1.1 {}", &answer[..3])), "{answer}: {head}");
        assert_eq!(values(head, "content-length"), length, "{answer}: {head}");
        assert!(values(head, "content-type").is_empty(), "{answer}: {head}");
        for line in answer.split("\r\n").skip(1) {
            let (name, value) = line.split_once(": ").unwrap();
            assert_eq!(values(head, name), [value], "{head}");
        }
    }
}

#[test]
fn uploads_and_downloads_are_streamed() {
    let proxy = Proxy::start();
    let (mut visitor, mut django) =
        proxy.open("POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    let head = django.read_until("\r\n\r\n");
    assert_eq!(values(&head, "transfer-encoding"), ["chunked"], "{head}");
    assert!(values(&head, "content-length").is_empty(), "{head}");
    // Each part arrives before the next one is sent.
    for part in ["first", "other"] {
        visitor.send(&format!("5\r\n{part}\r\n"));
        assert_eq!(
            django.read_until(part),
            format!("{}{part}", if part == "first" { "5\r\n" } else { "\r\n5\r\n" })
        );
    }
    visitor.send("0\r\n\r\n");
    django.read_until("0\r\n\r\n");
    django.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for part in ["alpha", "gamma"] {
        django.send(&format!("5\r\n{part}\r\n"));
        assert!(visitor.read_until(part).ends_with(part));
    }
    django.send("0\r\n\r\n");
    assert!(visitor.rest().ends_with("0\r\n\r\n"));

    // A length that is known stays, also for what is larger than any buffer.
    let size = 30_000_000;
    let (mut visitor, mut django) = proxy
        .open(&format!("PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"));
    let head = django.read_until("\r\n\r\n");
    assert_eq!(values(&head, "content-length"), [size.to_string()]);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for _ in 0..size / 100_000 {
                visitor.send(&"u".repeat(100_000));
            }
        });
        let mut received = 0;
        let mut buffer = vec![0; 1 << 20];
        while received < size {
            let n = django.0.read(&mut buffer).unwrap();
            assert!(n > 0 && buffer[..n].iter().all(|byte| *byte == b'u'));
            received += n;
        }
        sender.join().unwrap();
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            django.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
            for _ in 0..size / 100_000 {
                django.send(&"d".repeat(100_000));
            }
        });
        let response = visitor.rest();
        assert_eq!(response.split_once("\r\n\r\n").unwrap().1.len(), size);
    });
}

#[test]
fn a_download_that_breaks_off_does_not_look_complete() {
    let proxy = Proxy::start();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let (_, response) = proxy.exchange(request, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    assert_eq!(values(&response, "content-length"), ["100"], "{response}");
    let (_, response) =
        proxy.exchange(request, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    assert!(!response.ends_with("0\r\n\r\n"), "{response}");
}

#[test]
fn without_django_the_answer_is_502() {
    let site = serve((Ipv4Addr::LOCALHOST, free_port()).into());
    let reply = Client::new().get(&site.url("/"));
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (502, "Django does not answer. Try again in a moment.\n")
    );
    // Also if it closes the connection, or does not speak HTTP.
    let proxy = Proxy::start();
    for answer in ["", "SSH-2.0-OpenSSH\r\n\r\n"] {
        let (_, response) = proxy.exchange("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", answer);
        assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
    }
}
