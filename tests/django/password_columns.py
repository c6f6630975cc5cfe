"""The columns of the recorder of passwords: of all formats, with many parameters, and malformed ones."""

import django
from password_hashers import (
    NAMES,
    PREFERRED,
    VERSION,
    argon2,
    bcrypt_salt,
    django_hashers,
    encode,
    text,
    use_hashers,
)

SALT = "abcdefghijklmnopqrstuv"
SALTS = [
    SALT,
    "sAlT0123",
    "\u0441\u043e\u043b\u044c-\U0001f9c2-0123456789012",
    " a b+c/d=e,f:g;0123456 ",
    "x" * 60,
]
PASSWORDS = [
    "correct horse",
    "",
    " blanks around ",
    "pass$word",
    "nul\0inside",
    "\u00e9",
    "e\u0301",
    "\u043f\u0430\u0440\u043e\u043b\u044c \U0001f511",
    "x" * 71,
    "x" * 72,
    "\u00e9" * 36,
    {"repeat": "x", "times": 64},
    {"repeat": "xy", "times": 50},
    {"repeat": "0123456789abcdef", "times": 4096},
]


def written():
    """Columns of all formats, each for all passwords or all salts."""
    columns = []
    for salt in SALTS:
        for password in PASSWORDS if salt == SALT else PASSWORDS[:1]:
            for algorithm in ["pbkdf2_sha256", "pbkdf2_sha1"]:
                columns.append((password, pbkdf2(algorithm, password, salt, 60)))
            for algorithm in ["md5", "sha1"]:
                if algorithm in NAMES:
                    columns.append((password, encode(algorithm, password, salt)))
            if "scrypt" in NAMES:
                columns.append(
                    (
                        password,
                        encode(
                            "scrypt", password, salt, work_factor=16, block_size=8, parallelism=2
                        ),
                    )
                )
            columns.append((password, argon2("id", password, salt)))
    for password in PASSWORDS:
        columns.append((password, encode("bcrypt_sha256", password, bcrypt_salt(5))))
        if len(text(password).encode()) <= 72:
            columns.append((password, encode("bcrypt", password, bcrypt_salt(5))))
        for algorithm in ["unsalted_md5", "unsalted_sha1"]:
            if algorithm in NAMES:
                columns.append((password, encode(algorithm, password, "")))
    if "unsalted_md5" in NAMES:
        columns.append((PASSWORDS[0], "md5$$" + encode("unsalted_md5", PASSWORDS[0], "")))
    return columns


def pbkdf2(algorithm, password, salt, iterations):
    hasher = getattr(django_hashers, NAMES[algorithm])()
    return hasher.encode(text(password), salt, iterations)


def parameters():
    """Columns with other parameters than the preferred hasher."""
    word, columns = PASSWORDS[0], []
    for algorithm in ["pbkdf2_sha256", "pbkdf2_sha1"]:
        for iterations in [1, 2, 59, 61, 1000]:
            columns.append(pbkdf2(algorithm, word, SALT, iterations))
        for salt in [SALT[:21], SALT + "w", "\u00e9" * 21, "\u00e9" * 22, SALT[:12]]:
            columns.append(pbkdf2(algorithm, word, salt, 60))
    for variety in ["i", "d", "id"]:
        for version in [16, 19]:
            for m, t, p, length in [
                (64, 2, 2, 32),
                (512, 2, 2, 32),
                (64, 1, 1, 4),
                (67, 3, 3, 64),
                (64, 2, 8, 16),
            ]:
                columns.append(argon2(variety, word, SALT, version, m, t, p, length))
    versionless = argon2("i", word, SALT, 16).replace("v=16$", "")
    columns += [versionless, argon2("id", word, SALT[:21]), argon2("id", word, SALT[:8])]
    for algorithm in ["bcrypt_sha256", "bcrypt"]:
        for prefix in ["2a", "2b", "2x", "2y"]:
            columns.append(encode(algorithm, word, bcrypt_salt(5, prefix)))
        columns += [encode(algorithm, word, bcrypt_salt(rounds)) for rounds in [4, 6, 7]]
    if "scrypt" in NAMES:
        for n, r, p in [(2, 1, 1), (16, 8, 1), (16, 8, 3), (32, 8, 2), (16, 7, 2), (1024, 1, 16)]:
            columns.append(encode("scrypt", word, SALT, work_factor=n, block_size=r, parallelism=p))
        columns.append(encode("scrypt", word, "short", work_factor=16, block_size=8, parallelism=2))
    for algorithm in ["md5", "sha1"]:
        if algorithm in NAMES:
            columns += [encode(algorithm, word, salt) for salt in [SALT[:21], "ab", SALT + "w"]]
    return columns


