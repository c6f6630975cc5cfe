#!/usr/bin/env python
"""
Record what Django's password hashers and validators do.

    record_passwords.py [--check FILE]          writes tests/vectors/passwords-<minor version>.json
    record_passwords.py --verify FILE           see below
    record_passwords.py --common-passwords [--check FILE]
                                                copies Django's list to src/auth/password (6.1)
    record_passwords.py --characters            prints the classes of characters

Runs under every Django from 1.11 on. Nothing is random: each salt is given. The file:

    {"django", "python", "hashers": [algorithm], "preferred": {name: {"algorithm", parameters}},
     "validators": [[attributes, password, messages]], "cases"}

A case has "by" (the preferred hasher), "password", "column", "right" (of check_password), and
"update" (of must_update, or true for another algorithm; null if no hasher is found). "work" is
what a wrong password of the preferred algorithm cost: iterations of PBKDF2 or hashes of bcrypt.
An exception is {"raised": name}. A long password is {"repeat": text, "times": n}. The "hashers",
which are all that the version has, are listed in PASSWORD_HASHERS.

--verify reads columns that another program has made, one JSON object with "password",
"column" and "default" on each line. It exits with 1 unless Django verifies all, and refuses each
for another password. "default" names an algorithm whose default parameters the column must have.
"""

import json
import platform
import shutil
import sys
from pathlib import Path

# Starts Django. On new Pythons, old versions find the rest only after that.
from password_hashers import NAMES, PREFERRED, VERSION, django_hashers, text, use_hashers

import django

from password_candidates import ATTRIBUTES, OTHERS, VALIDATED
from password_columns import cases
from recording import VECTORS, compact, main

ROOT = VECTORS.parent.parent


def raised(function):
    try:
        return function()
    except Exception as error:
        return {"raised": type(error).__name__}


def case(by, password, column):
    preferred = PREFERRED[by]
    use_hashers(preferred)
    wanted = django_hashers.get_hasher()

    def update():
        try:
            hasher = django_hashers.identify_hasher(column)
        except ValueError:
            return None
        return hasher.algorithm != wanted.algorithm or wanted.must_update(column)

    work = [0]
    plain = wanted.encode

    def counted(*arguments):
        # encode(password, salt, iterations) or encode(password, salt)
        work[0] += arguments[2] if len(arguments) > 2 else 1
        return plain(*arguments)

    wanted.encode = counted
    right = raised(lambda: django_hashers.check_password(text(password), column))
    del wanted.encode
    recorded = {
        "by": by,
        "password": password,
        "column": column,
        "right": right,
        "update": raised(update),
    }
    same = column.startswith(preferred["algorithm"] + "$")
    if (
        same
        and by.startswith(("pbkdf2", "bcrypt"))
        and right is False
        and recorded["update"] in (True, False)
    ):
        recorded["work"] = work[0]
    return recorded


def validator_cases():
    from django.contrib.auth import password_validation as validation
    from django.contrib.auth.models import User
    from django.core.exceptions import ValidationError

    names = ["UserAttributeSimilarity", "MinimumLength", "CommonPassword", "NumericPassword"]
    config = [
        {"NAME": "django.contrib.auth.password_validation.%sValidator" % name} for name in names
    ]
    validators = validation.get_password_validators(config)
    made = []
    for attributes in [ATTRIBUTES] + OTHERS:
        user = User(**attributes)
        for password in VALIDATED:
            try:
                validation.validate_password(password, user, validators)
                messages = []
            except ValidationError as error:
                messages = error.messages
            made.append([attributes, password, messages])
    return made


def record():
    versions = {"django": django.get_version(), "python": platform.python_version()}
    lines = ["{"] + ["%s:%s," % (compact(name), compact(value)) for name, value in versions.items()]
    lines.append('"hashers":%s,' % compact(list(NAMES)))
    preferred = ",\n".join(
        "%s:%s" % (compact(name), compact(value)) for name, value in PREFERRED.items()
    )
    lines.append('"preferred":{\n' + preferred + "\n},")
    # The list of common passwords and the texts have changed since.
    validators = validator_cases() if django.VERSION >= (4, 2) else []
    lines.append('"validators":[\n' + ",\n".join(map(compact, validators)) + "\n],")
    recorded = [compact(case(*arguments)) for arguments in cases()]
    lines.append('"cases":[\n' + ",\n".join(recorded) + "\n]")
    lines.append("}")
    return "\n".join(lines) + "\n"


def verify(path):
    use_hashers()
    for line in Path(path).read_text().splitlines():
        made = json.loads(line)
        column = made["column"]
        if not django_hashers.check_password(made["password"], column):
            sys.exit("%s does not verify" % column)
        if django_hashers.check_password(made["password"] + "x", column):
            sys.exit("%s verifies another password" % column)
        if made["default"] and django_hashers.get_hasher(made["default"]).must_update(column):
            sys.exit("%s is to be updated" % column)


def common_passwords(check):
    source = Path(django.__file__).parent / "contrib/auth/common-passwords.txt.gz"
    target = ROOT / "src/auth/password/common-passwords.txt.gz"
    if not check:
        shutil.copyfile(source, target)
    elif source.read_bytes() != target.read_bytes():
        sys.exit("%s is not Django's list" % target)


def characters():
    """For each character a sum: 1 for a digit, 2 for one of a word, 4 for an unassigned one."""
    import re
    import unicodedata

    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            c = chr(code)
            kind = (
                c.isdigit() + 2 * bool(re.match(r"\w", c)) + 4 * (unicodedata.category(c) == "Cn")
            )
            sys.stdout.write(str(kind))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--verify"]:
        verify(sys.argv[2])
    elif sys.argv[1:2] == ["--common-passwords"]:
        common_passwords("--check" in sys.argv)
    elif sys.argv[1:] == ["--characters"]:
        characters()
    else:
        main(record, "passwords-%s.json" % VERSION)
