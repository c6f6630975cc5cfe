"""Users of a Django site, and sessions in which they are logged in: users.py SECRET COMMAND [ARGUMENTS]

make                creates the tables, and the users ada, bob (MD5), carl (no password) and dora (inactive)
login NAME=BACKEND  logs the user in, and prints the key of the session; may be repeated
check NAME PASSWORD prints what Django makes of a user, as JSON

Runs in tests/django, with DATABASE_URL.
"""

import json
import os
import sys

sys.path.insert(0, os.getcwd())
secret, command, *arguments = sys.argv[1:]
os.environ["SECRET_KEY"] = secret
os.environ["DJANGO_SETTINGS_MODULE"] = "site_under_test.settings"

import django

django.setup()

from django.contrib.auth.hashers import identify_hasher, make_password
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

PASSWORD = "the password of ada and bob"

if command == "make":
    call_command("migrate", "auth", verbosity=0)
    call_command("migrate", "contenttypes", verbosity=0)
    call_command("migrate", "sessions", verbosity=0)
    for name in ["ada", "bob", "carl", "dora"]:
        User.objects.create_user(name, is_active=name != "dora")
    User.objects.filter(username="ada").update(password=make_password(PASSWORD, hasher="pbkdf2_sha256"))
    User.objects.filter(username="bob").update(password=make_password(PASSWORD, hasher="md5"))
elif command == "login":
    for argument in arguments:
        name, backend = argument.split("=")
        client = Client()
        client.force_login(User.objects.get(username=name), backend=backend)
        print(client.session.session_key)
elif command == "check":
    name, password = arguments
    # The tables are those after all migrations of these two, so none of them must run.
    for app in ["contenttypes", "auth"]:
        call_command("migrate", app, fake=True, verbosity=0)
    call_command("migrate", verbosity=0)
    user = User.objects.get(username=name)
    known = {
        "id": user.pk,
        "email": user.email,
        "active": user.is_active,
        "staff": user.is_staff,
        "superuser": user.is_superuser,
        "usable": user.has_usable_password(),
    }
    if user.has_usable_password():
        known["outdated"] = identify_hasher(user.password).must_update(user.password)
        known["right"] = user.check_password(password)
    print(json.dumps(known))
