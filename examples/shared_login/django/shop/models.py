from django.db import models


class Shop(models.Model):
    """No table: it only gives the shop permissions of its own, beside those of Django's models."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [
            ("give_discount", "Can give a discount"),
            ("close_till", "Can close the till"),
        ]
