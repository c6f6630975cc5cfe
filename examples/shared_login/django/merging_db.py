"""
A session engine for Django that merges concurrent changes by key.

Django's own engines save the whole session. If two requests load the same session, the one that saves
last undoes what the other has changed. This engine is a subclass of `django.contrib.sessions.backends.db`
with the same table and the same rows. Only its saves differ:

1. A save replaces the row only if it still holds the text that the load returned (compare-and-set).
2. If another request was faster, the row is locked and read again. The changes of this request are
   replayed on it, key by key, and the result is saved.
3. If the row is gone (a logout, or a new key at login), the save raises `UpdateError`, as Django's does.

So two requests that change different keys both take effect, whether they are served by Django, by the Rust
crate actix-django-session, or one by each.

To use it, put this file where Django can import it, and set

    SESSION_ENGINE = "merging_db"

Nothing else changes: no migration, and sessions that exist stay valid. It runs on Django 4.2 and newer, on
PostgreSQL and SQLite. Processes that still use Django's own engine overwrite whole sessions as before.

What is merged, and how:

    session["k"] = v, update(...)       set these keys; other keys stay
    del session["k"], pop("k")          remove this key; other keys stay
    session["cart"].append(v)           set the whole key, as after `session["cart"] = ...`
    setdefault("k", v)                  set the key if it is still missing
    clear()                             remove every key, those of the other request too
    set_expiry(v)                       set the expiry
    add("n", 1), change("k", f)         run again on the newer value

Two requests that set the same key: the later save wins. If the new value depends on the old one, use the
two methods that this engine adds. Their effect is exact, however many requests run at once:

    request.session.add("visits")
    request.session.change("cart", lambda cart: [*(cart or []), item])

The function may run several times, so it must only compute the new value. The value that both methods return
is provisional: another request may change the stored one before this request is saved. `aadd` and `achange`
are the same for asynchronous views, on Django 5.1 and newer.

Differences from Django's engine, beside merging:

- After a save the session also shows the changes of the other requests.
- `cycle_key` renames the row in one statement instead of inserting a second one. A crash leaves one row, and
  what other requests stored meanwhile stays. If the session of a logged-in user was deleted meanwhile, it
  raises `SessionInterrupted` (status 400). Django's engine would revive the session.
- An error of the database stays that error. Django's engine turns it into `UpdateError`.
- Updates send no signals `pre_save` and `post_save` of the model.
"""

import copy

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.contrib.sessions.exceptions import SessionInterrupted
from django.db import IntegrityError, router, transaction
from django.db.models import F

# In the journal: the key gets the value that the session has at the time of the save.
ASSIGNED = object()


