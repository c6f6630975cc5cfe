#!/usr/bin/env python
"""
Record what Django's MessageMiddleware does with every kind of cookie and session, for each storage.

    record_messages.py [--check FILE]

Without --check tests/vectors/messages.json is written. An SQLite database in memory does, because
the rules do not depend on the database.

    {"django", "python", "settings", "cookies": {name: value}, "sessions": {name: data},
     "programs": {name: ops}, "cases"}

A cookie is the value of the cookie "messages", null if the request has none. Data are the
dictionary of the visitor's session, null if the visitor has none. Programs are those of
site_under_test/ops.py. The time is frozen at STAMP.

A case has a "storage", a "cookie", a "session", a "program", and "override": settings that are not
the usual ones. Then comes what Django did: "status" and "results" (missing if the answer is not the
view's own), "set_cookie" (that of the messages), "session_cookie" ("set" or "deleted"), "stored"
(the dictionary of the only row, null without one; missing if it is as before) and "vary". What is
null is left out.
"""

import base64
import hashlib
import json
import os
import zlib
from unittest import mock

os.environ["DATABASE_URL"] = "sqlite::memory:"

from record_middleware import KEY, request
from recording import SETTINGS, document, main, setup

TIME = 1700000000
STAMP = "1r31eq"  # TIME in base 62
OLD_KEY = "the key before"
SALT = "django.contrib.messages"
STORAGES = {
    "fallback": "django.contrib.messages.storage.fallback.FallbackStorage",
    "cookie": "django.contrib.messages.storage.cookie.CookieStorage",
    "session": "django.contrib.messages.storage.session.SessionStorage",
}

MARK = "__json_message"
SENTINEL = "__messagesnotfinished__"


def message(text, level=20, tags="", safe=0):
    return [MARK, safe, level, text] + ([] if tags is None else [tags])


