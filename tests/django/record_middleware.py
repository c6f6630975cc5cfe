#!/usr/bin/env python
"""
Record what Django's SessionMiddleware does with every combination of a cookie, a view and a
status, on the db engine.

    DATABASE_URL=postgres://... record_middleware.py [--check FILE]

All rows of django_session in that database are deleted: give it a database of its own, on
PostgreSQL (SQLite accepts keys that PostgreSQL refuses). Without --check the file
tests/vectors/middleware-<major.minor>.json is written. See names.py for <same> and the like.

    {"django", "python", "settings", "cookies": {name: {...}}, "actions": {name: ops}, "cases"}

A cookie has "header" (the Cookie header, one character for each byte, or null), "key" (what
Django reads as the session key: <same>), and "row" (the only row in the table, under that key,
or null) with "data", "expires_in" and "readable" (false: signed with another secret).

A case is one outcome of a save_every_request, a cookie and an action: "statuses" lists pairs of
the status asked for (a number, for which ["status", n] is run after the action, or "raise") and
the status answered. "results" are those of the action, null when the answer is not the view's
own; "set_cookie" and "vary" the exact headers or null; "rows" the whole table afterwards, where
"data" is "unreadable-unchanged" or "unreadable-changed" if it does not decode to an object.
"""

import io
import json
import re
import time
from email.utils import parsedate_to_datetime

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler

from names import Names
from recording import document, main, setup, undisturbed
from session_table import SessionTable, row

STATUSES = [200, 302, 404, 500, 503, "raise"]

KEY = "0123456789abcdefghijklmnopqrstuv"
UNKNOWN = "unknown0unknown0unknown0unknown0"
DATA = {"a": 1, "b": "two"}


def cookie(header, key=None, row=None):
    return {"header": header, "key": key, "row": row}


PLAIN = f"sessionid={KEY}"
COOKIES = {
    "none": cookie(None),
    "empty": cookie("sessionid=", ""),
    "short": cookie("sessionid=1234567", "1234567"),
    "unknown": cookie(f"sessionid={UNKNOWN}", UNKNOWN),
    "valid": cookie(PLAIN, KEY, row(DATA)),
    "valid_empty_row": cookie(PLAIN, KEY, row({})),
    "expired": cookie(PLAIN, KEY, row(DATA, expires_in=-3600)),
    "bad_signature": cookie(PLAIN, KEY, row(DATA, readable=False)),
    "not_object": cookie(PLAIN, KEY, row([1, 2])),
    "nul": cookie(r'sessionid="abcdefg\000hij"', "abcdefg\0hij"),
    "overlong": cookie("sessionid=" + 60 * "x", 60 * "x"),
    "duplicate": cookie(f"sessionid={UNKNOWN}; {PLAIN}", KEY, row(DATA)),
    "among_junk": cookie(
        f'junk; =x; ;caf\xc3\xa9=\xff; q="a\\"b; {PLAIN} ; Sessionid=1; z="', KEY, row(DATA)
    ),
}

# The operations of the view. Nearly all end with the flags, which also contain the key.
FLAGS = ["flags"]
WRITE = ["set", "c", 3]
ACTIONS = {
    "untouched": [],
    "flags": [FLAGS],
    # Reading
    "read": [["get", "a"], FLAGS],
    "read_missing": [["get", "x"], FLAGS],
    "has": [["has", "a"], FLAGS],
    "keys": [["keys"], FLAGS],
    "items": [["items"], FLAGS],
    "expiry": [["expiry_age"], ["expiry_date"], ["browser_close"], FLAGS],
    # Writing
    "write": [WRITE, FLAGS],
    "overwrite": [["set", "a", 2], FLAGS],
    "overwrite_same": [["set", "a", 1], FLAGS],
    "incr": [["incr", "n"], FLAGS],
    "del": [["del", "a"], FLAGS],
    "del_missing": [["del", "x"], FLAGS],
    "del_all": [["del", "a"], ["del", "b"], FLAGS],
    "pop": [["pop", "a"], FLAGS],
    "pop_missing": [["pop", "x"], FLAGS],
    "setdefault": [["setdefault", "a", 9], FLAGS],
    "setdefault_missing": [["setdefault", "x", 9], FLAGS],
    "update_nothing": [["update", {}], FLAGS],
    "update": [["update", {"a": 5, "c": 3}], FLAGS],
    "modified": [["modified"], FLAGS],
    "test_cookie_set": [["set_test_cookie"], ["test_cookie_worked"], FLAGS],
    "test_cookie_delete": [["set_test_cookie"], ["delete_test_cookie"], FLAGS],
    "test_cookie_delete_missing": [["delete_test_cookie"], FLAGS],
    # Emptying and changing the key
    "clear": [["clear"], FLAGS],
    "clear_write": [["clear"], WRITE, FLAGS],
    "write_clear": [WRITE, ["clear"], FLAGS],
    "flush": [["flush"], FLAGS],
    "flush_write": [["flush"], WRITE, FLAGS],
    "write_flush": [WRITE, ["flush"], FLAGS],
    "cycle": [["cycle_key"], FLAGS],
    "cycle_write": [["cycle_key"], WRITE, FLAGS],
    "write_cycle": [WRITE, ["cycle_key"], FLAGS],
    "cycle_cycle": [["cycle_key"], ["cycle_key"], FLAGS],
    "cycle_flush": [["cycle_key"], ["flush"], FLAGS],
    "flush_cycle": [["flush"], ["cycle_key"], FLAGS],
    "clear_cycle": [["clear"], ["cycle_key"], FLAGS],
    # Expiry
    "expire_300": [["set_expiry", 300], ["expiry_age"], ["browser_close"], FLAGS],
    "expire_negative": [["set_expiry", -300], ["expiry_age"], ["browser_close"], FLAGS],
    "expire_0": [["set_expiry", 0], ["expiry_age"], ["browser_close"], FLAGS],
    "expire_null": [["set_expiry", None], ["expiry_age"], ["browser_close"], FLAGS],
    "expire_300_null": [["set_expiry", 300], ["set_expiry", None], FLAGS],
    "expire_date": [["set_expiry_date", "<now+100000000>"], ["expiry_age"], FLAGS],
    "expire_date_past": [["set_expiry_date", "<now-3600>"], ["expiry_age"], FLAGS],
    "expire_in": [["set_expiry_in", 3600], ["expiry_age"], FLAGS],
    "expire_300_alone": [["clear"], ["set_expiry", 300], FLAGS],
    "expire_0_alone": [["clear"], ["set_expiry", 0], FLAGS],
    # Saving by hand
    "save": [["save"], FLAGS],
    "read_save": [["get", "a"], ["save"], FLAGS],
    "write_save": [WRITE, ["save"], FLAGS],
    "write_save_write": [WRITE, ["save"], ["set", "d", 4], FLAGS],
    # Another process deletes the row
    "interrupted": [["get", "a"], ["delete_row"], WRITE, FLAGS],
    "interrupted_save": [["get", "a"], ["delete_row"], WRITE, ["save"], FLAGS],
    "interrupted_clear": [["delete_row"], ["clear"], FLAGS],
    "interrupted_cycle": [["get", "a"], ["delete_row"], ["cycle_key"], FLAGS],
    "read_deleted": [["get", "a"], ["delete_row"], FLAGS],
    "deleted_read": [["delete_row"], ["get", "a"], FLAGS],
    "deleted_write": [["delete_row"], WRITE, FLAGS],
}

