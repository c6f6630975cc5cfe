"""Read pickles with real Python and say what they are, for tests of pickles written elsewhere.

    python pickles.py FILE

Runs under every Django from 1.11 on. FILE has one JSON object a line:

    {"pickle": HEX}                       is unpickled
    {"pickle": HEX, "restricted": true}   with a few harmless classes only, and little memory
    {"encoded": TEXT, "secret": TEXT}     is decoded by Django's SessionStore with its PickleSerializer
    {"json": TEXT}                        is read as JSON
    {..., "without": [KEYS]}              of which these keys are left out
    {"sessions": SECRET}                  gives what Django itself writes for the sessions of make_pickles.py

Standard output: one JSON value for each: {"is": the value with all types, "views": VIEWS} or {"error": NAME};
for "sessions" {name: {"encoded": TEXT, "views": VIEWS}}. VIEWS are the pairs of each key that is a string, as JSON,
and the JSON that this crate shows for its value, or the <class> where it shows none.
"""

import collections
import datetime
import decimal
import enum
import io
import json
import pickle
import sys
import uuid
import warnings

from decode import SessionStore, set_secrets  # configures Django

from django.utils.safestring import mark_safe

try:
    import resource
except ImportError:  # not a Unix
    resource = None

SafeString = type(mark_safe(""))

# Classes for objects of a site's own.


class Plain:
    def __init__(self, **fields):
        self.__dict__.update(fields)


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


class Stateful:
    """Has its own way into a pickle."""

    def __init__(self, secret):
        self.secret = secret

    def __getstate__(self):
        return [self.secret]

    def __setstate__(self, state):
        (self.secret,) = state


class Named:
    """Is made with named arguments."""

    def __new__(cls, *args, size=0):
        self = super().__new__(cls)
        self.args, self.size = args, size
        return self

    def __getnewargs_ex__(self):
        return self.args, {"size": self.size}

    class Inner(Plain):
        pass


class Items(list):
    pass


class Mapping(dict):
    pass


class Word(str):
    pass


class Colour(enum.Enum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


def describe(value):
    """The value with all its types, as JSON: objects by what Python itself would pickle of them."""
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes):
        return [kind.__name__, ascii(value)]
    if kind is float:
        return ["float", value.hex()]
    if kind in (list, tuple):
        return [kind.__name__, [describe(item) for item in value]]
    if kind in (set, frozenset):
        return [kind.__name__, sorted((describe(item) for item in value), key=json.dumps)]
    if kind is dict:
        return ["dict", [[describe(key), describe(item)] for key, item in value.items()]]
    if isinstance(value, type):
        return ["class", value.__module__, value.__qualname__]
    reduced = value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return ["global", reduced]
    made_by, arguments, state, items, pairs = (reduced + (None,) * 5)[:5]
    name = [getattr(made_by, "__module__", None), getattr(made_by, "__qualname__", None)]
    items, pairs = [None if these is None else list(these) for these in (items, pairs)]
    return [kind.__qualname__, name, describe(arguments), describe(state), describe(items), describe(pairs)]


class NoView(Exception):
    pass


def plain(value):
    """The value for json.dumps, as DjangoJSONEncoder has it but with all microseconds."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is SafeString:
        return str(value)
    if kind in (list, tuple):
        return [plain(item) for item in value]
    if kind in (dict, collections.OrderedDict, collections.defaultdict):
        if not all(key is None or type(key) in (bool, int, float, str) for key in value):
            raise NoView
        return {key: plain(item) for key, item in value.items()}
    if kind is datetime.datetime:
        zone = type(value.tzinfo)
        fixed = value.tzinfo is None or zone is datetime.timezone or str(value.tzinfo) == "UTC"
        if fixed:
            return value.isoformat()
    if kind is datetime.date:
        return value.isoformat()
    if kind in (decimal.Decimal, uuid.UUID):
        return str(value)
    raise NoView


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def view(value):
    try:
        return compact(plain(value))
    except NoView:
        pass
    if value is type(None):
        return "<type>"  # a pickle has it as type(None)
    if value is Ellipsis:
        return "<Ellipsis>"
    kind = value if isinstance(value, type) else type(value)
    module = kind.__module__
    return "<%s%s>" % ("" if module == "builtins" else module + ".", kind.__qualname__)


def views(session):
    return [[compact(key), view(value)] for key, value in session.items() if type(key) is str]


HARMLESS = [
    ("builtins", "list"),
    ("builtins", "object"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("copyreg", "_reconstructor"),
    ("datetime", "date"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
    ("decimal", "Decimal"),
    ("uuid", "UUID"),
]


class Restricted(pickle.Unpickler):
    def find_class(self, module, name):
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError("forbidden")
        return super().find_class(module, name)


def load(request):
    if "json" in request:
        return json.loads(request["json"])
    if "encoded" in request:
        from django.contrib.sessions.serializers import PickleSerializer

        set_secrets(request["secret"])
        store = SessionStore()
        store.serializer = PickleSerializer
        return store.decode(request["encoded"])
    data = bytes.fromhex(request["pickle"])
    return Restricted(io.BytesIO(data)).load() if request.get("restricted") else pickle.loads(data)


def encoded_sessions(secret):
    from make_pickles import sessions

    from django.contrib.sessions.serializers import PickleSerializer

    set_secrets(secret)
    store = SessionStore()
    store.serializer = PickleSerializer
    return {
        name: {"encoded": store.encode(session), "views": views(session)} for name, session in sessions()
    }


def answer(request):
    if "sessions" in request:
        return encoded_sessions(request["sessions"])
    try:
        value = load(request)
        for key in request.get("without", ()):
            value.pop(key, None)
        return {"is": describe(value), "views": views(value) if type(value) is dict else None}
    except Exception as error:
        return {"error": type(error).__name__}


def main():
    warnings.simplefilter("ignore")  # PickleSerializer is deprecated since Django 4.1
    sys.setrecursionlimit(20000)
    with open(sys.argv[1], encoding="utf-8") as file:
        requests = [json.loads(line) for line in file]
    if resource and any(request.get("restricted") for request in requests):
        # A memo of 2^31 places is one opcode.
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    for request in requests:
        print(compact(answer(request)))


if __name__ == "__main__":
    # Not as __main__, which is another module to pickle than this one.
    import pickles

    pickles.main()
