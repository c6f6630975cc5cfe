"""
Write the DDL of the tables of django.contrib.auth and contenttypes, as Django has them after `migrate`.

    python make_auth_tables.py {postgres,sqlite} FILE

The database is that of DATABASE_URL; nothing is changed in it.
"""

import sys

from recording import setup

setup()

from django.apps import apps  # noqa: E402
from django.db import connection  # noqa: E402

MODELS = [("contenttypes", "ContentType"), ("auth", "Permission"), ("auth", "Group"), ("auth", "User")]


def statements():
    with connection.schema_editor(collect_sql=True) as editor:
        for model in MODELS:
            editor.create_model(apps.get_model(*model))
    for statement in editor.collected_sql:
        if statement.startswith("--"):
            continue
        for create in ("CREATE TABLE", "CREATE INDEX", "CREATE UNIQUE INDEX"):
            if statement.startswith(f"{create} "):
                statement = statement.replace(create, f"{create} IF NOT EXISTS", 1)
        yield statement


def main():
    vendor, path = sys.argv[1:]
    assert connection.vendor == {"postgres": "postgresql", "sqlite": "sqlite"}[vendor]
    with open(path, "w") as file:
        for statement in statements():
            file.write(f"{statement}\n")


main()
