import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

# A real site has its static files served by a web server or by whitenoise.
application = StaticFilesHandler(get_wsgi_application())
