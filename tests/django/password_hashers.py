"""Shared by the recorder of passwords and its cases: Django's hashers, without a site around them."""

import collections.abc
import sys
import types
import warnings
from pathlib import Path

# Old versions warn about newer Pythons, newer ones about old hashers.
warnings.simplefilter("ignore")

import django  # noqa: E402
from django.conf import settings  # noqa: E402

for name in collections.abc.__all__:  # where Django 1.11 looks for them
    setattr(collections, name, getattr(collections.abc, name))

settings.configure(
    USE_I18N=False,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    PASSWORD_HASHERS=[],
)
if django.VERSION >= (4, 2):
    django.setup()
else:
    # Only the hashers are wanted. The package around them imports what new Pythons do not have.
    package = types.ModuleType("django.contrib.auth")
    package.__path__ = [str(Path(django.__file__).parent / "contrib/auth")]
    sys.modules[package.__name__] = package

from django.contrib.auth import hashers as django_hashers  # noqa: E402

CLASSES = [
    "PBKDF2PasswordHasher",
    "PBKDF2SHA1PasswordHasher",
    "Argon2PasswordHasher",
    "BCryptSHA256PasswordHasher",
    "BCryptPasswordHasher",
    "ScryptPasswordHasher",
    "MD5PasswordHasher",
    "SHA1PasswordHasher",
    "UnsaltedMD5PasswordHasher",
    "UnsaltedSHA1PasswordHasher",
]
CLASSES = [name for name in CLASSES if hasattr(django_hashers, name)]
NAMES = {getattr(django_hashers, name).algorithm: name for name in CLASSES}
VERSION = ".".join(map(str, django.VERSION[:2]))

# Quick ones, for the cases; "django" has the defaults.
PREFERRED = {
    "pbkdf2_sha256": {"algorithm": "pbkdf2_sha256", "iterations": 60},
    "pbkdf2_sha1": {"algorithm": "pbkdf2_sha1", "iterations": 60},
    "argon2": {"algorithm": "argon2", "memory_cost": 64, "time_cost": 2, "parallelism": 2},
    "bcrypt_sha256": {"algorithm": "bcrypt_sha256", "rounds": 5},
    "bcrypt": {"algorithm": "bcrypt", "rounds": 5},
    "scrypt": {"algorithm": "scrypt", "work_factor": 16, "block_size": 8, "parallelism": 2},
    "md5": {"algorithm": "md5"},
    "django": {
        "algorithm": "pbkdf2_sha256",
        "iterations": django_hashers.PBKDF2PasswordHasher.iterations,
    },
}
PREFERRED = {name: p for name, p in PREFERRED.items() if p["algorithm"] in NAMES}


def text(password):
    return password["repeat"] * password["times"] if isinstance(password, dict) else password


def hasher_class(parameters):
    """A subclass with these parameters, importable as PASSWORD_HASHERS needs it."""
    base = getattr(django_hashers, NAMES[parameters["algorithm"]])
    name = "_".join(["H"] + [str(value) for value in parameters.values()])
    made = type(name, (base,), {k: v for k, v in parameters.items() if k != "algorithm"})
    globals()[name] = made
    return __name__ + "." + name


def use_hashers(preferred=None):
    """Lists all hashers, the preferred one first."""
    names = dict(NAMES)
    first = []
    if preferred is not None:
        del names[preferred["algorithm"]]
        first = [hasher_class(preferred)]
    settings.PASSWORD_HASHERS = first + [
        "django.contrib.auth.hashers." + name for name in names.values()
    ]
    django_hashers.get_hashers.cache_clear()
    django_hashers.get_hashers_by_algorithm.cache_clear()


def encode(algorithm, password, salt, **parameters):
    """A column as Django's hasher writes it."""
    hasher = getattr(django_hashers, NAMES[algorithm])()
    for name, value in parameters.items():
        setattr(hasher, name, value)
    if algorithm.startswith("bcrypt"):
        salt = salt.encode()
    return hasher.encode(text(password), salt)


def argon2(variety, password, salt, version=19, m=64, t=2, p=2, length=32):
    """A column of any variety, which newer hashers only verify."""
    from argon2.low_level import Type, hash_secret

    kind = {"i": Type.I, "d": Type.D, "id": Type.ID}[variety]
    secret, salt = text(password).encode(), salt.encode()
    column = hash_secret(secret, salt, t, m, p, length, kind, version=version)
    return "argon2" + column.decode()


def bcrypt_salt(rounds, prefix="2b", salt="abcdefghijklmnopqrstuu"):
    return "$%s$%02d$%s" % (prefix, rounds, salt)
