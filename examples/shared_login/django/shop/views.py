"""The pages of the Django half."""

import json

from django.contrib import messages
from django.http import Http404
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from .cart import CATALOGUE, change, lines, price


def shop(request):
    teas = [{**tea, "price": price(tea["cents"])} for tea in CATALOGUE.values()]
    return render(request, "shop/shop.html", {"teas": teas, "page": "shop", "other": ""})


def cart(request):
    found = lines(request.session)
    total = price(sum(line["cents"] for line in found))
    return render(
        request, "shop/cart.html", {"lines": found, "total": total, "page": "cart", "other": "/rust/cart"}
    )


@require_POST
def change_cart(request):
    tea = CATALOGUE.get(request.POST.get("tea"))
    if tea is None:
        raise Http404
    add = request.POST.get("by") != "-1"
    change(request.session, tea["slug"], 1 if add else -1)
    messages.success(request, f"Django {'added' if add else 'removed'} one {tea['name']}.")
    return redirect("cart")


def you(request):
    """A page about the visitor. The Rust half has the same one."""
    user = request.user
    context = {
        "groups": user.groups.order_by("name") if user.is_authenticated else [],
        "permissions": sorted(user.get_all_permissions()),
        "items": [(key, shown(key, value)) for key, value in sorted(request.session.items())],
        "page": "you",
        "other": "/rust/",
    }
    return render(request, "shop/you.html", context)


def shown(key, value):
    # It is made from the password's hash, and stays on the server.
    return "…" if key == "_auth_user_hash" else json.dumps(value)


@require_POST
def message(request):
    """Leave a message that the Rust half shows."""
    messages.info(request, request.POST.get("text", "")[:200] or "Hello from Django.")
    return redirect("/rust/")