# Operations that Django carries out without loading the session. An implementation in which it is
# always loaded by then can be held to what Django does if it is, so that is recorded too.
NO_LOAD = ("clear", "flush", "modified", "save")


def loaded(ops):
    """The program with a load before its first such operation, or None if there is none."""
    for index, op in enumerate(ops):
        if op[0] in NO_LOAD:
            return [*ops[:index], ["has", "a"], *ops[index:]]
        if op[0] not in ("flags", "delete_row"):
            return None
    return None


ACTIONS |= {f"loaded_{name}": ops for name, plain in ACTIONS.items() if (ops := loaded(plain))}


def request(site, cookie_header, ops):
    """Status, headers and body of POST /ops. All of Django but the socket."""
    body = json.dumps(ops).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/ops",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
    }
    if cookie_header is not None:
        environ["HTTP_COOKIE"] = cookie_header
    started = []
    response = site(environ, lambda status, headers: started.extend((status, headers)))
    status, headers = started
    body = b"".join(response)
    response.close()
    return int(status.split()[0]), headers, body


def header(headers, name):
    # Older versions write a blank before a cookie, which HTTP does not count as part of it.
    values = [value.strip() for key, value in headers if key == name]
    assert len(values) < 2, values
    return values[0] if values else None


def set_cookie(names, text):
    """A Set-Cookie header without what is different each time."""
    if text is None or text.startswith('sessionid=""'):
        return text
    age, date = re.search("Max-Age=([^;]+)", text), re.search("expires=([^;]+)", text)
    if date:
        seconds = parsedate_to_datetime(date[1]).timestamp() - time.time()
        assert abs(seconds - int(age[1])) < 10, text
        text = text.replace(date[1], "<expires>")
    key = re.match("sessionid=([^;]+)", text)[1]
    return text.replace(key, names.key(key), 1)


@undisturbed
def outcome(site, table, cookie, ops):
    """The status of the answer, and everything else that is recorded of one request."""
    names = Names(cookie["key"])
    text_before = table.prepare(cookie["key"], cookie["row"])
    status, headers, body = request(site, cookie["header"], names.program(ops))
    results = None
    if header(headers, "Content-Type") == "application/json":
        results = [names.result(*pair) for pair in zip(ops, json.loads(body)["results"])]
    return status, {
        "results": results,
        "set_cookie": set_cookie(names, header(headers, "Set-Cookie")),
        "vary": header(headers, "Vary"),
        "rows": table.rows(names, text_before),
    }


def cases(site, table):
    for save_every_request in (False, True):
        settings.SESSION_SAVE_EVERY_REQUEST = save_every_request
        for cookie_name, cookie in COOKIES.items():
            for action, ops in ACTIONS.items():
                outcomes = []
                for asked in STATUSES:
                    end = ["raise"] if asked == "raise" else ["status", asked]
                    answered, rest = outcome(site, table, cookie, [*ops, end])
                    if rest["results"]:
                        rest["results"].pop()  # that of the end
                    same = next((one for one in outcomes if one[1] == rest), None)
                    if same is None:
                        outcomes.append(same := ([], rest))
                    same[0].append([asked, answered])
                for statuses, rest in outcomes:
                    yield {
                        "save_every_request": save_every_request,
                        "cookie": cookie_name,
                        "action": action,
                        "statuses": statuses,
                    } | rest


def record():
    setup()
    head = {"cookies": COOKIES, "actions": ACTIONS}
    return document(head, cases(WSGIHandler(), SessionTable()))


if __name__ == "__main__":
    main(record, f"middleware-{django.VERSION[0]}.{django.VERSION[1]}.json")
