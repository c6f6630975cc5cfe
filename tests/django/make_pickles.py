"""Make the pickles in ../vectors/pickle.json with real Python.

    python make_pickles.py           adds what this Python writes to the file
    python make_pickles.py --fresh   begins a new file
    python make_pickles.py --check   reads the file, and compares with the sessions below

Runs under every Django from 1.11 on. The bytes of a pickle depend on the Python that writes it, so the vectors say
which ones wrote them, and --check looks at what they mean: every Python must read them as the very sessions that are
made here, types included, and the views in the file must be what pickles.py gives for these now. The exit status is
1 if they differ, or if nothing could be compared.

    {"vectors": [{"name", "protocol", "pythons": [...], "pickle": HEX, "views": see pickles.py}]}
"""

import array
import collections
import datetime
import decimal
import fractions
import functools
import json
import os
import pickle
import sys
import uuid

import pickles
from pickles import Colour, Items, Mapping, Named, Plain, Point, Slots, Stateful, Word

from django.utils.safestring import mark_safe

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors", "pickle.json")

UTC = datetime.timezone.utc
TIME = datetime.datetime(2023, 11, 14, 22, 13, 20, 123456)
LOGIN = {
    "_auth_user_id": "42",
    "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
    "_auth_user_hash": "5ffc4b8a0d0d7d5b6a3f8e6f7b41a3b7d8a49b1a3a0c1f6b5a0e9cf1cc2e5d10",
}


def nested(levels, value):
    for level in range(levels):
        value = [value] if level % 2 else {"n": value}
    return value


def offset(**parts):
    return datetime.timezone(datetime.timedelta(**parts))


def sessions():
    """Names and sessions; those only that this Python can make."""
    yield "empty", {}
    yield "login", dict(LOGIN, _session_expiry=3600)
    yield "messages", dict(
        LOGIN,
        _messages='[["__json_message",0,25,"Saved \\"\u00fc\\".",""],["__json_message",1,30,"<b>bold</b>","extra"]]',
        _csrftoken="q" * 32,
    )
    yield "scalars", {"none": None, "true": True, "false": False, "zero": 0, "float": 0.1, "text": "text"}
    edges = [0, 1, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 2**2040]
    yield "integers", {"up": edges, "down": [-edge for edge in edges] + [-(2**15) - 1, -(2**31) - 1]}
    yield "long integers", {"most": 10**4300 - 1, "least": 1 - 10**4300, "beyond a byte's length": 2**2100}
    floats = [0.0, -0.0, 1.5, 1e16, 1e-5, 5e-324, 1.7976931348623157e308, 1 / 3, 123456789.125]
    yield "floats", {"floats": floats, "odd": [float("nan"), float("inf"), float("-inf")]}
    yield "strings", {
        "": "",
        "lines": "a\nb\r\tc\x00\x7f\\u0041\\",
        "latin": "\xe9\xff",
        "clé": "ключ 鍵",
        "astral": "\U0001f511",
        "long": "long" * 100,
        "quotes": "'\"/",
    }
    yield "surrogates", {"high": "\ud83d", "low": "a\ude00b", "split": "\ud83d\ude00", "\udfff": "key"}
    yield "split key", {"\ud83d\ude00": "a key that JSON cannot say", "b": 2}
    yield "lists", {"empty": [], "one": [1], "deep": [[], [[]], [[[1, 2], 3], {}]]}
    yield "dicts", {"empty": {}, "one": {"a": 1}, "deep": {"a": {"b": {"c": [{"d": None}]}}}}
    yield "many items", {"list": list(range(1100)), "dict": {str(n): n for n in range(1100)}}
    yield "nested", {"a": nested(200, 1)}
    yield "keys", {
        "ints": {1: "a", -2: "b", 2**70: "c"},
        "floats": {0.5: 1, float("inf"): 2, 1e16: 3},
        "others": {None: 1, True: 2, False: 3},
        "text and number": {"1": 1, 2: 2},
        "tuples": {(1, 2): 3},
        "bytes": {b"a": 1},
    }
    yield "keys of the session", {1: "a", None: "b", (1, "x"): "c", "s": "d", 2.5: "e", b"b": "f"}
    yield "tuples", {"0": (), "1": (1,), "2": (1, 2), "3": (1, 2, 3), "4": (1, 2, 3, 4), "in": [(1, [2])]}
    yield "bytes", {"empty": b"", "some": b"\x00\xff\n", "long": b"x" * 300, "in": [b"a"], "array": bytearray(b"a\xff")}
    yield "empty bytearray", {"a": bytearray(), "b": 1}
    yield "sets", {"set": {1, 2, 3}, "empty": set(), "frozen": frozenset([1]), "in": {"a": [{5}]}, "none": frozenset()}
    yield "dates", {
        "naive": TIME,
        "whole": TIME.replace(microsecond=0),
        "utc": TIME.replace(tzinfo=UTC),
        "east": TIME.replace(tzinfo=offset(hours=5, minutes=30)),
        "west": TIME.replace(tzinfo=offset(hours=-3, minutes=-30)),
        "named": TIME.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1), "CET")),
        "first": datetime.datetime.min,
        "last": datetime.datetime.max,
        "date": datetime.date(2024, 2, 29),
        "in": [{"at": TIME}],
    }
    if sys.version_info >= (3, 7):
        seconds = offset(hours=1, seconds=7, microseconds=5)
        yield "offset of microseconds", {"a": TIME.replace(tzinfo=seconds), "b": TIME.replace(tzinfo=offset(seconds=-1))}
    yield "fold", {"a": TIME.replace(fold=1), "b": TIME.replace(fold=1, tzinfo=UTC)}
    yield "expiry before Django 4.1", {"_session_expiry": TIME.replace(tzinfo=UTC), "a": 1}
    yield "times", {"time": TIME.time(), "delta": datetime.timedelta(days=1, seconds=2), "zone": UTC}
    yield "decimals", {"price": decimal.Decimal("19.90"), "nan": decimal.Decimal("NaN"), "e": decimal.Decimal("-1E+5")}
    yield "uuids", {
        "random": uuid.UUID("12345678-9abc-def0-1234-56789abcdef0"),
        "high": uuid.UUID(int=2**128 - 1),
        "low": uuid.UUID(int=7),
        "in": (uuid.UUID(int=2**64),),
    }
    yield "mappings", {
        "ordered": collections.OrderedDict([("b", 1), ("a", [2])]),
        "empty": collections.OrderedDict(),
        "default": collections.defaultdict(list, {"x": [1]}),
        "counter": collections.Counter("aab"),
        "opaque inside": collections.OrderedDict(a={1}),
        "nested": {"o": collections.OrderedDict([(1, collections.OrderedDict(x=(1,)))])},
    }
    yield "safe text", {"safe": mark_safe("<b>\u00e9</b>"), "in": [mark_safe("x")]}
    yield "objects", {
        "plain": Plain(a=1, b=[Plain()]),
        "stateful": Stateful("s"),
        "named": Named(1, 2, size=3),
        "inner": Named.Inner(x=1),
        "colour": Colour.RED,
        "point": Point(1, 2),
        "class": Plain,
        "after": "plain text",
    }
    yield "slots", {"a": Slots(1, "b")}
    yield "containers", {
        "items": Items([1, 2]),
        "mapping": Mapping(a=1),
        "word": Word("w"),
        "deque": collections.deque([1, 2], maxlen=3),
        "with fields": dict(a=with_field(Items([3]))),
    }
    yield "library", {
        "complex": 1 + 2j,
        "range": range(3),
        "partial": functools.partial(int, base=2),
        "fraction": fractions.Fraction(1, 3),
        "array": array.array("i", [1, 2]),
        "error": ValueError("wrong", 1),
        "none's class": type(None),
        "ellipsis": Ellipsis,
    }
    shared = ["shared", {"text": "text"}]
    yield "shared", {"a": shared, "b": shared, "c": [shared, shared], "d": (shared,), "shared": "text"}
    word = "word" * 20
    yield "shared text", {word: word, "a": [word] * 10, "b": {word: word}}
    deep = Plain(when=TIME, price=decimal.Decimal("1.5"), tags={"a"}, raw=b"\x00", pair=(1, (2, 3)))
    yield "cart", dict(LOGIN, cart=[deep, deep], total=decimal.Decimal("3.0"), seen={TIME.date(): 1}, steps=(1, 2))
    try:
        from zoneinfo import ZoneInfo

        zones = {"utc": TIME.replace(tzinfo=ZoneInfo("UTC")), "paris": TIME.replace(tzinfo=ZoneInfo("Europe/Paris"))}
    except Exception:  # an older Python, or one without time zones
        pass
    else:
        yield "zoneinfo", zones
    try:
        import pytz
    except ImportError:
        pass
    else:
        yield "pytz", {"utc": TIME.replace(tzinfo=pytz.utc), "paris": pytz.timezone("Europe/Paris").localize(TIME)}


