#!/usr/bin/env python
"""
Record the rules of Django's session object, without HTTP: what each operation gives, and what
becomes of the flags, for each state that a session can start in.

    record_object.py [--check FILE]

Without --check tests/vectors/object.json is written. An SQLite database in memory does, because
the rules do not depend on the database; DATABASE_URL gives another one, whose sessions are lost.

    {"django", "python", "settings", "states": {name: {"key", "row"}}, "cases"}

A state has the key given to the session and the only row in the table, under that key, or null.
A case has its "state" and "ops", and, one for each operation, "results" (of an operation that
failed: {"raised": name of the exception}; the next one runs all the same) and "flags" (read
after it, as by the operation flags). "items" are the session's in the end, "rows" the whole
table, both as in record_middleware.py; see names.py for <same> and the like.
"""

import os
from itertools import product
from types import SimpleNamespace

from names import Names
from recording import document, main, setup, undisturbed
from session_table import SessionTable, row

KEY = "0123456789abcdefghijklmnopqrstuv"

STATES = {
    "no_key": {"key": None, "row": None},
    "row": {"key": KEY, "row": row({"a": 1, "b": "two"})},
    "unknown": {"key": KEY, "row": None},
    "empty_row": {"key": KEY, "row": row({})},
}

READS = [
    ["get", "a"],
    ["get", "x"],
    ["has", "a"],
    ["has", "x"],
    ["keys"],
    ["items"],
    ["flags"],
    ["expiry_age"],
    ["expiry_date"],
    ["browser_close"],
    ["test_cookie_worked"],
]

# Each of these does something else to flags, key, data or row, and so may change what comes next.
CHANGES = [
    ["get", "a"],
    ["set", "c", 3],
    ["del", "a"],
    ["update", {}],
    ["clear"],
    ["flush"],
    ["cycle_key"],
    ["save"],
    ["modified"],
    ["set_expiry", 300],
    ["set_expiry", 0],
    ["set_expiry_date", "<now+86400>"],
    ["set_test_cookie"],
]

WRITES = [
    ["set", "a", 2],
    ["incr", "a"],
    ["incr", "n"],
    ["pop", "a"],
    ["pop", "x"],
    ["del", "x"],
    ["setdefault", "a", 9],
    ["setdefault", "x", 9],
    ["update", {"a": 5, "c": 3}],
    ["set_expiry", -300],
    ["set_expiry", None],
    ["set_expiry_date", "<now-3600>"],
    ["set_expiry_in", 3600],
    ["delete_test_cookie"],
]

ALL = READS + CHANGES[1:] + WRITES

LONGER = [
    [["del", "a"], ["del", "b"], ["save"]],
    [["set", "c", 3], ["cycle_key"], ["save"]],
    [["set", "c", 3], ["save"], ["set", "c", 4], ["save"]],
    [["cycle_key"], ["set", "c", 3], ["save"]],
    [["cycle_key"], ["flush"], ["cycle_key"], ["save"]],
    [["flush"], ["set", "c", 3], ["save"]],
    [["clear"], ["set", "c", 3], ["save"]],
    [["set_expiry", 300], ["save"], ["set_expiry", None], ["save"]],
    [["set_expiry", 300], ["cycle_key"], ["expiry_age"]],
    [["set_expiry", 0], ["save"], ["browser_close"], ["expiry_age"]],
    [["set_test_cookie"], ["save"], ["test_cookie_worked"], ["delete_test_cookie"], ["save"]],
]

PROGRAMS = [[]] + [[op] for op in ALL] + [list(pair) for pair in product(CHANGES, ALL)] + LONGER


def attempt(request, op):
    from site_under_test.ops import run

    try:
        return run(request, op)
    except Exception as error:
        return {"raised": type(error).__name__}


@undisturbed
def case(table, state, ops):
    names = Names(state["key"])
    text_before = table.prepare(state["key"], state["row"])
    session = type(table.store)(state["key"])
    request = SimpleNamespace(session=session)  # all that these operations need of one
    results, flags = [], []
    for op in ops:
        result = attempt(request, names.program(op))
        results.append(names.result(op, result))
        flags.append(names.result(["flags"], attempt(request, ["flags"])))
    items = names.result(["items"], attempt(request, ["items"]))
    rows = table.rows(names, text_before)
    return {"results": results, "flags": flags, "items": items, "rows": rows}


def cases(table):
    for name, state in STATES.items():
        for ops in PROGRAMS:
            yield {"state": name, "ops": ops} | case(table, state, ops)


def record():
    os.environ.setdefault("DATABASE_URL", "sqlite::memory:")
    setup()
    return document({"states": STATES}, cases(SessionTable()))


if __name__ == "__main__":
    main(record, "object.json")
