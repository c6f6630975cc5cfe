//! The cart: a dictionary in the session, `{"assam": 2}`. Django reads and writes the same one.

use std::collections::BTreeMap;

use actix_django_session::{Error, Session, messages::Messages};
use actix_web::{
    Responder,
    error::ErrorNotFound,
    web::{self, Html, Redirect},
};
use serde::Deserialize;

use crate::page::{Page, Visitor, escape};

type Cart = BTreeMap<String, u32>;

#[derive(Deserialize)]
pub(crate) struct Tea {
    slug: String,
    name: String,
    cents: u32,
    colour: String,
}

/// The shop's teas.
pub(crate) struct Catalogue(Vec<Tea>);

impl Catalogue {
    pub(crate) fn read() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("django/shop/catalogue.json")).map(Self)
    }
}

/// How many things are in the cart.
pub(crate) fn size(session: &Session) -> Result<u32, Error> {
    Ok(session.get::<Cart>("cart")?.unwrap_or_default().values().sum())
}

pub(crate) async fn show(visitor: Visitor, catalogue: web::Data<Catalogue>) -> Result<Html, Error> {
    let cart: Cart = visitor.session.get("cart")?.unwrap_or_default();
    let teas = catalogue.0.iter().filter_map(|tea| Some((tea, *cart.get(&tea.slug)?)));
    let mut total = 0;
    let mut lines = String::new();
    for (tea, number) in teas {
        total += tea.cents * number;
        lines += &format!(
            include_str!("pages/line.html"),
            colour = escape(&tea.colour),
            name = escape(&tea.name),
            number = number,
            price = price(tea.cents * number),
            csrf = visitor.csrf.hidden_input(),
            slug = escape(&tea.slug),
        );
    }
    let content = match lines.is_empty() {
        true => "<p class=\"empty\">Nothing yet. <a href=\"/\">Have a look at the teas.</a></p>".to_owned(),
        false => format!(
            "<ul class=\"lines\">\n{lines}</ul>\n\
             <p class=\"total\"><span>Total</span> <b id=\"total\">{}</b></p>",
            price(total)
        ),
    };
    let content = format!("<section class=\"card\">\n<h1>Your cart</h1>\n{content}\n</section>");
    Page { title: "Cart", path: "/rust/cart", other: "/cart/" }.show(&visitor, &content).await
}

#[derive(Deserialize)]
pub(crate) struct Change {
    tea: String,
    by: Option<i8>,
}

/// Also the target of forms on Django's pages: both halves accept the CSRF tokens of either one.
pub(crate) async fn change(
    session: Session,
    messages: Messages,
    catalogue: web::Data<Catalogue>,
    form: web::Form<Change>,
) -> actix_web::Result<impl Responder> {
    let tea = catalogue.0.iter().find(|tea| tea.slug == form.tea);
    let tea = tea.ok_or_else(|| ErrorNotFound("There is no such tea.\n"))?;
    let add = form.by != Some(-1);
    let slug = tea.slug.clone();
    // If Django changes the cart during this request, the closure runs again on the newer cart.
    session.update("cart", move |cart: Option<Cart>| {
        let mut cart = cart.unwrap_or_default();
        let number = cart.remove(&slug).unwrap_or(0);
        match number.saturating_add_signed(if add { 1 } else { -1 }) {
            0 => None,
            number => cart.insert(slug.clone(), number),
        };
        cart
    })?;
    messages.success(format!("Rust {} one {}.", if add { "added" } else { "removed" }, tea.name));
    Ok(Redirect::to("/rust/cart").see_other())
}

fn price(cents: u32) -> String {
    format!("€ {}.{:02}", cents / 100, cents % 100)
}
