"""Make the test vectors in ../vectors by running real Django.

    python make_vectors.py [--sha1] [--out DIR]    codec-<version>[-sha1].json
    python make_vectors.py --headers [--out DIR]   headers.json (Django 6.1)
    python make_vectors.py --expiry [--out DIR]    expiry.json (Django 6.1)

The codec part runs under every Django from 1.11 on, with each Python that the
Django runs on; --sha1 is for 3.1 and 3.2 and sets DEFAULT_HASHING_ALGORITHM.
Without --out the part is printed. With --check the file in --out (by default
../vectors) is compared with what would be written now and left alone; the exit
status is 1 if it differs. Time is frozen and nothing is random, so the output
depends on the versions only; that of zlib counts for compressed texts.
"""

import argparse
import base64
import contextlib
import difflib
import hashlib
import io
import json
import math
import os
import platform
import sys
import zlib
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from unittest import mock

from decode import SessionStore, compact, decode, set_secrets  # configures Django

import django
from django.conf import settings
from django.core import signing
from django.utils.crypto import salted_hmac

VERSION = django.VERSION[:2]
TIME = 1700000000
STAMP = "1r31eq"  # TIME in base 62
SALT = "django.contrib.sessions.SessionStore"

NORMAL = "django-insecure-!k3y-for-vectors_(0)#"
SECRETS = [
    NORMAL,
    "cl\u00e9-\u043a\u043b\u044e\u0447-\u9375-\U0001f511",
    b"\x00\xffbytes\x80key",
    "".join("%02d-long-secret-key." % n for n in range(10)),
]


def freeze(seconds):
    return mock.patch("time.time", lambda: seconds)


def secret_json(secret):
    return {"hex": secret.hex()} if isinstance(secret, bytes) else secret


# Codec: what encode() writes


