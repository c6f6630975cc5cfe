"""Unpacks the server programs of PostgreSQL from a package of npm.

    python3 tests/environment/unpack_postgresql.py PACKAGE VERSION HASH DIRECTORY

With npm, gets the package as npm is configured to. Without it, from the registry that npm asks by default, or the one
that npm's own variable npm_config_registry names. Nothing of the package is run: the links between its libraries,
which npm would make by a script, are made here.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request

REGISTRY = "https://registry.npmjs.org"
INSIDE = "package/native/"


def packed_by_npm(package, version):
    with tempfile.TemporaryDirectory() as directory:
        command = ["npm", "pack", "--silent", "--pack-destination", directory, "{}@{}".format(package, version)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        [name] = os.listdir(directory)
        with open(os.path.join(directory, name), "rb") as file:
            return file.read()


def downloaded(package, version):
    registry = os.environ.get("npm_config_registry", REGISTRY).rstrip("/")
    url = "{}/{}/-/{}-{}.tgz".format(registry, package, package.split("/")[-1], version)
    with urllib.request.urlopen(url, timeout=300) as answer:
        return answer.read()


def check(archive, expected):
    algorithm, expected = expected.split("-", 1)
    found = base64.b64encode(hashlib.new(algorithm, archive).digest()).decode()
    if found != expected:
        sys.exit("the package is another one: its {} is {}, not {}".format(algorithm, found, expected))


def unpack(archive, directory):
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            if not member.isfile() or not member.name.startswith(INSIDE):
                continue
            path = inside(directory, member.name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as target:
                shutil.copyfileobj(files.extractfile(member), target)
            # Some versions of the package lost the right to execute.
            os.chmod(path, 0o755 if "/bin/" in path else 0o644)
    with open(os.path.join(directory, "pg-symlinks.json"), encoding="utf-8") as links:
        for link in json.load(links):
            source, target = (inside(directory, "package/" + link[name]) for name in ("source", "target"))
            if not os.path.lexists(target):
                os.symlink(os.path.relpath(source, os.path.dirname(target)), target)


def inside(directory, name):
    path = os.path.join(directory, name[len(INSIDE):])
    if not os.path.realpath(path).startswith(os.path.realpath(directory) + os.sep):
        sys.exit("the package has a file outside of it: " + name)
    return path


def main():
    package, version, expected, directory = sys.argv[1:]
    archive = (packed_by_npm if shutil.which("npm") else downloaded)(package, version)
    check(archive, expected)
    unpack(archive, directory)


if __name__ == "__main__":
    main()
