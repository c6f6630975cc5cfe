"""Times Django's codec on the sessions that come as JSON. Microseconds of each go out as JSON."""

import json
import os
import statistics
import sys
import timeit

from django.conf import settings

settings.configure(
    SECRET_KEY=os.environ["BENCH_SECRET"],
    SESSION_ENGINE="django.contrib.sessions.backends.db",
    INSTALLED_APPS=["django.contrib.sessions"],
)
import django

django.setup()
from django.contrib.sessions.backends.db import SessionStore

store = SessionStore()


def micros(call):
    timer = timeit.Timer(call)
    times, _ = timer.autorange()
    return statistics.median(timer.repeat(5, times)) / times * 1e6


found = {}
for payload in json.load(sys.stdin):
    name, session = payload["name"], payload["session"]
    for form in ("zlib", "plain"):
        text = payload[form]
        assert store.decode(text) == session, (name, form)
        found[f"{name}_decode_{form}"] = micros(lambda: store.decode(text)["_auth_user_id"])
    # Django parses everything, always.
    found[f"{name}_decode_zlib_and_parse_all"] = found[f"{name}_decode_zlib"]
    found[f"{name}_encode"] = micros(lambda: store.encode(session))
json.dump(found, sys.stdout)
