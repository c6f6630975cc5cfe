//! Base64 as Python decodes it.

use base64::{Engine as _, alphabet, engine::GeneralPurpose, engine::general_purpose};

use crate::Error;

/// Accepts nonzero trailing bits, as Python does.
const URL_SAFE: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, general_purpose::NO_PAD.with_decode_allow_trailing_bits(true));

/// Django's `b64_decode`: accepts both alphabets, padded or not, and skips other characters.
pub(super) fn decode_leniently(text: &str) -> Result<Vec<u8>, Error> {
    if let Ok(bytes) = URL_SAFE.decode(text) {
        return Ok(bytes);
    }
    // Django pads the text. CPython then skips foreign characters, and stops at the padding of a quad.
    let padding = text.len().wrapping_neg() % 4;
    let (mut digits, mut pads) = (String::with_capacity(text.len()), 0);
    for byte in text.bytes().chain(std::iter::repeat_n(b'=', padding)) {
        match byte {
            b'+' => digits.push('-'),
            b'/' => digits.push('_'),
            b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => digits.push(char::from(byte)),
            b'=' => {
                pads += 1;
                if digits.len() % 4 >= 2 && digits.len() % 4 + pads >= 4 {
                    break;
                }
                continue;
            }
            _ => continue,
        }
        pads = 0;
    }
    let complete = digits.len() % 4 == 0 || digits.len() % 4 + pads >= 4;
    let bytes = complete.then(|| URL_SAFE.decode(&digits).ok()).flatten();
    bytes.ok_or_else(|| Error::unreadable("the session data is not valid base64"))
}
