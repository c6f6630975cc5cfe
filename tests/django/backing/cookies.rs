//! `SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"`

use actix_django_session::{SecretKey, Store, codec::Codec};
use futures_util::future::LocalBoxFuture;

use super::{Backing, Row, Users, ends};
use crate::{pair::SECRET, support::signing::saved_at};

#[derive(Debug)]
pub(crate) struct Cookies {
    users: Users,
}

impl Cookies {
    pub(crate) fn new() -> Self {
        Self { users: Users::new() }
    }
}

impl Backing for Cookies {
    fn database_url(&self) -> String {
        self.users.url()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("SESSION_ENGINE", "django.contrib.sessions.backends.signed_cookies".to_owned())]
    }

    fn store(&self, secret: SecretKey) -> LocalBoxFuture<'_, Store> {
        Box::pin(async move { Store::signed_cookies(secret) })
    }

    /// Nothing is stored but in browsers.
    fn rows(&self) -> Vec<Row> {
        Vec::new()
    }

    /// The browser's cookie, as a row.
    fn row(&self, cookie: &str) -> Option<Row> {
        let codec = self.codec(SECRET);
        let expires = ends(&codec, cookie, saved_at(cookie));
        Some(Row { key: cookie.to_owned(), stored: cookie.into(), expires })
    }

    fn has_rows(&self) -> bool {
        false
    }

    fn codec(&self, secret: &str) -> Codec {
        Codec::new(SecretKey::new(secret)).engine_class("backends.signed_cookies")
    }
}
