//! Messages in the cookie: signed, and cut to the size that Django allows.

use std::{ops::Range, time::SystemTime};

use super::wire::{self, Listing, SENTINEL, StoredMessage};
use crate::{Error, codec::cookie_signer::CookieSigner};

/// Django's salt for them.
pub(super) const SALT: &str = "django.contrib.messages";

/// The longest value, in characters. Django's `max_cookie_size`.
const MAX_LEN: usize = 2048;

/// The largest list that is read, in bytes. Zlib makes at most 1.6 MB of what Django writes.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What the cookie of a request says.
pub(super) enum Content {
    /// There is none, or it is empty.
    Nothing,
    /// Nobody who knows a secret wrote it, or it cannot be read.
    Bad(Error),
    Listing(Listing),
}

pub(super) fn read(signer: &CookieSigner, value: Option<&[u8]>) -> Content {
    let value = value.unwrap_or_default();
    if value.is_empty() {
        return Content::Nothing;
    }
    let Ok(value) = std::str::from_utf8(value) else { return Content::Bad(Error::bad_signature()) };
    let listing = signer.unsign_object(value, MAX_BYTES).and_then(|payload| {
        let latin1: String = payload.into_iter().map(char::from).collect();
        Listing::from_json(&latin1)
    });
    match listing {
        Ok(Some(listing)) => Content::Listing(listing),
        Ok(None) => Content::Nothing,
        Err(error) => Content::Bad(error),
    }
}

/// The largest list that can fit: zlib shortens to a 1032nd at most.
const MAX_LIST: usize = MAX_LEN * 3 / 4 * 1032;

/// Which messages stay if not all fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Oldest,
    Newest,
}

/// Returns the cookie's value, and which of the messages are in it.
pub(super) fn write(signer: &CookieSigner, messages: &[StoredMessage], keep: Keep) -> (String, Range<usize>) {
    let now = SystemTime::now();
    let items: Vec<String> = messages.iter().map(|message| message.to_json(wire::COMPACT)).collect();
    let fitting = |items: &[String]| {
        let list = Some(wire::join(items, wire::COMPACT)).filter(|list| list.len() <= MAX_LIST)?;
        Some(signer.sign_object(list.as_bytes(), now)).filter(|value| value.len() <= MAX_LEN)
    };
    if let Some(all) = fitting(&items) {
        return (all, 0..messages.len());
    }
    let part = |range: Range<usize>| {
        let mut items = items.get(range).unwrap_or_default().to_vec();
        items.push(format!("\"{SENTINEL}\""));
        fitting(&items)
    };
    // The steps of Django since 5.0. Its loop before that ends in the same place.
    let range_of = |kept: usize| match keep {
        Keep::Oldest => 0..kept,
        Keep::Newest => messages.len() - kept..messages.len(),
    };
    let (mut fits, mut too_many, mut value) = (0, messages.len() + 1, None);
    while fits + 1 < too_many {
        let middle = (fits + too_many + usize::from(keep == Keep::Oldest)) / 2;
        match part(range_of(middle)) {
            Some(fitting) => (fits, value) = (middle, Some(fitting)),
            None => too_many = middle,
        }
    }
    // The sentinel alone always fits.
    let value = value.or_else(|| part(range_of(0))).unwrap_or_default();
    (value, range_of(fits))
}
