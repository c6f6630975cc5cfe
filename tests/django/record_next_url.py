#!/usr/bin/env python
"""
Record where Django lets a login lead: url_has_allowed_host_and_scheme, the Location of
login_required, the target of LoginView, and the parsing that these rest on.

    record_next_url.py [--check FILE] [--merge FILE]

Without arguments tests/vectors/next_url.json is written. Run it so under the newest Django, then
with --merge under each older one, which adds the answers that differ.

    {"django", "python", "settings", "hosts", "cases"}

A case is a list: its kind, the input, the answer, and, only where versions differ, an object with
the answers of the versions named in it.

    ["safe", url, "+-"]                          allowed with require_https off and on
    ["path", path, query, full path]
    ["login", [login URL, secure, host, path, query, field], Location]
    ["target", [body, query, secure], Location]
    ["field", query, value]

A url may be a list [prefix, character, count, suffix]. Allowed hosts are "hosts", those of a target
"testserver" and "other.org". A Location is null where the default applies, and 400 or 500 where
Django answers that.
"""

import argparse
import itertools
import json
import os
import random
import sys
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlencode

import django
from recording import VECTORS, compact, document, setup

HOSTS = ["testserver", "example.com:8000", "[::1]:8000", "b\u00fccher.example", "\u2100.example"]

BLANKS = ["\x00", "\x08", "\t", "\n", "\r", "\x0b", "\x1c", "\x1f", " ", "\x7f", "\x85", "\xa0", "\xad"]
BLANKS += ["\u1680", "\u180e", "\u200b", "\u2028", "\u202e", "\u205f", "\u3000", "\ufeff", "\ue000"]
BLANKS += ["\u0378", "\U000e0001", "\U0010ffff"]

PIECES = ["/", "/", "//", "\\", "\\", "\t", "\n", "\r", " ", ":", "@", "?", "#", ";", ".", "..", "%2f"]
PIECES += ["%5c"]
PIECES += ["%09", "http:", "https:", "HTTP:", "hTTps:", "javascript:", "data:", "ftp:", "//", "http://"]
PIECES += ["https://", "testserver", "testserver", "TESTSERVER", "evil.com", "evil.com", "example.com:8000"]
PIECES += ["[::1]:8000", "[::1]", "[", "]", ":80", "user", "a", "1", "+", "-", "=", "&", "\xe9", "\u2044"]
PIECES += ["\uff0f", "\uff1a", "\u2100", "\x00", "\x08", "\x1c", "\xa0", "\u200b", "\u3000", "\ufeff"]

# In the style of Django's tests and of reports about open redirects; | separates, <LF> is a newline.
URLS = """
|/|x|/x|/x/?a=b#c|evil.com|/evil.com|\\evil.com|\\\\evil.com|/\\evil.com|\\/evil.com|//evil.com|///evil.com
////evil.com|:/\\evil.com|/%2fevil.com|/%5cevil.com|%2f%2fevil.com|/;//evil.com|?//evil.com|#//evil.com
http:|http:x|http:/x|http:/testserver|http://|http:///x|http:///testserver|http:////testserver
http:\\testserver
http:\\\\testserver|http:\\/testserver|http:/\\testserver|http://testserver|http://testserver/
HTTP://testserver
https://testserver|https:testserver|https:///testserver|ftp://testserver|//testserver|//testserver/
//TESTSERVER
//testserver:80|//testserver:|//testserver.|//testserver?x|//testserver#x|//testserver\\x|//testserver;x
//user@testserver|http://user@testserver|http://user:pw@testserver/|http://testserver@evil.com
http://testserver?@evil.com|http://testserver#@evil.com|http://testserver\\@evil.com
http://testserver/@evil.com
http://evil.com\\@testserver|http://evil.com?@testserver|http://evil.com#testserver|http://evil.com/testserver
http://testserver.evil.com|http://testserverevil.com|http://evil.com:80@testserver|//testserver/../evil.com
//example.com|//example.com:8000|//example.com:8000/x|http://example.com:8000|https://example.com:8000
//[::1]:8000/x|//[::1]/x|http://[::1]:8000|http://[::1|http://::1]|http://[]/|http://[1.2.3.4]|http://[v1.x]
http://x[::1]:8000|http://[::1]x:8000|http://[::1]:8000[|http://[fe80::1%eth0]/|http://[[::1]]:8000
javascript:alert(1)|JaVaScRiPt:alert(1)|javascript://testserver/%0aalert(1)|java\tscript:alert(1)
data:text/html,x
vbscript:x|mailto:a@b|a:b|a:80|1:2|1:2/x|-:x|+a:x|.:x|localhost:8000|localhost|localhost:8000/x|x/y:z|?a:b
#a:b
view-source:http://testserver|blob:http://testserver|file:///etc/passwd|ssh://testserver|:|::|:x|:80
://testserver
/a\\\\evil.com|/a//evil.com|/.//evil.com|/..//evil.com|./evil.com|../evil.com|.//evil.com|..//evil.com|/./x
/../x
/\t/evil.com|\t//evil.com|/\t\\evil.com|/<LF>/evil.com|/\r/evil.com|/\t//evil.com|//\t/evil.com
\t///evil.com
/\t\\\\evil.com|/\t/\t/evil.com|\\\t\\\\evil.com|//<LF>/testserver|//\ttestserver|//test\tserver
//testserver\t
ht\ttp://testserver|http:\t//testserver|http:/\t/testserver|http:\t/testserver|h<LF>ttp:evil.com|/ /evil.com
// evil.com|//\x00evil.com|/\x00/evil.com|//evil.com\x00|//testserver\x00|//testserver evil.com
//testserver%00
//|// |//?x|//#x|//\\|\\\\|///|//\t|/\t/|//@testserver|//:80|//:@|http://@|http://:80|http://?|http://#x
http://testserver%2f@evil.com|http://testserver%5c@evil.com|http://testserver%00@evil.com
//testserver%2eevil.com
//\u2100.example|//a\u2044b|//testserver\uff0fx|//testserver\u2044x|/\uff0fevil.com|/\u2044evil.com
\uff0f\uff0fevil.com
//evil\u3002com|//b\xfccher.example|//B\xdcCHER.example|//bu\u0308cher.example|//xn--bcher-kva.example
//b\xfccher.example:80
http\uff1a//testserver|http://testserver\uff1a80|http://testserver\uff20evil.com
http://testserver\uff03evil.com
""".replace("\n", "|").replace("<LF>", "\n").split("|")


