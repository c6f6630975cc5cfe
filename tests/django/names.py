"""
Names in place of what is different each time, so that recordings can be compared:

<same>     the key that the session was started with
<new>      the first other key that is seen, <new2> the second
<now+N>    the moment N seconds from now: ISO text in operations and data, Unix seconds as the
           result of expiry_date. What was recorded is rounded to ten seconds.
<expires>  the date in Set-Cookie: now + Max-Age
"""

import json
import re
from datetime import UTC, datetime, timedelta

from django.utils import timezone


def seconds_from_now(moment):
    """Rounded, so that the time which a case takes does not show."""
    return round((moment - timezone.now()).total_seconds(), -1)


class Names:
    """The names of the keys and moments of one case."""

    ISO_DATE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00")
    PLACEHOLDER = re.compile(r"<now([+-]\d+)>")

    def __init__(self, same):
        self.names = {same: "<same>", None: None}
        self.drawn = 0

    def key(self, key):
        if key not in self.names:
            self.drawn += 1
            self.names[key] = "<new>" if self.drawn == 1 else f"<new{self.drawn}>"
        return self.names[key]

    def moment(self, moment):
        return f"<now{seconds_from_now(moment):+.0f}>"

    def data(self, value):
        """A value with its ISO dates replaced."""
        if isinstance(value, dict):
            return {key: self.data(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.data(item) for item in value]
        if isinstance(value, str) and self.ISO_DATE.fullmatch(value):
            return self.moment(datetime.fromisoformat(value))
        return value

    def result(self, op, result):
        """The result of an operation with keys and moments replaced."""
        match op[0]:
            case "flags":
                return result | {"key": self.key(result["key"])}
            case "expiry_date":
                return self.moment(datetime.fromtimestamp(result, UTC))
        return self.data(result)

    @classmethod
    def program(cls, ops):
        """Operations with the real moments in place of <now+N>."""

        def moment(found):
            return (timezone.now() + timedelta(seconds=int(found[1]))).isoformat()

        return json.loads(cls.PLACEHOLDER.sub(moment, json.dumps(ops)))
