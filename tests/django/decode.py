"""Decode session texts with real Django, for tests of texts written elsewhere.

Runs under every Django from 1.11 on. Standard input: one JSON object a line,
{"secret": S, "fallbacks": [S...], "encoded": TEXT}, where a secret S is a text
or, for a secret of bytes, {"hex": "..."}. Standard output: for each line the
decoded value as compact ASCII JSON, or CORRUPTED when Django could not read
the text (whether it logged that, raised, or quietly gave an empty session).
Versions before 4.1 know no fallback keys and ignore them.
"""

import json
import logging
import sys
import warnings
from collections import namedtuple

warnings.simplefilter("ignore")  # old versions warn about newer Pythons

from django.conf import settings

if not settings.configured:
    settings.configure(SECRET_KEY="set before each use", USE_TZ=True, SESSION_ENGINE="decode")

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.serializers import JSONSerializer

Outcome = namedtuple("Outcome", "value readable logged raised")


class SessionStore(SessionBase):
    """The name is part of the salt: every stock engine calls its class so."""


class Warnings(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []
        logger = logging.getLogger("django.security.SuspiciousSession")
        logger.propagate = False
        logger.addHandler(self)

    def emit(self, record):
        self.records.append(record)


WARNINGS = Warnings()


def set_secrets(secret, fallbacks=()):
    def key(value):
        return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value

    settings.SECRET_KEY = key(secret)
    settings.SECRET_KEY_FALLBACKS = [key(value) for value in fallbacks]


def decode(encoded, secret, fallbacks=()):
    """What decode() gives, and whether it read the text or fell back to {}.

    Parsing the JSON is the last step of every version's decode(), so a result
    that is not the object the serializer gave is a fallback.
    """
    parsed = []

    class Recorder(JSONSerializer):
        def loads(self, data):
            parsed.append(super().loads(data))
            return parsed[-1]

    set_secrets(secret, fallbacks)
    store = SessionStore()
    store.serializer = Recorder
    del WARNINGS.records[:]
    try:
        value, raised = store.decode(encoded), None
    except Exception as error:
        value, raised = None, type(error).__name__
    readable = raised is None and bool(parsed) and value is parsed[-1]
    return Outcome(value, readable, bool(WARNINGS.records), raised)


def compact(value):
    """Compact ASCII JSON, also of values nested as deep as decode() can read."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 2000)
    try:
        return json.dumps(value, separators=(",", ":"))
    finally:
        sys.setrecursionlimit(limit)


def main():
    # All input is read before anything is written, so that a caller that first
    # writes everything and then reads cannot block on a full pipe.
    lines = [line for line in sys.stdin.buffer.read().split(b"\n") if line.strip()]
    for line in lines:
        request = json.loads(line.decode("utf-8"))
        outcome = decode(request["encoded"], request["secret"], request.get("fallbacks") or ())
        print(compact(outcome.value) if outcome.readable else "CORRUPTED")


if __name__ == "__main__":
    main()
