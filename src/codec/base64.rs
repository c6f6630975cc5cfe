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
    // Django pads the text, then Python's a2b_base64 reads it. The steps are CPython's.
    let padding = text.len().wrapping_neg() % 4;
    let padded = text.bytes().chain(std::iter::repeat_n(b'=', padding));
    let (mut out, mut left, mut in_quad, mut pads) = (Vec::with_capacity(text.len()), 0u8, 0, 0);
    for byte in padded {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                pads += 1;
                if in_quad >= 2 && in_quad + pads >= 4 {
                    return Ok(out);
                }
                continue;
            }
            _ => continue,
        };
        pads = 0;
        match in_quad {
            0 => left = value,
            1 => {
                out.push(left << 2 | value >> 4);
                left = value & 0x0f;
            }
            2 => {
                out.push(left << 4 | value >> 2);
                left = value & 0x03;
            }
            _ => out.push(left << 6 | value),
        }
        in_quad = (in_quad + 1) % 4;
    }
    if in_quad == 0 { Ok(out) } else { Err(Error::unreadable("the session data is not valid base64")) }
}
