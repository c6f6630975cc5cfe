//! `SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"`

use std::time::SystemTime;

use actix_django_session::{
    SecretKey,
    codec::Codec,
    store::{AnyStore, CookieStore},
};
use futures_util::future::LocalBoxFuture;

use super::{Backing, Row, Users, ends};
use crate::pair::SECRET;

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

    fn store(&self, secret: SecretKey) -> LocalBoxFuture<'_, AnyStore> {
        Box::pin(async move { CookieStore::new(secret).unwrap().into() })
    }

    /// Nothing is stored but in browsers.
    fn rows(&self) -> Vec<Row> {
        Vec::new()
    }

    /// What a browser has.
    fn row(&self, cookie: &str) -> Option<Row> {
        let codec = self.codec(SECRET);
        let written = codec.decode_stamped(cookie).map_or(SystemTime::UNIX_EPOCH, |(_, time)| time);
        Some(Row { key: cookie.to_owned(), stored: cookie.into(), expires: ends(&codec, cookie, written) })
    }

    fn has_rows(&self) -> bool {
        false
    }

    fn codec(&self, secret: &str) -> Codec {
        Codec::new(SecretKey::new(secret)).engine_class("backends.signed_cookies")
    }
}
