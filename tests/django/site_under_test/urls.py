from django.contrib import admin
from django.urls import path

from . import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("ops", views.ops),
    path("page", views.page),
    path("untouched", views.untouched),
]
