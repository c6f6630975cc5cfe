"""Entry point for gunicorn: gunicorn --chdir tests/django site_under_test.wsgi"""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_under_test.settings")

application = get_wsgi_application()