def urls():
    yield from URLS
    for blank in BLANKS:
        for url in ["/x", "//evil.com", "//testserver", "http://testserver/", "x"]:
            yield blank + url
            yield url + blank
        yield f"/{blank}/evil.com"
        yield f"/{blank}//evil.com"
        yield f"//testserver{blank}"
        yield blank
    for length in [2047, 2048, 2049]:
        yield ["/", "a", length - 1, ""]
        yield ["  /", "\xe9", length - 1, " \t"]
        yield ["http://testserver/", "\U0001f600", length - 18, ""]
    for scheme, slashes, user, host, tail in itertools.product(
        ["", "http:", "HTTPS:", "\thttp:"],
        ["", "/", "//", "/\\", "\\\\", "///", "/\t/"],
        ["", "x@", "\\@"],
        ["testserver", "evil.com", "example.com:8000"],
        ["", "/\\evil.com", "?@evil.com"],
    ):
        yield scheme + slashes + user + host + tail
    rng = random.Random(20)
    for _ in range(3200):
        yield "".join(rng.choices(PIECES, k=rng.randint(2, 7)))


def safe(url):
    from django.utils.http import url_has_allowed_host_and_scheme

    if isinstance(url, list):
        prefix, character, count, suffix = url
        url = prefix + character * count + suffix
    answers = (url_has_allowed_host_and_scheme(url, set(HOSTS), https) for https in [False, True])
    return "".join("+" if answer else "-" for answer in answers)


PATHS = ["", "/", "*", "a/b", "//", "//evil.com/x", "///x", "/a%20b/", "/a%2520b", "/%7Eann/~", "/%2F/%2f"]
PATHS += ["/%"]
PATHS += ["/%zz", "/%4", "/%FF", "/%C3%A9", "/caf\xe9", "/%C3", "/%C3/%A9", "/%E2%82", "/%ED%A0%80"]
PATHS += ["/%F5%80%80%80"]
PATHS += ["/%00", "/%0d%0a", "/a=b;c", "/a?b", "/%3F%23", "/[x]|\\^`{}\"<>", "/!$&'()*+,-./:@_~", "/a/./b"]
PATHS += ["/a/../b"]
PATHS += ["/../x", "/a/..", "/a/.", "/./", "/../../", "/a//../b", "/%2e%2e/x", "/a/%2E/b", "/\U0001f600"]
PATHS += ["/%80%80x%C3%28"]
QUERIES = ["", "a=b", "a=b&c=d", "?", "a?b=/c", "x=%20+", "x=%e9", "x=\"<>\\^`{|}", "x= y", "a=[b];c"]
QUERIES += ["x='~!*()"]
QUERIES += ["next=/x%3Fy", "%", "x=%zz", "x=\xe9", "x=\U0001f600"]


def paths():
    for path in PATHS:
        yield path, ""
        yield path, "a=b"
    for query in QUERIES:
        yield "/x", query
    rng = random.Random(21)
    pieces = ["/", "a", ".", "..", "%2F", "%2e", "%", "%C3", "%A9", "%FF", ";", "=", "\\", " ", "~", "%7E"]
    pieces += ["\xe9", "+"]
    for _ in range(500):
        path = "/" + "".join(rng.choices(pieces, k=rng.randint(1, 8)))
        query = "".join(rng.choices([p for p in pieces if p.isascii()] + ["&", "?"], k=rng.randint(0, 4)))
        yield path, query


