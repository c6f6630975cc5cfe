"""
A small language for what a view does with its session, as JSON, so that the same program can be
run by Django and by another implementation. A program is a list of operations, run in order.

["get", k]                  value or null
["set", k, v]               null
["incr", k]                 the new number: s[k] = s.get(k, 0) + 1
["add", k]                  the new number, by the method of the engine merging_db
["pop", k]                  value or null
["del", k]                  true, or false if there was no such key
["has", k]                  bool
["setdefault", k, v]        value
["update", {...}]           null
["keys"]                    list
["items"]                   list of [k, v]
["clear"]                   null
["flush"]                   null
["cycle_key"]               null
["save"]                    null
["modified"]                null; sets the flag by hand
["flags"]                   {"accessed", "modified", "empty", "key"}; changes none of them
["set_expiry", n or null]   null
["set_expiry_date", iso]    null; an absolute date
["set_expiry_in", seconds]  null; as timedelta, which is stored as an absolute date
["expiry_age"]              number
["expiry_date"]             Unix seconds, with fraction
["browser_close"]           bool
["set_test_cookie"]         null
["test_cookie_worked"]      bool
["delete_test_cookie"]      null; KeyError (status 500) if it is not set
["message", text]           null; django.contrib.messages, level info
["add_message", level, text, tags, safe]
                            null; a tags of null is not given
["messages"]                iterates: a list of [level, text, extra tags, tags, level tag, safe]; an
                            item that is no message is given as it is
["count_messages"]          number; does not count as a look at them
["keep_messages"]           null; sets the flag "used" to False
["message_level", n]        null; null is the default
["user"]                    user name or null
["login", name]             null; logs the user in, without a password. A third item is the backend's path
["logout"]                  null
["set_password", name, t]   null; stores the text t as the user's password column
["update_hash", name]       null; update_session_auth_hash
["create_superuser", name, p]
                            null; with the password p. Only of auth.User
["perms"]                   the sorted permissions of the user
["python", k, kind]         the repr of a value that JSON lacks (see VALUES), which is put there
["repr", k]                 the repr of a value
["delete_row"]              null; deletes what the engine has stored under the cookie's key behind
                            the session's back, as a logout in another process does
["slow_fill", seconds]      null; what this request puts into the session's cache is put there so
                            much later, as by a process that is held up, while the cache has
                            something under "held_up". Only with cached_db
["locked_incr", k]          the new number, added to the row under a lock and behind the session's
                            back: how a site writes that does not want to lose an update. Only on
                            PostgreSQL
["sleep", seconds]          null
["status", n]               null; the status of the response
["raise"]                   raises RuntimeError: status 500
"""

import time
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from importlib import import_module
from uuid import UUID

from django.conf import settings
from django.contrib import auth, messages
from django.contrib.messages.storage.base import Message
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils.safestring import SafeData, mark_safe


class Basket:
    """An object of the application, as sites with pickled sessions keep them."""

    def __init__(self, items):
        self.items = items

    def __repr__(self):
        return f"Basket({self.items!r})"


def shared():
    inner = [1]
    return [inner, inner]


def recursive():
    outer = [1]
    outer.append(outer)
    return outer


# Values that pickle keeps and JSON does not. Sets have one item each, since their order is arbitrary.
VALUES = {
    "datetime": lambda: datetime(2024, 2, 29, 12, 30, 59, 123456, timezone.utc),
    "naive datetime": lambda: datetime(2024, 2, 29, 12, 30),
    "date": lambda: date(2024, 2, 29),
    "timedelta": lambda: timedelta(days=-1, microseconds=5),
    "Decimal": lambda: Decimal("10.50"),
    "tuple": lambda: (1, ("two", (), [3])),
    "set": lambda: {"one"},
    "frozenset": lambda: frozenset({1}),
    "bytes": lambda: bytes(range(256)),
    "bytearray": lambda: bytearray(b"abc"),
    "int keys": lambda: {1: "one", 2: {3: None}},
    "other keys": lambda: {None: 0, True: 1, 2.5: 2, (1, 2): 3},
    "complex": lambda: 1 + 2j,
    "UUID": lambda: UUID(int=2**127 + 1),
    "SafeString": lambda: mark_safe("<b>safe</b>"),
    "class": lambda: datetime,
    "object": lambda: Basket([Decimal("1.0"), "two"]),
    "another object": lambda: Basket([]),
    "shared": shared,
    "recursive": recursive,
}


def run(request, op):
    """Run one operation and return its result."""
    name, *arguments = op
    return OPS[name](request, *arguments)


def on_session(function):
    """Most operations need only the session of the request."""
    return lambda request, *arguments: function(request.session, *arguments)


def set_item(s, key, value):
    s[key] = value


def incr(s, key):
    s[key] = s.get(key, 0) + 1
    return s[key]