def noise(length):
    """Text that zlib cannot shorten below its base64."""
    blocks = (hashlib.sha256(b"%d" % n).digest() for n in range(length // 43 + 1))
    return "".join(base64.b64encode(block).decode()[:43] for block in blocks)[:length]


def words(length):
    """Text that compresses like prose."""
    vocabulary = [noise(400)[n : n + 2 + n % 9] for n in range(0, 390, 3)]
    picks = (hashlib.sha256(b"word %d" % n).digest()[0] for n in range(length))
    return " ".join(vocabulary[pick % len(vocabulary)] for pick in picks)[:length]


def nested(levels, value):
    for level in range(levels):
        value = [value] if level % 2 else {"n": value}
    return value


def cart():
    return [
        {
            "sku": "SKU-%05d" % (n * 7919 % 100000),
            "qty": n % 5 + 1,
            "price": "%d.95" % (n * 3),
            "title": "Item no. %d" % n,
        }
        for n in range(55)
    ]


LOGIN = {
    "_auth_user_id": "42",
    "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
    "_auth_user_hash": "5ffc4b8a0d0d7d5b6a3f8e6f7b41a3b7d8a49b1a3a0c1f6b5a0e9cf1cc2e5d10",
}
MESSAGES = json.dumps(
    [
        ["__json_message", 0, 25, 'Saved "\u00fc".', ""],
        ["__json_message", 1, 30, "<b>bold</b>", "extra tags"],
    ],
    separators=(",", ":"),
)
PROSE = (
    "The quick brown fox jumps over the lazy dog while the lazy dog sleeps; "
    "the quick brown fox jumps again over the lazy dog. "
)


def payloads():
    yield "empty", {}
    yield "one", {"a": 1}
    yield "nested", {"a": {"b": [1, {"c": [2, [3, []]]}], "d": {}}, "e": "f"}
    yield "login", LOGIN
    yield "login-and-cart", dict(LOGIN, cart={"7": 2, "19": 1}, _session_expiry=3600)
    yield "latin", {"t": "\u00e4\u00f6\u00fc\u00df\u00e9\u00ff\u00a0\u0080"}
    yield "unicode", {"t": "\u4f60\u597d \u041f\u0440\u0438\u0432\u0435\u0442 \u2028\u2029\ufeff\uffff\ufffd"}
    yield "astral", {"t": "\U0001f600\U00010000\U0010ffff"}
    yield "lone-surrogates", {"t": ["\ud83d", "\ude00", "\ude00\ud83d", "x\ud83dy"], "\ud800": 1}
    yield "control-characters", {"t": "".join(map(chr, range(0x20))) + "\x7f"}
    yield "printable-ascii", {"t": "".join(map(chr, range(0x20, 0x7F)))}
    yield "slash-quotes", {"t": "</script> \"double\" 'single' \\ back\\slash\\n"}
    yield "floats", {"f": [0.0, 1.0, -1.5, 0.1, 1 / 3, 100.0, 1e15, 123456789.125, 0.0001, 3.141592653589793]}
    yield "floats-exponent", {
        "f": [1e16, 1e-05, 1e22, 1e23, 1.5e300, 1.25e-10, 123456789012345680.0, 9007199254740993e3]
    }
    yield "floats-extreme", {
        "f": [5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308]
    }
    yield "floats-edges", {
        "f": [9999999999999998.0, 1e16, 0.0001, 0.00009999999999999999, 0.30000000000000004, 5e-05]
    }
    yield "float-minus-zero", {"f": -0.0}
    yield "float-nan", {"f": math.nan}
    yield "float-inf", {"f": math.inf}
    yield "float-minus-inf", {"f": -math.inf}
    yield "ints", {"i": [0, -1, 255, 2**31, -(2**31), 2**53, 2**53 + 1, 2**63 - 1]}
    yield "int-2-64", {"i": 2**64}
    yield "int-2-64-minus-1", {"i": 2**64 - 1}
    yield "int-2-63", {"i": 2**63}
    yield "int-minus-2-63", {"i": -(2**63)}
    yield "int-minus-2-63-minus-1", {"i": -(2**63) - 1}
    yield "int-10-40", {"i": 10**40, "j": -(10**40)}
    yield "constants", {"t": True, "f": False, "n": None}
    yield "empty-containers", {"d": {}, "l": [], "s": "", "ll": [[], {}, ""]}
    yield "tuple", {"t": (1, ("a", ()))}
    yield "nested-50", nested(50, "deep")
    yield "order", {"z": 1, "a": 2, "M": 3, "10": 4, "9": 5, "": 6}
    yield "keys-non-ascii", {"\u00e9": 1, "\u952e": 2, "\U0001f511": 3}
    yield "keys-escaped", {'"': 1, "\\": 2, "\n\t": 3, "a/b": 4, "\x00": 5, "\x7f": 6, "a b": 7}
    yield "keys-int", {1: "a", -2: "b", 2**70: "c"}
    yield "keys-float", {
        1.5: "a",
        1e16: "b",
        1e-05: "c",
        -0.0: "d",
        math.inf: "e",
        -math.inf: "f",
        math.nan: "g",
    }
    yield "keys-constants", {None: "a", True: "b", False: "c"}
    yield "keys-collide", {1: "int", "1": "text", None: "none", "null": "text"}
    yield "messages", dict(LOGIN, _messages=MESSAGES)
    yield "messages-empty", {"_messages": "[]"}
    yield "expiry-int", {"_session_expiry": 300}
    yield "expiry-zero", {"_session_expiry": 0}
    yield "expiry-utc", {"a": 1, "_session_expiry": "2023-11-14T22:13:20.123456+00:00"}
    yield "expiry-offset", {"a": 1, "_session_expiry": "2023-11-15T03:43:20+05:30"}
    yield "expiry-naive", {"a": 1, "_session_expiry": "2023-11-14T22:13:20"}
    # Compression is kept if it saves at least two bytes: both sides of that.
    for n in range(9, 14):
        yield "compress-repeat-%d" % n, {"k": "a" * n}
    for n in range(56, 61):
        yield "compress-prose-%d" % n, {"t": PROSE[:n]}
    yield "cart-4k", dict(LOGIN, cart=cart())
    yield "incompressible", {"t": noise(700)}
    yield "prose-64k", {"t": words(65536)}


def encode_vector(name, payload, secret, seconds):
    set_secrets(secret)
    store = SessionStore()
    with freeze(seconds):
        encoded = store.encode(payload)
    raw = store.serializer().dumps(payload).decode("latin-1")
    return {"name": name, "secret": secret_json(secret), "time": seconds, "json": raw, "encoded": encoded}


def encode_vectors():
    for name, payload in payloads():
        for secret in SECRETS:
            if secret is NORMAL or len(compact(payload)) < 8192:
                yield encode_vector(name, payload, secret, TIME)
    if not writes_legacy():
        for seconds in (-1, 0, 1, 61, 62, 3843, 3844, 2**31, 4102444800, 253402300799):
            yield encode_vector("time", {"a": 1}, NORMAL, seconds)


def writes_legacy():
    return VERSION <= (3, 0) or getattr(settings, "DEFAULT_HASHING_ALGORITHM", "") == "sha1"


# Codec: what decode() makes of texts that encode() would not write

ODD_JSON = [
    ("whitespace", b' \t\r\n{ "a" :\t1 ,\n"b" : [ 1 , 2 ] }\r\n '),
    ("whitespace-form-feed", b'{"a":\x0c1}'),
    ("whitespace-nbsp", b'{"a":\xa01}'),
    ("duplicate-keys", b'{"a":1,"b":2,"a":3}'),
    ("duplicate-keys-nested", b'{"a":{"x":1,"x":2},"a":{"x":3,"y":4,"x":5}}'),
    ("raw-utf8", '{"t":"\u00e9\u4f60\U0001f600"}'.encode()),
    ("raw-latin1", b'{"t":"\xe9\xff\x80"}'),
    ("raw-utf8-key", '{"\u00e9":1}'.encode()),
    ("escapes-upper-case", b'{"t":"\\u00E9\\uD83D\\uDE00\\u4F60"}'),
    ("escapes-lower-case", b'{"t":"\\u00e9\\ud83d\\ude00\\u4f60"}'),
    ("escapes-all", b'{"t":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u0041"}'),
    ("surrogate-high", b'{"t":"\\ud83d"}'),
    ("surrogate-low", b'{"t":"\\ude00"}'),
    ("surrogates-swapped", b'{"t":"\\ude00\\ud83d"}'),
    ("surrogate-high-text", b'{"t":"\\ud83dx"}'),
    ("surrogate-high-escape", b'{"t":"\\ud83d\\n"}'),
    ("surrogate-high-bmp", b'{"t":"\\ud83d\\u0041"}'),
    ("surrogate-high-high-low", b'{"t":"\\ud83d\\ud83d\\ude00"}'),
    ("surrogate-high-short-escape", b'{"t":"\\ud83d\\ude0"}'),
    ("surrogate-key", b'{"\\ud83d":1}'),
    ("escape-x", b'{"t":"\\x41"}'),
    ("escape-quote-single", b'{"t":"\\\'"}'),
    ("escape-upper-u", b'{"t":"\\U0041"}'),
    ("escape-octal", b'{"t":"\\0"}'),
    ("escape-short", b'{"t":"\\u12"}'),
    ("escape-no-hex", b'{"t":"\\u12g4"}'),
    ("escape-plus", b'{"t":"\\u+123"}'),
    ("escape-blank", b'{"t":"\\u 123"}'),
    ("escape-end", b'{"t":"\\"}'),
    ("control-newline", b'{"t":"a\nb"}'),
    ("control-tab", b'{"t":"a\tb"}'),
    ("control-nul", b'{"t":"a\x00b"}'),
    ("control-1f", b'{"t":"a\x1fb"}'),
    ("control-7f", b'{"t":"a\x7fb"}'),
    ("control-key", b'{"a\nb":1}'),
    ("list", b"[1,2]"),
    ("list-empty", b"[]"),
    ("list-of-pairs", b'[["a",1]]'),
    ("number", b"1"),
    ("number-float", b"1.5"),
    ("null", b"null"),
    ("true", b"true"),
    ("string", b'"text"'),
    ("nan-alone", b"NaN"),
    ("empty-payload", b""),
    ("blank-payload", b"  "),
    ("truncated", b'{"a":1'),
    ("truncated-string", b'{"a":"x'),
    ("truncated-key", b'{"a'),
    ("truncated-value", b'{"a":'),
    ("truncated-list", b'{"a":[1,'),
    ("truncated-constant", b'{"a":tru'),
    ("brace", b"{"),
    ("brace-close", b"}"),
    ("trailing-text", b'{"a":1}x'),
    ("trailing-object", b'{"a":1}{"b":2}'),
    ("trailing-nul", b'{"a":1}\x00'),
    ("trailing-comma", b'{"a":1,}'),
    ("trailing-comma-list", b'{"a":[1,]}'),
    ("leading-comma", b'{,"a":1}'),
    ("missing-comma", b'{"a":1 "b":2}'),
    ("missing-colon", b'{"a" 1}'),
    ("missing-value", b'{"a":}'),
    ("key-number", b"{1:2}"),
    ("key-bare", b"{a:1}"),
    ("key-single-quotes", b"{'a':1}"),
    ("comment", b'{"a":1}/* */'),
    ("constant-python", b'{"a":True}'),
    ("constant-upper", b'{"a":NULL}'),
    ("constant-glued", b'{"a":nullx}'),
    ("bom-utf8", b'\xef\xbb\xbf{"a":1}'),
    ("bom-utf16", '\ufeff{"a":1}'.encode("utf-16-le")),
    ("utf16", '{"a":1}'.encode("utf-16-be")),
    ("pickle", b"\x80\x04}\x94\x8c\x01a\x94K\x01s."),
    ("deep-100", b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"),
    ("deep-100-objects", b'{"a":' * 100 + b"1" + b"}" * 100),
    ("deep-900", b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"),
    ("deep-100000", b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}"),
    ("deep-100000-open", b'{"a":' + b"[" * 100000),
    ("int-4300-digits", b'{"a":' + b"7" * 4300 + b"}"),
    ("int-minus-4300-digits", b'{"a":-' + b"7" * 4300 + b"}"),
    ("int-4301-digits", b'{"a":' + b"7" * 4301 + b"}"),
    ("float-5000-digits", b'{"a":' + b"7" * 5000 + b".5}"),
    ("float-5000-places", b'{"a":0.' + b"3" * 5000 + b"}"),
]

ODD_NUMBERS = (
    "nan Nan NAN -NaN +NaN NaNx inf infinity Infinity -Infinity +Infinity -infinity INFINITY -Inf "
    "+1 -1 --1 - -- + -x 01 -01 00 -0 0 0.0 -0.0 1. .5 -.5 1.e5 1.5. 1..5 1,5 1_000 0x10 0b1 1L 1f "
    "1e5 1E5 1e+5 1E+5 1e-5 1E-5 1e 1e+ 1e- 1e5.0 1.0E5 1.5e3 0e0 -0e0 0e999 1e05 1e+05 "
    "1e400 -1e400 1e-400 -1e-400 1e99999999999999999999 1e-99999999999999999999 "
    "9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809 "
    "18446744073709551615 18446744073709551616 -18446744073709551616 "
    "123456789012345678901234567890 0.1 0.10 0.30000000000000004 1.10 100 100.0 1e2 "
    "9007199254740993 9007199254740993.0 1.00000000000000011102230246251565 "
    "1.00000000000000011102230246251566 9.999999999999999e22 1e23 8.41e21 "
    "9999999999999999.0 1e15 1e16 123456789012345680.0 0.0001 0.00001 0.000012 "
    "1.7976931348623157e308 1.7976931348623158e308 1.7976931348623159e308 "
    "2.2250738585072014e-308 2.2250738585072011e-308 4.9e-324 5e-324 2.5e-324 2.4e-324 1\u00b2"
).split()


def b64(data):
    return signing.b64_encode(data).decode()


def squeezed(data, *args):
    return "." + b64(zlib.compress(data, *args))


def sign(value, secret=NORMAL, salt=SALT):
    return signing.Signer(key=secret, salt=salt).sign(value)


def odd_bodies():
    """Payload texts, before the time stamp is added: how data became text."""
    one = b'{"a":1}'
    text = b'{"t":"' + PROSE.encode() + b'"}'
    stream = zlib.compress(text)
    raw_deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    gzip = zlib.compressobj(6, zlib.DEFLATED, 31)
    small_window = zlib.compressobj(6, zlib.DEFLATED, 9)
    dictionary = zlib.compressobj(6, zlib.DEFLATED, 15, zdict=PROSE.encode())
    yield "zlib", squeezed(text)
    yield "zlib-short-payload", squeezed(one)
    yield "zlib-level-0", squeezed(text, 0)
    yield "zlib-level-1", squeezed(text, 1)
    yield "zlib-level-9", squeezed(text, 9)
    yield "zlib-small-window", "." + b64(small_window.compress(text) + small_window.flush())
    yield "zlib-dictionary", "." + b64(dictionary.compress(text) + dictionary.flush())
    yield "zlib-raw-deflate", "." + b64(raw_deflate.compress(text) + raw_deflate.flush())
    yield "zlib-gzip", "." + b64(gzip.compress(text) + gzip.flush())
    yield "zlib-trailing-byte", "." + b64(stream + b"x")
    yield "zlib-trailing-stream", "." + b64(stream + zlib.compress(one))
    yield "zlib-truncated", "." + b64(stream[:-20])
    yield "zlib-no-adler", "." + b64(stream[:-4])
    yield "zlib-short-adler", "." + b64(stream[:-1])
    yield "zlib-bad-adler", "." + b64(stream[:-1] + bytes([stream[-1] ^ 1]))
    yield "zlib-bad-header", "." + b64(b"\x79" + stream[1:])
    yield "zlib-bad-block", "." + b64(stream[:10] + b"\xff\xff" + stream[12:])
    yield "zlib-empty", "."
    yield "zlib-of-nothing", squeezed(b"")
    yield "zlib-not-compressed", "." + b64(one)
    yield "zlib-not-marked", b64(stream)
    yield "zlib-twice", "." + b64(zlib.compress(stream))
    yield "zlib-64k-of-blanks", squeezed(one + b" " * 65536)
    yield "dots-three", ".." + squeezed(text)
    # Skipped characters are counted when the missing pads are added, so whether
    # a stray character harms depends on the length of the rest.
    for n in range(4):
        dotted = squeezed(b'{"t":"' + PROSE.encode() + b"x" * n + b'"}')
        yield "dots-two-%d" % n, "." + dotted
        yield "dot-inside-%d" % n, dotted[:9] + "." + dotted[9:]
    yield "dot-at-end", b64(one) + "."
    yield "dot-after-blank", " " + squeezed(text)
    yield "base64-empty", ""
    yield "base64-padded", b64(one) + "=="
    yield "base64-padded-short", b64(one) + "="
    yield "base64-padded-long", b64(one) + "======"
    yield "base64-pad-in-front", "=" + b64(one)
    # Pads end the data only where a quantum could end.
    nine = b64(b'{"ab":12}')
    for at in range(4, 8):
        for pads in ("=", "==", "==="):
            yield "base64-pads-%d-at-%d" % (len(pads), at), nine[:at] + pads + nine[at:]
    yield "base64-pads-2-apart", nine[:6] + "=*=" + nine[6:]
    more = b64(b'{"a":1}xxxxx')
    yield "base64-ended-by-2-pads", more[:10] + "==" + more[10:]
    yield "base64-ended-by-2-pads-apart", more[:10] + "=*=" + more[10:]
    yield "base64-not-ended-by-1-pad", more[:10] + "=" + more[10:]
    yield "base64-ended-by-1-pad", "e30=" + more
    yield "base64-text-after-pads", b64(one) + "==eyJh"
    yield "base64-one-too-many", b64(one) + "eyJ"
    yield "base64-length-1", "e"
    yield "base64-length-5", "eyJhI"
    yield "base64-length-off-by-foreign", "eyJhIjoxfQ!"
    yield "base64-length-off-by-two-foreign", "eyJhIjoxfQ!!"
    yield "base64-padding-bits", "eyJhIjoxfR"
    yield "base64-padding-bits-all", "eyJhIjoxff"
    yield "base64-foreign-2", "eyJh*Ijox!fQ"
    yield "base64-foreign-2-padded", "eyJh*Ijox!fQ=="
    yield "base64-foreign-4", "e*yJh!Ijo?xf{Q"
    yield "base64-foreign-non-ascii", "eyJh\u00e9Ijox\U0001f600fQ"
    yield "base64-foreign-non-ascii-4", "eyJh\u00e9Ijox\u00e9fQ"
    yield "base64-newlines", "eyJh\r\nIjox\nfQ\n"
    yield "base64-blanks", " eyJh Ijox\tfQ "
    yield "base64-nul", "eyJh\x00IjoxfQ"
    yield "base64-colon", "eyJh:IjoxfQ"
    yield "base64-url-alphabet", base64.urlsafe_b64encode(b'{"t":"\xfb\xff\xbf\xfe"}').decode()
    yield "base64-standard-alphabet", base64.b64encode(b'{"t":"\xfb\xff\xbf\xfe"}').decode()
    yield "base64-mixed-alphabet", base64.b64encode(b'{"t":"\xfb\xff\xbf\xfe"}').decode().replace("+", "-", 1)
    yield "body-not-encoded", '{"a"1}'


def odd_stamps():
    yield "empty", ""
    yield "zero", "0"
    yield "zeros", "000"
    yield "leading-zeros", "0000" + STAMP
    yield "negative", "-" + STAMP
    yield "minus", "-"
    yield "minus-twice", "--1"
    yield "minus-inside", "1r-31eq"
    yield "plus", "+1"
    yield "underscore", "1r_1eq"
    yield "blank", " " + STAMP
    yield "newline", STAMP + "\n"
    yield "dot", "1.5"
    yield "non-ascii", "\u0661"
    yield "future", "zzzzzz"
    yield "long", "z" * 100


def raw_vector(name, encoded, secret=NORMAL, fallbacks=()):
    secret, fallbacks = secret_json(secret), [secret_json(key) for key in fallbacks]
    outcome = decode(encoded, secret, fallbacks)
    silent = not outcome.logged and outcome.raised is None
    vector = {"name": name, "secret": secret, "fallbacks": fallbacks, "encoded": encoded}
    vector["decoded"] = compact(outcome.value) if silent else None
    vector["logged"] = outcome.logged
    vector["readable"] = outcome.readable and isinstance(outcome.value, dict)
    if outcome.raised:
        vector["raised"] = outcome.raised
    return vector


def raw_vectors():
    for name, data in ODD_JSON:
        # Large texts are kept small here by compression; it changes nothing else.
        body = squeezed(data) if len(data) > 1000 else b64(data)
        yield raw_vector("json-" + name, sign(body + ":" + STAMP))
    if VERSION >= (6, 0):
        # Before Python 3.12 the depth limit counts the callers' frames too, so
        # the result depends on where decode() is called; Django 6 needs 3.12.
        yield raw_vector(
            "json-deep-990", sign(squeezed(b'{"a":' + b"[" * 990 + b"]" * 990 + b"}") + ":" + STAMP)
        )
    for number in ODD_NUMBERS:
        data = ('{"n":%s}' % number).encode("latin-1")
        yield raw_vector("number " + number, sign(b64(data) + ":" + STAMP))
    for name, body in odd_bodies():
        yield raw_vector(name, sign(body + ":" + STAMP))
    for name, stamp in odd_stamps():
        yield raw_vector("stamp-" + name, sign("eyJhIjoxfQ:" + stamp))

    value = "eyJhIjoxfQ:" + STAMP
    signed = sign(value)
    # A second value, because this signature holds both - and _.
    dashes = next(s for s in (sign("eyJhIjoxfQ:%d" % n) for n in range(999)) if set("-_") <= set(s[-43:]))
    yield raw_vector("good", signed)
    yield raw_vector("stamp-missing", sign("eyJhIjoxfQ"))
    yield raw_vector("text-empty", "")
    yield raw_vector("text-colon", ":")
    yield raw_vector("text-colons", "::")
    yield raw_vector("text-no-colon", "eyJhIjoxfQ")
    yield raw_vector("text-newline", signed + "\n")
    yield raw_vector("text-blank-in-front", " " + signed)
    yield raw_vector("text-body-changed", signed.replace("eyJhIjoxfQ", "eyJhIjoyfQ"))
    yield raw_vector("text-body-respelled", signed.replace("eyJhIjoxfQ", "eyJhIjoxfR"))
    yield raw_vector("text-stamp-changed", signed.replace(STAMP, "1r31er"))
    yield raw_vector("signature-empty", value + ":")
    yield raw_vector("signature-wrong", value + ":" + "A" * 43)
    yield raw_vector("signature-short", signed[:-1])
    yield raw_vector("signature-long", signed + "A")
    yield raw_vector("signature-padded", signed + "=")
    last = signing.BASE62_ALPHABET.index(signed[-1])
    yield raw_vector("signature-respelled", signed[:-1] + signing.BASE62_ALPHABET[last + 1])
    yield raw_vector("signature-swapped-case", value + ":" + signed[len(value) + 1 :].swapcase())
    yield raw_vector("signature-dashes", dashes)
    yield raw_vector(
        "signature-standard-alphabet", dashes[:-43] + dashes[-43:].replace("-", "+").replace("_", "/")
    )
    yield raw_vector("signature-non-ascii", value + ":\u00e9")
    yield raw_vector("salt django.contrib.sessions.Other", sign(value, salt="django.contrib.sessions.Other"))
    for salt in (
        "django.contrib.sessions.backends.signed_cookies",
        "django.core.signing",
        "django.contrib.sessionsSessionStore",
    ):
        yield raw_vector("salt " + salt, sign(value, salt=salt))
    sha1 = signing.base64_hmac(SALT + "signer", value, NORMAL, algorithm="sha1")
    yield raw_vector("signature-sha1", value + ":" + sha1)
    yield raw_vector("legacy-format", legacy(b'{"a":1}'))

    old, older = "old key", b"\xffolder key"
    yield raw_vector("fallback", sign(value, old), fallbacks=[old])
    yield raw_vector("fallback-second", sign(value, older), fallbacks=[old, older])
    yield raw_vector("fallback-not-listed", sign(value, old), fallbacks=[older])
    yield raw_vector("fallback-none", sign(value, old))
    yield raw_vector("fallback-unused", signed, fallbacks=[old, older])
    yield raw_vector("fallback-of-bytes-key", sign(value), secret=older, fallbacks=[old, NORMAL])
    yield raw_vector("fallback-bad-json", sign(b64(b"[1") + ":" + STAMP, old), fallbacks=[old])


# Codec: the format that ended with 3.0 and that 3.1 and 3.2 still read


def legacy(raw, digest=None, key_salt="django.contrib.sessionsSessionStore"):
    options = {} if VERSION < (3, 1) else {"algorithm": "sha1"}
    digest = digest or salted_hmac(key_salt, raw, NORMAL, **options).hexdigest()
    return base64.b64encode(digest.encode() + b":" + raw).decode()


def legacy_vectors():
    one = b'{"a":1}'
    good = legacy(one)
    yield raw_vector("legacy-good", good)
    yield raw_vector("legacy-colons-in-json", legacy(b'{"a":"b:c:d"}'))
    yield raw_vector("legacy-whitespace", legacy(b' { "a" : 1 } '))
    yield raw_vector("legacy-raw-utf8", legacy('{"t":"\u00e9"}'.encode()))
    yield raw_vector("legacy-list", legacy(b"[1]"))
    yield raw_vector("legacy-null", legacy(b"null"))
    yield raw_vector("legacy-bad-json", legacy(b'{"a":1'))
    yield raw_vector("legacy-empty-json", legacy(b""))
    yield raw_vector("legacy-empty", "")
    yield raw_vector("legacy-newline-inside", good[:20] + "\n" + good[20:] + "\n")
    yield raw_vector("legacy-foreign-inside", good[:20] + "*-_" + good[20:])
    yield raw_vector("legacy-non-ascii", good[:20] + "\u00e9" + good[20:])
    yield raw_vector("legacy-no-padding", legacy(b'{"a":12}').rstrip("="))
    yield raw_vector("legacy-padding-long", good + "====")
    yield raw_vector("legacy-length-1", "A")
    yield raw_vector("legacy-no-colon", base64.b64encode(b"no hash here").decode())
    yield raw_vector("legacy-wrong-hash", legacy(one, "0" * 40))
    yield raw_vector("legacy-short-hash", legacy(one, "0" * 39))
    yield raw_vector(
        "legacy-upper-case-hash", base64.b64encode(base64.b64decode(good)[:40].upper() + b":" + one).decode()
    )
    yield raw_vector("legacy-non-ascii-hash", base64.b64encode(b"\xff" * 40 + b":" + one).decode())
    yield raw_vector("legacy-other-class", legacy(one, key_salt="django.contrib.sessionsOther"))
    if VERSION >= (3, 1):
        value = "eyJhIjoxfQ:" + STAMP
        yield raw_vector("good", sign(value))
        for algorithm in ("sha1", "sha256"):
            for name, body in (
                ("good", "eyJhIjoxfQ"),
                ("bad-json", b64(b"[1")),
                ("bad-base64", "e"),
                ("list", b64(b"[1]")),
            ):
                value = body + ":" + STAMP
                signature = signing.base64_hmac(SALT + "signer", value, NORMAL, algorithm=algorithm)
                yield raw_vector("%s-%s" % (algorithm, name), value + ":" + signature)


def codec_vectors():
    for vector in encode_vectors():
        yield dict({"kind": "encode"}, **vector)
    for vector in legacy_vectors() if VERSION <= (3, 2) else raw_vectors():
        yield dict({"kind": "decode"}, **vector)


# Headers

PARSE = [
    ("plain", "sessionid=abcdefgh"),
    ("absent", "other=1"),
    ("empty-header", ""),
    ("only-separators", " ; ;; "),
    ("no-equals", "sessionid"),
    ("empty-value", "sessionid="),
    ("empty-value-blank", "sessionid= "),
    ("empty-name", "=sessionid"),
    ("empty-name-double", "=sessionid=abcdefgh"),
    ("first", "sessionid=abcdefgh; other=1"),
    ("last", "other=1; sessionid=abcdefgh"),
    ("no-blank", "other=1;sessionid=abcdefgh;x=2"),
    ("blanks", "  other = 1 ;  sessionid  =  abcdefgh  ; "),
    ("tabs", "\tsessionid\t=\tabcdefgh\t"),
    ("trailing-semicolon", "sessionid=abcdefgh;"),
    ("leading-semicolon", ";sessionid=abcdefgh"),
    ("blank-inside-value", "sessionid=abcd efgh"),
    ("blank-inside-name", "session id=abcdefgh"),
    ("duplicate", "sessionid=first111; sessionid=second22"),
    ("duplicate-empty-last", "sessionid=first111; sessionid="),
    ("duplicate-bare-last", "sessionid=first111; sessionid"),
    ("duplicate-case", "sessionid=first111; SessionID=second22"),
    ("case", "SESSIONID=abcdefgh"),
    ("similar-names", "xsessionid=1; sessionidx=2; sessionid.=3; sessionid =4"),
    ("quoted-name", '"sessionid"=abcdefgh'),
    ("dollar-name", "$Version=1; sessionid=abcdefgh; $Path=/"),
    ("equals-in-value", "sessionid=abc=def=="),
    ("equals-first-in-value", "sessionid==abc"),
    ("malformed-chunks", "garbage; =; ==; sessionid=abcdefgh; {]; \\"),
    ("comma", "sessionid=abcdefgh,other=1"),
    ("comma-before", "other=1,sessionid=abcdefgh"),
    ("comma-blank", "a=1, sessionid=abcdefgh; b=2"),
    ("percent", "sessionid=abc%20def%3B"),
    ("plus", "sessionid=abc+def"),
    ("quoted", 'sessionid="abcdefgh"'),
    ("quoted-blanks", 'sessionid=" abcdefgh "'),
    ("quoted-empty", 'sessionid=""'),
    ("quoted-outer-blanks", 'sessionid= "abcdefgh" ;x=1'),
    ("quoted-semicolon", 'sessionid="abc;def"; x=1'),
    ("quoted-comma", 'sessionid="abc,def"'),
    ("quoted-twice", 'sessionid=""abcdefgh""'),
    ("quote-alone", 'sessionid="'),
    ("quote-open", 'sessionid="abcdefgh'),
    ("quote-close", 'sessionid=abcdefgh"'),
    ("quote-inside", 'sessionid=abc"def'),
    ("quotes-inside", 'sessionid="abc"def"'),
    ("quotes-single", "sessionid='abcdefgh'"),
    ("quoted-then-text", 'sessionid="abc"def'),
    ("escaped-quote", r'sessionid="abc\"def"'),
    ("escaped-backslash", r'sessionid="abc\\def"'),
    ("escaped-backslashes", r'sessionid="\\\\\\"'),
    ("escaped-letter", r'sessionid="\a\b\n\t"'),
    ("escaped-end", 'sessionid="abcdefgh\\"'),
    ("escaped-not-quoted", r"sessionid=abc\"def\073"),
    ("octal", r'sessionid="abc\073def"'),
    ("octal-comma", r'sessionid="abc\054def"'),
    ("octal-nul", r'sessionid="abcdefg\000hij"'),
    ("octal-quote", r'sessionid="abc\042def"'),
    ("octal-backslash", r'sessionid="\134073"'),
    ("octal-latin1", r'sessionid="abc\351def"'),
    ("octal-utf8", r'sessionid="abc\303\251def"'),
    ("octal-377", r'sessionid="\377\376\200\177"'),
    ("octal-400", r'sessionid="\400\777"'),
    ("octal-short", r'sessionid="\07"'),
    ("octal-short-one", r'sessionid="\0"'),
    ("octal-eight", r'sessionid="\08\089\180"'),
    ("octal-long", r'sessionid="\0733"'),
    ("octal-after-escape", r'sessionid="\\073\\\073"'),
    ("octal-control", r'sessionid="\012\015\011\177"'),
    ("octal-at-end", r'sessionid="abc\073"'),
    ("utf8", "sessionid=abc\u00c3\u00a9def"),
    ("utf8-astral", "sessionid=\u00f0\u009f\u0098\u0080abcd"),
    ("utf8-name", "s\u00c3\u00a9ssion=1; sessionid=abcdefgh"),
    ("latin1", "sessionid=abc\u00e9def"),
    ("latin1-other-cookie", "other=\u00e9\u00ff; sessionid=abcdefgh"),
    ("utf8-truncated", "sessionid=abc\u00e2\u0082"),
    ("utf8-overlong", "sessionid=abc\u00c0\u00afdef"),
    ("utf8-surrogate", "sessionid=abc\u00ed\u00a0\u0080def"),
    ("utf8-quoted", 'sessionid="abc\u00c3\u00a9\\073"'),
    ("utf8-escaped", 'sessionid="\\\u00c3\u00a9"'),
    ("nbsp-around", "sessionid=\u00c2\u00a0abcdefgh\u00c2\u00a0"),
    ("nbsp-name", "\u00c2\u00a0sessionid=abcdefgh"),
    ("nbsp-latin1", "sessionid=abcdefgh\u00a0"),
    ("next-line-around", "sessionid=\u00c2\u0085abcdefgh\u00c2\u0085"),
    ("ideographic-blank", "sessionid=\u00e3\u0080\u0080abcdefgh"),
    ("zero-width-blank", "sessionid=\u00e2\u0080\u008babcdefgh"),
    ("bom", "\u00ef\u00bb\u00bfsessionid=abcdefgh"),
    ("short", "sessionid=abc"),
    ("hostile-length", "sessionid=" + "a" * 8192),
    ("8k-last", "pad=" + "x" * 8150 + "; sessionid=abcdefgh"),
    ("8k-of-separators", ";" * 8170 + "sessionid=abcdefgh"),
    ("8k-of-cookies", "".join("c%d=%d; " % (n, n) for n in range(800)) + "sessionid=abcdefgh"),
]

PARSE_MANY = [
    ("two", ["a=1", "sessionid=abcdefgh"]),
    ("two-duplicates", ["sessionid=first111", "sessionid=second22"]),
    ("trailing-separators", ["a=1; ", "sessionid=abcdefgh;; "]),
    ("quote-across", ['a="1', 'sessionid=abcdefgh"']),
    ("empty-first", ["", "sessionid=abcdefgh"]),
    ("bare-last", ["sessionid=first111", "sessionid"]),
]

# fmt: off
VARY = [
    None, "", " ", ",", ", ,", "Cookie", "cookie", "COOKIE", " Cookie ", "Cookie,", ",Cookie", "Accept", "Accept, Cookie",
    "Accept,Cookie ,  X", "cookie, Accept", "Accept-Language,  Accept-Encoding", " Accept", "Accept ", "Accept,", ",Accept",
    "Accept,,X", "\tAccept\t,\tX", "*", " * ", "*, Cookie", "Cookie, *", "Accept, *", "Accept,*,X", "**", "* *", "Accept *",
    "Cookies", "X-Cookie", "Set-Cookie", "Cookie Accept", "Cookie;q=1", '"Cookie"', "Accept, Accept", "Cookie, cookie, COOKIE",
    "Cookie, Cookie", "accept,ACCEPT,Accept", "Origin, Accept-Encoding, Accept-Language, User-Agent",
]
# fmt: on

KEY = "0123456789abcdefghijklmnopqrstuv"
# fmt: off
ODD_KEYS = [
    "eyJhIjoxfQ:1r31eq:AbC-_dEf", "with blank", 'quo"te', "back\\slash", "semi;colon", "com,ma", "eq=ual", "sl/ash", "(a)<b>[c]{d}@?",
    "caf\u00e9", " lead", "trail ", '"quoted"', "!#$%&'*+-.^_`|~:", "",
]
# fmt: on


def cookie_value(request):
    return request.COOKIES.get("sessionid")


def wsgi_cookies(header):
    from django.core.handlers.wsgi import WSGIRequest

    # WSGI hands over the bytes of the header as Latin-1 text.
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.input": io.BytesIO(), "HTTP_COOKIE": header}
    return WSGIRequest(environ)


def asgi_cookies(headers):
    from django.core.handlers.asgi import ASGIRequest

    headers = [(b"cookie", header.encode("latin-1")) for header in headers]
    return ASGIRequest({"type": "http", "method": "GET", "path": "/", "headers": headers}, io.BytesIO())


def parse_vectors():
    for name, header in PARSE:
        yield {
            "kind": "parse",
            "name": name,
            "headers": [header],
            "wsgi": cookie_value(wsgi_cookies(header)),
            "asgi": cookie_value(asgi_cookies([header])),
        }
    # Under WSGI the server decides how several Cookie headers are joined.
    for name, headers in PARSE_MANY:
        yield {
            "kind": "parse-many",
            "name": name,
            "headers": headers,
            "asgi": cookie_value(asgi_cookies(headers)),
        }


@contextlib.contextmanager
def changed_settings(**values):
    before = {name: getattr(settings, name) for name in values}
    for name, value in values.items():
        setattr(settings, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)


def middleware_response(session, cookies=()):
    from django.contrib.sessions.middleware import SessionMiddleware
    from django.http import HttpResponse

    request = SimpleNamespace(session=session, COOKIES=dict(cookies))
    return SessionMiddleware(lambda request: None).process_response(request, HttpResponse())


def set_cookie_vector(
    name="sessionid",
    value=KEY,
    age=1209600,
    domain=None,
    path="/",
    httponly=True,
    samesite="Lax",
    secure=False,
):
    session = SimpleNamespace(
        accessed=True,
        modified=True,
        session_key=value,
        is_empty=lambda: False,
        get_expire_at_browser_close=lambda: age is None,
        get_expiry_age=lambda: age,
        save=lambda: None,
    )
    with cookie_settings(name, domain, path, httponly, samesite, secure), freeze(TIME):
        header = middleware_response(session).cookies[name].OutputString()
    return {
        "kind": "set",
        "cookie": name,
        "value": value,
        "age": age,
        "domain": domain,
        "path": path,
        "httponly": httponly,
        "samesite": samesite or None,
        "secure": secure,
        "header": header,
    }


def delete_cookie_vector(
    name="sessionid", domain=None, path="/", httponly=True, samesite="Lax", secure=False
):
    session = SimpleNamespace(accessed=True, modified=True, is_empty=lambda: True)
    with cookie_settings(name, domain, path, httponly, samesite, secure):
        header = middleware_response(session, {name: "x"}).cookies[name].OutputString()
    return {
        "kind": "delete",
        "cookie": name,
        "domain": domain,
        "path": path,
        "httponly": httponly,
        "samesite": samesite or None,
        "secure": secure,
        "header": header,
    }


def cookie_settings(name, domain, path, httponly, samesite, secure):
    return changed_settings(
        SESSION_COOKIE_NAME=name,
        SESSION_COOKIE_DOMAIN=domain,
        SESSION_COOKIE_PATH=path,
        SESSION_COOKIE_HTTPONLY=httponly,
        SESSION_COOKIE_SAMESITE=samesite,
        SESSION_COOKIE_SECURE=secure,
    )


def product(*columns):
    rows = [{}]
    for key, values in columns:
        rows = [dict(row, **{key: value}) for row in rows for value in values]
    return rows


def set_cookie_vectors():
    names = ("cookie name", ["sessionid", "__Secure-s", "__Host-s", "my.app_session"])
    ages = [1209600, 0, -10, 2.9, -2.9, None]
    domains = ("domain", [None, ".ex.org"])
    paths = ("path", ["/", "/app/"])
    httponly = ("httponly", [True, False])
    samesite = ("samesite", ["Lax", "Strict", "None", False])
    secure = ("secure", [False, True])
    for row in product(("age", ages), domains, paths, httponly, samesite, secure):
        yield set_cookie_vector(**row)
    for row in product(("name", names[1]), ("age", [1209600, None]), samesite, secure):
        yield set_cookie_vector(**row)
    for age in (1, 59, 0.5, 1e9, 31536000, 86400 * 365 * 100, -TIME, 221845392000):
        yield set_cookie_vector(age=age)
    for row in product(("value", ODD_KEYS), ("age", [1209600, None])):
        yield set_cookie_vector(**row)
    for row in product(("samesite", ["lax", "LAX", "strict", "none"]), secure):
        yield set_cookie_vector(**row)
    for row in product(("domain", ["", "ex.org"]), ("path", ["", "/a b/", "/a=b,c/"])):
        yield set_cookie_vector(**row)
    for row in product(("name", names[1]), domains, paths, httponly, samesite, secure):
        yield delete_cookie_vector(**row)


def vary_vectors():
    from django.http import HttpResponse
    from django.utils.cache import patch_vary_headers

    for before in VARY:
        response = HttpResponse()
        if before is not None:
            response.headers["Vary"] = before
        patch_vary_headers(response, ("Cookie",))
        yield {"kind": "vary", "before": before, "after": response.headers["Vary"]}


def quote_vectors():
    from http.cookies import SimpleCookie

    # Newer Pythons refuse control characters, so those are left out.
    for char in [*map(chr, [*range(0x20, 0x7F), *range(0x80, 0x100)]), "\u0100", "\U0001f600"]:
        cookie = SimpleCookie()
        cookie["s"] = "a" + char + "b"
        header = cookie["s"].OutputString()
        yield {
            "kind": "quote",
            "value": "a" + char + "b",
            "written": header[2:],
            "quoted": header.startswith('s="'),
        }


def header_vectors():
    yield from parse_vectors()
    yield from set_cookie_vectors()
    yield from vary_vectors()
    yield from quote_vectors()


# Expiry

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
NOWS = [EPOCH + timedelta(seconds=TIME, microseconds=micros) for micros in (0, 250000, 999999)]

# fmt: off
STORED = [
    None, "null", "0", "300", "-10", "1", "1209600", "2.5", "0.5", "-0.5", "1e2", "1e-7", "0.0", "-0.0", "true", "false",
    "31536000000", "-62135596800", "-63835596800", "251702300799", "251702300800", "86399999999999", "86400000000000",
    "99999999999999999999", "1180591620717411303424", "1e300", "NaN", "Infinity", "-Infinity", "[]", "[1]", "{}", '{"a":1}',
]
# fmt: on

# fmt: off
STORED_TEXTS = [
    "", " ", "0", "300", "never", "None",
    # written by isoformat()
    "2023-11-14T23:13:20+00:00", "2023-11-14T23:13:20.123456+00:00", "2023-11-14T22:13:20.250000+00:00",
    "2023-11-15T03:43:20+05:30", "2023-11-14T20:13:20-03:00", "2023-11-14T22:13:20.250001+00:00", "2023-11-14T22:13:19+00:00",
    "2023-11-14T23:13:20", "2023-11-14T23:13:20.123456",
    # zones
    "2023-11-14T23:13:20Z", "2023-11-14t23:13:20z", "2023-11-14T23:13:20z", "2023-11-14t23:13:20+00:00", "2023-11-14T23:13:20 Z",
    "2023-11-14T23:13:20-00:00", "2023-11-14T23:13:20+0530", "2023-11-14T23:13:20+05", "2023-11-14T23:13:20+5", "2023-11-14T23:13:20+5:30",
    "2023-11-14T23:13:20+05:30:15", "2023-11-14T23:13:20-05:30:15", "2023-11-14T23:13:20+053015", "2023-11-14T23:13:20+05:30:15.123456",
    "2023-11-14T23:13:20+00:00:00.000001", "2023-11-14T23:13:20+053015.5", "2023-11-14T23:13:20+23:59", "2023-11-14T23:13:20+23:59:59.999999",
    "2023-11-14T23:13:20+24:00", "2023-11-14T23:13:20-24:00", "2023-11-14T23:13:20+05:60", "2023-11-14T23:13:20+05:3",
    "2023-11-14T23:13:20+", "2023-11-14T23:13:20-", "2023-11-14T23:13:20 +00:00", "2023-11-14T23:13:20+00:00 ", "2023-11-14T23:13:20UTC",
    "2023-11-14T23:13:20 UTC", "2023-11-14T23:13:20\u221203:00", "2023-11-14T23:13:20+00:00Z", "2023-11-14T23:13:20Z+00:00",
    "2023-11-14T23:13:20++00:00", "2023-11-14T23:13:20+-5:30", "2023-11-14T23:13:20+05-30", "2023-11-14+00:00", "2023-11-14Z",
    # separators
    "2023-11-14 23:13:20+00:00", "2023-11-14 23:13:20", "2023-11-14_23:13:20+00:00", "2023-11-14x23:13:20+00:00", "2023-11-14-23:13:20+00:00",
    "2023-11-14\u00e923:13:20+00:00", "2023-11-14\U0001f60023:13:20+00:00", "2023-11-1423:13:20+00:00", "2023-11-14  23:13:20+00:00",
    " 2023-11-14T23:13:20+00:00", "2023-11-14T23:13:20+00:00\n", "2023-11-14T", "2023-11-14TZ", "2023-11-14T+00:00",
    "2023-11-14W23:13:20+00:00", "2023-11-14023:13:20+00:00", "20231114023:13:20+00:00",
    # fractions
    *("2023-11-14T22:13:20." + "123456789"[:n] + "+00:00" for n in range(10)), "2023-11-14T22:13:20.999999999999+00:00",
    "2023-11-14T22:13:20.2500009+00:00", "2023-11-14T22:13:20,25+00:00", "2023-11-14T22:13:20.25Z", "2023-11-14T22:13:20.1x+00:00",
    "2023-11-14T22:13:20.1234567x+00:00", "2023-11-14T22:13.5+00:00", "2023-11-14T22.5+00:00", "2023-11-14T22:13:20:25+00:00",
    "2023-11-14T22:13:20.-5+00:00", "2023-11-14T22:13:20. 5+00:00", "2023-11-14T22:13:20.1 +00:00",
    # basic format and cut off times
    "20231114T231320+0000", "20231114T231320Z", "20231114T231320.25Z", "20231114T2313Z", "20231114T23Z", "20231114231320Z", "20231114 231320",
    "20231114T23:13:20Z", "2023-11-14T231320Z", "2023-11-14T231320.25+0530", "2023-11-14T23:1320Z", "2023-11-14T2313:20Z", "2023-1114T23:13:20Z",
    "202311-14T23:13:20Z", "2023-11-14T23:13Z", "2023-11-14T23Z", "2023-11-14T23", "2023-11-14T2", "2023-11-14T23:1", "2023-11-14T23:",
    "2023-11-14T23:13:", "2023-11-14T23:13:2", "2023-11-14T3:13:20Z", "2023-11-14T23:13:200Z",
    # dates alone, week dates, ordinal dates
    "2023-11-14", "20231114", "2023-11", "202311", "2023", "2023-11-1", "2023-1-14", "23-11-14", "+2023-11-14", "-2023-11-14",
    "2023-W46-2", "2023-W46", "2023W462", "2023W46", "2023-W462", "2023W46-2", "2023-w46-2", "2023-W46-2T23:13:20Z", "2023-W46T23:13:20Z",
    "2023W462T231320Z", "2023W46T231320Z", "2023-W46-0T23:13:20Z", "2023-W46-8T23:13:20Z", "2023-W00-1T23:13:20Z", "2023-W53-1T23:13:20Z",
    "2020-W53-7T23:13:20Z", "2024-W01-1T23:13:20Z", "2023-W46-2T", "2023-318", "2023318", "2023-318T23:13:20Z", "2023318T231320Z",
    "0001-W01-1T00:00:00Z", "9999-W52-7T23:13:20Z", "9999-W52-5T23:13:20Z",
    # limits
    "2023-11-14T24:00:00+00:00", "2023-11-14T24:00Z", "2023-11-14T24:00:01Z", "2023-11-14T25:00:00Z", "2023-11-14T23:60:00Z",
    "2023-11-14T23:59:60Z", "2023-11-14T23:59:59.999999Z", "2023-11-31T00:00:00Z", "2023-13-01T00:00:00Z", "2023-00-01T00:00:00Z",
    "2023-01-00T00:00:00Z", "2024-02-29T12:00:00Z", "2023-02-29T12:00:00Z", "2100-02-29T12:00:00Z", "2000-02-29T12:00:00Z",
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+05:30", "0001-01-01T00:00:00-05:30", "0000-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-05:30", "9999-12-31T23:59:59+05:30", "10000-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00Z",
    # digits that are not ASCII, signs and the like
    "\u0662\u0660\u0662\u0663-11-14T23:13:20Z", "2023-11-14T23:13:2\u0660Z", "2023-11-14T 3:13:20Z", "2023-11-14T+3:13:20Z", "2023-11-14T23:-3:20Z",
    "2023/11/14T23:13:20Z", "2023-11-14T23.13.20Z", "14.11.2023 23:13:20", "Tue, 14 Nov 2023 23:13:20 GMT", "1700003600", "1700003600.5",
    "2023-11-14T23:13:20.5\u0000Z", "2023-11-14T23:13:20\u0000", "\ud8002023-11-14T23:13:20Z", "2023-11-14\ud80023:13:20Z",
]
# fmt: on

OFFSETS = [0, 19800, -10800, 50400, -43200, 20700, 3600, 86340, -86340, 1, -1, 4530]


def json_value(value):
    """Numbers that not every JSON reader keeps are given as text."""
    finite = not isinstance(value, float) or math.isfinite(value)
    if isinstance(value, (int, float)) and finite and -(2**63) <= value < 2**63:
        return value
    return {"json": compact(value)}


def outcome(call):
    try:
        return call()
    except Exception as error:
        return {"error": type(error).__name__}


def unix_micros(date):
    if date.tzinfo is None:
        return {"naive": date.isoformat()}
    return (date - EPOCH) // timedelta(microseconds=1)


def session_with(data):
    session = SessionStore(KEY)
    session._session_cache = data
    session.modified = True
    session.save = lambda: None
    return session


def response_cookie(session, now):
    """The cookie's Max-Age and expires, which a browser session does not have."""
    with freeze(now.timestamp()):
        cookie = middleware_response(session).cookies["sessionid"]
    return [cookie["max-age"] if cookie["max-age"] != "" else None, cookie["expires"] or None]


def expiry_vector(stored, now):
    data = {} if stored is None else {"_session_expiry": json.loads(stored)}
    vector = {"kind": "read", "stored": stored, "now": now.isoformat(), "now_micros": unix_micros(now)}
    with mock.patch("django.utils.timezone.now", lambda: now):
        session = session_with(data)
        vector["age"] = outcome(lambda: json_value(session.get_expiry_age()))
        vector["date_micros"] = outcome(lambda: unix_micros(session.get_expiry_date()))
        for setting in (False, True):
            with changed_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=setting):
                vector["browser_close_%s" % str(setting).lower()] = session.get_expire_at_browser_close()
        cookie = outcome(lambda: response_cookie(session, now))
    vector["max_age"], vector["expires"] = (cookie, cookie) if isinstance(cookie, dict) else cookie
    return vector


def set_expiry_vector(call, value, now, data=None):
    session = SessionStore()
    session._session_cache = data = dict(data or {})
    with mock.patch("django.utils.timezone.now", lambda: now):
        error = outcome(lambda: session.set_expiry(value))
    stored = error or (compact(data["_session_expiry"]) if "_session_expiry" in data else None)
    return {
        "kind": "set",
        "call": call,
        "now_micros": unix_micros(now),
        "stored": stored,
        "modified": session.modified,
    }


def set_expiry_vectors():
    now = NOWS[1]
    for value in (300, 0, -10, 2**40, 2.5, True):
        yield set_expiry_vector({"number": compact(value)}, value, now)
    yield set_expiry_vector({"none": "absent"}, None, now)
    yield set_expiry_vector({"none": "present"}, None, now, {"_session_expiry": 300})
    for at in NOWS:
        for micros in (
            0,
            1,
            -1,
            750000,
            750001,
            3600 * 10**6,
            -3600 * 10**6,
            86400 * 10**6 * 365 + 123456,
            8 * 10**15 * 31,
            10**18,
        ):
            yield set_expiry_vector({"timedelta_micros": micros}, timedelta(microseconds=micros), at)
    instants = [
        now,
        NOWS[0],
        now + timedelta(days=365, microseconds=1),
        EPOCH,
        EPOCH - timedelta(microseconds=1),
        EPOCH.replace(year=1),
    ]
    instants += [EPOCH.replace(year=9999), EPOCH.replace(year=2024, month=2, day=29, microsecond=1000)]
    for instant in instants:
        for offset in OFFSETS:
            with contextlib.suppress(OverflowError):  # out of Python's years in that zone
                value = instant.astimezone(timezone(timedelta(seconds=offset)))
                call = {"datetime_micros": unix_micros(instant), "offset": offset}
                yield set_expiry_vector(call, value, now)


def expiry_vectors():
    for stored in STORED + [compact(text) for text in STORED_TEXTS]:
        for now in NOWS:
            yield expiry_vector(stored, now)
    yield from set_expiry_vectors()


# Output


def document(vectors):
    made_by = {
        "script": "tests/django/make_vectors.py",
        "django": django.get_version(),
        "python": platform.python_version(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }
    lines = [json.dumps(vector) for vector in vectors]
    return '{"made_by": %s, "vectors": [\n%s\n]}\n' % (json.dumps(made_by), ",\n".join(lines))


def check(path, text):
    """Compare all but the first line: it names the Python that was used."""
    with open(path, encoding="ascii") as file:
        old = file.read().splitlines()
    new = text.splitlines()
    if old[1:] == new[1:]:
        return True
    for line in list(difflib.unified_diff(old[1:], new[1:], path, "made now", n=0, lineterm=""))[:20]:
        print(line[:200] + ("..." if len(line) > 200 else ""))
    return False


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--headers", action="store_true")
    part.add_argument("--expiry", action="store_true")
    part.add_argument("--sha1", action="store_true")
    parser.add_argument("--out", metavar="DIR")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if (args.headers or args.expiry) and VERSION < (6, 1):
        parser.error("these vectors are of Django 6.1, not " + django.get_version())
    if args.sha1:
        if not (3, 1) <= VERSION <= (3, 2):
            parser.error("--sha1 is for Django 3.1 and 3.2")
        settings.DEFAULT_HASHING_ALGORITHM = "sha1"

    if args.headers:
        name, vectors = "headers", header_vectors()
    elif args.expiry:
        name, vectors = "expiry", expiry_vectors()
    else:
        name, vectors = "codec-" + django.get_version() + ("-sha1" if args.sha1 else ""), codec_vectors()
    text = document(vectors)

    if not args.out and not args.check:
        sys.stdout.write(text)
        return
    path = os.path.join(
        args.out or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors"), name + ".json"
    )
    if args.check:
        sys.exit(0 if check(path, text) else 1)
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write(text)


if __name__ == "__main__":
    main()