def request(path, query="", host="testserver", secure=False, body=None):
    from django.core.handlers.asgi import ASGIRequest
    from django.core.handlers.wsgi import WSGIRequest

    raw = unquote_to_bytes(path)
    if not query.isascii():  # WSGI would take each byte for a character
        scope = {"type": "http", "method": "GET", "path": raw.decode(), "headers": []}
        return ASGIRequest(scope | {"query_string": query.encode()}, BytesIO())
    body = None if body is None else urlencode({"next": body}).encode()
    environ = {
        "REQUEST_METHOD": "GET" if body is None else "POST",
        "PATH_INFO": raw.decode("latin-1"),
        "QUERY_STRING": query,
        "HTTP_HOST": host,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "https" if secure else "http",
        "wsgi.input": BytesIO(body or b""),
    }
    if body is not None:
        environ |= {"CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(body))}
    return WSGIRequest(environ)


def path(path, query):
    return request(path, query).get_full_path()


LOGIN_URLS = ["/accounts/login/", "/login/?next=old&a=1", "/login/?a=1&next=x&b=2&next=y&a=3", "login/"]
LOGIN_URLS += ["./login", "../in?x"]
LOGIN_URLS += ["/login/?", "/login/#top", "/login/?a=1#x?y", "/login/?a+b=c+d&%C3%A9=\xe9"]
LOGIN_URLS += ["/login/?a;b=c;d&&=&x", "/l\xe9/"]
LOGIN_URLS += ["/login/?%FF=%C3&x=%C3\xe9", "/login/?x=%41%2f%7e~!*()'"]
LOGIN_URLS += ["https://sso.other.com/login?service=x", "//sso.other.com/"]
LOGIN_URLS += ["http://testserver/login/", "https://testserver/login/", "HTTP://testserver/login/"]
LOGIN_URLS += ["http://TESTSERVER/login/"]
LOGIN_URLS += ["//testserver/login/", "//testserver", "http://testserver", "http:login/", "https:/login/"]
LOGIN_URLS += ["ftp://testserver/x"]
LOGIN_URLS += ["javascript:alert/1", "a.b:c/d", "/a:b", "///x", "////x/y", "//", "/\t/login", " /login"]
LOGIN_URLS += ["/login \n", "?x/y", "#x/y"]
LOGIN_URLS += ["http://example.com:8000/login", "https://[::1]:8000/login", "http://user@testserver/"]
LOGIN_URLS += ["login.html", "/%6Cogin%2F"]
LOGIN_URLS += ["http:///x", "https:///x/y", "file:///x", "mailto:a@b.c", "http://x?y", "http:?y/z"]
LOGIN_URLS += ["/[x]|\\^`{}\"<>"]
LOGIN_URLS += ["/l?next", "/l?NEXT=1", "/l?%6eext=1", "/l?next=1;next=2", "login"]
LOGIN_URLS += ["http://[x]/", "http://testserver\u2100/", "/" + "l" * 17000]


def logins():
    for login in LOGIN_URLS:
        yield login, False, "testserver", "/x", "a=b"
        yield login, True, "testserver", "/a/../b", ""
    for path_, query in itertools.product(PATHS, ["", "a=b"]):
        yield "/accounts/login/", False, "testserver", path_, query
        yield "https://sso.other.com/in", False, "testserver", path_, query
    for host in ["TESTSERVER", "testserver:80", "example.com:8000", "[::1]:8000"]:
        for login in ["http://testserver/l", "http://example.com:8000/l", "https://[::1]:8000/l", "/l"]:
            for secure in [False, True]:
                yield login, secure, host, "/x", "y"
    for query in QUERIES:
        if query.isascii():
            yield "/l?a=b", True, "testserver", "/x", query
            yield "//other.org?a=b", True, "testserver", "/x", query
    yield "/l", False, "testserver", "/" + "x" * 16300, ""
    yield "/l", False, "testserver", "/" + "x" * 16400, ""


def login(login_url, secure, host, path, query, field="next"):
    from django.contrib.auth.decorators import login_required
    from django.contrib.auth.models import AnonymousUser
    from django.core.exceptions import SuspiciousOperation

    visitor = request(path, query, host, secure)
    visitor.user = AnonymousUser()
    view = login_required(lambda _: None, login_url=login_url, redirect_field_name=field)
    try:
        return view(visitor)["Location"]
    except SuspiciousOperation:
        return 400
    except Exception:
        return 500


def targets():
    some = [None, "", "/y", "%20/y", "//evil.com", "http://testserver/z", "https://other.org/\xe9?a=b"]
    some += ["/\r\nx", " /x\t", "x y"]
    some += ["\xa0//evil.com", "\x1fhttp://testserver/", "/%0d%0a", "/\u2028", "http://testserver"]
    some += ["/\\evil.com", "//testserver:80"]
    yield from itertools.product(some, some[:6], [False, True])
    yield "/" + "\u20ac" * 2047, None, False
    yield " " * 5000 + "/x", None, False
    yield " " * 6000 + "/x", None, False


def target(body, query, secure):
    from django.contrib.auth.views import LoginView
    from django.core.exceptions import SuspiciousOperation
    from django.http import HttpResponseRedirect

    view = LoginView()
    view.success_url_allowed_hosts = {"other.org"}
    view.setup(request("/login/", "" if query is None else "next=" + quote(query), secure=secure, body=body))
    found = view.get_redirect_url()
    try:
        return HttpResponseRedirect(found)["Location"] if found else None
    except SuspiciousOperation:
        return 400


def fields():
    yield from ["", "next", "next=", "=next", "next=a&next=b", "next=a&next", "a=b", "&&next=x&"]
    yield from ["next=a;next=b", "n%65xt=%2Fx"]
    yield from ["next=+%2B+", "next=%C3%A9", "next=%C3", "next=%E2%82x%FF", "next=%zz%", "next=a=b=c"]
    yield from ["Next=x", "next=a%26b"]
    yield from ["next=%00", "next=%ED%A0%80", "next=%F0%9F%98%80", "next=%F0%9F%98", "next=x#y"]
    yield from ["next=?a&b", "next%3D=x"]
    rng = random.Random(22)
    pieces = ["next", "=", "&", "+", "%C3", "%A9", "%26", "%", ";", "a", "%E2%82"]
    for _ in range(150):
        yield "".join(rng.choices(pieces, k=rng.randint(1, 9)))


def field(query):
    return request("/", query).GET.get("next")


def cases():
    seen = set()
    for url in urls():
        if str(url) not in seen:
            seen.add(str(url))
            yield ["safe", url, safe(url)]
    for one in dict.fromkeys(paths()):
        yield ["path", *one, path(*one)]
    for one in dict.fromkeys(logins()):
        # A long answer is told by its length.
        answer = login(*one)
        yield ["login", [short(part) for part in one] + ["next"], short(answer)]
    for login_url, name in itertools.product(LOGIN_URLS[:-1], ["", "to", "n/\xe9 &"]):
        one = (login_url, False, "testserver", "/x", "a=b", name)
        yield ["login", list(one), login(*one)]
    for one in dict.fromkeys(targets()):
        yield ["target", [short(part) for part in one], short(target(*one))]
    for one in dict.fromkeys(fields()):
        yield ["field", one, field(one)]


def short(text):
    """A long text of the cases above as [prefix, character, count, suffix]."""
    if not isinstance(text, str) or len(text) < 4000:
        return text
    middle = max((list(group) for _, group in itertools.groupby(text)), key=len)
    run = middle[0] * len(middle)
    if len(run) < 1000:  # escapes, as in %20%20
        run = next(text[i : i + n] for n in (3, 9) for i in range(9) if text[i : i + n] * 1000 in text)
        count = text.count(run)
        prefix, suffix = text.split(run * count)
        return [prefix, run, count, suffix]
    prefix, suffix = text.split(run, 1)
    return [prefix, middle[0], len(middle), suffix]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", type=Path)
    parser.add_argument("--merge", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("DATABASE_URL", "sqlite::memory:")
    setup()
    from django.conf import settings

    settings.ALLOWED_HOSTS = ["*"]
    version = ".".join(map(str, django.VERSION[:2]))
    now = list(cases())
    file = options.check or options.merge
    if file is None:
        (VECTORS / "next_url.json").write_text(document({"hosts": HOSTS}, now))
        return
    head, lines = file.read_text().split('"cases":[\n')
    lines = lines.removesuffix("\n]\n}\n").split("\n")
    known = [json.loads(line.removesuffix(",")) for line in lines]
    if len(known) != len(now):
        sys.exit(f"{file} has {len(known)} cases, and there are {len(now)} now")
    different = 0
    for case, fresh in zip(known, now):
        others = case.pop() if isinstance(case[-1], dict) else {}
        recorded = [*case[:-1], others.get(version, case[-1])]
        if recorded != fresh:
            different += 1
            print(f"Django {version}: {compact(fresh)}, recorded: {compact(recorded)}")
            others.pop(version, None)
            if case != fresh:
                others[version] = fresh[-1]
        if others:
            case.append(others)
    if options.check:
        sys.exit(1 if different else 0)
    file.write_text(head + '"cases":[\n' + ",\n".join(map(compact, known)) + "\n]\n}\n")


if __name__ == "__main__":
    main()
