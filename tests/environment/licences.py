"""Fails if a dependency's licence is not one of those that anybody may use with a permissively licensed crate.

    cargo metadata --format-version 1 | python3 tests/environment/licences.py

Every package that can be built is looked at: of all features and platforms, of tests too. Licences only: known
vulnerabilities are in a database of advisories, which is no registry's and which nothing here downloads.
"""

import json
import re
import sys

ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "Unicode-3.0",
    "Unlicense", "Zlib",
}
# An exception only ever permits more.
EXCEPTIONS = {"LLVM-exception"}


class Expression:
    """A licence expression as SPDX has it. AND binds tighter than OR; "/" is what "OR" was once."""

    def __init__(self, text):
        self.tokens = re.findall(r"[()]|[^\s()]+", text.replace("/", " OR "))

    def next(self, *wanted):
        if self.tokens and self.tokens[0] in wanted:
            return self.tokens.pop(0)
        return None

    def any_of(self):
        allowed = self.all_of()
        while self.next("OR"):
            allowed = self.all_of() or allowed
        return allowed

    def all_of(self):
        allowed = self.one()
        while self.next("AND"):
            allowed = self.one() and allowed
        return allowed

    def one(self):
        if self.next("("):
            allowed = self.any_of()
            if not self.next(")"):
                raise ValueError("a parenthesis is not closed")
            return allowed
        if not self.tokens or self.tokens[0] in (")", "AND", "OR", "WITH"):
            raise ValueError("a licence is missing")
        allowed = self.tokens.pop(0) in ALLOWED
        if self.next("WITH"):
            exception = self.tokens.pop(0) if self.tokens else None
            allowed = allowed and exception in EXCEPTIONS
        return allowed


def is_allowed(text):
    expression = Expression(text)
    allowed = expression.any_of()
    if expression.tokens:
        raise ValueError("unexpected: " + " ".join(expression.tokens))
    return allowed


def check_itself():
    for text, expected in [
        ("MIT", True), ("GPL-3.0-only", False), ("MIT/Apache-2.0", True), ("MIT OR LGPL-2.1-or-later", True),
        ("MIT AND LGPL-2.1-or-later", False), ("(MIT OR GPL-2.0) AND Unicode-3.0", True),
        ("MIT AND GPL-2.0 OR ISC", True), ("ISC AND (GPL-2.0 OR MPL-2.0)", False),
        ("Apache-2.0 WITH LLVM-exception", True), ("GPL-2.0 WITH Classpath-exception-2.0", False),
    ]:
        assert is_allowed(text) == expected, text


def main():
    check_itself()
    packages = json.load(sys.stdin)["packages"]
    refused = []
    for package in packages:
        licence = package["license"]
        try:
            if licence and is_allowed(licence):
                continue
            reason = licence or "no licence is declared"
        except ValueError as error:
            reason = "{}: {}".format(licence, error)
        refused.append("{} {}: {}".format(package["name"], package["version"], reason))
    if refused:
        sys.exit("licences that are not allowed:\n  " + "\n  ".join(refused))
    print("{} packages, all under permissive licences".format(len(packages)))


if __name__ == "__main__":
    main()
