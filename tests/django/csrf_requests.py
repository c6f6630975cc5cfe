"""The requests that record_csrf.py sends, and the settings of the sites that they go to."""

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def masked(secret, mask):
    pairs = zip(map(LETTERS.index, secret), map(LETTERS.index, mask))
    return mask + "".join(LETTERS[(x + y) % 62] for x, y in pairs)


SECRET = "abcdefghijklmnopqrstuvwxyzABCDEF"
OTHER = SECRET[::-1]
MASK = "0123456789zyxwvutsrqponmlkjihgfe"
MASKED = masked(SECRET, MASK)
MASKED_2 = masked(SECRET, OTHER)
MASKED_OTHER = masked(OTHER, MASK)

FORM = "application/x-www-form-urlencoded"
FIELD = "csrfmiddlewaretoken"

# From the longest to the shortest, since some are parts of others.
TEXTS = {
    "<masked>": MASKED,
    "<masked again>": MASKED_2,
    "<masked other>": MASKED_OTHER,
    "<secret>": SECRET,
    "<other>": OTHER,
    "<short>": SECRET[1:],
    "<cut>": SECRET[:-1],
    "<form>": FORM,
    "<field>": FIELD,
    "<100 x>": 100 * "x",
    "<part>": 'Content-Disposition: form-data; name=',
}

GROUPS = {
    "default": {},
    "trusted": {
        "CSRF_TRUSTED_ORIGINS": [
            "https://exact.org",
            "http://plain.org:8000",
            "https://*.sub.org",
            "http://*.Mixed.org",
            "HTTPS://*.upper.org",
            "https://*star.org",
            "https://*.port.org:8443",
        ]
    },
    "domain": {"CSRF_COOKIE_DOMAIN": "example.com"},
    "subdomains": {"CSRF_COOKIE_DOMAIN": ".example.com"},
    "upper_domain": {"CSRF_COOKIE_DOMAIN": ".Example.COM"},
    "allowed": {"ALLOWED_HOSTS": ["example.com"]},
    "limits": {"DATA_UPLOAD_MAX_MEMORY_SIZE": 700, "DATA_UPLOAD_MAX_NUMBER_FIELDS": 5},
    "header": {"CSRF_HEADER_NAME": "HTTP_X_MY_2FA_TOKEN"},
    "name": {"CSRF_COOKIE_NAME": "other", "CSRF_COOKIE_AGE": None},
    "path": {"CSRF_COOKIE_PATH": "/sub/", "CSRF_COOKIE_AGE": 3600},
    "secure": {"CSRF_COOKIE_SECURE": True, "CSRF_COOKIE_SAMESITE": "Strict"},
    "httponly": {"CSRF_COOKIE_HTTPONLY": True, "CSRF_COOKIE_SAMESITE": None},
    "none": {"CSRF_COOKIE_SECURE": True, "CSRF_COOKIE_SAMESITE": "None"},
    "sessions": {"CSRF_USE_SESSIONS": True},
    "sessions_domain": {"CSRF_USE_SESSIONS": True, "SESSION_COOKIE_DOMAIN": ".example.com"},
}


def request(view="plain", group="default", **parts):
    headers = parts.pop("headers", {})
    headers = {name: text for name, text in headers.items() if text is not None or name == "host"}
    if not parts.get("https"):
        parts.pop("https", None)
    return {"group": group, "view": view} | parts | ({"headers": headers} if headers else {})


def without_usual(case):
    usual = {"group": "default", "view": "plain"}
    return {name: part for name, part in case.items() if usual.get(name) != part}


def abbreviated(value):
    if isinstance(value, dict):
        return {name: abbreviated(part) for name, part in value.items()}
    if isinstance(value, list):
        return [abbreviated(part) for part in value]
    if isinstance(value, str):
        for name, text in TEXTS.items():
            value = value.replace(text, name)
    return value


def post(form=None, view="plain", group="default", cookie=SECRET, header=None, **parts):
    """A POST of a form: the body, or the field's value as ("token",)."""
    headers = {"cookie": None if cookie is None else f"csrftoken={cookie}", "x-csrftoken": header}
    if isinstance(form, tuple):
        form = f"a=b&{FIELD}={form[0]}"
    if form is not None:
        headers["content-type"] = FORM
        parts["body"] = form
    headers |= parts.pop("headers", {})
    return request(view, group, method="POST", headers=headers, **parts)


