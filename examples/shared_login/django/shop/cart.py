"""The cart: a dictionary in the session, {"assam": 2}. The Rust half reads and writes the same one."""

import json
from pathlib import Path

CATALOGUE = {tea["slug"]: tea for tea in json.loads(Path(__file__).with_name("catalogue.json").read_text())}


def change(session, slug, by):
    """
    Add to the number of one tea.

    `session.change` is a method of merging_db. If the Rust half changes the cart during this request, the
    function runs again on the newer cart, and no tea is lost.
    """

    def changed(cart):
        number = cart.get(slug, 0) + by
        others = {key: value for key, value in cart.items() if key != slug}
        return {**others, slug: number} if number > 0 else others

    session.change("cart", changed, default={})


def lines(session):
    cart = session.get("cart", {})
    known = [(CATALOGUE[slug], number) for slug, number in sorted(cart.items()) if slug in CATALOGUE]
    return [
        {"tea": tea, "number": number, "price": price(tea["cents"] * number), "cents": tea["cents"] * number}
        for tea, number in known
    ]


def price(cents):
    return f"€ {cents // 100}.{cents % 100:02}"


def context(request):
    """For every template."""
    cart = request.session.get("cart", {})
    return {"cart_size": sum(cart.values()), "served_by": "django"}
