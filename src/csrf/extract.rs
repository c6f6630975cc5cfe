//! How handlers get tokens.

use std::{fmt, future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload};

use super::{form::FIELD, state::CsrfState};
use crate::{Error, event_log::EventLog};

/// The token for a form, or for a script. Django's `{% csrf_token %}` and `get_token`.
///
/// Taking it as an argument does nothing yet. [`token`](Self::token) and its like have the cookie sent.
///
/// ```
/// use actix_web::{HttpResponse, Responder};
/// use actix_django_session::csrf::CsrfToken;
///
/// async fn page(csrf: CsrfToken) -> impl Responder {
///     HttpResponse::Ok().content_type("text/html; charset=utf-8").body(format!(
///         "<form method=post>{}<input name=comment><button>Send</button></form>",
///         csrf.hidden_input(),
///     ))
/// }
/// ```
#[derive(Clone)]
pub struct CsrfToken(pub(super) CsrfState);

impl CsrfToken {
    /// Returns that of a request, if the request went through a middleware. For logins, which renew the
    /// secret.
    #[cfg(feature = "auth")]
    pub(crate) fn of(req: &HttpRequest) -> Option<Self> {
        CsrfState::of(req).map(Self)
    }

    /// Returns a new token: 64 letters and digits. Django's `get_token`.
    ///
    /// Each call returns another one. All are valid until the visitor's secret changes: at the next login, or
    /// when the cookie expires. The response sets the cookie, again if the visitor has it already.
    pub fn token(&self) -> String {
        self.0.token()
    }

    /// Returns the hidden field of a form with a new token: the HTML of Django's `{% csrf_token %}`.
    pub fn hidden_input(&self) -> String {
        format!("<input type=\"hidden\" name=\"{FIELD}\" value=\"{}\">", self.token())
    }

    /// Has the cookie sent, for scripts that read the token there. Django's `ensure_csrf_cookie`.
    pub fn ensure_cookie(&self) {
        self.0.token();
    }

    /// Replaces the visitor's secret: tokens made before are worth nothing. Django's `rotate_token`. A login
    /// does this.
    pub fn rotate(&self) {
        self.0.rotate();
    }
}

impl fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfToken(…)")
    }
}

/// Errors if no [`CsrfMiddleware`](super::CsrfMiddleware) is wrapped around the handler, or if the session
/// that holds the secret cannot be loaded.
impl FromRequest for CsrfToken {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = CsrfState::required(req);
        Box::pin(async move {
            let state = state.inspect_err(|error| error.log(EventLog::general()))?;
            state.read().await?;
            Ok(Self(state))
        })
    }
}
