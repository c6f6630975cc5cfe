//! The algorithm and parameters of a column, for operators.

use std::fmt;

use super::{
    PasswordAlgorithm, PasswordHasher,
    column::{Column, Unreadable},
};

/// The algorithm and parameters of a password column, without salt and hash. Django's `safe_summary`.
///
/// Compare the hashers of live columns with [`PasswordHashers::preferred`](super::PasswordHashers::preferred)
/// before the first login: a difference means that passwords are hashed again.
///
/// ```
/// use actix_django_session::auth::password::{PasswordAlgorithm, PasswordSummary};
///
/// let summary = PasswordSummary::of("pbkdf2_sha256$600000$abcdefghijklmnopqrstuv$eA==");
/// assert_eq!(summary.to_string(), "pbkdf2_sha256, 600000 iterations");
/// assert_eq!(summary.algorithm(), Some(PasswordAlgorithm::Pbkdf2Sha256));
///
/// assert_eq!(PasswordSummary::of("!x").to_string(), "unusable: no password fits");
/// let malformed = PasswordSummary::of("argon2$");
/// assert_eq!(malformed.to_string(), "argon2, malformed: it has not the right number of parts");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordSummary(Result<PasswordHasher, Unreadable>);

impl PasswordSummary {
    /// Reads a column. Its salt and hash are not kept.
    pub fn of(column: &str) -> Self {
        Self(Column::parse(column).map(|column| PasswordHasher(column.scheme)))
    }

    /// Returns the algorithm, also of a malformed column. `None` for an empty or unusable column, and for the
    /// formats of others.
    pub fn algorithm(&self) -> Option<PasswordAlgorithm> {
        match self.0 {
            Ok(hasher) => Some(hasher.algorithm()),
            Err(Unreadable::Malformed(algorithm, _)) => Some(algorithm),
            Err(_) => None,
        }
    }

    /// Returns algorithm and parameters of a column that can be read.
    pub fn hasher(&self) -> Option<PasswordHasher> {
        self.0.as_ref().ok().copied()
    }
}

impl fmt::Display for PasswordSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(hasher) => hasher.fmt(f),
            Err(Unreadable::Empty) => f.write_str("empty: no password fits"),
            Err(Unreadable::Unusable) => f.write_str("unusable: no password fits"),
            Err(Unreadable::Unknown) => f.write_str("no format of Django"),
            Err(Unreadable::Malformed(algorithm, reason)) => {
                write!(f, "{}, malformed: {reason}", algorithm.name())
            }
        }
    }
}
