//! The options of a store in its URL.

use std::{str::FromStr, time::Duration};

use crate::Error;

/// What stands behind the question mark.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// The URL before the question mark, and what is behind it.
    pub(super) fn of(url: &str) -> (&str, Self) {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        (address, Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }

    pub(super) fn take<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Error> {
        let Some(at) = self.0.iter().position(|(found, _)| found == name) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(at);
        let value = value.parse();
        value
            .map(Some)
            .map_err(|_| Error::configuration(format!("the URL's parameter {name} cannot be that")))
    }

    pub(super) fn seconds(&mut self, name: &str) -> Result<Option<Duration>, Error> {
        let Some(seconds) = self.take::<f64>(name)? else { return Ok(None) };
        let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero());
        duration.map(Some).ok_or_else(|| {
            Error::configuration(format!("the URL's parameter {name} is a number of seconds above 0"))
        })
    }

    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(super) fn split_off(&mut self, names: &[&str]) -> Self {
        let (taken, left) =
            std::mem::take(&mut self.0).into_iter().partition(|(name, _)| names.contains(&&**name));
        self.0 = left;
        Self(taken)
    }

    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(super) fn put_back(self, address: &str) -> String {
        if self.0.is_empty() {
            return address.to_owned();
        }
        // The driver decodes percents and no plus.
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(self.0).finish();
        format!("{address}?{}", query.replace('+', "%20"))
    }

    /// Errors about the first that nobody has taken.
    pub(super) fn end(self, what: &str, known: &[&str]) -> Result<(), Error> {
        let Some((name, _)) = self.0.first() else { return Ok(()) };
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(Error::configuration(format!("a {what} URL has no parameter {name:?}: it may have {known}")))
    }
}