COOKIES = [
    f"csrftoken={SECRET}",
    f"csrftoken={MASKED}",
    f"csrftoken={OTHER}",
    None,
    "csrftoken=",
    f"csrftoken={SECRET[:-1]}!",
]
MORE_COOKIES = [
    "csrftoken",
    f"csrftoken={SECRET[1:]}",
    f"csrftoken={SECRET}a",
    f"csrftoken={MASKED[1:]}",
    f"csrftoken={MASKED}a",
    f"csrftoken={MASKED[:-1]}-",
    f'csrftoken="{SECRET}"',
    f"csrftoken= {SECRET} ",
    f"csrftoken={OTHER}; csrftoken={SECRET}",
    f"csrftoken={SECRET}; csrftoken={OTHER}",
    f"csrftoken={SECRET}; csrftoken=",
    f"csrftoken=; csrftoken={SECRET}",
    f"CSRFToken={SECRET}",
    f"x=y; csrftoken={SECRET}; z",
    "csrftoken=" + 32 * "\xe9",
    "csrftoken=" + 16 * "\xc3\xa9",
    "csrftoken=" + 32 * "\xc3\xa9",
    f"csrftoken={SECRET[:-1]}\xb2",
]
FORM_TOKENS = [None, "", SECRET, MASKED, MASKED_2, OTHER, MASKED_OTHER, SECRET[1:], SECRET[1:] + "!"]
HEADER_TOKENS = [None, "", MASKED, SECRET, OTHER, "short"]


def token_requests():
    for cookie in COOKIES:
        for form in FORM_TOKENS:
            for header in HEADER_TOKENS:
                headers = {"cookie": cookie}
                yield post(None if form is None else (form,), header=header, headers=headers)
    for cookie in MORE_COOKIES:
        for view in ("plain", "tokens"):
            yield request(view, headers={"cookie": cookie})
            yield post((SECRET,), view, headers={"cookie": cookie})
    views = "tokens rotate error ensure missing exempt exempt_tokens exempt_protected".split()
    for cookie in COOKIES:
        for view in views:
            yield request(view, headers={"cookie": cookie})
            yield post(None, view, headers={"cookie": cookie})
            yield post((MASKED,), view, headers={"cookie": cookie})
    methods = "GET HEAD OPTIONS TRACE PUT PATCH DELETE POST PROPFIND QUERY get post Put".split()
    for method in methods:
        headers = {"cookie": f"csrftoken={SECRET}", "content-type": FORM}
        for token in (None, SECRET, OTHER):
            parts = {"method": method, "headers": headers | {"x-csrftoken": token}}
            yield request(**parts)
            if method.upper() not in ("GET", "HEAD", "OPTIONS", "TRACE"):
                yield request(body=f"{FIELD}={SECRET}", **parts)
    for header in (f"{SECRET},{SECRET}", f"{SECRET} ", 32 * "\xe9", MASKED_2, MASKED_OTHER):
        yield post(header=header)
    for name in ("x-my-2fa-token", "x-csrftoken"):
        for token in (SECRET, OTHER, ""):
            yield post(group="header", headers={name: token})


ORIGINS = [
    "http://example.com",
    "https://example.com",
    "http://EXAMPLE.com",
    "HTTP://example.com",
    "http://example.com/",
    "http://example.com:80",
    "https://example.com:443",
    "http://example.com:8000",
    "https://example.com:8000",
    "http://user@example.com",
    "http://www.example.com",
    "http://example.com.evil.org",
    "http://evil.org",
    "example.com",
    "//example.com",
    "null",
    "",
    "*",
    "http://",
    "http://[",
    "http://[::1]",
    "https://exact.org",
    "http://exact.org",
    "https://exact.org:443",
    "https://www.exact.org",
    "https://Exact.org",
    "http://plain.org:8000",
    "http://plain.org",
    "https://sub.org",
    "https://a.sub.org",
    "https://a.b.sub.org",
    "HTTPS://a.sub.org",
    "https://A.sub.org",
    "https://a.SUB.org",
    "http://a.sub.org",
    "https://a.sub.org:8443",
    "https://a.sub.org/path?query",
    "https://user:password@a.sub.org",
    "https://notsub.org",
    "https://*.sub.org",
    "https://.sub.org",
    "https://[.sub.org",
    "https://[::1].sub.org",
    "https://\xe9.sub.org",
    "http://a.mixed.org",
    "http://a.Mixed.org",
    "https://a.upper.org",
    "https://star.org",
    "https://a.star.org",
    "https://a.port.org:8443",
    "https://a.port.org",
    "http://other.org",
]


