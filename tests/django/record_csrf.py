#!/usr/bin/env python
"""
Record what Django's CsrfViewMiddleware does with requests: whether it rejects them and why, and
which cookie it sends.

    record_csrf.py [--check FILE]

Without --check the file tests/vectors/csrf.json is written. Run it on the newest Django first:
its outcomes are the cases' own. Another version adds, under its name, those in which it differs.

    {"texts", "groups": {name: settings}, "pages": {name: text}, "cases"}

A request has what is not the usual: "group" (default), "view" (plain), "method" (GET), "https"
(false), "port" ("80"), "headers" (the host is example.com, unless it is null; one character for
each byte), "body" and "session" (what the session has under _csrftoken, a list of one value or
of none). Texts that are often in them are abbreviated as in "texts".

An outcome has "status", and where there is one: the "reason" of a rejection, the "tokens" on the
page, the exact "set_cookie" and "vary", "session" as above, and "session_cookie" (set or
deleted). Secrets are <same> (the constant), <new1>, <new2>. Pages are those of the default view
of rejections.
"""

import io
import json
import os
import re
import time
from email.utils import parsedate_to_datetime

import django
from django.conf import global_settings
from django.http import HttpResponse
from django.urls import path

from csrf_requests import GROUPS, LETTERS, SECRET, TEXTS, abbreviated, requests, without_usual
from recording import VECTORS, document, main, setup, undisturbed

BASE = "6.1"

CSRF_DEFAULTS = {
    name: getattr(global_settings, name)
    for name in dir(global_settings)
    if name.startswith(("CSRF_", "DATA_UPLOAD_")) and name != "CSRF_COOKIE_MASKED"
}
CONSTANT = CSRF_DEFAULTS | {
    "ROOT_URLCONF": __name__,
    "CSRF_FAILURE_VIEW": f"{__name__}.failure",
    "SESSION_COOKIE_DOMAIN": None,
    "ALLOWED_HOSTS": ["*"],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
}


# The views


def tokens(request):
    from django.middleware.csrf import get_token

    return HttpResponse(f"{get_token(request)}\n{get_token(request)}")


def plain(request):
    return HttpResponse("ok")


def rotate(request):
    from django.middleware.csrf import get_token, rotate_token

    before = get_token(request)
    rotate_token(request)
    return HttpResponse(f"{before}\n{get_token(request)}")


def error(request):
    return HttpResponse(tokens(request).content, status=500)


def flush(request):
    request.session.flush()
    return tokens(request)


def touch(request):
    request.session["x"] = 1
    return HttpResponse("ok")


class Views:
    """The URLs. Made late: decorators need settings."""

    def __iter__(self):
        from django.views.decorators import csrf

        views = {
            "plain": plain,
            "tokens": tokens,
            "rotate": rotate,
            "error": error,
            "flush": flush,
            "touch": touch,
            "ensure": csrf.ensure_csrf_cookie(lambda request: HttpResponse("ok")),
            "exempt": csrf.csrf_exempt(lambda request: HttpResponse("ok")),
            "exempt_tokens": csrf.csrf_exempt(lambda request: tokens(request)),
            "exempt_protected": csrf.csrf_exempt(csrf.csrf_protect(plain)),
        }
        return iter([path(name, view) for name, view in views.items()])


urlpatterns = Views()
reasons = []


def failure(request, reason=""):
    from django.views.csrf import csrf_failure

    reasons.append(reason)
    return csrf_failure(request, reason)


# The outcomes


def unmasked(token):
    pairs = zip(map(LETTERS.index, token[32:]), map(LETTERS.index, token[:32]))
    return "".join(LETTERS[x - y] for x, y in pairs)


class Names:
    """Names of secrets, in the order in which they are seen."""

    def __init__(self):
        self.names = {SECRET: "<same>"}

    def of(self, secret):
        return self.names.setdefault(secret, f"<new{len(self.names)}>")

    def cookie(self, line):
        value, date = re.match("[^=]+=([^;]*)", line)[1], re.search("expires=([^;]+)", line)
        if date:
            seconds = parsedate_to_datetime(date[1]).timestamp() - time.time()
            age = int(re.search("Max-Age=([^;]+)", line)[1])
            assert abs(seconds - age) < 10, line
            line = line.replace(date[1], "<expires>")
        return line.replace(value, self.of(value), 1)


def stored(key):
    from django.contrib.sessions.backends.db import SessionStore

    session = SessionStore(key)
    return [session["_csrftoken"]] if "_csrftoken" in session else []


