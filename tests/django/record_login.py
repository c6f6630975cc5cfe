#!/usr/bin/env python
"""
Record what Django's logins do: hashes of sessions, request.user, login, logout,
update_session_auth_hash and permissions.

    DATABASE_URL=postgres://... record_login.py [--check FILE]

Without DATABASE_URL new SQLite files are used; a given database must be empty.
Without --check the file tests/vectors/login.json is written: run it under each Django, with each
database. The file names them in "recorded". A case has one "outcome", or "outcomes", each with
a list of those that it was recorded with.

A case is a request of a browser to a site with one key type of its user model. "session" is one of
"sessions" or such: what is stored, as a list of pairs, under the key that the browser presents;
"unknown": nothing is; null: no cookie. "ops" is the view's program (see site_under_test/ops.py), "status" its status. The outcome:

    status, results   of the answer; results only if it is the view's own
    cookie            new: of another session; same; deleted; absent if there is none
    before            what became of the row: kept, changed, deleted
    data              the session that the browser has afterwards, as a list of pairs; not if it was kept
    others            how many rows there are beside these two
    last_login        whose was set
    csrf              whether a CSRF cookie was sent
    then              who request.user is in the browser's next request

Absent means null, false or 0, or nobody. Values in angle brackets are in "values"; <new> is any other hash, and <3 x a> is aaa.
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from http.cookies import SimpleCookie
from pathlib import Path

import django

from login_cases import (
    PERMISSION_TABLES,
    SECRETS,
    SESSIONS,
    USERS,
    cases,
    column,
    digests,
    hash_cases,
    permission_cases,
)
from recording import SETTINGS, VECTORS, compact, setup

MODELS = {"integer": "auth.User", "uuid": "custom_users.Member", "text": "custom_users.Device"}

KEY = "0123456789abcdefghijklmnopqrstuv"
def replaced(value, values):
    """The value with the texts that `values` knows in place of its names."""
    if isinstance(value, str):
        for name, text in values.items():
            value = value.replace(name, text)
        value = re.sub("^<([0-9]+) x (.)>$", lambda found: int(found[1]) * found[2], value)
    if isinstance(value, list):
        value = [replaced(item, values) for item in value]
    return value


def named_values(value, values):
    """The reverse, for whole texts."""
    if isinstance(value, str):
        for name, text in values.items():
            if value == text:
                return name
        if len(value) > 1000:
            return f"<{len(value)} x {value[0]}>"
        if len(value) == 64 and set(value) <= set("123456789abcdef0") and len(set(value)) > 4:
            return "<new>"
    if isinstance(value, list):
        value = [named_values(item, values) for item in value]
    return value


class Site:
    """Django's handler, and its tables."""

    def __init__(self, model):
        from django.contrib.auth import get_user_model
        from django.contrib.sessions.models import Session
        from django.core.handlers.wsgi import WSGIHandler

        self.handler, self.sessions, self.users = WSGIHandler(), Session, get_user_model()
        self.model, self.values = model, digests(model)
        self.make_users()

    def make_users(self):
        login = self.users.USERNAME_FIELD
        for name, key, active in USERS[self.model]:
            user = self.users(pk=key, password=column(name), **{login: name})
            if not active:
                user.is_active = False
            user.save(force_insert=True)

    def reset_users(self):
        login = self.users.USERNAME_FIELD
        for name, _, _ in USERS[self.model]:
            one = self.users.objects.filter(**{login: name})
            one.update(password=column(name), last_login=None)

    def request(self, key, ops):
        """The status, the results, and the cookies of POST /ops."""
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
        if key is not None:
            environ["HTTP_COOKIE"] = f"sessionid={key}"
        started = []
        response = self.handler(environ, lambda status, headers: started.extend((status, headers)))
        body = b"".join(response)
        response.close()
        status, headers = started
        cookies = SimpleCookie()
        for name, value in headers:
            if name == "Set-Cookie":
                cookies.load(value)
        is_json = ("Content-Type", "application/json") in headers
        return int(status.split()[0]), json.loads(body)["results"] if is_json else None, cookies

    def pairs(self, key):
        row = self.sessions.objects.filter(session_key=key).first()
        if row is None:
            return None
        pairs = [list(pair) for pair in row.get_decoded().items()]
        return [[name, named_values(value, self.values)] for name, value in pairs]

    def outcome(self, case):
        from django.conf import settings

        settings.AUTHENTICATION_BACKENDS = replaced(case.get("backends", ["<Model>"]), self.values)
        self.sessions.objects.all().delete()
        self.reset_users()
        before = case["session"]
        if isinstance(before, str):
            before = SESSIONS[before]
        key = None if before is None else KEY
        if isinstance(before, list):
            data = {name: replaced(value, self.values) for name, value in before}
            text = self.sessions.objects.encode(data)
            self.sessions.objects.create(session_key=KEY, session_data=text, expire_date=far_away())
        stored = self.pairs(KEY)
        status = case.get("status", 200)
        ops = replaced(case["ops"], self.values)
        answered, results, cookies = self.request(key, [*ops, ["status", status]])
        now, cookie = key, None
        if morsel := cookies.get("sessionid"):
            now = morsel.value or None
            cookie = "deleted" if now is None else "same" if now == key else "new"
        keys = set(self.sessions.objects.values_list("session_key", flat=True))
        outcome = {"status": answered, "results": results and results[:-1], "cookie": cookie}
        if stored is not None:
            left = self.pairs(KEY)
            outcome["before"] = "deleted" if left is None else "kept" if left == stored else "changed"
        login = self.users.USERNAME_FIELD
        logged = self.users.objects.exclude(last_login=None).values_list(login, flat=True)
        outcome |= {
            "data": None if now == KEY and outcome.get("before") == "kept" else self.pairs(now),
            "others": len(keys - {KEY, now}),
            "last_login": sorted(logged),
            "csrf": "csrftoken" in cookies,
        }
        _, results, _ = self.request(now, [["user"]])
        outcome["then"] = results[0] if results else None
        if not logged:
            del outcome["last_login"]
        return {name: value for name, value in outcome.items() if value not in (None, False, 0)}