class SessionStore(DatabaseSessionStore):
    # The class has to have this name: Django's signature of the stored text depends on it.

    def __init__(self, session_key=None):
        super().__init__(session_key)
        # The text of the row before a save whose transaction has not committed yet.
        self._uncommitted_text = None
        self._begin(None)

    def _begin(self, text):
        """Start a journal of changes to the row that holds `text`; None if no row was read."""
        self._loaded_text = text
        # The dictionary in `text`, decoded when it is needed.
        self._original = {} if text is None else None
        # Key -> ASSIGNED, or a list of functions that change a dictionary.
        self._journal = {}
        # Key -> the result of its last function, as serialized.
        self._results = {}
        self._cleared = False

    # Loading.

    def load(self):
        return self._loaded(self._get_session_from_db())

    async def aload(self):
        return self._loaded(await self._aget_session_from_db())

    def _loaded(self, row):
        # A call by hand must not change what the data of this object are compared with.
        if not hasattr(self, "_session_cache"):
            self._begin(row.session_data if row else None)
        return self.decode(row.session_data) if row else {}

    # Changes. Each is recorded after it was made, so one that raises is not.

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self._journal[key] = ASSIGNED

    async def aset(self, key, value):
        await super().aset(key, value)
        self._journal[key] = ASSIGNED

    def __delitem__(self, key):
        super().__delitem__(key)
        self._journal[key] = ASSIGNED

    def pop(self, key, *args, **kwargs):
        known = key in self._session
        value = super().pop(key, *args, **kwargs)
        if known:
            self._journal[key] = ASSIGNED
        return value

    async def apop(self, key, *args, **kwargs):
        await self._aget_session()
        # The base class would find the session loaded too, and do the same.
        return self.pop(key, *args, **kwargs)

    def update(self, dict_):
        dict_ = dict(dict_)
        super().update(dict_)
        self._journal.update(dict.fromkeys(dict_, ASSIGNED))

    async def aupdate(self, dict_):
        await self._aget_session()
        self.update(dict_)

    def setdefault(self, key, value):
        if key not in self._session:
            first = copy.deepcopy(value)
            self._run(key, lambda data: data.setdefault(key, copy.deepcopy(first)))
        return self._session[key]

    async def asetdefault(self, key, value):
        await self._aget_session()
        return self.setdefault(key, value)

    def clear(self):
        super().clear()
        self._journal, self._results, self._cleared = {}, {}, True

    def add(self, key, amount=1):
        """Add `amount` to a number, 0 if there is none, and return the provisional sum."""
        return self.change(key, lambda number: number + amount, default=0)

    async def aadd(self, key, amount=1):
        await self._aget_session()
        return self.add(key, amount)

    def change(self, key, function, default=None):
        """
        Set the key to `function(value)` and return it; the value is `default` if there is none.

        The function runs again if another request was faster, and must do nothing else.
        """

        def apply(data):
            data[key] = function(data.get(key, copy.deepcopy(default)))

        self._run(key, apply)
        return self._session[key]

    async def achange(self, key, function, default=None):
        await self._aget_session()
        return self.change(key, function, default)

    def _run(self, key, apply):
        """Run a change now, and record it to be run again on a newer row."""
        data = self._session
        self._record_change_in_place(key)
        apply(data)
        self.modified = True
        if self._journal.setdefault(key, []) is not ASSIGNED:
            self._journal[key].append(apply)
            self._results[key] = self._serialized(data, key)

    def _record_change_in_place(self, key):
        """Record as assigned what no method of this class has changed, as in `s["list"].append(1)`."""
        changes = self._journal.get(key)
        if changes is ASSIGNED:
            return
        if changes is None:
            known = None if self._cleared else self._serialized(self._loaded_data(), key)
        else:
            known = self._results[key]
        if known != self._serialized(self._session, key):
            self._journal[key] = ASSIGNED

    def _loaded_data(self):
        if self._original is None:
            self._original = self.decode(self._loaded_text)
        return self._original

    def _serialized(self, data, key):
        return self.serializer().dumps(data[key]) if key in data else None

    # Saving.

    def save(self, must_create=False):
        if self.session_key is None:
            return self.create()
        data = self._get_session(no_load=must_create)
        if must_create:
            self._insert(self.create_model_instance(data))
        elif not self._replace(self.create_model_instance(data), self.session_key):
            self._merge_and_replace(self.session_key)

    async def asave(self, must_create=False):
        if self.session_key is None:
            return await self.acreate()
        data = await self._aget_session(no_load=must_create)
        row = await self.acreate_model_instance(data)
        if must_create:
            await sync_to_async(self._insert)(row)
        elif not await sync_to_async(self._replace)(row, self.session_key):
            await sync_to_async(self._merge_and_replace)(self.session_key)

    def cycle_key(self):
        data = self._session
        old_key = self.session_key
        if old_key is None:
            self.create()
        elif not self._rename(data, old_key):
            if "_auth_user_id" in data:
                raise SessionInterrupted(
                    "The session was deleted before its key could be changed. The user may have logged out in "
                    "a concurrent request, for example."
                )
            # Of two logins of one browser at once, this is the second one. No logout ends an anonymous visit.
            self.create()
        self.modified = True

    async def acycle_key(self):
        await self._aget_session()
        await sync_to_async(self.cycle_key)()

    def flush(self):
        super().flush()
        self._begin(None)
        self._committed()

    async def aflush(self):
        await super().aflush()
        self._begin(None)
        self._committed()

    def _insert(self, row):
        using = router.db_for_write(self.model, instance=row)
        try:
            with transaction.atomic(using=using):
                row.save(force_insert=True, using=using)
        except IntegrityError:
            raise CreateError
        self._begin(row.session_data)

    def _rename(self, data, old_key):
        """Save under a new key. Returns False if the session was deleted meanwhile."""
        while True:
            self._session_key = new_key = self._get_new_session_key()
            try:
                if not self._replace(self.create_model_instance(data), old_key):
                    self._merge_and_replace(old_key)
                return True
            except UpdateError:
                self._session_key = old_key
                return False
            except Exception as error:
                self._session_key = old_key
                # Otherwise another session has got the new key meanwhile.
                if not (isinstance(error, IntegrityError) and self.exists(new_key)):
                    raise

    def _replace(self, row, key):
        """Write the row over the one at `key`, if that one still holds what was loaded."""
        if self._loaded_text is None:
            return False  # nothing was loaded that could be compared
        using = router.db_for_write(self.model, instance=row)
        rows = self.model._base_manager.using(using).filter(pk=key, session_data=self._loaded_text)
        with transaction.atomic(using=using):
            written = rows.update(**columns(row, key))
        if written:
            self._saved(row, using)
        return bool(written)

    def _merge_and_replace(self, key):
        """Replay the changes on the row as it is now, and write the result."""
        self._record_changes_in_place()
        using = router.db_for_write(self.model, instance=self.model(pk=key))
        rows = self.model._base_manager.using(using).filter(pk=key)
        mine = self._session
        try:
            with transaction.atomic(using=using):
                # A lock that SQLite has too: nobody else can write the row until it is saved here.
                if not rows.update(session_data=F("session_data")):
                    raise UpdateError
                text = rows.select_for_update().get().session_data
                # Before the row is made: its expiry depends on the data.
                self._session_cache = self._replayed(self.decode(text))
                row = self.create_model_instance(self._session_cache)
                rows.update(**columns(row, key))
        except BaseException:
            # The journal is of these data, and another save may follow.
            self._session_cache = mine
            raise
        self._saved(row, using)

    def _saved(self, row, using):
        if self._uncommitted_text is None and transaction.get_connection(using).in_atomic_block:
            self._uncommitted_text = self._loaded_text
            transaction.on_commit(self._committed, using=using)
        self._begin(row.session_data)

    def _committed(self):
        self._uncommitted_text = None

    def _record_changes_in_place(self):
        if self._uncommitted_text is not None:
            # An earlier save was rolled back with its transaction: all its changes are still to be made.
            self._begin(self._uncommitted_text)
            self._committed()
        elif self._loaded_text is None:
            self._cleared = True  # data that were set without a load replace the whole session
        for key in {**self._loaded_data(), **self._session}:
            self._record_change_in_place(key)

    def _replayed(self, newer):
        mine = self._session
        data = {} if self._cleared else newer
        for key, changes in self._journal.items():
            if changes is not ASSIGNED:
                for apply in changes:
                    apply(data)
            elif key in mine:
                data[key] = mine[key]
            else:
                data.pop(key, None)
        return data


def columns(row, key):
    """Return the columns of `row` for an update of the row at `key`, as Model.save() would write them."""
    fields = [field for field in row._meta.concrete_fields if not getattr(field, "generated", False)]
    if row.pk == key:
        fields = [field for field in fields if not field.primary_key]
    return {field.attname: field.pre_save(row, False) for field in fields}