def prepared(session):
    from django.contrib.sessions.backends.db import SessionStore

    store = SessionStore()
    store["other"] = 1
    if session:
        store["_csrftoken"] = session[0]
    store.save()
    return store.session_key


@undisturbed
def outcome(site, case):
    """Status, headers and body. All of Django but the socket."""
    body = case.get("body", "").encode("latin-1")
    environ = {
        "REQUEST_METHOD": case.get("method", "GET"),
        "PATH_INFO": f"/{case['view']}",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": case.get("port", "80"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "https" if case.get("https") else "http",
    }
    key = prepared(case["session"]) if "session" in case else None
    for name, text in ({"host": "example.com"} | case.get("headers", {})).items():
        if text is None:
            continue
        name = name.upper().replace("-", "_")
        environ[name if name == "CONTENT_TYPE" else f"HTTP_{name}"] = text
    if key:
        cookies = (environ.get("HTTP_COOKIE"), f"sessionid={key}")
        environ["HTTP_COOKIE"] = "; ".join(filter(None, cookies))
    reasons.clear()
    started = []
    try:
        response = site(environ, lambda status, headers: started.extend((status, headers)))
        text = b"".join(response).decode()
        response.close()
    except Exception:
        return {"status": "raised"}
    status, headers = int(started[0].split()[0]), started[1]
    result = {"status": status}
    if reasons:
        result["reason"] = reasons[0]
    names = Names()
    lines = text.split("\n")
    if all(re.fullmatch("[a-zA-Z0-9]{64}", line) for line in lines):
        result["tokens"] = [names.of(unmasked(line)) for line in lines]
    for name, value in headers:
        if name == "Set-Cookie" and value.strip().startswith("sessionid="):
            value = value.strip()
            result["session_cookie"] = "deleted" if value.startswith('sessionid=""') else "set"
            key = re.match("sessionid=([^;]+)", value)[1]
        elif name == "Set-Cookie":
            result["set_cookie"] = names.cookie(value.strip())
        elif name == "Vary":
            result["vary"] = value
    if key and key != '""':
        after = stored(key)
        if after and after != case.get("session"):
            after = [names.of(after[0])]
        result["session"] = after
    return result


def versions(known, now):
    """The entries of the versions that differ, this one's as it is now."""
    current = f"{django.VERSION[0]}.{django.VERSION[1]}"
    if current == BASE:
        own = {"outcome": now}
        others = {name: known[name] for name in known if re.fullmatch(r"\d\.\d", name)}
    else:
        own = {"outcome": known["outcome"]}
        others = {name: known[name] for name in known if re.fullmatch(r"\d\.\d", name)}
        others.pop(current, None)
        if now != known["outcome"]:
            others[current] = now
    return own | {name: others[name] for name in sorted(others) if others[name] != own["outcome"]}


def cases():
    from django.core.handlers.wsgi import WSGIHandler
    from django.test.utils import override_settings
    from django.urls import clear_url_caches

    known, seen = {}, set()
    if (VECTORS / "csrf.json").exists():
        for case in json.loads((VECTORS / "csrf.json").read_text())["cases"]:
            known[json.dumps(case["request"])] = case
    for group, group_settings in GROUPS.items():
        with override_settings(**CONSTANT | group_settings):
            clear_url_caches()
            site = WSGIHandler()
            for case in requests():
                shown = abbreviated(without_usual(case))
                text = json.dumps(shown)
                if case["group"] == group and text not in seen:
                    seen.add(text)
                    now = abbreviated(outcome(site, case))
                    yield {"request": shown} | versions(known.get(text, {}), now)


def pages():
    from django.test import RequestFactory
    from django.views.csrf import csrf_failure
    from django.views.defaults import bad_request

    if f"{django.VERSION[0]}.{django.VERSION[1]}" != BASE:
        return json.loads((VECTORS / "csrf.json").read_text())["pages"]
    request = RequestFactory().get("/")
    known = ("Referer checking failed - no Referer.", "CSRF cookie not set.", "CSRF token missing.")
    texts = {reason: csrf_failure(request, reason).content.decode() for reason in known}
    return texts | {"400": bad_request(request, None).content.decode()}


def record():
    os.environ.setdefault("DATABASE_URL", "sqlite::memory:")
    setup()
    return document({"texts": TEXTS, "groups": GROUPS, "pages": pages()}, cases())


if __name__ == "__main__":
    main(record, "csrf.json")
