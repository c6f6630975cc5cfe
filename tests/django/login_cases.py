"""The cases of record_login.py: what is stored, and what the view does with it."""

SECRETS = ["a secret", "an old secret", "the oldest secret"]
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
ALL_BACKEND = "django.contrib.auth.backends.AllowAllUsersModelBackend"

# Name, key, password column, active.
UUIDS = ["00000000-0000-0000-0000-000000000001", "0123abcd-0123-4567-89ab-0123456789ab"]
USERS = {
    "integer": [("ann", 1, True), ("bob", 10, True), ("ida", 3, False)],
    "uuid": [("ann", UUIDS[0], True), ("bob", UUIDS[1], True), ("ida", 32 * "f", False)],
    "text": [("ann", "1", True), ("bob", "Bob b", True)],
}


def column(name):
    return f"!column of {name}"


def digests(model):
    """The values in angle brackets."""
    from django.contrib.auth import get_user_model
    from django.test.utils import override_settings

    values = {"<Model>": MODEL_BACKEND, "<All>": ALL_BACKEND}
    for name, _, _ in USERS[model]:
        for number, secret in enumerate([*SECRETS, "a foreign secret"], 1):
            with override_settings(SECRET_KEY=secret, SECRET_KEY_FALLBACKS=[]):
                digest = get_user_model()(password=column(name)).get_session_auth_hash()
            values[f"<{name}>" if number == 1 else f"<{name} {number}>"] = digest
    values["<ANN>"] = values["<ann>"].upper()
    return values


def hash_cases():
    """Session hashes: of secrets and password columns."""
    secrets = [
        "a secret",
        "x",
        "django-insecure-0123456789abcdefghijklmnopqrstuvwxyz!@#$%^&*(-_=+",
        64 * "k",
        65 * "k",
        200 * "k",
        " blanks around ",
        "Schl\u00fcssel \u043a\u043b\u044e\u0447",
        "\U0001f511",
        "with\0nul",
        "line\nbreak",
    ]
    columns = [
        "",
        "!",
        "!" + 40 * "a",
        "pbkdf2_sha256$1000000$saltsaltsaltsaltsaltsa$wS2d1bJ0cPUwz7R0c0W0m0b0m0b0m0b0m0b0m0b0m0a=",
        "argon2$argon2id$v=19$m=102400,t=2,p=8$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYQ$aGFzaA",
        "md5$salt$0123456789abcdef0123456789abcdef",
        128 * "x",
        "\u00fcml\u00e4ut",
        "\U0001f511",
        " blanks ",
        "line\nbreak",
    ]
    from django.contrib.auth import get_user_model
    from django.test.utils import override_settings

    for secret in secrets:
        with override_settings(SECRET_KEY=secret, SECRET_KEY_FALLBACKS=[]):
            for text in columns:
                digest = get_user_model()(password=text).get_session_auth_hash()
                yield {"part": "hash", "secret": secret, "column": text, "outcome": digest}


def session(user="ann", digest=None, backend="<Model>", **more):
    """The keys of a login, after the given ones."""
    pairs = [[name, value] for name, value in more.items()]
    return [*pairs, ["_auth_user_id", user], ["_auth_user_backend", backend], ["_auth_user_hash", digest]]


def id_cases(model):
    """request.user: every spelling of a key."""
    common = [
        "1", 1, " 1 ", "1\n", "+1", "01", "\uff11", "\u0661", "1_0", "1__0", "_1", "1_", 1.0, 1.9, -0.0, True,
        False, "-1", -1, "0", 0, "99", "", None, "abc", "1.0", "1e0", "0x1", "1\0", "\0", [], [1], {}, {"a": 1},
        2**31, 2**63 - 1, 2**63, str(2**63), str(-(2**63)), str(2**64), 1e300, str(10**300), "<5000 x 9>",
        "<10240 x x>", "1;DROP", "1\u200b", "\u00b2", "\u4e00", "1 0", "\u00a01", "\x1c1", "\ufeff1", "1.", "--1", "+-1",
        "- 1", "True", "None",
    ]
    uuid = UUIDS[1]
    uuids = [
        UUIDS[0], uuid, uuid.upper(), uuid.replace("-", ""), f"{{{uuid}}}", f"urn:uuid:{uuid}", f"{uuid} ", f" {uuid}",
        f"{uuid}\n", uuid[:-1], uuid + "0", uuid.replace("0", "\uff10"), uuid.replace("a", "g"), "-".join(uuid),
        f"uuid:{uuid}", f"URN:UUID:{uuid}", f"{{{{{uuid}}}}}", f"}}{uuid}{{", "0" * 32, "ffffffffffffffffffffffffffffffff",
        uuid[:8] + "_" + uuid[9:], "0x" + uuid.replace("-", "")[2:], "+" + uuid.replace("-", "")[1:],
        uuid.replace("-", "")[:15] + "_" + uuid.replace("-", "")[16:], uuid + "-", 2**64 - 1, 2**64, 2**128 - 1,
        2**128, 0.5,
    ]
    texts = ["Bob b", "bob b", "Bob b ", "1 ", "Bob\0b", "\u00a01", 1.5, "[]", "[1]"]
    ids = common + {"integer": [], "uuid": uuids, "text": texts}[model]
    for value in ids:
        # Whose hash it must be, if anybody's.
        name = "bob" if value in ("1_0", "Bob b") or (isinstance(value, str) and "123abcd" in value.lower()) else "ann"
        yield {"session": session(value, f"<{name}>"), "ops": [["user"]]}


