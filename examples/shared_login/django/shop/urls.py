from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import views

admin.site.site_header = "Tidewater Tea"

login = LoginView.as_view(
    redirect_authenticated_user=True, extra_context={"page": "sign-in", "other": "/rust/sign-in"}
)

urlpatterns = [
    path("", views.shop, name="shop"),
    path("cart/", views.cart, name="cart"),
    path("cart/change", views.change_cart, name="change_cart"),
    path("you/", views.you, name="you"),
    path("message", views.message, name="message"),
    path("accounts/login/", login, name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
]
