"""Make the site ready: tables and a superuser. May be run again at any time."""

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, call_command

NAME, PASSWORD = "admin", "correct horse"


class Command(BaseCommand):
    help = f"Migrate and create the superuser {NAME} with the password '{PASSWORD}'."

    def handle(self, *args, **options):
        call_command("migrate", verbosity=0)
        users = get_user_model().objects
        if not users.filter(username=NAME).exists():
            users.create_superuser(NAME, "admin@example.com", PASSWORD)
