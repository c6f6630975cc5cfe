#!/usr/bin/env python
"""
Django's own tests of its sessions, with the engine `merging_db` in the place of its database engine.

    session_tests.py DIRECTORY

The tests are only in Django's source distribution. That of the installed version is downloaded with pip and kept in
the directory. DATABASE_URL as in site_under_test/settings.py; the tests make a database of their own beside it.

Prints the number of tests, and fails if one fails.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import django
from django.conf import settings

from site_under_test.settings import database

HERE = Path(__file__).resolve().parent


def sources(directory):
    """Return the directory `tests` of Django's source distribution."""
    version = django.get_version()
    wanted = directory / f"tests-of-django-{version}"
    if wanted.exists():
        return wanted
    with tempfile.TemporaryDirectory(dir=directory) as work:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "Django"]
            + ["--dest", work, f"Django=={version}"],
            check=True,
        )
        [archive] = Path(work).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            # The tests of cached_db use a cache of another directory.
            wanted_parts = ("/tests/sessions_tests/", "/tests/cache/")
            members = [m for m in tar if m.isfile() and any(part in m.name for part in wanted_parts)]
            tar.extractall(work, members, filter="data")
        [found] = Path(work).glob("*/tests")
        # In one step, so that an unpacking that was cut short is done again.
        try:
            found.rename(wanted)
        except OSError:
            if not wanted.exists():
                raise
    return wanted


def main(directory):
    sys.path[:0] = [str(HERE.parents[1] / "examples/shared_login/django"), str(sources(directory))]
    settings.configure(
        SECRET_KEY="only for tests",
        DATABASES={"default": database(os.environ["DATABASE_URL"])},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "sessions_tests",
        ],
        # As in Django's own run of its tests.
        USE_TZ=False,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    from django.contrib.sessions.backends import cached_db, db  # noqa: F401: cached_db keeps Django's class

    import merging_db

    # Before the tests import the class from there.
    db.SessionStore = merging_db.SessionStore
    django.setup()
    from django.test.utils import get_runner

    runner = get_runner(settings)(verbosity=1, interactive=False)
    failures = runner.run_tests(["sessions_tests"])
    from sessions_tests.tests import DatabaseSessionTests, CustomDatabaseSessionTests

    for tests in [DatabaseSessionTests, CustomDatabaseSessionTests]:
        assert issubclass(tests.backend, merging_db.SessionStore)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