def with_field(value):
    value.field = "f"
    return value


def read_file():
    with open(PATH, encoding="ascii") as file:
        return json.load(file)["vectors"]


def add_to(vectors):
    """The vectors, and what this Python writes that is not among them."""
    python = "%d.%d" % sys.version_info[:2]
    found = {(vector["name"], vector["pickle"]): vector for vector in vectors}
    for vector in vectors:
        vector["pythons"] = [other for other in vector["pythons"] if other != python]
    for name, session in sessions():
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            try:
                data = pickle.dumps(session, protocol).hex()
            except (TypeError, RecursionError):
                continue  # __slots__ and old Djangos' safe text need protocol 2
            if pickles.describe(pickle.loads(bytes.fromhex(data))) != pickles.describe(session):
                continue  # the fold of a time needs protocol 4
            vector = {"name": name, "protocol": protocol, "pythons": [], "pickle": data, "views": pickles.views(session)}
            found.setdefault((name, data), vector)["pythons"].append(python)
    return [vector for vector in found.values() if vector["pythons"]]


def check(vectors):
    """The differences, as lines of text, and the number of compared vectors."""
    made = dict(sessions())
    wrong, compared = [], 0
    for vector in vectors:
        what = "%(name)s, protocol %(protocol)d of Python %(pythons)s" % vector
        if vector["protocol"] > pickle.HIGHEST_PROTOCOL or vector["name"] not in made:
            continue
        session = made[vector["name"]]
        read = pickle.loads(bytes.fromhex(vector["pickle"]))
        if pickles.describe(read) != pickles.describe(session):
            wrong.append(what + ": another session: %r" % (read,))
        if pickles.views(session) != vector["views"]:
            wrong.append(what + ": other views: %r" % pickles.views(session))
        compared += 1
    missing = {name for name in made} - {vector["name"] for vector in vectors}
    wrong += ["no vector for " + name for name in missing if name != "pytz"]
    return wrong, compared


def main():
    sys.setrecursionlimit(20000)
    if sys.argv[1:] == ["--check"]:
        wrong, compared = check(read_file())
        for line in wrong[:20]:
            print(line[:300])
        sys.exit(1 if wrong or compared < 100 else 0)
    vectors = add_to([] if sys.argv[1:] == ["--fresh"] else read_file())
    with open(PATH, "w", encoding="ascii", newline="\n") as file:
        file.write('{"vectors": [\n%s\n]}\n' % ",\n".join(map(json.dumps, vectors)))


if __name__ == "__main__":
    main()
