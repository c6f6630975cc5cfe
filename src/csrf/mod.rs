//! Protection against cross-site request forgery: Django's `CsrfViewMiddleware`, with the same cookie and
//! the same tokens.
//!
//! A form that Django rendered can be posted to Rust, and the reverse. See the guide's page
//! [csrf](crate::guide::csrf).

mod body;
mod content_type;
mod exempt;
mod extract;
mod form;
mod middleware;
mod multipart;
mod origin;
mod reject;
mod settings;
mod state;
mod token;

pub use self::{extract::CsrfToken, middleware::CsrfMiddleware, settings::CsrfSettings};
