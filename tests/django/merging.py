#!/usr/bin/env python
"""
Tests of the engine `merging_db`: what a save does to a row that another request has changed meanwhile.

DATABASE_URL as in site_under_test/settings.py. The tests make a database of their own beside it.
"""

import os
import sys
import threading
import unittest
from pathlib import Path
from unittest import mock

import django
from django.conf import settings

from site_under_test.settings import database

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples/shared_login/django"))
default = database(os.environ["DATABASE_URL"])
if "sqlite3" in default["ENGINE"]:
    # Threads cannot share a database in memory, which would be the default.
    default["TEST"] = {"NAME": default["NAME"] + ".tests"}
settings.configure(
    SECRET_KEY="only for tests",
    DATABASES={"default": default},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.sessions"],
    SESSION_ENGINE="merging_db",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore as DjangoStore
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import RequestFactory, TransactionTestCase
from django.test.utils import CaptureQueriesContext, get_runner

from merging_db import SessionStore

START = {"n": 1, "a": "old", "gone": True, "cart": ["tea"]}


def append(item):
    return lambda items: [*(items or []), item]


def clear_and(key, value):
    def change(s):
        s.clear()
        s[key] = value

    return change


def in_place(s):
    s["cart"].append("mug")
    s.modified = True


def in_place_and_change(s):
    s["cart"].append("mug")
    s.change("cart", append("cup"))


def change_and_in_place(s):
    s.change("cart", append("cup"))
    s["cart"].append("mug")


def set_and_add(s):
    s["n"] = 10
    s.add("n", 5)


def add_and_set(s):
    s.add("n", 5)
    s["n"] = 10


def add_twice(s):
    s.add("n")
    s.add("n", 2)


# Change of this request, change of a faster one, what is stored in the end (of START, and `None`: no such key).
CASES = {
    "different keys": (lambda s: s.update({"a": "mine"}), lambda s: s.update({"b": 2}), {"a": "mine", "b": 2}),
    "one key": (lambda s: s.update({"a": "mine"}), lambda s: s.update({"a": "its"}), {"a": "mine"}),
    "the value that it had": (lambda s: s.update({"a": "old"}), lambda s: s.update({"a": "its"}), {"a": "old"}),
    "item": (lambda s: s.__setitem__("b", 1), lambda s: s.__setitem__("c", 2), {"b": 1, "c": 2}),
    "del": (lambda s: s.__delitem__("gone"), lambda s: s.update({"b": 2}), {"gone": None, "b": 2}),
    "del of a changed key": (lambda s: s.__delitem__("gone"), lambda s: s.update({"gone": 2}), {"gone": None}),
    "deleted by both": (lambda s: s.pop("gone"), lambda s: s.pop("gone"), {"gone": None}),
    "pop": (lambda s: s.pop("gone"), lambda s: s.add("n"), {"gone": None, "n": 2}),
    "pop of nothing": (lambda s: s.pop("x", 0), lambda s: s.update({"x": 1}), {"x": 1}),
    "setdefault": (lambda s: s.setdefault("x", 1), lambda s: s.add("n"), {"x": 1, "n": 2}),
    "setdefault by both": (lambda s: s.setdefault("x", 1), lambda s: s.setdefault("x", 2), {"x": 2}),
    "setdefault of a known key": (lambda s: s.setdefault("a", 1), lambda s: s.update({"a": 2}), {"a": 2}),
    "setdefault, then in place": (
        lambda s: s.setdefault("list", []).append(1),
        lambda s: s.update({"list": [2]}),
        {"list": [1]},
    ),
    "clear": (clear_and("b", 1), lambda s: s.update({"c": 2}), dict.fromkeys(START) | {"b": 1, "c": None}),
    "cleared by the other": (lambda s: s.update({"a": 5}), clear_and("c", 2), dict.fromkeys(START) | {"a": 5, "c": 2}),
    "add": (lambda s: s.add("n"), lambda s: s.add("n", 10), {"n": 12}),
    "add twice": (add_twice, lambda s: s.add("n", 10), {"n": 14}),
    "add to nothing": (lambda s: s.add("m"), lambda s: s.add("m"), {"m": 2}),
    "set, then add": (set_and_add, lambda s: s.add("n"), {"n": 15}),
    "add, then set": (add_and_set, lambda s: s.add("n"), {"n": 10}),
    "change": (
        lambda s: s.change("cart", append("mine")),
        lambda s: s.change("cart", append("its")),
        {"cart": ["tea", "its", "mine"]},
    ),
    "in place": (in_place, lambda s: s.add("n"), {"cart": ["tea", "mug"], "n": 2}),
    "in place, both": (in_place, lambda s: s.update({"cart": []}), {"cart": ["tea", "mug"]}),
    "in place, then change": (
        in_place_and_change,
        lambda s: s.update({"cart": []}),
        {"cart": ["tea", "mug", "cup"]},
    ),
    "change, then in place": (
        change_and_in_place,
        lambda s: s.update({"cart": []}),
        {"cart": ["tea", "cup", "mug"]},
    ),
    "expiry": (lambda s: s.set_expiry(600), lambda s: s.add("n"), {"_session_expiry": 600, "n": 2}),
    "expiry of the other": (lambda s: s.add("n"), lambda s: s.set_expiry(600), {"_session_expiry": 600, "n": 2}),
    "nothing": (lambda s: None, lambda s: s.add("n"), {"n": 2}),
    "1 for True": (lambda s: s["cart"].__setitem__(0, 1), lambda s: s.add("n"), {"cart": [1], "n": 2}),
}


class MergingTests(TransactionTestCase):
    def new(self, **data):
        session = SessionStore()
        session.update(START | data)
        session.save()
        return session.session_key

    def stored(self, key):
        return DjangoStore(key).load()

    def other(self, key, change):
        session = SessionStore(key)
        change(session)
        session.save()

    def test_replay(self):
        for name, (mine, its, changed) in CASES.items():
            with self.subTest(name):
                key = self.new()
                session = SessionStore(key)
                session.get("a")
                self.other(key, its)
                mine(session)
                session.save()
                expected = {k: v for k, v in (START | changed).items() if v is not None}
                self.assertEqual(self.stored(key), expected)
                # It shows what is stored, and goes on from there.
                self.assertEqual(dict(session.items()), expected)
                self.other(key, lambda s: s.add("later"))
                session["last"] = True
                session.save()
                self.assertEqual(self.stored(key), expected | {"later": 1, "last": True})

    async def test_replay_async(self):
        if not hasattr(DjangoStore, "asave"):
            return self.assertLess(django.VERSION, (5, 1))

        async def its(session):
            await session.aset("its", 1)
            await session.aadd("n", 5)
            await session.achange("cart", append("its"))
            await session.asave()

        key = await sync_to_async(self.new)()
        session = SessionStore(key)
        await session.aset("a", 1)
        await its(SessionStore(key))
        await session.apop("gone")
        await session.aadd("n")
        await session.aupdate({"b": 2})
        await session.asetdefault("c", 3)
        await session.achange("cart", append("mine"))
        await session.aset_expiry(600)
        await session.asave()
        expected = {"n": 7, "a": 1, "cart": ["tea", "its", "mine"], "its": 1, "b": 2, "c": 3}
        expected["_session_expiry"] = 600
        self.assertEqual(await DjangoStore(key).aload(), expected)
        # A new key, while another request writes the old row.
        await its(SessionStore(key))
        await session.acycle_key()
        self.assertEqual(await DjangoStore(key).aload(), {})
        moved = await DjangoStore(session.session_key).aload()
        self.assertEqual(moved["n"], 12)
        await session.aflush()
        self.assertEqual(await Session.objects.acount(), 0)

    def test_expiry_of_the_row(self):
        key = self.new()
        session = SessionStore(key)
        session["a"] = 1
        self.other(key, lambda s: s.set_expiry(60))
        session.save()
        self.assertLess((Session.objects.get(pk=key).expire_date - django.utils.timezone.now()).seconds, 61)

    def test_a_save_without_a_rival_is_one_update(self):
        session = SessionStore(self.new())
        session.add("n")
        with CaptureQueriesContext(connection) as queries:
            session.save()
        updates = [query["sql"] for query in queries if "django_session" in query["sql"]]
        self.assertEqual(len(updates), 1, updates)
        self.assertTrue(updates[0].startswith("UPDATE"), updates)

    def test_cleared_without_a_load(self):
        key = self.new()
        session = SessionStore(key)
        session.clear()
        session["b"] = 1
        session.save()
        self.assertEqual(self.stored(key), {"b": 1})

    def test_load_by_hand(self):
        key = self.new()
        session = SessionStore(key)
        session["a"] = 1
        self.other(key, lambda s: s.update({"b": 2}))
        self.assertEqual(session.load()["b"], 2)
        session.save()
        self.assertEqual(self.stored(key), START | {"a": 1, "b": 2})

    def test_deleted_meanwhile(self):
        for end in [lambda s: s.flush(), lambda s: s.cycle_key(), lambda s: s.delete()]:
            key = self.new(_auth_user_id="1")
            session, unread = SessionStore(key), SessionStore(key)
            session["a"] = 1
            unread.clear()
            end(SessionStore(key))
            for late in [session, unread]:
                with self.assertRaises(UpdateError):
                    late.save()
            with self.assertRaises(SessionInterrupted):
                session.cycle_key()
            self.assertEqual(session.session_key, key)
            self.assertFalse(Session.objects.filter(pk=key).exists())
            with self.assertRaises(UpdateError):
                SessionStore(key).save()

    def test_cycle_key(self):
        key = self.new()
        session = SessionStore(key)
        session["a"] = 1
        self.other(key, lambda s: s.update({"b": 2}))
        session.cycle_key()
        self.assertNotEqual(session.session_key, key)
        self.assertTrue(session.modified)
        self.assertEqual(list(Session.objects.values_list("pk", flat=True)), [session.session_key])
        self.assertEqual(self.stored(session.session_key), START | {"a": 1, "b": 2})
        # A key that somebody else has got is not taken.
        taken, key = self.new(), session.session_key
        with mock.patch.object(SessionStore, "_get_new_session_key", side_effect=[taken, "fresh" * 6]):
            session.cycle_key()
        self.assertEqual(session.session_key, "fresh" * 6)
        self.assertEqual(self.stored(taken), START)

    def test_two_logins_at_once(self):
        # As in Django, the data of an anonymous visitor go into a session of its own.
        key = self.new()
        first, second = SessionStore(key), SessionStore(key)
        second["a"] = 1
        first.cycle_key()
        second.cycle_key()
        self.assertEqual(self.stored(first.session_key), START)
        self.assertEqual(self.stored(second.session_key), START | {"a": 1})
        self.assertEqual(Session.objects.count(), 2)

    def test_cycle_key_of_a_new_session(self):
        session = SessionStore()
        session["a"] = 1
        session.cycle_key()
        self.assertEqual(self.stored(session.session_key), {"a": 1})

    def test_flush(self):
        key = self.new()
        session = SessionStore(key)
        session["a"] = 1
        self.other(key, lambda s: s.update({"b": 2}))
        session.flush()
        self.assertEqual(Session.objects.count(), 0)
        session["c"] = 3
        session.save()
        self.assertEqual(self.stored(session.session_key), {"c": 3})

    def test_rolled_back(self):
        for others in [False, True]:
            key = self.new()
            session = SessionStore(key)
            session["a"] = 1
            session.add("n", 5)
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                session.save()
                session["b"] = 2
                1 / 0
            if others:
                self.other(key, lambda s: s.update({"c": 3}))
            session.save()
            expected = START | {"a": 1, "b": 2, "n": 6} | ({"c": 3} if others else {})
            self.assertEqual(self.stored(key), expected)

    def test_committed(self):
        key = self.new()
        session = SessionStore(key)
        with transaction.atomic():
            session.add("n", 5)
            session.save()
        self.other(key, lambda s: s.add("n", 10))
        session["b"] = 2
        session.save()
        self.assertEqual(self.stored(key), START | {"n": 16, "b": 2})

    def test_a_merge_that_fails_leaves_its_changes_to_the_next_save(self):
        key = self.new()
        session = SessionStore(key)
        session.add("n")
        self.other(key, lambda s: s.add("n", 10))
        with mock.patch.object(SessionStore, "encode", side_effect=[session.encode({}), OSError]):
            with self.assertRaises(OSError):
                session.save()
        self.other(key, lambda s: s.add("n", 100))
        session.save()
        self.assertEqual(self.stored(key), START | {"n": 112})

    def test_a_row_that_cannot_be_read(self):
        # As in Django: it is an empty session, and a save replaces it.
        key = self.new()
        Session.objects.filter(pk=key).update(session_data="unreadable")
        with self.assertLogs("django.security.SuspiciousSession"):
            session = SessionStore(key)
            session["a"] = 1
        session.save()
        self.assertEqual(self.stored(key), {"a": 1})

    def test_in_the_middleware(self):
        key = self.new()
        request = RequestFactory().get("/")
        request.COOKIES["sessionid"] = key

        def view(request):
            request.session.add("n")
            self.other(key, lambda s: s.add("n", 10))
            return HttpResponse()

        SessionMiddleware(view)(request)
        self.assertEqual(self.stored(key)["n"], 12)

    def test_threads(self):
        key = self.new(n=0)
        rounds, errors = 25, []

        def work(name):
            try:
                for number in range(rounds):
                    session = SessionStore(key)
                    session.add("n")
                    session[name] = number
                    session[f"{name} {number}"] = True
                    session.save()
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(f"thread {i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        data = self.stored(key)
        self.assertEqual(data["n"], 8 * rounds)
        for i in range(8):
            self.assertEqual(data[f"thread {i}"], rounds - 1)
            self.assertEqual([n for n in range(rounds) if f"thread {i} {n}" not in data], [])


if __name__ == "__main__":
    runner = get_runner(settings)(verbosity=1, interactive=False)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(MergingTests)
    runner.setup_test_environment()
    databases = runner.setup_databases()
    failed = not runner.run_suite(suite).wasSuccessful()
    runner.teardown_databases(databases)
    sys.exit(failed)