def noise(length, seed=0):
    """Text that zlib can hardly shorten."""
    digests = (hashlib.sha256(b"%d %d" % (seed, n)).digest() for n in range(length // 40 + 1))
    return b"".join(map(base64.b85encode, digests)).decode()[:length]


def sign(value, key=SETTINGS["SECRET_KEY"], salt=SALT):
    from django.core.signing import base64_hmac

    mac = base64_hmac(salt + "signer", value, b"django.http.cookies" + key.encode(), algorithm="sha256")
    return f"{value}:{mac}"


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(data, stamp=STAMP, **options):
    """Bytes as they are, anything else as compact JSON; never compressed."""
    if not isinstance(data, bytes):
        data = json.dumps(data, separators=(",", ":")).encode()
    return sign(f"{encode(data)}:{stamp}", **options)


def compressed(data):
    return sign(f".{encode(zlib.compress(json.dumps(data, separators=(',', ':')).encode()))}:{STAMP}")


def cookies():
    one, two = message("one"), message("two", 25, "extra")
    good = signed([one, two])
    several = [message(f"message {n}") for n in range(5)]
    broken = encode(zlib.compress(b"[]")[:-3])
    lists = {
        "one": [one],
        "two": [one, two],
        "sentinel": [SENTINEL],
        "one_sentinel": [one, SENTINEL],
        "two_sentinel": [one, two, SENTINEL],
        "sentinel_first": [SENTINEL, one],
        "sentinel_twice": [one, SENTINEL, SENTINEL],
        "no_messages": [],
        "safe": [message("<b>safe</b>", safe=1), message("<b>plain</b>"), message("x", safe="yes")],
        "tags": [message("a", tags=None), message("b", 40, "x y"), message("c", 99, "z"), message("d", 99)],
        "levels": [message("a", 10), message("b", -5), message("c", 2**40), message("d", "25")],
        "other_levels": [message("a", 25.9), message("b", True), message("c", " 30\n")],
        "unicode": [message("caf\u00e9 \u2603 \U0001f600 \x7f \n \" \\ / </script>", 30, "\u00fc")],
        "empty_text": [message("")],
        # What Django never writes
        "null": None,
        "number": 5,
        "text": "text",
        "object": {"a": one},
        "message": one,
        "items": [1, "text", None, {"a": 1}, one],
        "nested": [[two], one],
        "bare_mark": [[MARK], one],
        "three_items": [[MARK, 0, 20], one],
        "six_items": [[*one, 6], one],
        "level_text": [message("x", "info"), one],
        "level_null": [message("x", None), one],
        "level_list": [message("x", []), one],
        "text_number": [message(5), one],
        "text_null": [message(None), one],
        "tags_number": [message("x", tags=5), one],
    }
    return {name: signed(data) for name, data in lists.items()} | {
        "none": None,
        "empty": "",
        "quoted": f'"{good}"',
        "last_of_two": f"{signed([two])}; messages={good}",
        "compressed": compressed(several),
        "compressed_sentinel": compressed([*several, SENTINEL]),
        "compressed_large": compressed([message("a" * 2000)]),
        "latin1": signed(b'[["__json_message",0,20,"caf\xe9",""]]'),
        "blanks": signed(b' [ [ "__json_message" , 0 , 20 , "one" , "" ] ] '),
        "old_key": signed([one], key=OLD_KEY),
        "old_stamp": signed([one], stamp="0"),
        "negative_stamp": signed([one], stamp="-1"),
        # Not signed as it should be
        "other_key": signed([one], key="another key"),
        "other_salt": signed([one], salt="django.contrib.message"),
        "changed": good.replace("W", "X", 1),
        "cut": good[:-1],
        "no_signature": good.split(":")[0],
        "junk": "junk",
        # Signed, but broken
        "no_stamp": sign(encode(b"[]")),
        "empty_stamp": signed([one], stamp=""),
        "bad_stamp": signed([one], stamp="1r_"),
        "bad_base64": sign(f"abcde:{STAMP}"),
        "empty_body": sign(f":{STAMP}"),
        "bad_json": signed(b'[["__json_message",0,20,"one",""]'),
        "broken_zlib": sign(f".{broken}:{STAMP}"),
        "not_zlib": sign(f".{encode(b'[]')}:{STAMP}"),
    }


def stored(*messages):
    return {"_messages": json.dumps(list(messages))}


SESSIONS = {
    "none": None,
    "other_data": {"a": 1},
    "one": stored(message("stored")),
    "two": {"a": 1} | stored(message("<i>stored</i>", 30, "x", 1), message("again", 40, None)),
    "empty_list": stored(),
    "empty_text": {"_messages": ""},
    "null": {"_messages": None},
    "raw_list": {"_messages": [message("raw")]},
    "number": {"_messages": 7},
    "bad_json": {"_messages": "[["},
    "items": {"_messages": json.dumps([1, "text", [message("nested")], message("stored")])},
    "object": {"_messages": "{}"},
    "sentinel": stored(message("stored"), SENTINEL),
}

READ, COUNT, KEEP = ["messages"], ["count_messages"], ["keep_messages"]


def add(text, level=20, tags=None, safe=False):
    return ["add_message", level, text, tags, safe]


def end(status):
    return ["status", status]


NEW = add("new")
# For every cookie
FORMS = {
    "read": [READ],
    "count": [COUNT],
    "add": [NEW],
    "read_add": [READ, NEW],
}
# For every session
PROGRAMS = FORMS | {
    "untouched": [],
    "add_read": [NEW, READ],
    "count_add": [COUNT, NEW, COUNT],
}
# For a few of both
LIFE = {
    "keep": [READ, KEEP],
    "add_keep": [NEW, READ, KEEP],
    "read_add_read": [READ, NEW, READ],
    "read_keep_add": [READ, KEEP, NEW],
    "read_twice": [READ, READ, COUNT],
    "count_keep": [COUNT, KEEP],
    "read_302": [READ, end(302)],
    "add_302": [NEW, end(302)],
    "add_404": [NEW, end(404)],
    "add_500": [NEW, end(500)],
    "read_500": [READ, end(500)],
    "add_raise": [NEW, ["raise"]],
    "read_raise": [READ, ["raise"]],
    "add_flush": [NEW, ["flush"]],
    "read_flush": [READ, ["flush"]],
    "flush_read": [["flush"], READ],
    "flush_add": [["flush"], NEW],
    "cycle_add": [["cycle_key"], NEW],
    "session_add": [["set", "b", 2], NEW],
}
WRITE = {
    "levels": [add(str(level), level) for level in (9, 10, 19, 20, 21, 25, 30, 40, 50, -1)] + [READ],
    "level_kept": [add("a", 10), add("b", 40)],
    "level_set": [["message_level", 30], add("a", 25), add("b", 30), ["message_level", None], add("c")],
    "level_down": [["message_level", 5], add("a", 5), add("b", 4), READ],
    "tags": [add("a", 20, ""), add("b", 40, "x y"), add("c", 99, "z"), add("d", 99), READ],
    "tags_kept": [add("a", 25, "x")],
    "safe": [add("<b>a</b>", 20, None, True)],
    "safe_read": [add("<b>a</b>", 20, None, True), add("<b>b</b>"), READ],
    "empty": [add("")],
    "empty_read": [add(""), READ],
    "escapes": [add("caf\u00e9 \u2603 \U0001f600 \x7f \n \t \" \\ / </script> \u2028 \x00", 30, "\u00fc")],
    "two": [add("a"), add("b")],
    "noise": [add(noise(300))],
}


def overflow_programs():
    yield "equal_100", [add("the same text", 20) for _ in range(100)]
    yield "equal_300", [add("the same text", 20) for _ in range(300)]
    for count, length in [(12, 100), (20, 100), (40, 60), (8, 300), (4, 1000)]:
        yield f"noise_{count}_{length}", [add(noise(length, n), 20, "") for n in range(count)]
    for length in range(1400, 2100, 200):
        yield f"noise_1_{length}", [add(noise(length))]
    yield "large_first", [add(noise(3000)), add("small")]
    yield "large_last", [add("small"), add(noise(3000))]
    yield "large_middle", [add("a"), add(noise(3000)), add("b")]
    yield "unicode", [add("\u2603" * 40 + noise(60, n)) for n in range(20)]
    yield "read_large", [READ, *(add(noise(200, n)) for n in range(20))]
    yield "large_read", [*(add(noise(200, n)) for n in range(20)), READ]
    yield "large_500", [*(add(noise(200, n)) for n in range(20)), end(500)]


OVERFLOW = dict(overflow_programs())
LIFE_COOKIES = ["none", "two", "one_sentinel", "sentinel", "other_key", "null"]


def combinations(names):
    """Pairs of settings that are not the usual ones, and a tuple of names."""
    for cookie in names:
        for program in FORMS:
            yield {}, "fallback", cookie, "two", program
            yield {}, "cookie", cookie, "none", program
    for session in SESSIONS:
        for program in PROGRAMS:
            yield {}, "session", "two", session, program
            yield {}, "fallback", "one_sentinel", session, program
            yield {}, "fallback", "none", session, program
            yield {}, "fallback", "sentinel", session, program
    for program in LIFE | {"untouched": []}:
        for cookie in LIFE_COOKIES:
            yield {}, "fallback", cookie, "two", program
            yield {}, "cookie", cookie, "two", program
        for session in ("none", "other_data", "two"):
            yield {}, "session", "none", session, program
    for program in WRITE:
        for storage in STORAGES:
            yield {}, storage, "none", "none", program
    for program in OVERFLOW:
        yield {}, "fallback", "none", "none", program
        yield {}, "cookie", "two", "none", program
    for program in ("equal_300", "noise_20_100", "large_first", "large_last", "read_large", "large_500"):
        yield {}, "fallback", "none", "two", program
        yield {}, "fallback", "two_sentinel", "two", program
    for level in (0, 10, 26, 40):
        for program in ("levels", "level_kept", "level_set", "level_down"):
            yield {"MESSAGE_LEVEL": level}, "fallback", "none", "none", program
    tags = {20: "note", 25: "", 99: "own", 40: "danger"}
    for cookie in ("none", "tags", "two"):
        for program in ("tags", "levels", "read", "add"):
            yield {"MESSAGE_TAGS": tags}, "fallback", cookie, "none", program
    for override in (
        {"SESSION_COOKIE_DOMAIN": "example.com"},
        {"SESSION_COOKIE_SECURE": True},
        {"SESSION_COOKIE_HTTPONLY": False},
        {"SESSION_COOKIE_SAMESITE": "Strict"},
        {"SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_SECURE": True},
        {"SESSION_COOKIE_SAMESITE": False},
        {"SESSION_COOKIE_PATH": "/path/", "SESSION_COOKIE_NAME": "s"},
    ):
        for program in ("read", "add"):
            yield override, "fallback", "one", "none", program
            yield override, "cookie", "one", "none", program


def one_line(headers, name):
    """The line that sets a cookie, without the blank that older versions write before it."""
    lines = [value.strip() for key, value in headers if key == "Set-Cookie"]
    lines = [line for line in lines if line.startswith(f"{name}=")]
    assert len(lines) < 2, lines
    return lines[0] if lines else None


class Recorder:
    def __init__(self):
        from django.contrib.sessions.backends.db import SessionStore
        from django.contrib.sessions.models import Session
        from django.core.handlers.wsgi import WSGIHandler
        from django.test.utils import override_settings

        self.site, self.rows, self.codec = WSGIHandler(), Session.objects, SessionStore()
        self.override = override_settings
        self.cookies = cookies()
        self.programs = PROGRAMS | LIFE | WRITE | OVERFLOW

    def prepare(self, data):
        from django.utils import timezone

        self.rows.all().delete()
        if data is not None:
            expires = timezone.now() + timezone.timedelta(days=1)
            self.rows.create(session_key=KEY, session_data=self.codec.encode(data), expire_date=expires)

    def outcome(self, override, storage, cookie, session, program):
        name = override.get("SESSION_COOKIE_NAME", "sessionid")
        pairs = [f"{name}={KEY}"] if SESSIONS[session] is not None else []
        if self.cookies[cookie] is not None:
            pairs.append(f"messages={self.cookies[cookie]}")
        usual = {"MESSAGE_STORAGE": STORAGES[storage], "SECRET_KEY_FALLBACKS": [OLD_KEY]}
        with self.override(**usual, **override):
            self.prepare(SESSIONS[session])
            header = "; ".join(pairs) or None
            status, headers, body = request(self.site, header, self.programs[program])
            rows = [self.codec.decode(row.session_data) for row in self.rows.all()]
        assert len(rows) < 2, rows
        found = dict(headers)
        session_line = one_line(headers, name)
        is_own = found.get("Content-Type") == "application/json"
        outcome = {
            "status": status,
            "results": json.loads(body)["results"] if is_own else None,
            "set_cookie": one_line(headers, "messages"),
            "session_cookie": session_line and ("deleted" if f'{name}=""' in session_line else "set"),
            "vary": found.get("Vary"),
        }
        outcome = {name: value for name, value in outcome.items() if value is not None}
        after = rows[0] if rows else None
        return outcome if after == SESSIONS[session] else outcome | {"stored": after}

    def cases(self):
        done = []
        for case in combinations(self.cookies):
            if case in done:
                continue
            done.append(case)
            override, storage, cookie, session, program = case
            shown = {"override": override} if override else {}
            names = {"storage": storage, "cookie": cookie, "session": session, "program": program}
            yield names | shown | self.outcome(override, storage, cookie, session, program)


def record():
    setup()
    with mock.patch("time.time", lambda: TIME):
        recorder = Recorder()
        cases = list(recorder.cases())
    head = {"cookies": recorder.cookies, "sessions": SESSIONS, "programs": recorder.programs}
    return document(head, cases)


if __name__ == "__main__":
    main(record, "messages.json")
