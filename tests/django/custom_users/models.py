"""One user model at a time: that of AUTH_USER_MODEL, because two would share the names of Group's relations."""

import uuid

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import AbstractUser, PermissionsMixin
from django.db import models

CHOSEN = settings.AUTH_USER_MODEL.partition(".")[2]


class Manager(BaseUserManager):
    """Creates users whose fields are all given by name."""

    def create_user(self, password=None, **fields):
        user = self.model(**fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


if CHOSEN == "Member":

    class Member(AbstractUser):
        """Logs in by address; the key is a UUID."""

        uid = models.UUIDField(primary_key=True, default=uuid.uuid4)
        username = None
        first_name = None
        email = models.EmailField(unique=True)
        phone = models.CharField(max_length=20, null=True)
        company_id = models.IntegerField(default=0)

        USERNAME_FIELD = "email"
        REQUIRED_FIELDS = []
        objects = Manager()

elif CHOSEN == "Device":

    class Device(AbstractBaseUser):
        """Has a text as key, and nothing of AbstractUser: no is_active, no permissions."""

        serial = models.CharField(max_length=40, primary_key=True)
        label = models.CharField(max_length=100, unique=True)

        USERNAME_FIELD = "label"
        objects = Manager()

        class Meta:
            db_table = "devices"

elif CHOSEN == "Coded":

    class Coded(AbstractBaseUser, PermissionsMixin):
        """Every column has another name than its field, and the table than its class."""

        number = models.AutoField(primary_key=True, db_column="person no")
        password = models.CharField(max_length=128, db_column="pw")
        last_login = None
        name = models.CharField(max_length=80, unique=True, db_column="Login")
        is_active = models.BooleanField(default=True, db_column="active")
        is_superuser = models.BooleanField(default=False, db_column="root")
        is_staff = models.BooleanField(default=False, db_column="may enter")

        USERNAME_FIELD = "name"
        objects = Manager()

        class Meta:
            db_table = "people"

elif CHOSEN == "Big":

    class Big(AbstractUser):
        """As auth.User, with keys beyond 32 bits."""

        id = models.BigAutoField(primary_key=True)
