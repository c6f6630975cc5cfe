//! Requests that need no token.

use std::{fmt, sync::Arc};

use actix_web::dev::{ResourceDef, ServiceRequest};

use crate::web::current_session;

type Predicate = Arc<dyn Fn(&ServiceRequest) -> bool + Send + Sync>;

/// The exemptions of a middleware, in the order in which they were added.
#[derive(Clone, Default)]
pub(super) struct Exemptions(Vec<Exemption>);

#[derive(Clone)]
enum Exemption {
    Path(ResourceDef),
    Predicate(Predicate),
}

impl Exemptions {
    pub(super) fn path(&mut self, pattern: &str) {
        self.0.push(Exemption::Path(ResourceDef::new(pattern)));
    }

    pub(super) fn predicate(&mut self, predicate: impl Fn(&ServiceRequest) -> bool + Send + Sync + 'static) {
        self.0.push(Exemption::Predicate(Arc::new(predicate)));
    }

    pub(super) fn include(&self, req: &ServiceRequest) -> bool {
        has_token_session(req)
            || self.0.iter().any(|exemption| match exemption {
                // Decoded as the router decodes it, so that both see the same path.
                Exemption::Path(pattern) => pattern.is_match(req.match_info().as_str()),
                Exemption::Predicate(predicate) => predicate(req),
            })
    }
}

impl fmt::Debug for Exemptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|exemption| match exemption {
            Exemption::Path(pattern) => pattern.pattern().unwrap_or_default(),
            Exemption::Predicate(_) => "a predicate",
        });
        f.debug_list().entries(names).finish()
    }
}

/// Whether the session's key came in a header that no browser sends by itself, so that no other site can
/// make one send it.
pub(super) fn has_token_session(req: &ServiceRequest) -> bool {
    current_session(req).is_some_and(|session| session.is_by_token())
}
