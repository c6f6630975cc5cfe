"""The table django_session, before and after a recorded case."""

from datetime import timedelta

from django.core import signing
from django.utils import timezone

from names import seconds_from_now
from recording import SETTINGS


def row(data, expires_in=SETTINGS["SESSION_COOKIE_AGE"], readable=True):
    """The row that a case begins with; not readable means signed with another secret."""
    return {"data": data, "expires_in": expires_in, "readable": readable}


class SessionTable:
    """May be made only after the set-up, because models cannot be imported before."""

    def __init__(self):
        from django.contrib.sessions.models import Session

        self.model = Session
        self.store = Session.get_session_store_class()()

    def prepare(self, key, row):
        """Leave only this row, if any, and return its text."""
        self.model.objects.all().delete()
        if row is None:
            return None
        text = signing.dumps(
            row["data"],
            key=None if row["readable"] else "another secret",
            salt=self.store.key_salt,
            serializer=self.store.serializer,
            compress=True,
        )
        expire_date = timezone.now() + timedelta(seconds=row["expires_in"])
        self.model(key, text, expire_date).save(force_insert=True)
        return text

    def rows(self, names, text_before):
        """All rows, as they are recorded."""
        rows = [
            {
                "key": names.key(row.session_key),
                "data": self.data(names, row.session_data, text_before),
                "expires_in": int(seconds_from_now(row.expire_date)),
            }
            for row in self.model.objects.all()
        ]
        return sorted(rows, key=lambda row: row["key"])

    def data(self, names, text, text_before):
        # Not store.decode(), which has {} for all that it cannot read.
        try:
            data = signing.loads(text, salt=self.store.key_salt, serializer=self.store.serializer)
        except signing.BadSignature:
            data = None
        if isinstance(data, dict):
            return names.data(data)
        return "unreadable-unchanged" if text == text_before else "unreadable-changed"