def del_item(s, key):
    try:
        del s[key]
    except KeyError:
        return False
    return True


def set_modified(s):
    s.modified = True


def flags(s):
    return {
        "accessed": s.accessed,
        "modified": s.modified,
        "empty": s.is_empty(),
        "key": s.session_key,
    }


def user(request):
    return request.user.get_username() or None


def named(name):
    return auth.get_user_model().objects.get_by_natural_key(name)


def login(request, name, backend=None):
    auth.login(request, named(name), backend)


def create_superuser(request, name, password):
    auth.get_user_model().objects.create_superuser(name, password=password)


def set_password(request, name, column):
    user = named(name)
    type(user).objects.filter(pk=user.pk).update(password=column)


def put_python(s, key, kind):
    s[key] = VALUES[kind]()
    return repr(s[key])


def add_message(request, level, text, tags, safe):
    given = {} if tags is None else {"extra_tags": tags}
    messages.add_message(request, level, mark_safe(text) if safe else text, **given)


def message_item(item):
    if isinstance(item, Message):
        safe = isinstance(item.message, SafeData)
        return [item.level, item.message, item.extra_tags, item.tags, item.level_tag, safe]
    return [message_item(inner) for inner in item] if isinstance(item, list) else item


def set_message_level(request, level):
    messages.set_level(request, level)


def keep_messages(request):
    messages.get_messages(request).used = False


def delete_row(request):
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    import_module(settings.SESSION_ENGINE).SessionStore().delete(key)


class Slow:
    """A cache that takes its time to store something, and tells that it does."""

    def __init__(self, cache, seconds):
        self.cache, self.seconds = cache, seconds

    def __getattr__(self, name):
        return getattr(self.cache, name)

    def set(self, *arguments, **options):
        self.cache.set("held_up", True)
        time.sleep(self.seconds)
        self.cache.set(*arguments, **options)
        self.cache.delete("held_up")


def slow_fill(s, seconds):
    s._cache = Slow(s._cache, seconds)


def locked_incr(request, key):
    session = request.session
    with transaction.atomic():
        row = Session.objects.select_for_update().get(session_key=session.session_key)
        data = session.decode(row.session_data)
        data[key] = data.get(key, 0) + 1
        row.session_data = session.encode(data)
        row.save(update_fields=["session_data"])
    return data[key]


def set_status(request, status):
    request.answer_status = status


def raise_error(request):
    raise RuntimeError("asked for by the operation")


SESSION_OPS = {
    "get": lambda s, key: s.get(key),
    "set": set_item,
    "incr": incr,
    "add": lambda s, key: s.add(key),
    "pop": lambda s, key: s.pop(key, None),
    "del": del_item,
    "has": lambda s, key: key in s,
    "setdefault": lambda s, key, value: s.setdefault(key, value),
    "update": lambda s, items: s.update(items),
    "keys": lambda s: list(s.keys()),
    "items": lambda s: [list(item) for item in s.items()],
    "clear": lambda s: s.clear(),
    "flush": lambda s: s.flush(),
    "cycle_key": lambda s: s.cycle_key(),
    "save": lambda s: s.save(),
    "modified": set_modified,
    "flags": flags,
    "set_expiry": lambda s, seconds: s.set_expiry(seconds),
    "set_expiry_date": lambda s, iso: s.set_expiry(datetime.fromisoformat(iso)),
    "set_expiry_in": lambda s, seconds: s.set_expiry(timedelta(seconds=seconds)),
    "expiry_age": lambda s: s.get_expiry_age(),
    "expiry_date": lambda s: s.get_expiry_date().timestamp(),
    "browser_close": lambda s: s.get_expire_at_browser_close(),
    "set_test_cookie": lambda s: s.set_test_cookie(),
    "test_cookie_worked": lambda s: s.test_cookie_worked(),
    "delete_test_cookie": lambda s: s.delete_test_cookie(),
    "python": put_python,
    "repr": lambda s, key: repr(s.get(key)),
    "slow_fill": slow_fill,
}

OPS = {name: on_session(function) for name, function in SESSION_OPS.items()} | {
    "message": lambda request, text: messages.info(request, text),
    "add_message": add_message,
    "messages": lambda request: [message_item(item) for item in messages.get_messages(request)],
    "count_messages": lambda request: len(messages.get_messages(request)),
    "keep_messages": keep_messages,
    "message_level": set_message_level,
    "user": user,
    "login": login,
    "logout": auth.logout,
    "set_password": set_password,
    "create_superuser": create_superuser,
    "update_hash": lambda request, name: auth.update_session_auth_hash(request, named(name)),
    "perms": lambda request: sorted(request.user.get_all_permissions()),
    "delete_row": delete_row,
    "locked_incr": locked_incr,
    "sleep": lambda request, seconds: time.sleep(seconds),
    "status": set_status,
    "raise": raise_error,
}
