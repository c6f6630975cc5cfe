#!/usr/bin/env python
"""
Sessions in files, by real Django's file engine.

    file_sessions.py DIRECTORY COOKIE_NAME COMMAND [ARGUMENT...]

    create JSON       a new session with this dictionary       -> its key
    save KEY JSON     loads, updates and saves                 -> "saved", or the exception's name
    load KEY          -> {"data", "key" (null if Django has dropped it), "age" (of the expiry, seconds)}
    delete KEY, exists KEY, clear_expired
    write_many KEY N  saves the keys "django 0" to "django N-1", one request each; each must see all before it, but
                      may have to look again -> how often that was so

The answer is JSON. The secret is "a secret", SESSION_COOKIE_AGE Django's default.
"""

import json
import sys
import time

from django.conf import settings

directory, cookie_name, command, *arguments = sys.argv[1:]
settings.configure(
    SECRET_KEY="a secret",
    USE_TZ=True,
    SESSION_ENGINE="django.contrib.sessions.backends.file",
    SESSION_FILE_PATH=directory,
    SESSION_COOKIE_NAME=cookie_name,
)

from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.file import SessionStore


def create(data):
    session = SessionStore()
    session.update(json.loads(data))
    session.save()
    return session.session_key


def save(key, data):
    session = SessionStore(key)
    session.update(json.loads(data))
    try:
        session.save()
    except UpdateError as error:
        return type(error).__name__
    return "saved"


def load(key):
    session = SessionStore(key)
    items = dict(session.items())
    return {"data": items, "key": session.session_key, "age": session.get_expiry_age()}


def delete(key):
    SessionStore(key).delete()


def exists(key):
    return SessionStore().exists(key)


def clear_expired():
    SessionStore.clear_expired()


def write_many(key, count):
    hidden = 0
    for n in range(int(count)):
        for look in range(1000):
            session = SessionStore(key)
            missing = [m for m in range(n) if f"django {m}" not in session]
            assert session.session_key == key
            if not missing:
                break
            hidden += 1
            time.sleep(0.001)
        assert not missing, (n, missing)
        session[f"django {n}"] = n
        session.save()
        time.sleep(0.005)
    return hidden


print(json.dumps(globals()[command](*arguments)))
