//! Django's `AUTH_PASSWORD_VALIDATORS`, with its messages.

use super::{common::is_common, digits::is_digit, similarity::is_similar};

/// Rules for new passwords: Django's `AUTH_PASSWORD_VALIDATORS`.
///
/// They belong to forms that set a password. A login never applies them.
///
/// ```
/// use actix_django_session::auth::password::PasswordValidators;
///
/// let validators = PasswordValidators::django();
/// assert!(validators.validate("correct horse", &[("username", "ada")]).is_ok());
///
/// let messages = validators.validate("ada1234", &[("username", "ada1")]).unwrap_err();
/// assert_eq!(messages, [
///     "The password is too similar to the username.",
///     "This password is too short. It must contain at least 8 characters.",
/// ]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct PasswordValidators {
    max_similarity: Option<f64>,
    min_length: Option<usize>,
    common: bool,
    numeric: bool,
}

impl PasswordValidators {
    /// No rules: Django's `AUTH_PASSWORD_VALIDATORS = []`.
    pub fn none() -> Self {
        Self::default()
    }

    /// The four rules of the settings that `django-admin startproject` writes.
    pub fn django() -> Self {
        Self { max_similarity: Some(0.7), min_length: Some(8), common: true, numeric: true }
    }

    /// `UserAttributeSimilarityValidator`: refuses what is too similar to an attribute of the user. Django's
    /// `max_similarity` is 0.7; below 0.1, which Django refuses, it counts as 0.1.
    #[must_use]
    pub fn max_similarity(mut self, similarity: f64) -> Self {
        self.max_similarity = Some(similarity.max(0.1));
        self
    }

    /// `MinimumLengthValidator`, in characters. Django's default is 8.
    #[must_use]
    pub fn min_length(mut self, characters: usize) -> Self {
        self.min_length = Some(characters);
        self
    }

    /// `CommonPasswordValidator`: refuses the 19,640 passwords of the list in Django 5.2 and 6.1.
    #[must_use]
    pub fn refuse_common(mut self) -> Self {
        self.common = true;
        self
    }

    /// `NumericPasswordValidator`: refuses passwords of digits alone, of any script.
    #[must_use]
    pub fn refuse_numeric(mut self) -> Self {
        self.numeric = true;
        self
    }

    /// Returns the messages of the rules that the password breaks, in Django's English and order. Django's
    /// `validate_password`.
    ///
    /// `attributes` are names and values of the user, as `("email address", "ada@example.com")`. Django takes
    /// the username, first name, last name and email address, and calls them so.
    pub fn validate(&self, password: &str, attributes: &[(&str, &str)]) -> Result<(), Vec<String>> {
        let mut messages = Vec::new();
        if let Some(max) = self.max_similarity {
            let similar = attributes.iter().find(|(_, value)| is_similar(password, value, max));
            messages.extend(similar.map(|(name, _)| format!("The password is too similar to the {name}.")));
        }
        if let Some(least) = self.min_length.filter(|least| password.chars().count() < *least) {
            let plural = if least == 1 { "" } else { "s" };
            messages.push(format!(
                "This password is too short. It must contain at least {least} character{plural}."
            ));
        }
        if self.common && is_common(password) {
            messages.push("This password is too common.".to_owned());
        }
        if self.numeric && !password.is_empty() && password.chars().all(is_digit) {
            messages.push("This password is entirely numeric.".to_owned());
        }
        if messages.is_empty() { Ok(()) } else { Err(messages) }
    }
}
