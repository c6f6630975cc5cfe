//! The action of a statement, for errors and metrics.

use std::fmt;

use crate::metrics::Purpose;

/// A verb phrase for error texts ("cannot …"), with the label that metrics have for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action {
    pub(crate) phrase: &'static str,
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "PostgreSQL alone has these metrics"))]
    pub(crate) purpose: Purpose,
}

impl Action {
    pub(crate) const fn new(phrase: &'static str, purpose: Purpose) -> Self {
        Self { phrase, purpose }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phrase)
    }
}