def origin_requests():
    for origin in ORIGINS:
        for https in (False, True):
            yield post((MASKED,), https=https, headers={"origin": origin})
            yield post((MASKED,), group="trusted", https=https, headers={"origin": origin})
    for host in ("example.com:80", "example.com:443", "example.com:8000", "EXAMPLE.com", "bad host", None):
        for origin in ORIGINS[:10] + ["http://bad host", "https://exact.org"]:
            headers = {"host": host, "origin": origin}
            yield post((MASKED,), group="trusted", headers=headers)
    for origin in ("http://example.com", "http://other.org"):
        for host in ("example.com", "other.org"):
            yield post((MASKED,), group="allowed", headers={"host": host, "origin": origin})
        # Which check is the first
        yield post(None, cookie=None, headers={"origin": origin})
        yield post(None, cookie="", headers={"origin": origin})
        yield post((OTHER,), headers={"origin": origin})
        referers = {"origin": origin, "referer": "http://evil.org/"}
        yield post((SECRET,), https=True, headers=referers)
        yield request(headers={"origin": origin})
        for view in ("exempt", "exempt_protected", "missing"):
            yield post((MASKED,), view, headers={"origin": origin})


REFERERS = [
    None,
    "",
    "https://example.com/",
    "https://example.com",
    "https://example.com/path?next=x#f",
    "https://example.com:443/",
    "https://example.com:8000/",
    "https://EXAMPLE.com/",
    "HTTPS://example.com/",
    "http://example.com/",
    "https://user:password@example.com/",
    "https://www.example.com/",
    "https://www.example.com:8000/",
    "https://example.com.evil.org/",
    "https://evil.org/?https://example.com/",
    "https://evil.org#@example.com/",
    "https://example.com\\@evil.org/",
    "https:///example.com/",
    "https:/example.com/",
    "https:example.com/",
    "https://?example.com",
    "//example.com/",
    "example.com",
    "/path",
    "about:blank",
    "ftp://example.com/",
    "x1://example.com/",
    "1x://example.com/",
    "https://[::1/",
    "https://::1]/",
    "https://[::1]/",
    "https://[::1]:8000/",
    "https://[v1.x]/",
    "https://[1.2.3.4]/",
    "https://a[::1]/",
    "https://exact.org/",
    "https://exact.org:8000/",
    "https://a.sub.org/x",
    "https://sub.org/",
    "https://.sub.org/",
    "https://a.mixed.org/",
    "https://plain.org:8000/",
    "https://star.org/",
    "https://a.star.org/",
    "https://\xe9.sub.org/",
    "https://exa\tmple.com/",
]


def referer_requests():
    for referer in REFERERS:
        headers = {"referer": referer}
        for group in ("default", "trusted", "domain", "subdomains", "sessions_domain"):
            session = {"session": [SECRET]} if group.startswith("sessions") else {}
            parts = {"group": group, "https": True, "port": "443", "headers": headers} | session
            yield post((MASKED,), **parts)
        yield post((MASKED,), group="subdomains", https=True, port="8000", headers=headers)
        yield post((MASKED,), headers=headers)
    for host in ("EXAMPLE.com", "example.com:443", ".example.com", "bad host", "[::1]:8000"):
        for referer in REFERERS[2:13] + ["https://[::1]:8000/"]:
            yield post((MASKED,), https=True, headers={"host": host, "referer": referer})
    for referer in REFERERS[2:13]:
        yield post((MASKED,), group="upper_domain", https=True, headers={"referer": referer})
    for cookie in (None, "", SECRET):
        for referer in (None, "https://evil.org/"):
            yield post(None, cookie=cookie, https=True, headers={"referer": referer})


def escaped(text):
    return "".join(f"%{ord(letter):02x}" for letter in text)


