//! Passwords in every format of Django, and its rules for new ones.
//!
//! [`PasswordHashers`] is Django's `PASSWORD_HASHERS`: it checks a password against the `password` column of
//! a user, and makes columns that Django verifies. [`PasswordValidators`] is `AUTH_PASSWORD_VALIDATORS`.
//! [`PasswordSummary`] names the algorithm and parameters of a column.
//!
//! | column | Django | default parameters |
//! |---|---|---|
//! | `pbkdf2_sha256$…` | all | iterations: 600,000 in 4.2, more with each release |
//! | `pbkdf2_sha1$…` | all | the same |
//! | `argon2$argon2id$…` | since 3.2; `argon2i` before | 100 MiB, 2 passes, 8 lanes |
//! | `bcrypt_sha256$…` | all | 12 rounds |
//! | `scrypt$…` | since 4.0 | N=16384, r=8, p=5 (1 up to 5.0) |
//! | `bcrypt$…`, `md5$…`, `sha1$…`, unsalted MD5 and SHA-1 | where listed | |
//! | `!…` | unusable | |
//!
//! `crypt`, which Django dropped in 5.0, is not supported.

mod algorithm;
mod column;
mod common;
mod compute;
mod digits;
mod django_version;
mod hashers;
mod limits;
mod pool;
mod random;
mod secret;
mod similarity;
mod summary;
mod validators;
mod verdict;

pub use self::{
    algorithm::{PasswordAlgorithm, PasswordHasher},
    django_version::DjangoVersion,
    hashers::PasswordHashers,
    summary::PasswordSummary,
    validators::PasswordValidators,
    verdict::PasswordCheck,
};

/// Returns a column that no password fits, for users who log in another way or not at all: `!` and 40 random
/// characters. Django's `make_password(None)`.
///
/// ```
/// use actix_django_session::auth::password::{is_password_usable, unusable_password};
///
/// let column = unusable_password();
/// assert!(column.len() == 41 && !is_password_usable(&column));
/// ```
pub fn unusable_password() -> String {
    format!("!{}", random::random_text(40))
}

/// Whether the column is not one of [`unusable_password`]. Django's `is_password_usable`: also of an empty
/// or malformed column, which no password fits.
pub fn is_password_usable(column: &str) -> bool {
    !column.starts_with('!')
}
