#!/usr/bin/env python
"""
Record what Django's get_host, is_secure and get_port say of requests under various settings.

    record_host.py [--check FILE]

Without --check the file tests/vectors/host.json is written. A case has the headers (one
character for each byte), the connection ("https", "server_port"; the server's name is
127.0.0.1), the settings that are not "defaults", and "host" (null: DisallowedHost), "is_secure" and "port".
"""

import io
import os

from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.test.utils import override_settings

from recording import document, main, setup

DEFAULTS = {
    "allowed_hosts": ["*"],
    "secure_proxy_ssl_header": None,
    "use_x_forwarded_host": False,
    "use_x_forwarded_port": False,
}

HOSTS = [
    "example.com",
    "EXAMPLE.com",
    "example.com.",
    "example.com..",
    "example.com:80",
    "example.com:443",
    "example.com:8000",
    "example.com:",
    "example.com:a",
    "example.com:80:80",
    "example.com.:80",
    "www.example.com",
    "a.b.example.com",
    "notexample.com",
    "example.com.evil.org",
    "example_com",
    "exa mple.com",
    "user@example.com",
    "example.com/path",
    "example.com,example.com",
    "-",
    ".",
    "..",
    ".example.com",
    ":80",
    "",
    "localhost",
    "127.0.0.1",
    "127.0.0.1:8000",
    "[::1]",
    "[::1]:8000",
    "[::1]:",
    "[::1]80",
    "[::FFFF:1.2.3.4]",
    "[:]",
    "[:1]",
    "[1]",
    "[]",
    "[::1",
    "::1",
    "[::g]",
    "[::1].",
    "x[::1]",
    "ex\xe4mple.com",
    "example.com:\xb2",
]
ALLOWED = [
    ["*"],
    [],
    ["example.com"],
    [".example.com"],
    ["Example.COM", "[::1]"],
    ["", ".", "example.com:80", "127.0.0.1", "[::ffff:1.2.3.4]"],
]
SECURE = [
    None,
    "https",
    "HTTPS",
    "http",
    "",
    " https ",
    "https,http",
    "https , http",
    "http,https",
    ",https",
    "on",
    "\xa0https\x85",
]


def record_case(headers, https=False, server_port="80", **settings):
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": server_port,
        "wsgi.input": io.BytesIO(),
        "wsgi.url_scheme": "https" if https else "http",
    }
    environ |= {"HTTP_" + name.upper().replace("-", "_"): text for name, text in headers.items()}
    with override_settings(**{name.upper(): value for name, value in (DEFAULTS | settings).items()}):
        request = WSGIRequest(environ)
        try:
            host = request.get_host()
        except DisallowedHost:
            host = None
        outcome = {"host": host, "is_secure": request.is_secure(), "port": request.get_port()}
    return {"headers": headers, "https": https, "server_port": server_port} | settings | outcome


def cases():
    for allowed in ALLOWED:
        for host in HOSTS:
            yield record_case({"host": host}, allowed_hosts=allowed)
    for https in (False, True):
        for port in ("80", "443", "8000"):
            yield record_case({}, https, port)
            yield record_case({}, https, port, secure_proxy_ssl_header=["HTTP_X_PROTO", "https"])
            for forwarded in ("443", "80", "8443", "", "x"):
                for use in (False, True):
                    yield record_case(
                        {"x-forwarded-port": forwarded}, https, port, use_x_forwarded_port=use
                    )
        for text in SECURE:
            headers = {} if text is None else {"x-proto": text}
            yield record_case(headers, https)
            for name, value in (("HTTP_X_PROTO", "https"), ("HTTP_X_PROTO", "on")):
                yield record_case(headers, https, secure_proxy_ssl_header=[name, value])
    for forwarded in ("front.org", "FRONT.org:81", "a,b", "front.org, front.org", ""):
        for headers in ({}, {"host": "example.com"}):
            for use in (False, True):
                for allowed in (["*"], ["example.com"], ["front.org"]):
                    yield record_case(
                        headers | {"x-forwarded-host": forwarded},
                        use_x_forwarded_host=use,
                        allowed_hosts=allowed,
                    )


def record():
    os.environ.setdefault("DATABASE_URL", "sqlite::memory:")
    setup()
    return document({"defaults": DEFAULTS}, cases())


if __name__ == "__main__":
    main(record, "host.json")
