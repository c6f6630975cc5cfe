//! What a stored text looks like, without any secret.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Padded or not, as Django reads it.
const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The layouts that Django has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `body:time:signature`, since Django 3.1.
    Signed,
    /// The same, compressed.
    Compressed,
    /// base64 of `signature:body`, up to Django 3.0.
    Old,
    /// Something else.
    Foreign,
}

impl Shape {
    pub(crate) fn of(text: &str) -> Self {
        let urlsafe =
            |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let mut parts = text.rsplitn(3, ':');
        if let (Some(signature), Some(time), Some(body)) = (parts.next(), parts.next(), parts.next()) {
            // HMAC-SHA-256, or SHA-1 as Django 3.1 and 3.2 could write.
            let signed = matches!(signature.len(), 43 | 27) && urlsafe(signature);
            let stamped = !time.is_empty() && time.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let compressed = body.starts_with('.');
            return match signed && stamped && urlsafe(body.trim_start_matches('.')) {
                true if compressed => Self::Compressed,
                true => Self::Signed,
                false => Self::Foreign,
            };
        }
        let decoded = STANDARD.decode(text.trim_end()).unwrap_or_default();
        let old = decoded.get(40) == Some(&b':')
            && decoded.iter().take(40).all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if old { Self::Old } else { Self::Foreign }
    }

    /// The Djangos that write it.
    pub(crate) fn django(self, legacy: bool) -> &'static str {
        match (self, legacy) {
            (Self::Signed | Self::Compressed, false) => "Django 3.1 and later",
            (Self::Signed | Self::Compressed, true) => "Django 3.1 or 3.2 with SHA-1",
            (Self::Old, _) => "Django before 3.1",
            (Self::Foreign, _) => "no Django",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_told_apart() {
        let signature = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM-_34";
        for (text, shape) in [
            (format!("e30:1r31eq:{signature}"), Shape::Signed),
            (format!(".eJyrVg:1r31eq:{signature}"), Shape::Compressed),
            (format!("e30:1r31eq:{}", &signature[..27]), Shape::Signed),
            (format!("e30::{signature}"), Shape::Foreign),
            (format!("e{{0:1r31eq:{signature}"), Shape::Foreign),
            (String::new(), Shape::Foreign),
            ("garbage".to_owned(), Shape::Foreign),
            ("NTNmZjgwNGVkOTE3NjgyODU4N2YyNGY0MjkzYzFiY2YzMDFmMzk0MTp7fQ==".to_owned(), Shape::Old),
        ] {
            assert_eq!(Shape::of(&text), shape, "{text}");
        }
    }
}