FORMS = [
    f"{FIELD}={SECRET}",
    f"{FIELD}={SECRET}&",
    f"&&{FIELD}={SECRET}&&",
    f"{FIELD}={OTHER}&{FIELD}={SECRET}",
    f"{FIELD}={SECRET}&{FIELD}={OTHER}",
    f"{FIELD}={SECRET}&{FIELD}=",
    f"{FIELD}={SECRET}&{FIELD}",
    f"{FIELD}={escaped(SECRET)}",
    f"{escaped(FIELD)}={SECRET}",
    f"{FIELD}= {SECRET}",
    f"{FIELD}=+{SECRET}",
    f"{FIELD}={SECRET}%0d%0a",
    f"{FIELD}={SECRET}\r\n",
    f"{FIELD}={SECRET};a=b",
    f"a=b;{FIELD}={SECRET}",
    f"{FIELD}=={SECRET}",
    f" {FIELD}={SECRET}",
    f"+{FIELD}={SECRET}",
    f"{FIELD.upper()}={SECRET}",
    f"{FIELD}[]={SECRET}",
    f"{FIELD}={SECRET[:-1]}%",
    f"{FIELD}={SECRET[:-1]}%e9",
    f"{FIELD}={SECRET[:-1]}%c3%a9",
    f"{FIELD}={SECRET[:-1]}\xe9",
    f"{FIELD}={SECRET}&a=\xe9%e9",
    f"a=%ff&{FIELD}={SECRET}",
    f"{FIELD}={32 * '%c3%a9'}",
    f"{FIELD}={64 * '%ff'}",
    f'{{"{FIELD}": "{SECRET}"}}',
    "",
    "\0",
]
CONTENT_TYPES = [
    None,
    "",
    FORM,
    f"{FORM}; charset=utf-8",
    f"{FORM}; charset=UTF-8",
    f'{FORM}; charset="utf-8"',
    f"{FORM}; charset=iso-8859-1",
    f"{FORM}; charset=utf-16",
    f"{FORM}; charset=unknown",
    f"{FORM}; x=y; charset=us-ascii",
    f"{FORM};",
    f" {FORM.upper()} ",
    f"{FORM}, {FORM}",
    "text/plain",
    "application/json",
    "multipart/form-data",
    "multipart/mixed; boundary=b",
]


def part(name, value, disposition='form-data; name="{}"', extra=""):
    return f"Content-Disposition: {disposition.format(name)}\r\n{extra}\r\n{value}"


def multipart(*parts, boundary="b", end="--\r\n"):
    begin = f"--{boundary}\r\n"
    return begin + f"\r\n{begin}".join(parts) + f"\r\n--{boundary}{end}"


