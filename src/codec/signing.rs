//! Django's `Signer`: a key derived from salt and secret, HMAC-SHA-256, URL-safe base64.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// The secret that signs sessions, with the ones that signed them before. Django's `SECRET_KEY` and
/// `SECRET_KEY_FALLBACKS`.
///
/// New text is always signed with the first; the fallbacks only verify, in their order. Never shown by
/// `Debug`.
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
    /// An empty secret is refused where it is first used: by `connect`, `open` and `from_pool`.
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Self { secrets: vec![secret.into()] }
    }

    /// Adds secrets that are still accepted but no longer used to sign. Django's `SECRET_KEY_FALLBACKS`.
    #[must_use]
    pub fn with_fallbacks<S: Into<Vec<u8>>>(mut self, secrets: impl IntoIterator<Item = S>) -> Self {
        self.secrets.extend(secrets.into_iter().map(Into::into));
        self
    }

    /// Refuses empty secrets, which would let anybody sign.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.secrets.iter().position(Vec::is_empty) {
            None => Ok(()),
            Some(0) => Err(Error::configuration("the secret key is empty: give it Django's SECRET_KEY")),
            Some(_) => Err(Error::configuration("a fallback secret key is empty: leave it out")),
        }
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.secrets.iter().map(Vec::as_slice)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fallbacks = self.secrets.len() - 1; // `new` put the first one there
        write!(f, "SecretKey(…, {fallbacks} fallback{})", if fallbacks == 1 { "" } else { "s" })
    }
}

/// Characters of a signature.
const SIGNATURE: usize = 43;

/// Signs and verifies for one salt. The keyed states are made once: per text only the text is hashed.
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
        // `SecretKey` always holds at least one secret.
        let current = macs.next().unwrap_or_else(|| keyed(&[]));
        Self { current, fallbacks: macs.collect() }
    }

    /// Appends a colon and the signature, 43 characters.
    pub(super) fn sign(&self, value: &mut String) {
        let mac = self.current.clone().chain_update(&*value);
        value.push(':');
        URL_SAFE_NO_PAD.encode_string(mac.finalize().into_bytes(), value);
    }

    /// Whether one of the keys made this signature, compared in constant time.
    pub(super) fn verify(&self, value: &str, signature: &str) -> bool {
        // Strict: another spelling of the same bits is another signature, as in Django.
        let mut tag = [0; SIGNATURE.div_ceil(4) * 3];
        let length = match URL_SAFE_NO_PAD.decode_slice(signature, &mut tag) {
            Ok(length) if signature.len() == SIGNATURE => length,
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
