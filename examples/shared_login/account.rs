//! Sign in, sign out, and a page about the visitor.

use actix_django_session::{
    Error,
    auth::{AuthSession, Credentials},
    messages::Messages,
};
use actix_web::{
    Either, Responder,
    web::{self, Html, Redirect},
};
use serde::Deserialize;

use crate::page::{Page, Visitor, escape, name};

/// A page about the visitor. Django has the same one.
pub(crate) async fn you(visitor: Visitor) -> Result<Html, Error> {
    let about = match &visitor.user {
        Some(user) => {
            let groups = user
                .groups()
                .await?
                .iter()
                .map(|group| format!("<span class=\"chip\">{}</span> ", escape(group)));
            let permissions = user.permissions().await?.all().iter();
            let permissions = permissions.map(|permission| format!("<code>{}</code> ", escape(permission)));
            format!(
                include_str!("pages/user.html"),
                name = escape(&name(user)),
                username = escape(user.username()),
                groups = or_none(groups.collect()),
                permissions = or_none(permissions.collect()),
            )
        }
        None => include_str!("pages/nobody.html").to_owned(),
    };
    let mut keys = visitor.session.keys();
    keys.sort_unstable();
    let items = keys.iter().filter_map(|key| match key.as_str() {
        // It is made from the password's hash, and stays on the server.
        "_auth_user_hash" => Some((key, "…".to_owned())),
        _ => Some((key, visitor.session.get_json(key)?)),
    });
    let items: String = items
        .map(|(key, json)| format!("<dt>{}</dt><dd><code>{}</code></dd>", escape(key), escape(&json)))
        .collect();
    let content = format!(
        include_str!("pages/you.html"),
        about = about,
        items = if items.is_empty() { "<p class=\"empty\">Empty.</p>".to_owned() } else { items },
        csrf = visitor.csrf.hidden_input(),
    );
    Page { title: "You", path: "/rust/", other: "/you/" }.show(&visitor, &content).await
}

fn or_none(html: String) -> String {
    if html.is_empty() { "none".to_owned() } else { html }
}

#[derive(Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

pub(crate) async fn sign_in_page(
    visitor: Visitor,
    auth: AuthSession,
    query: web::Query<Next>,
) -> Result<Either<Redirect, Html>, Error> {
    match visitor.user {
        Some(_) => Ok(Either::Left(Redirect::to(auth.next_url(None)).see_other())),
        None => sign_in_form(&visitor, &query.next, "").await.map(Either::Right),
    }
}

async fn sign_in_form(visitor: &Visitor, next: &str, error: &str) -> Result<Html, Error> {
    let content = format!(
        include_str!("pages/sign_in.html"),
        error = error,
        csrf = visitor.csrf.hidden_input(),
        next = escape(next),
    );
    let page = Page { title: "Sign in", path: "/rust/sign-in", other: "/accounts/login/" };
    page.show(visitor, &content).await
}

#[derive(Deserialize)]
pub(crate) struct SignIn {
    username: String,
    password: String,
    #[serde(default)]
    next: String,
}

pub(crate) async fn sign_in(
    auth: AuthSession,
    visitor: Visitor,
    form: web::Form<SignIn>,
) -> Result<Either<Redirect, Html>, Error> {
    let credentials = Credentials::password(&form.username, &form.password);
    match auth.authenticate(&credentials).await? {
        Some(user) => {
            auth.login(&user).await?;
            // Only to a page of this site.
            Ok(Either::Left(Redirect::to(auth.next_url(Some(&form.next))).see_other()))
        }
        None => {
            let error = "Please enter a correct user name and password.";
            let error = format!("<p class=\"message error\" role=\"alert\">{error}</p>");
            sign_in_form(&visitor, &form.next, &error).await.map(Either::Right)
        }
    }
}

pub(crate) async fn sign_out(auth: AuthSession) -> Result<impl Responder, Error> {
    auth.logout().await?;
    Ok(Redirect::to("/").see_other())
}

#[derive(Deserialize)]
pub(crate) struct Note {
    text: String,
}

/// Leaves a message that Django shows.
pub(crate) async fn leave_message(messages: Messages, form: web::Form<Note>) -> impl Responder {
    let text: String = form.text.chars().take(200).collect();
    messages.info(if text.is_empty() { "Hello from Rust.".to_owned() } else { text });
    Redirect::to("/you/").see_other()
}
