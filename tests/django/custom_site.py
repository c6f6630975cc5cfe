"""
A site with a user model of its own (see custom_users), without a server:

    custom_site.py make           makes the tables and a user, and prints its key
    custom_site.py KEY|- PROGRAM  runs a program (see site_under_test/ops.py) in a request whose browser
                                  presents this session, and prints {"results", "key"}

The environment has DATABASE_URL, SECRET_KEY, AUTH_USER_MODEL and maybe DATABASE_SCHEMA.
"""

import json
import os
import sys

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "site_under_test.settings"
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.models import Group, Permission  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402

NAME = "ann@example.com"
FIELDS = {
    "Member": {"email": NAME, "last_name": "Lee", "phone": "555", "company_id": 7, "is_staff": True},
    "Device": {"label": NAME, "serial": "D-1/\u00e4 b"},
    "Coded": {"name": NAME, "is_staff": True},
    "Big": {"username": NAME, "id": 2**40, "first_name": "Ann"},
}


def make():
    for app in ("contenttypes", "auth", "sessions"):
        call_command("migrate", app, verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)
    model = get_user_model()
    user = model.objects.create_user(password="correct horse", **FIELDS[model.__name__])
    if hasattr(user, "groups"):
        writers = Group.objects.create(name="writers")
        writers.permissions.add(Permission.objects.get(codename="add_group"))
        user.groups.add(writers)
        user.user_permissions.add(Permission.objects.get(codename="view_group"))
    print(user.pk)


def request(key, program):
    client = Client(raise_request_exception=False)
    if key != "-":
        client.cookies["sessionid"] = key
    response = client.post("/ops", program, content_type="application/json")
    cookie = response.cookies.get("sessionid")
    key = key if cookie is None else cookie.value
    print(json.dumps({"results": response.json()["results"], "key": key}))


if __name__ == "__main__":
    make() if sys.argv[1:] == ["make"] else request(*sys.argv[1:])
