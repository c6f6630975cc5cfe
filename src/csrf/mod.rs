//! Protection against cross-site request forgery: Django's `CsrfViewMiddleware`, with the same cookie and
//! the same tokens.
//!
//! A form that Django rendered can be posted to Rust, and the reverse. See the guide's page
//! [csrf](crate::guide::csrf).

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

use actix_web::HttpMessage;

pub use self::{extract::CsrfToken, middleware::CsrfMiddleware, settings::CsrfSettings};

/// Replaces the visitor's secret, if the request went through a [`CsrfMiddleware`]. Django's `rotate_token`,
/// which a login calls.
#[allow(dead_code)] // for logins
pub(crate) fn rotate(req: &impl HttpMessage) {
    if let Some(state) = state::CsrfState::of(req) {
        state.rotate();
    }
}
