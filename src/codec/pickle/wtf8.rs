//! Python's strings as bytes: UTF-8 in which surrogates may occur, as Python's `surrogatepass` writes it.

pub(super) fn is_valid(mut bytes: &[u8]) -> bool {
    while let Err(error) = std::str::from_utf8(bytes) {
        match bytes.get(error.valid_up_to()..) {
            Some([0xed, 0xa0..=0xbf, 0x80..=0xbf, rest @ ..]) => bytes = rest,
            _ => return false,
        }
    }
    true
}

/// Appends a code point, which may be a surrogate.
pub(super) fn push_code_point(out: &mut Vec<u8>, code: u32) {
    match char::from_u32(code) {
        Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => {
            let [low, middle, high] = [code, code >> 6, code >> 12].map(|bits| (bits & 0x3f) as u8);
            out.extend_from_slice(&[0xe0 | high, 0x80 | middle, 0x80 | low]);
        }
    }
}

/// Returns whether two adjacent surrogates form a pair, which JSON would join into one character.
pub(super) fn has_surrogate_pair(text: &[u8]) -> bool {
    text.windows(6).any(|w| matches!(w, [0xed, 0xa0..=0xaf, _, 0xed, 0xb0..=0xbf, _]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrogates_are_valid_and_other_bytes_are_not() {
        for good in [&b"a\xed\xa0\xbd\xed\xb8\x80z"[..], "é😀".as_bytes(), b""] {
            assert!(is_valid(good), "{good:x?}");
        }
        for bad in [&b"\xed\xa0"[..], b"\xff", b"\xc3", b"\xed\xa0\xbd\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"]
        {
            assert!(!is_valid(bad), "{bad:x?}");
        }
    }
}
