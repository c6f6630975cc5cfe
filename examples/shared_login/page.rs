//! The frame of the Rust half's pages. It looks like that of `django/shop/templates/shop/base.html`.

use actix_django_session::{
    Error, Session,
    auth::{AuthSession, User},
    csrf::CsrfToken,
    messages::Messages,
};
use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Html};
use futures_util::future::LocalBoxFuture;

use crate::cart;

/// The parts of a request that every page needs, extracted as one argument.
pub(crate) struct Visitor {
    pub(crate) session: Session,
    pub(crate) user: Option<User>,
    pub(crate) csrf: CsrfToken,
    messages: Messages,
}

impl FromRequest for Visitor {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            Ok(Self {
                session: Session::extract(&request).await?,
                user: AuthSession::extract(&request).await?.user().await?,
                csrf: CsrfToken::extract(&request).await?,
                messages: Messages::extract(&request).await?,
            })
        })
    }
}

/// A page, and its place in the navigation.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    /// The path of the page, to mark it in the navigation.
    pub(crate) path: &'a str,
    /// The path of the same page at Django.
    pub(crate) other: &'a str,
}

impl Page<'_> {
    /// Wraps HTML in the frame. The messages are shown once, so they are gone with the next request.
    pub(crate) async fn show(self, visitor: &Visitor, content: &str) -> Result<Html, Error> {
        let current = |path: &str| if path == self.path { " aria-current=\"page\"" } else { "" };
        let messages = visitor.messages.take().await?;
        let messages: String = messages
            .iter()
            .map(|m| format!("<p class=\"message {}\" role=\"status\">{}</p>\n", escape(&m.tags), m.html()))
            .collect();
        let account = match &visitor.user {
            Some(user) => format!(
                "<span class=\"user\">{}</span>\n<form method=\"post\" action=\"/rust/sign-out\">{}\
                 <button id=\"sign-out\">Sign out</button></form>",
                escape(&name(user)),
                visitor.csrf.hidden_input()
            ),
            None if self.path == "/rust/sign-in" => String::new(),
            None => "<a class=\"button\" href=\"/rust/sign-in\">Sign in</a>".to_owned(),
        };
        Ok(Html::new(format!(
            include_str!("pages/base.html"),
            title = self.title,
            cart = current("/rust/cart"),
            you = current("/rust/"),
            cart_size = cart::size(&visitor.session)?,
            account = account,
            other = self.other,
            messages = messages,
            content = content,
        )))
    }
}

/// As Django's templates name a user.
pub(crate) fn name(user: &User) -> String {
    match user.full_name() {
        name if name.is_empty() => user.username().to_owned(),
        name => name,
    }
}

/// Escapes text, and attributes in double quotes.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