def user_cases():
    """request.user: backends, hashes, inactive users; what follows an error."""
    more = {"cart": [1]}
    for backend in [
        "<Model>", "<All>", "", "no.such.Backend", "no", " <Model>", None, 7, True, [], ["<Model>"], {},
        "django.contrib.auth.backends.modelbackend", "django.contrib.auth.backends", "<10240 x b>", "a\0b",
    ]:
        yield {"session": session("1", "<ann>", backend, **more), "ops": [["user"]]}
    for digest in [
        "<ann>", "<ann 2>", "<ann 3>", "<ann 4>", "<bob>", "<ANN>", " <ann>", "<ann> ", "", "0", 0, None, True, [],
        ["<ann>"], {}, 64 * "0", 64 * "\uff11", 40 * "a", "<10240 x a>", "a\0b",
    ]:
        for status in (200, 500):
            yield {"session": session("1", digest, **more), "ops": [["user"]], "status": status}
        yield {"session": session("1", digest, **more), "ops": []}
        yield {"session": session("1", digest, **more), "ops": [["user"], ["set", "a", 2], ["user"]]}
    for digest in ("<ida>", "<ida 2>", "<ann>", ""):
        for backends in (["<Model>"], ["<All>"], ["<Model>", "<All>"]):
            for backend in ("<Model>", "<All>"):
                yield {"session": session("3", digest, backend), "ops": [["user"]], "backends": backends}
    for missing in range(3):
        pairs = session("1", "<ann>", **more)
        del pairs[missing + 1]
        yield {"session": pairs, "ops": [["user"]]}
    yield {"session": list(reversed(session("1", "<ann>"))), "ops": [["user"]]}
    for name in ("none", "unknown", "empty", "anonymous"):
        yield {"session": name, "ops": [["user"]]}


SESSIONS = {
    "none": None,
    "unknown": "unknown",
    "empty": [],
    "anonymous": [["cart", [1]], ["_language", "de"], ["_session_expiry", 600]],
    "ann": session("1", "<ann>", cart=[1]),
    "ann, other order": [*reversed(session("1", "<ann>")), ["cart", [1]]],
    "ann, a number": session(1, "<ann>", cart=[1]),
    "ann, spelt otherwise": session(" 01", "<ann>", cart=[1]),
    "ann, other backend": session("1", "<ann>", "no.such.Backend", cart=[1]),
    "ann, wrong hash": session("1", 64 * "0", cart=[1]),
    "ann, null hash": session("1", None, cart=[1]),
    "ann, no hash": session("1", "<ann>", cart=[1])[:-1],
    "ann, fallback": session("1", "<ann 2>", cart=[1]),
    "bob": session("10", "<bob>", cart=[1]),
    "ida": session("3", "<ida>", cart=[1]),
    "nobody": session("99", "<ann>", cart=[1]),
    "null id": session(None, "<ann>", cart=[1]),
    "only a hash": [["cart", [1]], ["_auth_user_hash", "<ann>"]],
    "only a backend": [["cart", [1]], ["_auth_user_backend", "<Model>"]],
    "malformed": session("abc", "<ann>", cart=[1]),
    "a list": session([], "<ann>", cart=[1]),
}
FEW = ["none", "anonymous", "ann", "ann, fallback", "ann, wrong hash", "bob"]


def login_cases():
    for name in SESSIONS:
        for user in ("ann", "bob", "ida"):
            if user == "ann" or name in FEW or name == "ida":
                yield {"session": name, "ops": [["login", user]]}
        yield {"session": name, "ops": [["user"], ["login", "ann"], ["user"]]}
        yield {"session": name, "ops": [["login", "ann"]], "status": 500}
    programs = [
        [["set", "a", 2], ["login", "ann"], ["set", "b", 3], ["user"]],
        [["login", "ann"], ["login", "bob"], ["user"]],
        [["login", "ann"], ["login", "ann"]],
        [["login", "ann"], ["logout"], ["user"]],
        [["logout"], ["login", "ann"], ["user"]],
        [["login", "ann"], ["raise"]],
        [["login", "ann"], ["flush"], ["user"]],
        [["clear"], ["login", "ann"]],
        [["login", "ann"], ["set_password", "ann", "!another"], ["user"]],
    ]
    for name in FEW:
        for program in programs:
            yield {"session": name, "ops": program}
    both = ["<Model>", "<All>"]
    for name in ("none", "anonymous", "ann"):
        yield {"session": name, "ops": [["login", "ann"]], "backends": both}
        yield {"session": name, "ops": [["login", "ann", "<All>"]], "backends": both}
        yield {"session": name, "ops": [["login", "ida"]], "backends": ["<All>"]}