TOKEN_PART = part(FIELD, SECRET)
FILE = part("f", "x", 'form-data; name="{}"; filename="f.txt"', "Content-Type: text/plain\r\n")
TYPE = "multipart/form-data; boundary=b"
MULTIPART = [
    (TYPE, multipart(TOKEN_PART)),
    (TYPE, multipart(part("a", "b"), TOKEN_PART, FILE)),
    (TYPE, multipart(FILE, TOKEN_PART)),
    (TYPE, multipart(part(FIELD, OTHER), TOKEN_PART)),
    (TYPE, multipart(TOKEN_PART, part(FIELD, OTHER))),
    (TYPE, multipart(TOKEN_PART, part(FIELD, ""))),
    (TYPE, multipart(part(FIELD, SECRET + "\r\n"))),
    (TYPE, multipart(part(FIELD, " " + SECRET))),
    (TYPE, multipart(part(FIELD, escaped(SECRET)))),
    (TYPE, multipart(part(FIELD, SECRET[:-1] + "\xe9"))),
    (TYPE, multipart(part(FIELD, SECRET, 'form-data; name="{}"; filename="x"'))),
    (TYPE, multipart(part(FIELD, SECRET, 'form-data; name="{}"; filename=""'))),
    (TYPE, multipart(part(FIELD, SECRET, 'form-data; name="{}"; filename*=utf-8\'\'x'))),
    (TYPE, multipart(part(FIELD, SECRET, "form-data; name={}"))),
    (TYPE, multipart(part(FIELD, SECRET, "form-data; NAME={}"))),
    (TYPE, multipart(part(FIELD, SECRET, 'form-data; name=" {} "'))),
    (TYPE, multipart(part(FIELD, SECRET, "form-data; name='{}'"))),
    (TYPE, multipart(part(FIELD, SECRET, "form-data; name=a; name={}"))),
    (TYPE, multipart(part(FIELD, SECRET, "form-data; name*=utf-8''{}"))),
    (TYPE, multipart(part(FIELD, SECRET, "attachment; name={}"))),
    (TYPE, multipart(part(FIELD, SECRET, "form-data; x={}"))),
    (TYPE, multipart(part(FIELD, SECRET, "form-data"))),
    (TYPE, multipart(part(FIELD, SECRET).replace("Content-Disposition", "content-disposition "))),
    (TYPE, multipart(part(FIELD, SECRET).replace("Content-Disposition", "X-Disposition"))),
    (TYPE, multipart(part(FIELD, SECRET, extra="Content-Type: text/plain\r\n"))),
    (TYPE, multipart(part(FIELD, SECRET, extra="Content-Type: text/plain; charset=utf-16\r\n"))),
    (TYPE, multipart(part(FIELD, SECRET, extra="X: \xe9\r\n"))),
    (TYPE, multipart(part(FIELD, SECRET, extra="no colon\r\n"))),
    (TYPE, multipart(part(FIELD, SECRET, extra="X: y\nContent-Disposition: form-data; name=a\r\n"))),
    (TYPE, multipart(part(FIELD, "YWJjZA==", extra="Content-Transfer-Encoding: base64\r\n"))),
    (
        TYPE,
        multipart(
            part(
                FIELD,
                "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXpBQkNERUY=",
                extra="Content-Transfer-Encoding: base64\r\n",
            )
        ),
    ),
    (TYPE, multipart(part(FIELD, SECRET + "=", extra="Content-Transfer-Encoding: base64\r\n"))),
    (TYPE, multipart(TOKEN_PART, FILE.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n"))),
    (TYPE, multipart(part(FIELD, SECRET, extra=f"X: {800 * 'x'}\r\n"))),
    (TYPE, multipart(part(FIELD, SECRET, extra=f"X: {1100 * 'x'}\r\n"))),
    (TYPE, multipart(part(FIELD, SECRET, extra=f"X: {1100 * 'x'}\r\n"), TOKEN_PART)),
    (TYPE, "preamble\r\n" + multipart(TOKEN_PART) + "epilogue"),
    (TYPE, multipart(TOKEN_PART).replace("\r\n--b", "\n--b")),
    (TYPE, multipart(TOKEN_PART).replace("\r\n--b", "\r--b")),
    (TYPE, multipart(TOKEN_PART).replace("\r\n--b", "--b")),
    (TYPE, multipart(TOKEN_PART).replace("\r\n", "\n")),
    (TYPE, multipart(TOKEN_PART, end="")),
    (TYPE, multipart(TOKEN_PART, end="--") + multipart(part(FIELD, OTHER))),
    (TYPE, multipart(TOKEN_PART)[:-7]),
    (TYPE, multipart(TOKEN_PART)[:-9]),
    (TYPE, multipart(TOKEN_PART)[:-20]),
    (TYPE, multipart(TOKEN_PART)[:40]),
    (TYPE, multipart(TOKEN_PART, part("a", "b"))[:-15]),
    (TYPE, multipart(TOKEN_PART, part("a", "b"))[:-60]),
    (TYPE, multipart(TOKEN_PART, boundary="c")),
    (TYPE, ""),
    (TYPE, "--b--\r\n"),
    (TYPE, f"{FIELD}={SECRET}"),
    ('multipart/form-data; boundary="b"', multipart(TOKEN_PART)),
    ("multipart/form-data; boundary=x; boundary=b", multipart(TOKEN_PART)),
    ("multipart/form-data; Boundary=b; charset=utf-8", multipart(TOKEN_PART)),
    ("multipart/form-data; boundary=b; charset=iso-8859-1", multipart(TOKEN_PART)),
    ("multipart/form-data; boundary=b; charset=utf-16", multipart(TOKEN_PART)),
    ("multipart/form-data; boundary=b; charset=unknown", multipart(TOKEN_PART)),
    ("Multipart/Form-Data; boundary=b", multipart(TOKEN_PART)),
    ("multipart/form-data", multipart(TOKEN_PART)),
    ("multipart/form-data; boundary=", multipart(TOKEN_PART)),
    ('multipart/form-data; boundary="b "', multipart(TOKEN_PART, boundary="b ")),
    ('multipart/form-data; boundary="b c"', multipart(TOKEN_PART, boundary="b c")),
    (f"multipart/form-data; boundary={201 * 'b'}", multipart(TOKEN_PART, boundary=201 * "b")),
    (f"multipart/form-data; boundary={202 * 'b'}", multipart(TOKEN_PART, boundary=202 * "b")),
    ("multipart/form-data; boundary=\xe9", multipart(TOKEN_PART, boundary="\xe9")),
    ("multipart/form-data; boundary=aab", multipart(part(FIELD, SECRET), boundary="aab")),
]


def body_requests():
    for body in FORMS:
        for header in (None, SECRET):
            yield post(body, header=header)
    for text in CONTENT_TYPES:
        for body in (f"{FIELD}={SECRET}", f"{FIELD}={OTHER}"):
            for header in (None, SECRET):
                yield post(body, header=header, headers={"content-type": text})
    for text, body in MULTIPART:
        for header in (None, MASKED):
            yield post(body, header=header, headers={"content-type": text})
    good, bad = f"{FIELD}={SECRET}", f"{FIELD}={OTHER}"
    fill = "&".join(f"f{number}={50 * 'x'}" for number in range(3))
    sized = {size: f"{good}&x={(size - len(good) - 3) * 'x'}" for size in (699, 700, 701, 2000)}
    big_file = part("f", 900 * "x", 'form-data; name="{}"; filename="f.txt"')
    many = [part(f"f{number}", "x") for number in range(5)]
    for body in (*sized.values(), good + 4 * "&a=b", good + 5 * "&a=b", good + 4 * "&", good + 5 * "&", fill):
        for header in (None, SECRET):
            yield post(body, group="limits", header=header)
        yield request(group="limits", method="PUT", headers={"content-type": FORM}, body=body)
        yield post(body, group="limits", view="exempt")
    for body in (
        multipart(TOKEN_PART, part("x", 500 * "x")),
        multipart(TOKEN_PART, part("x", 550 * "x")),
        multipart(TOKEN_PART, part("x", 800 * "x")),
        multipart(part("x", 800 * "x"), TOKEN_PART),
        multipart(TOKEN_PART, *many[:4]),
        multipart(TOKEN_PART, *many[:5]),
        multipart(TOKEN_PART, *many[:4], FILE),
        multipart(TOKEN_PART, FILE, FILE, FILE, FILE, FILE),
        multipart(TOKEN_PART, big_file),
        multipart(big_file, TOKEN_PART),
        multipart(TOKEN_PART, big_file, part(FIELD, OTHER)),
        multipart(TOKEN_PART, FILE, part("x", 800 * "x")),
    ):
        for header in (None, SECRET):
            yield post(body, group="limits", header=header, headers={"content-type": TYPE})
    yield post(sized[701], group="limits", headers={"content-type": "application/json"}, header=SECRET)
    yield post(sized[701], group="limits", cookie=None)
    yield post(sized[701], group="limits", cookie="")
    yield post(sized[701], group="limits", headers={"origin": "http://evil.org"})
    yield post(bad, group="limits", header=SECRET)


def cookie_requests():
    for group in ("name", "path", "secure", "httponly", "none", "domain", "subdomains"):
        name = GROUPS[group].get("CSRF_COOKIE_NAME", "csrftoken")
        for cookie in (None, f"{name}={SECRET}", f"{name}=bad", "csrftoken=bad"):
            yield request("tokens", group, headers={"cookie": cookie})
            yield request("plain", group, headers={"cookie": cookie})


SESSIONS = [
    None,
    [],
    [None],
    [SECRET],
    [MASKED],
    [OTHER],
    [""],
    ["short"],
    [SECRET[:-1] + "!"],
    [MASKED[:-1] + "!"],
    [7],
    [[]],
    [[SECRET]],
    [{}],
]


def session_requests():
    for session in SESSIONS:
        parts = {"group": "sessions"} | ({} if session is None else {"session": session})
        for view in "plain tokens rotate ensure error flush touch exempt_tokens missing".split():
            yield request(view, **parts)
        for token in (None, SECRET, MASKED, OTHER):
            yield post(token and (token,), cookie=None, **parts)
            yield post(token and (token,), "tokens", cookie=SECRET, **parts)
        yield post(None, header=SECRET, **parts)
        yield post((SECRET,), "exempt", cookie="bad", **parts)
        yield post((SECRET,), "rotate", cookie="bad", **parts)


def requests():
    yield from token_requests()
    yield from origin_requests()
    yield from referer_requests()
    yield from body_requests()
    yield from cookie_requests()
    yield from session_requests()