def replaced(column, part, value):
    parts = column.split("$")
    parts[part] = value
    return "$".join(parts)


def malformed():
    """Columns that no hasher writes: (preferred hasher, column)."""
    word, columns = PASSWORDS[0], []
    for algorithm in ["pbkdf2_sha256", "pbkdf2_sha1"]:
        good = pbkdf2(algorithm, word, SALT, 60)
        digest = good.split("$")[3]
        numbers = [
            "",
            "0",
            "-1",
            "+60",
            "060",
            " 60",
            "60 ",
            "6_0",
            "\u0666\u0660",
            "x",
            "60.0",
            "6e1",
            "0x3c",
        ]
        numbers += ["2147483648", "4294967296", "99999999999999999999"]
        changed = [replaced(good, 1, number) for number in numbers]
        hashes = [
            digest.rstrip("="),
            digest + "=",
            digest[:-4],
            digest + "\n",
            digest + " ",
            digest + "$",
            "",
            "*",
        ]
        hashes += [
            digest.swapcase(),
            digest.replace("+", "-").replace("/", "_") + "-",
            digest[:-2] + "/=",
        ]
        changed += [replaced(good, 3, digest) for digest in hashes]
        changed += [
            good + "$extra",
            algorithm,
            algorithm + "$",
            algorithm + "$60",
            algorithm + "$60$" + SALT,
        ]
        changed += [
            replaced(good, 2, ""),
            " " + good,
            good.upper(),
            good.replace("$", "$$", 1),
            good[:-1] + "\0",
        ]
        columns += [(algorithm, column) for column in changed]
    good = argon2("id", word, SALT)
    salt, digest = good.split("$")[4:]
    changed = [
        replaced(good, 1, v)
        for v in ["argon2", "Argon2id", "ARGON2ID", "argon2x", "", "argon2i", "argon2d"]
    ]
    changed += [
        replaced(good, 2, v)
        for v in ["v=16", "v=18", "v=20", "v=x", "v=", "19", "v=019", "v=+19", ""]
    ]
    changed += [good.replace("$v=19$", "$")]
    values = [
        "t=2,m=64,p=2",
        "m=064,t=2,p=2",
        "m=+64,t=2,p=2",
        "m=64,t=2",
        "m=64,t=2,p=2,x=1",
        "m=64,t=2,p=0",
    ]
    values += [
        "m=64,t=0,p=2",
        "m=0,t=2,p=2",
        "m=8,t=2,p=2",
        "m=15,t=2,p=2",
        "m=64,t=2,p=2 ",
        "m=64;t=2;p=2",
        "",
    ]
    values += [
        "m=64,t=2,q=2",
        "m=64,t=2,p=x",
        "m=64,t=2,p=2,p=2",
        "m=4294967296,t=2,p=2",
        "m=64,t=2,p=16777216",
    ]
    values += ["m=\u0666\u0664,t=2,p=2", "m=6_4,t=2,p=2"]
    changed += [replaced(good, 3, v) for v in values]
    changed += [
        replaced(good, 4, v)
        for v in ["", "YWJj", salt[:9], salt + "=", salt + "==", salt[:-1] + "=", salt[:-1]]
    ]
    changed += [
        replaced(good, 4, v)
        for v in [salt[:-1] + "-", salt[:-1] + "_", salt[:-1] + "!", salt[:-1] + " "]
    ]
    changed += [
        replaced(good, 4, v)
        for v in [salt[:-2] + "\u00e9", salt[:-2] + "-_", salt[:4] + "-_" + salt[4:]]
    ]
    changed += [
        replaced(good, 5, v)
        for v in ["", digest + "=", digest[:-1], digest + "\n", digest[:4], digest + "$x"]
    ]
    changed += [replaced(good, 5, v) for v in [digest + "AA", digest.swapcase(), digest[:-1] + "B"]]
    changed += [
        "argon2",
        "argon2$",
        "argon2$argon2id",
        "argon2$" + good,
        good[6:],
        " " + good,
        good.upper(),
    ]
    columns += [("argon2", column) for column in changed]
    for algorithm in ["bcrypt_sha256", "bcrypt"]:
        good = encode(algorithm, word, bcrypt_salt(5))
        tail = good.split("$")[4]
        changed = [replaced(good, 2, v) for v in ["2", "2c", "", "2B", "1"]]
        changed += [
            replaced(good, 3, v)
            for v in ["5", "005", "+5", " 5", "03", "00", "32", "99", "xx", "", "-5", "5_"]
        ]
        values = [
            tail[:-1],
            tail + "x",
            tail + "\n",
            tail[:22],
            tail[:21],
            "",
            tail[:21] + "/" + tail[22:],
            tail + "$",
        ]
        values += [
            "!" + tail[1:],
            "\u00e9" + tail[1:],
            tail.swapcase(),
            tail[:22] + "." * 31,
            tail[:-1] + "\u00e9",
        ]
        changed += [replaced(good, 4, v) for v in values]
        changed += [
            replaced(good, 1, "x"),
            good.replace("$$", "$"),
            algorithm,
            algorithm + "$",
            algorithm + "$$2b$05",
        ]
        changed += [good.upper(), " " + good]
        columns += [(algorithm, column) for column in changed]
    if "scrypt" in NAMES:
        good = encode("scrypt", word, SALT, work_factor=16, block_size=8, parallelism=2)
        digest = good.split("$")[5]
        changed = [
            replaced(good, 1, v)
            for v in ["0", "1", "3", "15", "-16", "+16", "016", "x", "", "32768", "1_6"]
        ]
        changed += [
            replaced(good, 1, v) for v in ["4294967296", "99999999999999999999", "\u0661\u0666"]
        ]
        changed += [replaced(good, 3, v) for v in ["0", "-8", "x", "08", "4294967296"]]
        changed += [
            replaced(good, 4, v)
            for v in ["0", "-2", "x", "02", "134217728", "1073741824", "4294967296"]
        ]
        changed += [replaced(good, 2, ""), replaced(replaced(good, 1, "65536"), 3, "1")]
        hashes = [
            digest.rstrip("="),
            digest + "\n",
            digest[:-4],
            "",
            digest + "$x",
            digest.swapcase(),
        ]
        changed += [replaced(good, 5, v) for v in hashes]
        changed += ["scrypt", "scrypt$", "scrypt$16", good + "$", good + "$a$b", good.upper()]
        columns += [("scrypt", column) for column in changed]
    good = encode("md5", word, SALT)
    changed = [
        good.upper(),
        "md5$" + good.split("$")[2],
        "md5$$" + "0" * 33,
        "md5$$" + "0" * 31,
        good + "\n",
        "md5",
    ]
    changed += ["md5$" + SALT + "$" + good.split("$")[2].upper(), good[:-1], good + "$x", "md5$"]
    columns += [("md5", column) for column in changed]
    for column in [
        "",
        "!",
        "!" + "x" * 40,
        "x",
        "$",
        "$$$",
        "0" * 32,
        "0" * 31,
        "\u00e9" * 32,
        "md5$$" + "0" * 32,
    ]:
        columns.append(("pbkdf2_sha256", column))
    for column in [
        "sha1$$" + "0" * 40,
        "sha1$$" + "\u00e9" * 40,
        "sha1$$" + "0" * 41,
        "crypt$$ab0123456789a",
    ]:
        columns.append(("pbkdf2_sha256", column))
    for column in [
        "unsalted_md5",
        "unsalted_md5$x",
        "unsalted_sha1$$x",
        "PBKDF2_SHA256$60$x$y",
        "\0",
        "plain text",
    ]:
        columns.append(("pbkdf2_sha256", column))
    return columns