def far_away():
    from datetime import timedelta

    from django.utils import timezone

    return timezone.now() + timedelta(days=14)


def record_model(model):
    """All cases of one key type, as lines of JSON."""
    os.environ["AUTH_USER_MODEL"] = MODELS[model]
    SETTINGS["SECRET_KEY"] = SECRETS[0]
    SETTINGS["SECRET_KEY_FALLBACKS"] = ",".join(SECRETS[1:])
    setup()
    from django.core.management import call_command

    for app in ("contenttypes", "auth", "admin") if model == "integer" else ("contenttypes", "auth"):
        call_command("migrate", app, verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)
    site = Site(model)
    print(compact(site.values))
    for case in cases(model):
        print(compact({"model": model} | case | {"outcome": site.outcome(case)}))
    if model == "integer":
        for case in [*hash_cases(), *permission_cases()]:
            print(compact(case))


def record():
    """The label of this Django and database, the values of each key type, and all cases."""
    with tempfile.TemporaryDirectory() as directory:
        values, cases = {}, []
        url = os.environ.get("DATABASE_URL")
        for model in MODELS:
            environ = os.environ | {"DATABASE_URL": url or f"sqlite:///{directory}/{model}"}
            lines = subprocess.run(
                [sys.executable, __file__, "--model", model],
                env=environ,
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            ).stdout.splitlines()
            values[model] = json.loads(lines[0])
            cases.extend(json.loads(line) for line in lines[1:])
    vendor = "PostgreSQL" if url else "SQLite"
    return f"Django {django.VERSION[0]}.{django.VERSION[1]}, {vendor}", values, cases


def question(case):
    return compact({name: value for name, value in case.items() if name not in ("outcome", "outcomes")})


def read(path):
    """The outcomes in a file: for each case, one for each label."""
    document = json.loads(path.read_text())
    return {
        question(case): {
            label: outcome
            for labels, outcome in case.get("outcomes") or [[document["recorded"], case["outcome"]]]
            for label in labels
        }
        for case in document["cases"]
    }


def collapsed(by_label):
    """One outcome, or a list of them with their labels."""
    groups = {}
    for label in sorted(by_label):
        groups.setdefault(compact(by_label[label]), []).append(label)
    if len(groups) == 1:
        return {"outcome": next(iter(by_label.values()))}
    return {"outcomes": [[labels, json.loads(text)] for text, labels in groups.items()]}


def write(path, label, values, cases):
    known = read(path) if path.exists() else {}
    merged = {question(case): known.get(question(case), {}) | {label: case["outcome"]} for case in cases}
    labels = sorted({label for by_label in merged.values() for label in by_label})
    lines = [compact(json.loads(text) | collapsed(by_label)) for text, by_label in merged.items()]
    head = {"recorded": labels, "secrets": SECRETS, "users": USERS, "sessions": SESSIONS, "values": values, "tables": PERMISSION_TABLES}
    entries = [f"{compact(name)}:{compact(value)}," for name, value in head.items()]
    path.write_text("{\n" + "\n".join(entries) + '\n"cases":[\n' + ",\n".join(lines) + "\n]}\n")


def check(path, label, cases):
    """Print what is different, and return whether anything is."""
    recorded, now = read(path), {question(case): case["outcome"] for case in cases}
    different = False
    for text in recorded.keys() | now.keys():
        before, after = recorded.get(text, {}).get(label), now.get(text)
        if before != after:
            different = True
            print(f"{text[:1000]}\n-{compact(before)}\n+{compact(after)}")
    return different


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", metavar="FILE", type=Path, help="compare with FILE; exit with 1 if it differs")
    parser.add_argument("--model", choices=MODELS, help="write the cases of one key type to standard output")
    arguments = parser.parse_args()
    if arguments.model:
        record_model(arguments.model)
        return
    label, values, cases = record()
    if arguments.check:
        sys.exit(check(arguments.check, label, cases))
    write(VECTORS / "login.json", label, values, cases)


if __name__ == "__main__":
    main()
