//! Django's format as one writes it in Rust without further thought: `serde_json::Value`, and the key derived
//! anew for each signature.

use std::{
    io::{Read, Write},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Result, content};

const SALT: &str = "django.contrib.sessions.SessionStore";

pub fn encode(session: &Value, compress: bool) -> Result<String> {
    let payload = serde_json::to_vec(session)?;
    let mut shorter = None;
    if compress {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&payload)?;
        shorter = Some(encoder.finish()?).filter(|bytes| bytes.len() + 1 < payload.len());
    }
    let body = match shorter {
        Some(bytes) => format!(".{}", URL_SAFE_NO_PAD.encode(bytes)),
        None => URL_SAFE_NO_PAD.encode(payload),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let value = format!("{body}:{}", base62(now));
    let signature = URL_SAFE_NO_PAD.encode(signer(&value)?.finalize().into_bytes());
    Ok(format!("{value}:{signature}"))
}

pub fn decode(text: &str) -> Result<Value> {
    let (value, signature) = text.rsplit_once(':').ok_or("no signature")?;
    signer(value)?.verify_slice(&URL_SAFE_NO_PAD.decode(signature)?)?;
    let (body, _) = value.rsplit_once(':').ok_or("no time stamp")?;
    let payload = match body.strip_prefix('.') {
        Some(body) => {
            let (bytes, mut payload) = (URL_SAFE_NO_PAD.decode(body)?, Vec::new());
            ZlibDecoder::new(&bytes[..]).read_to_end(&mut payload)?;
            payload
        }
        None => URL_SAFE_NO_PAD.decode(body)?,
    };
    Ok(serde_json::from_slice(&payload)?)
}

fn signer(value: &str) -> Result<Hmac<Sha256>> {
    let key = Sha256::digest(format!("{SALT}signer{}", content::SECRET));
    let mut hmac = Hmac::<Sha256>::new_from_slice(&key)?;
    hmac.update(value.as_bytes());
    Ok(hmac)
}

fn base62(mut number: u64) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut digits = Vec::new();
    while number > 0 {
        digits.push(char::from(DIGITS[(number % 62) as usize]));
        number /= 62;
    }
    digits.iter().rev().collect()
}
