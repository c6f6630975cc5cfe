"""Shared by the recorders: Django with fixed settings, and the writing or checking of a file."""

import argparse
import difflib
import json
import logging
import os
import platform
import re
import sys
import time
from pathlib import Path

import django
from django.core.management import call_command

VECTORS = Path(__file__).resolve().parent.parent / "vectors"

SETTINGS = {
    "SECRET_KEY": "the key of the recorded vectors",
    "SESSION_COOKIE_NAME": "sessionid",
    "SESSION_COOKIE_AGE": 1209600,
    "SESSION_COOKIE_SAMESITE": "Lax",
    "SESSION_EXPIRE_AT_BROWSER_CLOSE": False,
    "USE_TZ": True,
    "TIME_ZONE": "UTC",
}


def setup():
    """Start Django with SETTINGS, whatever the environment says, and make the session table."""
    for name in list(os.environ):
        if name.startswith(("SESSION_", "SECRET_KEY", "CSRF_")):
            del os.environ[name]
    os.environ |= {name: str(value) for name, value in SETTINGS.items()}
    # Nothing here has to survive a crash of the server.
    os.environ["PGOPTIONS"] = "-c synchronous_commit=off"
    os.environ["DJANGO_SETTINGS_MODULE"] = "site_under_test.settings"
    django.setup()
    # Many cases are errors on purpose; nobody wants to read their tracebacks.
    logging.disable()
    call_command("migrate", "sessions", verbosity=0)


def undisturbed(record_case):
    """Repeat a case that was held up by a busy machine: a lost second would show in the ages."""

    def repeat(*arguments):
        while True:
            begin = time.monotonic()
            outcome = record_case(*arguments)
            if time.monotonic() - begin < 0.5:
                return outcome

    return repeat


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def document(head, cases):
    """
    The text of a file: an object with one entry of the head on each line, then the cases, one on
    each line. A dictionary in the head is spread over lines as well.
    """
    versions = {"django": django.get_version(), "python": platform.python_version()}
    lines = ["{"]
    for name, value in (versions | {"settings": SETTINGS} | head).items():
        if isinstance(value, dict):
            entries = (f"{compact(key)}:{compact(entry)}" for key, entry in value.items())
            lines.append(f"{compact(name)}:{{\n" + ",\n".join(entries) + "\n},")
        else:
            lines.append(f"{compact(name)}:{compact(value)},")
    lines.append('"cases":[\n' + ",\n".join(map(compact, cases)) + "\n]")
    lines.append("}")
    return "\n".join(lines) + "\n"


def without_versions(text):
    """A patch release that behaves the same is no difference."""
    return [line for line in text.splitlines() if not re.match('"(django|python)":', line)]


def main(record, default_name):
    """Command line of a recorder: record() gives the text of the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--check",
        metavar="FILE",
        type=Path,
        help="compare with FILE and exit with 1 if Django now behaves differently",
    )
    check = parser.parse_args().check
    text = record()
    if check is None:
        (VECTORS / default_name).write_text(text)
        return
    before, now = without_versions(check.read_text()), without_versions(text)
    difference = list(difflib.unified_diff(before, now, str(check), "now", n=0, lineterm=""))
    print("\n".join(difference), end="\n" if difference else "")
    sys.exit(1 if difference else 0)
