"""
Settings of the site under test. What a test may want to vary comes from the environment:

DATABASE_URL          postgres://user:password@host:port/name or sqlite:////absolute/path
SECRET_KEY            any text
SECRET_KEY_FALLBACKS  texts separated by commas
SESSION_..., CSRF_USE_SESSIONS, MESSAGE_STORAGE, USE_TZ, TIME_ZONE
                      as in Django; booleans as 1 or 0
CACHE_URL             redis://host:port/number; without it Django's default, a memory of the process
CACHE_BACKEND         django: RedisCache, Django's own; or django_redis
CACHE_KEY_PREFIX, CACHE_VERSION
                      KEY_PREFIX and VERSION of the cache
CACHE_SERIALIZER      of django_redis: pickle or json
CACHE_COMPRESSOR      of django_redis: none, zlib or gzip
CACHE_KEY_FUNCTION    KEY_FUNCTION of the cache
AUTH_USER_MODEL       auth.User, or one of custom_users
DATABASE_SCHEMA       of PostgreSQL: where the tables are, instead of public
"""

import os
from urllib.parse import unquote, urlsplit

from django.conf import global_settings


def from_environment(name, default):
    text = os.environ.get(name)
    if text is None:
        return default
    if isinstance(default, bool):
        return text.lower() in {"1", "true", "yes", "on"}
    if isinstance(default, int):
        return int(text)
    return text


def database(url):
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        # One slash belongs to the URL, the second one begins the absolute path.
        name = parts.path[1:] if parts.path.startswith("//") else parts.path
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": name,
            # Another process writes to the same file: wait for its lock.
            "OPTIONS": {"timeout": 20},
        }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": parts.port or "",
        # Keep the connection: connecting costs more than most requests here.
        "CONN_MAX_AGE": None,
        "OPTIONS": in_schema(os.environ.get("DATABASE_SCHEMA")),
    }


def in_schema(name):
    return {"options": f"-c search_path={name},public"} if name else {}


def without_version(key, key_prefix, version):
    return f"{key_prefix}-{key}"


def cache(url):
    settings = {
        "LOCATION": url,
        "KEY_PREFIX": os.environ.get("CACHE_KEY_PREFIX", ""),
        "VERSION": int(os.environ.get("CACHE_VERSION", 1)),
    }
    if os.environ.get("CACHE_BACKEND", "django") == "django":
        return settings | {"BACKEND": "django.core.cache.backends.redis.RedisCache"}
    options = {}
    if os.environ.get("CACHE_SERIALIZER", "pickle") == "json":
        options["SERIALIZER"] = "django_redis.serializers.json.JSONSerializer"
    compressor = os.environ.get("CACHE_COMPRESSOR", "none")
    if compressor != "none":
        name = f"{compressor.capitalize()}Compressor"
        options["COMPRESSOR"] = f"django_redis.compressors.{compressor}.{name}"
    if "CACHE_KEY_FUNCTION" in os.environ:
        settings["KEY_FUNCTION"] = os.environ["CACHE_KEY_FUNCTION"]
    return settings | {"BACKEND": "django_redis.cache.RedisCache", "OPTIONS": options}


DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_under_test.urls"
WSGI_APPLICATION = "site_under_test.wsgi.application"
STATIC_URL = "/static/"

SECRET_KEY = os.environ.get("SECRET_KEY", "only for tests")
SECRET_KEY_FALLBACKS = [key for key in os.environ.get("SECRET_KEY_FALLBACKS", "").split(",") if key]
DATABASES = {"default": database(os.environ["DATABASE_URL"])}
if "CACHE_URL" in os.environ:
    CACHES = {"default": cache(os.environ["CACHE_URL"])}

# Django 4.2 has False here, later versions True: the same for all.
USE_TZ = from_environment("USE_TZ", True)
TIME_ZONE = from_environment("TIME_ZONE", "UTC")
CSRF_USE_SESSIONS = from_environment("CSRF_USE_SESSIONS", False)
for name in dir(global_settings):
    if name.startswith("SESSION_"):
        globals()[name] = from_environment(name, getattr(global_settings, name))

AUTH_USER_MODEL = os.environ.get("AUTH_USER_MODEL", "auth.User")

# Unless a test wants something else, the messages are in the session, not in a cookie of their own.
MESSAGE_STORAGE = from_environment(
    "MESSAGE_STORAGE", "django.contrib.messages.storage.session.SessionStorage"
)

# With Django's default every login costs a second of CPU, and because the number of rounds
# differs between versions each version would rewrite the password column at login, which ends
# the user's other sessions.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    *global_settings.PASSWORD_HASHERS,
]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "site_under_test",
]
if AUTH_USER_MODEL.startswith("custom_users."):
    INSTALLED_APPS.append("custom_users")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