def logout_cases():
    for name in SESSIONS:
        yield {"session": name, "ops": [["logout"]]}
        yield {"session": name, "ops": [["logout"]], "status": 500}
    for name in FEW:
        for program in (
            [["user"], ["logout"], ["user"]],
            [["logout"], ["set", "a", 2], ["user"]],
            [["set", "a", 2], ["logout"]],
            [["logout"], ["logout"]],
        ):
            yield {"session": name, "ops": program}


def update_cases():
    change = ["set_password", "ann", "!another"]
    for name in [*FEW, "ann, other backend", "ida", "nobody", "malformed", "only a hash"]:
        for program in (
            [["user"], change, ["update_hash", "ann"], ["user"]],
            [change, ["update_hash", "ann"], ["user"]],
            [["update_hash", "ann"]],
            [["user"], ["update_hash", "ann"]],
            [["user"], ["set_password", "bob", "!another"], ["update_hash", "bob"], ["user"]],
        ):
            yield {"session": name, "ops": program}
        yield {"session": name, "ops": [["user"], change, ["update_hash", "ann"]], "status": 500}


def cases(model):
    yield from ({"part": "id"} | case for case in id_cases(model))
    if model == "integer":
        yield from ({"part": "user"} | case for case in user_cases())
        yield from ({"part": "login"} | case for case in login_cases())
        yield from ({"part": "logout"} | case for case in logout_cases())
        yield from ({"part": "update"} | case for case in update_cases())


TYPES = [(1, "blog", "entry"), (2, "blog", "page"), (3, "a.b", "x"), (4, "Shop", "cart"), (5, "", "empty")]
PERMISSIONS = [
    (1, 1, "add_entry"), (2, 1, "view_entry"), (3, 2, "add_entry"), (4, 3, "c.d"), (5, 4, "view_cart"),
    (6, 2, "sub.view_x"), (7, 1, " blank "), (8, 1, ""), (9, 4, "\u00fcber"), (10, 5, "x"), (11, 1, "100%_'\"\\"),
]
GROUPS = [(1, "writers", [1, 2]), (2, "empty", []), (3, "shop", [5, 9, 1])]
# Name, fields, groups, permissions of its own.
HOLDERS = [
    ("nothing", {}, [], []),
    ("own", {}, [], [1, 4, 6, 7, 8]),
    ("grouped", {}, [1, 2], []),
    ("both", {}, [1, 2, 3], [1, 3, 10, 11]),
    ("root", {"is_superuser": True}, [1], [4]),
    ("gone", {"is_active": False}, [1], [4]),
    ("gone root", {"is_active": False, "is_superuser": True}, [1], [4]),
    ("staff", {"is_staff": True}, [], []),
]
ASKED = [
    "blog.add_entry", "blog.view_entry", "Blog.add_entry", "blog.add_entry ", "a.b.c.d", "shop.view_cart",
    "Shop.view_cart", "blog.sub.view_x", "blog. blank ", "blog.", "blog", "", ".x", "Shop.\u00fcber", "no.such",
    "blog.100%_'\"\\", "blog.%",
]
MODULES = ["blog", "Blog", "a", "a.b", "Shop", "blog.sub", "", "no"]


def permission_cases():
    from django.contrib.auth.models import Group, Permission, User
    from django.contrib.contenttypes.models import ContentType

    Permission.objects.all().delete()
    ContentType.objects.all().delete()
    for number, app, name in TYPES:
        ContentType.objects.create(id=number, app_label=app, model=name)
    for number, content_type, codename in PERMISSIONS:
        Permission.objects.create(id=number, name="p", content_type_id=content_type, codename=codename)
    for number, name, held in GROUPS:
        Group.objects.create(id=number, name=name).permissions.set(held)
    for number, (name, fields, groups, own) in enumerate(HOLDERS, 100):
        user = User.objects.create(id=number, username=name, **fields)
        user.groups.set(groups)
        user.user_permissions.set(own)
        user = User.objects.get(pk=user.pk)
        outcome = {
            "all": sorted(user.get_all_permissions()),
            "own": sorted(user.get_user_permissions()),
            "groups": sorted(user.get_group_permissions()),
            "has": [user.has_perm(text) for text in ASKED],
            "modules": [user.has_module_perms(text) for text in MODULES],
            "has_perms": [user.has_perms(ASKED[:n]) for n in (0, 1, 2, 3)],
        }
        yield {"part": "permissions", "user": name, "fields": fields, "in": groups, "own": own, "outcome": outcome}


PERMISSION_TABLES = {"types": TYPES, "permissions": PERMISSIONS, "groups": GROUPS, "asked": ASKED, "modules": MODULES}
