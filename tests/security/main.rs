//! Hostile input: cookies that were guessed, planted or broken, and texts that are larger, deeper or longer
//! than they look.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod browser;
mod cookies;
mod django;
mod payloads;
mod wrong_secret;

#[path = "../support/mod.rs"]
mod support;

use actix_django_session::{SecretKey, codec::Codec};

const SECRET: &str = "a secret";

fn codec() -> Codec {
    Codec::new(SecretKey::new(SECRET))
}
