#!/usr/bin/env python
"""
Record what Django's password hashers and validators do.

    record_passwords.py [--check FILE]          writes tests/vectors/passwords-<minor version>.json
    record_passwords.py --verify FILE           see below
    record_passwords.py --common-passwords [--check FILE]
                                                copies Django's list to src/auth/password (6.1)
    record_passwords.py --characters            prints what str.isdigit and \\w say of each character

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

import collections.abc
import json
import platform
import shutil
import sys
import types
import warnings
from pathlib import Path

warnings.simplefilter("ignore")  # old versions warn about newer Pythons, newer ones about old hashers

import django
from django.conf import settings

for name in collections.abc.__all__:  # where Django 1.11 looks for them
    setattr(collections, name, getattr(collections.abc, name))

from recording import VECTORS, compact, main  # noqa: E402

ROOT = VECTORS.parent.parent

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

PARAMETERS = {
    "pbkdf2_sha256": ["iterations"],
    "pbkdf2_sha1": ["iterations"],
    "argon2": ["memory_cost", "time_cost", "parallelism"],
    "bcrypt_sha256": ["rounds"],
    "bcrypt": ["rounds"],
    "scrypt": ["work_factor", "block_size", "parallelism"],
}

# Quick ones, for the cases; "django" has the defaults.
PREFERRED = {
    "pbkdf2_sha256": {"algorithm": "pbkdf2_sha256", "iterations": 60},
    "pbkdf2_sha1": {"algorithm": "pbkdf2_sha1", "iterations": 60},
    "argon2": {"algorithm": "argon2", "memory_cost": 64, "time_cost": 2, "parallelism": 2},
    "bcrypt_sha256": {"algorithm": "bcrypt_sha256", "rounds": 5},
    "bcrypt": {"algorithm": "bcrypt", "rounds": 5},
    "scrypt": {"algorithm": "scrypt", "work_factor": 16, "block_size": 8, "parallelism": 2},
    "md5": {"algorithm": "md5"},
    "django": {"algorithm": "pbkdf2_sha256", "iterations": django_hashers.PBKDF2PasswordHasher.iterations},
}
PREFERRED = {name: p for name, p in PREFERRED.items() if p["algorithm"] in NAMES}

SALT = "abcdefghijklmnopqrstuv"
SALTS = [SALT, "sAlT0123", "\u0441\u043e\u043b\u044c-\U0001f9c2-0123456789012", " a b+c/d=e,f:g;0123456 ", "x" * 60]
PASSWORDS = [
    "correct horse",
    "",
    " blanks around ",
    "pass$word",
    "nul\0inside",
    "\u00e9",
    "e\u0301",
    "\u043f\u0430\u0440\u043e\u043b\u044c \U0001f511",
    "x" * 71,
    "x" * 72,
    "\u00e9" * 36,
    {"repeat": "x", "times": 64},
    {"repeat": "xy", "times": 50},
    {"repeat": "0123456789abcdef", "times": 4096},
]


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
    settings.PASSWORD_HASHERS = first + ["django.contrib.auth.hashers." + name for name in names.values()]
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
    recorded = {"by": by, "password": password, "column": column, "right": right, "update": raised(update)}
    same = column.startswith(preferred["algorithm"] + "$")
    if same and by.startswith(("pbkdf2", "bcrypt")) and right is False and recorded["update"] in (True, False):
        recorded["work"] = work[0]
    return recorded


def written():
    """Columns of all formats, each for all passwords or all salts."""
    columns = []
    for salt in SALTS:
        for password in PASSWORDS if salt == SALT else PASSWORDS[:1]:
            for algorithm in ["pbkdf2_sha256", "pbkdf2_sha1"]:
                columns.append((password, pbkdf2(algorithm, password, salt, 60)))
            for algorithm in ["md5", "sha1"]:
                if algorithm in NAMES:
                    columns.append((password, encode(algorithm, password, salt)))
            if "scrypt" in NAMES:
                columns.append(
                    (password, encode("scrypt", password, salt, work_factor=16, block_size=8, parallelism=2))
                )
            columns.append((password, argon2("id", password, salt)))
    for password in PASSWORDS:
        columns.append((password, encode("bcrypt_sha256", password, bcrypt_salt(5))))
        if len(text(password).encode()) <= 72:
            columns.append((password, encode("bcrypt", password, bcrypt_salt(5))))
        for algorithm in ["unsalted_md5", "unsalted_sha1"]:
            if algorithm in NAMES:
                columns.append((password, encode(algorithm, password, "")))
    if "unsalted_md5" in NAMES:
        columns.append((PASSWORDS[0], "md5$$" + encode("unsalted_md5", PASSWORDS[0], "")))
    return columns


def pbkdf2(algorithm, password, salt, iterations):
    hasher = getattr(django_hashers, NAMES[algorithm])()
    return hasher.encode(text(password), salt, iterations)


def parameters():
    """Columns with other parameters than the preferred hasher."""
    word, columns = PASSWORDS[0], []
    for algorithm in ["pbkdf2_sha256", "pbkdf2_sha1"]:
        for iterations in [1, 2, 59, 61, 1000]:
            columns.append(pbkdf2(algorithm, word, SALT, iterations))
        for salt in [SALT[:21], SALT + "w", "\u00e9" * 21, "\u00e9" * 22, SALT[:12]]:
            columns.append(pbkdf2(algorithm, word, salt, 60))
    for variety in ["i", "d", "id"]:
        for version in [16, 19]:
            for m, t, p, length in [(64, 2, 2, 32), (512, 2, 2, 32), (64, 1, 1, 4), (67, 3, 3, 64), (64, 2, 8, 16)]:
                columns.append(argon2(variety, word, SALT, version, m, t, p, length))
    versionless = argon2("i", word, SALT, 16).replace("v=16$", "")
    columns += [versionless, argon2("id", word, SALT[:21]), argon2("id", word, SALT[:8])]
    for algorithm in ["bcrypt_sha256", "bcrypt"]:
        for prefix in ["2a", "2b", "2x", "2y"]:
            columns.append(encode(algorithm, word, bcrypt_salt(5, prefix)))
        columns += [encode(algorithm, word, bcrypt_salt(rounds)) for rounds in [4, 6, 7]]
    if "scrypt" in NAMES:
        for n, r, p in [(2, 1, 1), (16, 8, 1), (16, 8, 3), (32, 8, 2), (16, 7, 2), (1024, 1, 16), (16384, 8, 1)]:
            columns.append(encode("scrypt", word, SALT, work_factor=n, block_size=r, parallelism=p))
        columns.append(encode("scrypt", word, "short", work_factor=16, block_size=8, parallelism=2))
    for algorithm in ["md5", "sha1"]:
        if algorithm in NAMES:
            columns += [encode(algorithm, word, salt) for salt in [SALT[:21], "ab", SALT + "w"]]
    return columns


def replaced(column, part, value):
    parts = column.split("$")
    parts[part] = value
    return "$".join(parts)


def malformed():
    """Columns that no hasher writes: (preferred hasher, column)."""
    word, columns = PASSWORDS[0], []
    for algorithm in ["pbkdf2_sha256", "pbkdf2_sha1"]:
        good = pbkdf2(algorithm, word, SALT, 60)
        digest = good.split("$")[3]
        numbers = ["", "0", "-1", "+60", "060", " 60", "60 ", "6_0", "\u0666\u0660", "x", "60.0", "6e1", "0x3c"]
        numbers += ["2147483648", "4294967296", "99999999999999999999"]
        changed = [replaced(good, 1, number) for number in numbers]
        hashes = [digest.rstrip("="), digest + "=", digest[:-4], digest + "\n", digest + " ", digest + "$", "", "*"]
        hashes += [digest.swapcase(), digest.replace("+", "-").replace("/", "_") + "-", digest[:-2] + "/="]
        changed += [replaced(good, 3, digest) for digest in hashes]
        changed += [good + "$extra", algorithm, algorithm + "$", algorithm + "$60", algorithm + "$60$" + SALT]
        changed += [replaced(good, 2, ""), " " + good, good.upper(), good.replace("$", "$$", 1), good[:-1] + "\0"]
        columns += [(algorithm, column) for column in changed]
    good = argon2("id", word, SALT)
    salt, digest = good.split("$")[4:]
    changed = [replaced(good, 1, v) for v in ["argon2", "Argon2id", "ARGON2ID", "argon2x", "", "argon2i", "argon2d"]]
    changed += [replaced(good, 2, v) for v in ["v=16", "v=18", "v=20", "v=x", "v=", "19", "v=019", "v=+19", ""]]
    changed += [good.replace("$v=19$", "$")]
    values = ["t=2,m=64,p=2", "m=064,t=2,p=2", "m=+64,t=2,p=2", "m=64,t=2", "m=64,t=2,p=2,x=1", "m=64,t=2,p=0"]
    values += ["m=64,t=0,p=2", "m=0,t=2,p=2", "m=8,t=2,p=2", "m=15,t=2,p=2", "m=64,t=2,p=2 ", "m=64;t=2;p=2", ""]
    values += ["m=64,t=2,q=2", "m=64,t=2,p=x", "m=64,t=2,p=2,p=2", "m=4294967296,t=2,p=2", "m=64,t=2,p=16777216"]
    values += ["m=\u0666\u0664,t=2,p=2", "m=6_4,t=2,p=2"]
    changed += [replaced(good, 3, v) for v in values]
    changed += [replaced(good, 4, v) for v in ["", "YWJj", salt[:9], salt + "=", salt + "==", salt[:-1] + "=", salt[:-1]]]
    changed += [replaced(good, 4, v) for v in [salt[:-1] + "-", salt[:-1] + "_", salt[:-1] + "!", salt[:-1] + " "]]
    changed += [replaced(good, 4, v) for v in [salt[:-2] + "\u00e9", salt[:-2] + "-_", salt[:4] + "-_" + salt[4:]]]
    changed += [replaced(good, 5, v) for v in ["", digest + "=", digest[:-1], digest + "\n", digest[:4], digest + "$x"]]
    changed += [replaced(good, 5, v) for v in [digest + "AA", digest.swapcase(), digest[:-1] + "B"]]
    changed += ["argon2", "argon2$", "argon2$argon2id", "argon2$" + good, good[6:], " " + good, good.upper()]
    columns += [("argon2", column) for column in changed]
    for algorithm in ["bcrypt_sha256", "bcrypt"]:
        good = encode(algorithm, word, bcrypt_salt(5))
        tail = good.split("$")[4]
        changed = [replaced(good, 2, v) for v in ["2", "2c", "", "2B", "1"]]
        changed += [replaced(good, 3, v) for v in ["5", "005", "+5", " 5", "03", "00", "32", "99", "xx", "", "-5", "5_"]]
        values = [tail[:-1], tail + "x", tail + "\n", tail[:22], tail[:21], "", tail[:21] + "/" + tail[22:], tail + "$"]
        values += ["!" + tail[1:], "\u00e9" + tail[1:], tail.swapcase(), tail[:22] + "." * 31, tail[:-1] + "\u00e9"]
        changed += [replaced(good, 4, v) for v in values]
        changed += [replaced(good, 1, "x"), good.replace("$$", "$"), algorithm, algorithm + "$", algorithm + "$$2b$05"]
        changed += [good.upper(), " " + good]
        columns += [(algorithm, column) for column in changed]
    if "scrypt" in NAMES:
        good = encode("scrypt", word, SALT, work_factor=16, block_size=8, parallelism=2)
        digest = good.split("$")[5]
        changed = [replaced(good, 1, v) for v in ["0", "1", "3", "15", "-16", "+16", "016", "x", "", "32768", "1_6"]]
        changed += [replaced(good, 1, v) for v in ["4294967296", "99999999999999999999", "\u0661\u0666"]]
        changed += [replaced(good, 3, v) for v in ["0", "-8", "x", "08", "4294967296"]]
        changed += [replaced(good, 4, v) for v in ["0", "-2", "x", "02", "134217728", "1073741824", "4294967296"]]
        changed += [replaced(good, 2, ""), replaced(replaced(good, 1, "65536"), 3, "1")]
        hashes = [digest.rstrip("="), digest + "\n", digest[:-4], "", digest + "$x", digest.swapcase()]
        changed += [replaced(good, 5, v) for v in hashes]
        changed += ["scrypt", "scrypt$", "scrypt$16", good + "$", good + "$a$b", good.upper()]
        columns += [("scrypt", column) for column in changed]
    good = encode("md5", word, SALT)
    changed = [good.upper(), "md5$" + good.split("$")[2], "md5$$" + "0" * 33, "md5$$" + "0" * 31, good + "\n", "md5"]
    changed += ["md5$" + SALT + "$" + good.split("$")[2].upper(), good[:-1], good + "$x", "md5$"]
    columns += [("md5", column) for column in changed]
    for column in ["", "!", "!" + "x" * 40, "x", "$", "$$$", "0" * 32, "0" * 31, "\u00e9" * 32, "md5$$" + "0" * 32]:
        columns.append(("pbkdf2_sha256", column))
    for column in ["sha1$$" + "0" * 40, "sha1$$" + "\u00e9" * 40, "sha1$$" + "0" * 41, "crypt$$ab0123456789a"]:
        columns.append(("pbkdf2_sha256", column))
    for column in ["unsalted_md5", "unsalted_md5$x", "unsalted_sha1$$x", "PBKDF2_SHA256$60$x$y", "\0", "plain text"]:
        columns.append(("pbkdf2_sha256", column))
    return columns


def defaults():
    """A column of each hasher with the parameters of this release."""
    word = PASSWORDS[0]
    columns = [encode("pbkdf2_sha256", word, SALT), encode("argon2", word, SALT)]
    columns.append(encode("bcrypt_sha256", word, bcrypt_salt(12)))
    if "scrypt" in NAMES:
        columns.append(encode("scrypt", word, SALT))
    return [("django", word, column) for column in columns]


def cases():
    made = []
    for password, column in written():
        algorithm = algorithm_of(column)
        by = algorithm if algorithm in PREFERRED else "pbkdf2_sha256"
        made.append((by, password, column))
    word = PASSWORDS[0]
    for column in parameters():
        algorithm = column.split("$")[0]
        by = algorithm if algorithm in PREFERRED else "pbkdf2_sha256"
        made += [(by, word, column), (by, "wrong", column)]
        if by != "pbkdf2_sha256":
            made.append(("pbkdf2_sha256", word, column))
    made += [(by, word, column) for by, column in malformed()]
    # What happens with more than 72 bytes is a matter of bcrypt's version. The column is of 72.
    if "bcrypt" in NAMES and django.VERSION >= (4, 2):
        made.append(("bcrypt", "x" * 73, encode("bcrypt", "x" * 72, bcrypt_salt(5))))
    # Minutes in a test if it were all of them.
    if VERSION in ("3.2", "5.2"):
        made += defaults()
    return [case(*arguments) for arguments in made]


def algorithm_of(column):
    use_hashers()
    return django_hashers.identify_hasher(column).algorithm


ATTRIBUTES = {"username": "ada_lovelace", "first_name": "Ada", "last_name": "Lovelace-Byron", "email": "ada@example.com"}
VALIDATED = [
    "", "1", "1234567", "12345678", "password", "Password", " PASSWORD\t", "\x1cpassword\x1f", "\u2003password\xa0",
    "correct horse", "correcthorse", "lovelace", "lovelaceX", "LOVELACE-BYRON", "byron", "byronbyron", "ada",
    "adalove", "ada_lovelac", "ecalevol_ada", "example.com", "moc.elpmaxe", "ada@example.com", "exampla", "com",
    "adaadaadaadaadaadaadaadaadaada", "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", "\u00b2\u00b3\u00b9\u2460\u2488\u24ff\u1369\u2776",
    "\u00bd\u00bd\u00bd\u00bd\u00bd\u00bd\u00bd\u00bd", "1234 5678", "-12345678", "qwertyuiop", "QwErTyUiOp", "iloveyou1",
    "\u0441\u043b\u0430\u0432\u0430", "\u0130\u0130\u0130\u0130\u0130\u0130\u0130\u0130", "stra\u00dfe", "STRASSE", "\u03a3\u03a3\u03a3\u03a3\u03a3\u03a3\u03a3\u03a3",
    "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9", "\U0001f511\U0001f511\U0001f511\U0001f511", "aaaaaaaa", "abababab", "trustno1", "12345678901234567890",
    "a@b", "jones", "jonesjon", "xx-xx-xx", "one two", "onetwo", "twoone12", "\u0938\u094d\u0924\u0947", "\u24d0\u24d1\u24d2\u24d3\u24d4\u24d5\u24d6\u24d7",
]
OTHERS = [
    {},
    {"username": ""},
    {"username": "."},
    {"username": "-a-"},
    {"username": "one two"},
    {"username": "\u0130"},
    {"username": "STRA\u00dfE"},
    {"username": "\u0938\u094d\u0924\u0947"},
    {"username": "\u24d0\u24d1\u24d2 \u24d3\u24d4\u24d5"},
    {"username": "\u03a3\u03a3\u03a3", "email": "JONES@B"},
    {"last_name": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    {"first_name": "12345678", "last_name": "abcd"},
]


def validator_cases():
    from django.contrib.auth import password_validation as validation
    from django.contrib.auth.models import User
    from django.core.exceptions import ValidationError

    names = ["UserAttributeSimilarity", "MinimumLength", "CommonPassword", "NumericPassword"]
    config = [{"NAME": "django.contrib.auth.password_validation.%sValidator" % name} for name in names]
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
    preferred = ",\n".join("%s:%s" % (compact(name), compact(value)) for name, value in PREFERRED.items())
    lines.append('"preferred":{\n' + preferred + "\n},")
    # The list of common passwords and the texts have changed since.
    validators = validator_cases() if django.VERSION >= (4, 2) else []
    lines.append('"validators":[\n' + ",\n".join(map(compact, validators)) + "\n],")
    lines.append('"cases":[\n' + ",\n".join(map(compact, cases())) + "\n]")
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
    """For each character in order, a sum: 1 for a digit, 2 for one of a word, 4 for one that is unassigned."""
    import re
    import unicodedata

    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            c = chr(code)
            kind = c.isdigit() + 2 * bool(re.match(r"\w", c)) + 4 * (unicodedata.category(c) == "Cn")
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
