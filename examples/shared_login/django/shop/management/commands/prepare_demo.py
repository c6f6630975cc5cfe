"""Makes the tables, the demo account and its group. May be run again at any time."""

import os

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.core.management import BaseCommand, call_command


class Command(BaseCommand):
    help = "Migrate, and create the account in DEMO_USER and DEMO_PASSWORD if it is missing."

    def handle(self, *args, **options):
        call_command("migrate", verbosity=0)
        tills, _ = Group.objects.get_or_create(name="Tea house")
        tills.permissions.set(Permission.objects.filter(content_type__app_label="shop"))
        name = os.environ["DEMO_USER"]
        if get_user_model().objects.filter(username=name).exists():
            return
        user = get_user_model().objects.create_user(
            name, "ada@example.com", os.environ["DEMO_PASSWORD"], first_name="Ada", last_name="Lovelace"
        )
        # The admin, without being a superuser: so the permissions are worth looking at.
        user.is_staff = True
        user.save()
        staff, _ = Group.objects.get_or_create(name="Staff")
        staff.permissions.set(
            Permission.objects.filter(content_type__app_label="auth", codename__contains="user")
            | Permission.objects.filter(content_type__app_label="auth", codename="view_group")
        )
        user.groups.set([tills, staff])
