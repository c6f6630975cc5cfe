"""Fills django_session with sessions, as a site of that Django would: fill.py SECRET COUNT

Standard output: a line for each, {"key", "user", "data" (compact JSON, or null if JSON has none), "expired"}.
Runs in tests/django, with DATABASE_URL; SESSION_SERIALIZER may name another serializer.
"""

import json
import os
import sys
from datetime import datetime, timezone
from decimal import Decimal

sys.path.insert(0, os.getcwd())
secret, number = sys.argv[1], int(sys.argv[2])
os.environ["SECRET_KEY"] = secret
os.environ["DJANGO_SETTINGS_MODULE"] = "site_under_test.settings"

import django

django.setup()

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command

call_command("migrate", "sessions", verbosity=0)
pickled = settings.SESSION_SERIALIZER.endswith("PickleSerializer")

for i in range(number):
    s = SessionStore()
    s["n"] = i
    if i % 3 == 0:
        s["_auth_user_id"] = str(i % 7)
        s["nested"] = {"a": [1, 2.5, {}, None], "b": "é\n\U0001f511"}
    if i % 10 == 1:
        s["prose"] = "once more " * 400
    if i % 4 == 2:
        s.set_expiry(-3600 * (i + 1))
    data = json.dumps(dict(s.items()), separators=(",", ":"))
    if pickled and i % 2:
        s["price"] = Decimal("9.50")
        s["at"] = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
        s["raw"] = b"\0"
        data = None
    s.save()
    print(json.dumps({"key": s.session_key, "user": s.get("_auth_user_id"), "data": data, "expired": i % 4 == 2}))
