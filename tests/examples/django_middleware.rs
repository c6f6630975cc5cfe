//! The example of Django middleware in Rust.

use super::Server;
use crate::support::{http::Client, proc::TempDir};

#[test]
fn the_ported_django_middleware_does_what_the_python_does() {
    let dir = TempDir::new("django-middleware");
    let server = Server::start("django_middleware", dir.path(), &[("MAINTENANCE_FILE", "closed")]);
    let mut client = Client::new();
    for visits in ["1", "2"] {
        let reply = client.get(&server.url);
        assert_eq!((reply.status, reply.text()), (200, format!("Visit {visits}\n")));
        assert_eq!(reply.header("x-visits"), Some(visits));
        assert!(reply.header("server-timing").unwrap().starts_with("total;dur="));
        assert!(reply.set_cookie("sessionid").is_some());
    }
    std::fs::write(dir.path().join("closed"), "").unwrap();
    let reply = client.get(&server.url);
    assert_eq!((reply.status, reply.text().as_str()), (503, "Closed\n"));
    assert_eq!(reply.header("retry-after"), Some("600"));
    assert!(reply.header("server-timing").is_some());
    assert_eq!((reply.header("x-visits"), reply.set_cookie("sessionid")), (None, None));
    std::fs::remove_file(dir.path().join("closed")).unwrap();
    assert_eq!(client.get(&server.url).header("x-visits"), Some("3"));

    // Without the setting it is not in the chain.
    let server = Server::start("django_middleware", dir.path(), &[]);
    std::fs::write(dir.path().join("closed"), "").unwrap();
    assert_eq!(Client::new().get(&server.url).status, 200);
}
