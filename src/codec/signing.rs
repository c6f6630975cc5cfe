//! Django's `Signer`: HMAC-SHA-256 with a key derived from salt and secret, as URL-safe base64.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// The secret that signs sessions, and older secrets that still verify. Django's `SECRET_KEY` and
/// `SECRET_KEY_FALLBACKS`.
///
/// `Debug` does not show the secrets.
///
/// ```
/// use actix_django_session::SecretKey;
///
/// let key = SecretKey::new("this year's").with_fallbacks(["last year's"]);
/// assert_eq!(format!("{key:?}"), "SecretKey(…, 1 fallback)");
/// ```
#[derive(Clone)]
pub struct SecretKey {
    secrets: Vec<Vec<u8>>,
}

impl SecretKey {
    /// Takes Django's `SECRET_KEY`: text, or bytes if the site uses bytes.
    ///
    /// An empty secret is a configuration error when the key is first used.
    ///
    /// ```
    /// use actix_django_session::{SecretKey, codec::Codec};
    ///
    /// assert!(Codec::new(SecretKey::new("django-insecure-x")).check().is_ok());
    /// assert!(Codec::new(SecretKey::new("")).check().unwrap_err().is_configuration());
    /// ```
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Self { secrets: vec![secret.into()] }
    }

    /// Adds secrets that verify but do not sign, in the order in which they are tried. Django's
    /// `SECRET_KEY_FALLBACKS`.
    ///
    /// ```
    /// use actix_django_session::{SecretKey, codec::{Codec, SessionData}};
    ///
    /// let stored = Codec::new(SecretKey::new("old")).encode(&SessionData::default())?;
    /// assert!(Codec::new(SecretKey::new("new")).decode(&stored).is_err());
    /// assert!(Codec::new(SecretKey::new("new").with_fallbacks(["old"])).decode(&stored).is_ok());
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    #[must_use]
    pub fn with_fallbacks<S: Into<Vec<u8>>>(mut self, secrets: impl IntoIterator<Item = S>) -> Self {
        self.secrets.extend(secrets.into_iter().map(Into::into));
        self
    }

    /// Rejects empty secrets, with which anyone could sign.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.secrets.iter().position(Vec::is_empty) {
            None => Ok(()),
            Some(0) => Err(Error::configuration("the secret key is empty: pass Django's SECRET_KEY")),
            Some(_) => {
                Err(Error::configuration("a fallback secret key is empty: remove it from the fallbacks"))
            }
        }
    }

    /// The same secrets, each after `prefix`, as Django derives keys for another purpose.
    #[cfg(feature = "messages")]
    pub(super) fn prefixed(&self, prefix: &[u8]) -> Self {
        Self { secrets: self.secrets.iter().map(|secret| [prefix, secret].concat()).collect() }
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.secrets.iter().map(Vec::as_slice)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fallbacks = self.secrets.len() - 1; // `new` adds the first secret
        write!(f, "SecretKey(…, {fallbacks} fallback{})", if fallbacks == 1 { "" } else { "s" })
    }
}

/// Characters in a signature.
const SIGNATURE_LEN: usize = 43;

/// Signs and verifies with one salt. Keyed HMAC states are computed once, so each call hashes only its text.
#[derive(Clone)]
pub(super) struct Signer {
    current: Hmac<Sha256>,
    fallbacks: Vec<Hmac<Sha256>>,
}

impl Signer {
    pub(super) fn new(key: &SecretKey, salt: &str) -> Self {
        let mut macs = key.secrets().map(|secret| {
            let derived =
                Sha256::new().chain_update(salt).chain_update("signer").chain_update(secret).finalize();
            keyed(&derived)
        });
        // `SecretKey` has at least one secret.
        let current = macs.next().unwrap_or_else(|| keyed(&[]));
        Self { current, fallbacks: macs.collect() }
    }

    /// Appends a colon and the signature of what is there.
    pub(super) fn sign(&self, value: &mut String) {
        let mac = self.current.clone().chain_update(&*value);
        value.push(':');
        URL_SAFE_NO_PAD.encode_string(mac.finalize().into_bytes(), value);
    }

    /// Returns whether one of the secrets made this signature. Compares in constant time.
    pub(super) fn verify(&self, value: &str, signature: &str) -> bool {
        // Strict base64: Django compares signatures as text, so another encoding of the same bits differs.
        let mut tag = [0; SIGNATURE_LEN.div_ceil(4) * 3];
        let length = match URL_SAFE_NO_PAD.decode_slice(signature, &mut tag) {
            Ok(length) if signature.len() == SIGNATURE_LEN => length,
            _ => return false,
        };
        let tag = tag.get(..length).unwrap_or_default();
        std::iter::once(&self.current)
            .chain(&self.fallbacks)
            .any(|mac| mac.clone().chain_update(value).verify_slice(tag).is_ok())
    }
}

#[allow(clippy::expect_used)] // HMAC takes keys of any length
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}
