#!/usr/bin/env python3
"""Makes the seeds in corpus/ from what real Djangos wrote and read: the vectors in tests/vectors.

They only show the fuzzer what inputs look like. A seed is never an expectation. Files that are called found-* are
inputs that once failed, and stay.
"""

import base64
import json
import re
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "vectors"
SECRET = "django-insecure-!k3y-for-vectors_(0)#"


def vectors(file):
    return json.loads((VECTORS / file).read_text())["vectors"]


def spread(seeds, count, longest):
    """At most so many of them, from everywhere, none of them twice."""
    seeds = {data: name for name, data in reversed(seeds) if len(data) <= longest}
    seeds = [(name, data) for data, name in reversed(seeds.items())]
    step = max(1, len(seeds) / count)
    return [seeds[int(index * step)] for index in range(min(count, len(seeds)))]


def texts(file="codec-6.1.3.json"):
    """Names and stored texts of the secret that the targets know."""
    return [
        (v["kind"] + "-" + v["name"], v["encoded"])
        for v in vectors(file)
        if v["secret"] == SECRET and isinstance(v["encoded"], str)
    ]


def bodies(compressed):
    for name, text in texts():
        body = text.split(":")[0]
        if text.count(":") == 2 and body.startswith(".") == compressed:
            try:
                yield name, base64.b64decode(body.lstrip(".") + "==", altchars="-_", validate=True)
            except ValueError:
                pass  # some are broken


def pickles():
    for v in vectors("pickle.json"):
        yield f"{v['name']}-{v['protocol']}", bytes.fromhex(v["pickle"])


def stored_stream(data):
    """A zlib stream that says the same whatever zlib this Python has: one block that is not compressed."""
    size = len(data).to_bytes(2, "little")
    turned = bytes(byte ^ 0xFF for byte in size)
    return b"\x78\x01\x01" + size + turned + data + zlib.adler32(data).to_bytes(4, "big")


def cookie_header():
    recorded = [v for v in vectors("headers.json") if v["kind"].startswith("parse")]
    seeds = [(v["name"], "\n".join(v["headers"]).encode("latin-1")) for v in recorded]
    return spread(seeds, 60, 300)


def signed_text():
    # The target signs what it is given, so most of them come without their signature.
    unsigned = [(name, text.rpartition(":")[0].encode()) for name, text in texts() if ":" in text]
    whole = [("signed-" + name, text.encode()) for name, text in texts()]
    old = [("old-" + name, text.encode()) for name, text in texts("codec-2.2.28.json")]
    return spread(unsigned, 40, 1000) + spread(whole, 10, 600) + spread(old, 5, 600)


def inflate():
    streams = list(bodies(compressed=True))
    bomb = dict(streams)["decode-zlib-64k-of-blanks"]
    # Within the long run of one byte: see repeated() in src/lib.rs.
    return spread(streams, 40, 1500) + [("again-blanks", b"\xff\x28\x01" + bomb)]


def json_text():
    seeds = list(bodies(compressed=False))
    # How a part is repeated: see repeated() in src/lib.rs.
    again = [
        ("again-list", b"\xff\x06\x02" + b'{"a":[1,1]}'),
        ("again-open", b"\xff\x05\x01" + b'{"a":[[1]]}'),
        ("again-key", b"\xff\x01\x06" + b'{"a":1,"b":2}'),
        ("again-escape", b"\xff\x02\x06" + b'{"\\u0061":1}'),
    ]
    return spread(seeds, 60, 700) + again


def pickle():
    again = [
        ("again-list", b"\xff\x0a\x02" + b"\x80\x04}X\x01\0\0\0x](K\x01e" + b"s."),
        ("again-open", b"\xff\x09\x01" + b"\x80\x04}X\x01\0\0\0x)\x85s."),
        ("again-key", b"\xff\x03\x06" + b"}q\0(X\x01\0\0\0aNu."),
        ("again-memo", b"\xff\x04\x02" + b"\x80\x04}\x94N\x940}."),
    ]
    text = [(name, data) for name, data in bodies(compressed=False) if data.startswith(b"{")]
    return spread(list(pickles()), 50, 700) + spread(text, 8, 300) + again


def expiry():
    read = [v for v in vectors("expiry.json") if v["kind"] == "read" and v["stored"] is not None]
    return spread([(v["stored"][:30], v["stored"].encode()) for v in read], 60, 100)


def redis_value():
    compressed = [("zlib-" + name, stored_stream(data)) for name, data in pickles()]
    return (
        spread(list(pickles()), 20, 700)
        + spread(compressed, 15, 500)
        + spread(list(bodies(compressed=True)), 10, 700)
        + spread(list(bodies(compressed=False)), 10, 300)
    )


def session_file():
    whole = [(name, text.encode()) for name, text in texts()]
    old = [("old-" + name, text.encode()) for name, text in texts("codec-2.2.28.json")]
    ends = [
        (v["stored"][:30], b'{"_session_expiry":' + v["stored"].encode() + b"}")
        for v in vectors("expiry.json")
        if v["kind"] == "read" and v["stored"] is not None
    ]
    plain = spread(list(bodies(compressed=False)), 15, 300)
    return [("empty", b"")] + spread(whole, 20, 700) + spread(old, 5, 300) + plain + spread(ends, 15, 200)


def main():
    for target in (cookie_header, signed_text, inflate, json_text, pickle, expiry, redis_value, session_file):
        corpus = HERE / "corpus" / target.__name__
        corpus.mkdir(parents=True, exist_ok=True)
        for old in corpus.iterdir():
            if not old.name.startswith("found-"):
                old.unlink()
        for index, (name, data) in enumerate(target()):
            slug = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "other"
            (corpus / f"{index:02}-{slug}").write_bytes(data)


if __name__ == "__main__":
    main()
