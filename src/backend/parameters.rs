//! The options of a store in its URL.

use std::{str::FromStr, time::Duration};

use percent_encoding::percent_decode_str;

use crate::Error;

/// The parameters behind the question mark, each as it was written.
pub(crate) struct Parameters(Vec<String>);

impl Parameters {
    /// The URL before the question mark, and what is behind it.
    pub(crate) fn of(url: &str) -> (&str, Self) {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let pieces = query.split('&').filter(|piece| !piece.is_empty());
        (address, Self(pieces.map(str::to_owned).collect()))
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Errors if it is there twice, or cannot be that.
    pub(crate) fn take<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Error> {
        let mut found = self.0.extract_if(.., |piece| name_of(piece) == name);
        let (first, second) = (found.next(), found.next());
        drop(found);
        if second.is_some() {
            return Err(Error::configuration(format!("the URL has its parameter {name} twice")));
        }
        let Some(piece) = first else { return Ok(None) };
        let value = piece.split_once('=').map_or("", |(_, value)| value);
        let value = percent_decode_str(value).decode_utf8().ok().and_then(|value| value.parse().ok());
        value
            .map(Some)
            .ok_or_else(|| Error::configuration(format!("the URL's parameter {name} cannot be that")))
    }

    pub(crate) fn seconds(&mut self, name: &str) -> Result<Option<Duration>, Error> {
        let Some(seconds) = self.take::<f64>(name)? else { return Ok(None) };
        let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero());
        duration.map(Some).ok_or_else(|| {
            Error::configuration(format!("the URL's parameter {name} is a number of seconds above 0"))
        })
    }

    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) fn split_off(&mut self, names: &[&str]) -> Self {
        Self(self.0.extract_if(.., |piece| names.contains(&name_of(piece))).collect())
    }

    /// The URL with what is left.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) fn put_back(self, address: &str) -> String {
        if self.0.is_empty() { address.to_owned() } else { format!("{address}?{}", self.0.join("&")) }
    }

    /// Errors about the first that nobody has taken.
    pub(crate) fn end(self, what: &str, known: &[&str]) -> Result<(), Error> {
        let Some(piece) = self.0.first() else { return Ok(()) };
        // Anything else could be a part of a password with a question mark in it.
        let secret = self.0.iter().any(|piece| piece.contains('@'));
        let plain = |name: &&str| !secret && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let name = Some(name_of(piece)).filter(plain).map_or(String::new(), |name| format!(" {name:?}"));
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(Error::configuration(format!("a {what} URL has no parameter{name}: it may have {known}")))
    }
}

/// Errors if an `@` follows the question mark: a password with a question mark in it, perhaps, and errors
/// about parameters would quote what follows.
pub(crate) fn check_at_sign(url: &str) -> Result<(), Error> {
    match url.split_once('?') {
        // A text of the form `host=… password=…` may have both.
        Some((address, query)) if address.contains(":/") && query.contains('@') => Err(Error::configuration(
            "the URL has an @ after its question mark: in a user name or password write ? as %3F and @ as \
             %40, \
             in a parameter write @ as %40",
        )),
        _ => Ok(()),
    }
}

fn name_of(piece: &str) -> &str {
    piece.split_once('=').map_or(piece, |(name, _)| name)
}