def defaults():
    """
    A column of each hasher with the parameters of this release. Only one is by the default
    hasher: what is updated would be hashed for seconds in a test.
    """
    word = PASSWORDS[0]
    made = [
        ("django", word, encode("pbkdf2_sha256", word, SALT)),
        ("md5", word, encode("argon2", word, SALT)),
    ]
    made.append(("md5", word, encode("bcrypt_sha256", word, bcrypt_salt(12))))
    if "scrypt" in NAMES:
        # Up to 5.0, and since.
        for p in [1, 5]:
            made.append(("md5", word, encode("scrypt", word, SALT, parallelism=p)))
    return made


def cases():
    made = []
    for password, column in written():
        algorithm = algorithm_of(column)
        by = algorithm if algorithm in PREFERRED else "pbkdf2_sha256"
        made.append((by, password, column))
    word = PASSWORDS[0]
    for column in parameters():
        algorithm = column.split("$")[0]
        by = algorithm if algorithm in PREFERRED else "pbkdf2_sha256"
        made += [(by, word, column), (by, "wrong", column)]
        if by != "pbkdf2_sha256":
            made.append(("pbkdf2_sha256", word, column))
    made += [(by, word, column) for by, column in malformed()]
    # Longer than bcrypt takes. Older versions of bcrypt cut it, so it fits the column.
    if "bcrypt" in NAMES and django.VERSION >= (4, 2):
        made.append(("bcrypt", "x" * 73, encode("bcrypt", "x" * 72, bcrypt_salt(5))))
    # Half a minute in a test if it were all of them.
    if VERSION == "5.2":
        made += defaults()
    return made


def algorithm_of(column):
    use_hashers()
    return django_hashers.identify_hasher(column).algorithm
