#!/usr/bin/env python
"""
Write src/auth/next_url/control_characters.rs: Unicode's category C* as Python knows it.

    make_control_characters.py [--check]

With --check, compares instead: exits with 1 if a character that this Python has in C* is missing
in the file. A newer Unicode assigns characters, so the file's set is the larger one.
"""

import re
import sys
import unicodedata
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "src/auth/next_url/control_characters.rs"

TEMPLATE = """\
//! Characters that may not begin a redirect's URL. Made by tests/django/make_control_characters.py.

/// Whether this is a control, format, private or unassigned character: Unicode's category C*.
pub(super) fn contain(c: char) -> bool {{
    let code = u32::from(c);
    let begun = RANGES.partition_point(|&(first, _)| first <= code);
    begun.checked_sub(1).and_then(|i| RANGES.get(i)).is_some_and(|&(_, last)| code <= last)
}}

/// The first and last ones, of Unicode {version}. Later versions assign some of them: an older one refuses
/// more.
#[rustfmt::skip]
const RANGES: &[(u32, u32)] = &[
{rows}
];
"""


def ranges():
    found = []
    for code in range(0x110000):
        if unicodedata.category(chr(code))[0] != "C":
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def text():
    rows, row = [], "   "
    for first, last in ranges():
        item = f" ({first:#x}, {last:#x}),"
        if len(row + item) > 108:
            rows.append(row)
            row = "   "
        row += item
    rows.append(row)
    return TEMPLATE.format(version=unicodedata.unidata_version, rows="\n".join(rows))


def check():
    pairs = re.findall(r"\((0x[0-9a-f]+), (0x[0-9a-f]+)\)", FILE.read_text())
    known = {code for first, last in pairs for code in range(int(first, 16), int(last, 16) + 1)}
    missing = [hex(c) for first, last in ranges() for c in range(first, last + 1) if c not in known]
    print(*missing[:20])
    sys.exit(1 if missing or not known else 0)


if __name__ == "__main__":
    check() if sys.argv[1:] == ["--check"] else FILE.write_text(text())
