//! Django's signed cookies: `TimestampSigner` with the key that Django derives for cookies.

use std::time::SystemTime;

use ::base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    base64,
    compress::{self, Level},
    signing::{SecretKey, Signer},
    stamp,
};
use crate::Error;

/// Django puts it in front of the secret for everything that it signs for a cookie.
const PREFIX: &[u8] = b"django.http.cookies";

/// Signs payloads with one salt. Django's `get_cookie_signer(salt)`.
#[derive(Clone)]
pub(crate) struct CookieSigner {
    key: SecretKey,
    signer: Signer,
}

impl CookieSigner {
    pub(crate) fn new(key: SecretKey, salt: &str) -> Self {
        let signer = Signer::new(&key.prefixed(PREFIX), salt);
        Self { key, signer }
    }

    /// Returns an error if a secret is empty, which the prefix would hide.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.key.check()
    }

    /// Returns `[.]base64:stamp:signature`, compressed if that is worth it. Django's `sign_object`.
    pub(crate) fn sign_object(&self, payload: &[u8], time: SystemTime) -> String {
        let mut text = String::with_capacity(payload.len() * 4 / 3 + 64);
        match compress::deflate(payload, Level::Best) {
            // Django's own bound: worth it from two bytes on, since the mark takes one.
            Some(shorter) if shorter.len() + 1 < payload.len() => {
                text.push('.');
                URL_SAFE_NO_PAD.encode_string(&shorter, &mut text);
            }
            _ => URL_SAFE_NO_PAD.encode_string(payload, &mut text),
        }
        text.push(':');
        stamp::push(&mut text, time);
        self.signer.sign(&mut text);
        text
    }

    /// Returns the payload, of at most `limit` bytes. Its age does not count. Django's `unsign_object`.
    pub(crate) fn unsign_object(&self, text: &str, limit: usize) -> Result<Vec<u8>, Error> {
        let (value, signature) = text.rsplit_once(':').ok_or_else(Error::bad_signature)?;
        if !self.signer.verify(value, signature) {
            return Err(Error::bad_signature());
        }
        let (body, stamp) =
            value.rsplit_once(':').ok_or_else(|| Error::unreadable("the signed value has no time stamp"))?;
        stamp::parse(stamp)?;
        match body.strip_prefix('.') {
            Some(body) => compress::inflate(&base64::decode_leniently(body)?, limit),
            None => base64::decode_leniently(body),
        }
    }
}
