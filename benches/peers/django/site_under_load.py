"""Django with its db engine, answering what the other contenders answer. Under gunicorn: site_under_load:application."""

import os
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

database = urlsplit(os.environ["BENCH_DATABASE"])
settings.configure(
    SECRET_KEY=os.environ["BENCH_SECRET"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": database.hostname,
            "PORT": database.port,
            "USER": database.username,
            "NAME": database.path.lstrip("/"),
            "CONN_MAX_AGE": None,  # connections stay open
        }
    },
)
django.setup()

from django.contrib.auth import authenticate  # noqa: E402
from django.contrib.auth.middleware import AuthenticationMiddleware  # noqa: E402
from django.utils.decorators import decorator_from_middleware  # noqa: E402

# Only where it is used: the other workloads have sessions alone.
with_user = decorator_from_middleware(AuthenticationMiddleware)


def answer(text, status=200):
    response = HttpResponse(text, status=status)
    response["Content-Length"] = str(len(response.content))
    return response


def said(session):
    if "_auth_user_id" not in session:
        return answer("no session", 401)
    return answer(f"{session['_auth_user_id']} {session['n']}")


def untouched(request):
    return answer("ok")


def read(request):
    return said(request.session)


@with_user
def user(request):
    if not request.user.is_authenticated:
        return answer("nobody is logged in", 401)
    return answer(request.user.get_username())


def login(request, name):
    attempt = authenticate(request, username=name, password="not the password")
    return answer("yes" if attempt else "no")


def write(request):
    if "n" in request.session:
        request.session["n"] += 1
    return said(request.session)


def create(request, user, size):
    request.session.update(
        {
            "_auth_user_id": user,
            "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
            "_auth_user_hash": os.environ["BENCH_HASH"],
            "n": 0,
        }
    )
    if size:
        request.session["cart"] = cart(size)
    return said(request.session)


def cart(size):
    """As src/content.rs."""
    items, length, state = [], 2, 42
    while length < size:
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        sku = f"{state >> 8:06X}"
        price = f"{(state >> 12) % 200}.{(state >> 20) % 100:02}"
        item = {"count": state >> 29, "price": price, "sku": sku, "title": f"Item {sku}, large, blue"}
        length += len(str(item))
        items.append(item)
    return items


urlpatterns = [
    path("untouched", untouched),
    path("read", read),
    path("user", user),
    path("login/<str:name>", login),
    path("write", write),
    path("create/<str:user>/<int:size>", create),
]
application = get_wsgi_application()
