//! One-time notices for the visitor: Django's `messages`.
//!
//! A handler adds a message ("Your profile was saved") and redirects. The next page that shows messages, of
//! this service or of the Django site beside it, shows it once. Wrap [`MessagesMiddleware`] inside the
//! session middleware, and take [`Messages`] as a handler's argument:
//!
//! ```
//! use actix_django_session::{
//!     Error, SecretKey, SessionMiddleware, Store,
//!     backend::Memory,
//!     messages::{Messages, MessagesMiddleware},
//! };
//! use actix_web::{App, HttpResponse, Responder, http::header, web};
//!
//! async fn save(messages: Messages) -> impl Responder {
//!     messages.success("Your profile was saved.");
//!     HttpResponse::SeeOther().insert_header((header::LOCATION, "/")).finish()
//! }
//!
//! async fn page(messages: Messages) -> Result<String, Error> {
//!     let mut html = String::new();
//!     for message in messages.take().await? {
//!         html += &format!("<p class=\"{}\">{}</p>", message.level_tag, message.html());
//!     }
//!     Ok(html)
//! }
//!
//! let secret = SecretKey::new("Django's SECRET_KEY");
//! let session = SessionMiddleware::new(Store::new(Memory::new(), secret.clone()));
//! let app = App::new()
//!     .route("/save", web::post().to(save))
//!     .route("/", web::get().to(page))
//!     .wrap(MessagesMiddleware::new(secret))
//!     .wrap(session); // the last one is the outermost
//! ```
//!
//! Messages travel in a signed cookie, and what does not fit into it in the session. See
//! [`MessageStorage`], and [`guide::messages`](crate::guide::messages) for more.

mod cookie;
mod handle;
mod level;
mod message;
mod middleware;
mod session;
mod settings;
mod storage;
mod wire;

pub use self::{
    handle::Messages,
    level::MessageLevel,
    message::{Message, MessageText},
    middleware::MessagesMiddleware,
    settings::{MessageSettings, MessageStorage},
};
