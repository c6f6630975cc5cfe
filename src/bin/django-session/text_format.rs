//! The format of a stored text, recognised without any secret.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Padded or not, as Django reads it.
const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The formats that Django has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// `body:time:signature` with HMAC-SHA-256, since Django 3.1.
    Signed,
    /// The same with SHA-1, which Django 3.1 and 3.2 could write.
    Sha1,
    /// base64 of `signature:body`, up to Django 3.0.
    Before31,
    Unknown,
}

impl TextFormat {
    pub(crate) fn of(text: &str) -> Self {
        let urlsafe =
            |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let mut parts = text.rsplitn(3, ':');
        if let (Some(signature), Some(time), Some(body)) = (parts.next(), parts.next(), parts.next()) {
            let stamped = !time.is_empty() && time.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let plausible = stamped && urlsafe(signature) && urlsafe(body.trim_start_matches('.'));
            return match signature.len() {
                43 if plausible => Self::Signed,
                27 if plausible => Self::Sha1,
                _ => Self::Unknown,
            };
        }
        let decoded = STANDARD.decode(text.trim_end()).unwrap_or_default();
        let signed = decoded.get(40) == Some(&b':')
            && decoded.iter().take(40).all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if signed { Self::Before31 } else { Self::Unknown }
    }

    /// Whether Django 4.0 and later cannot read it.
    pub(crate) fn is_legacy(self) -> bool {
        matches!(self, Self::Sha1 | Self::Before31)
    }

    /// The versions of Django that write it.
    pub(crate) fn written_by(self) -> &'static str {
        match self {
            Self::Signed => "Django 3.1 and later",
            Self::Sha1 => "Django 3.1 or 3.2 with SHA-1",
            Self::Before31 => "Django before 3.1",
            Self::Unknown => "not Django",
        }
    }
}

/// Whether a text in today's format is compressed.
pub(crate) fn is_compressed(text: &str) -> bool {
    text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let signature = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM-_34";
        for (text, format, compressed) in [
            (format!("e30:1r31eq:{signature}"), TextFormat::Signed, false),
            (format!(".eJyrVg:1r31eq:{signature}"), TextFormat::Signed, true),
            (format!("e30:1r31eq:{}", &signature[..27]), TextFormat::Sha1, false),
            (format!("e30::{signature}"), TextFormat::Unknown, false),
            (format!("e{{0:1r31eq:{signature}"), TextFormat::Unknown, false),
            (String::new(), TextFormat::Unknown, false),
            ("garbage".to_owned(), TextFormat::Unknown, false),
            (
                "NTNmZjgwNGVkOTE3NjgyODU4N2YyNGY0MjkzYzFiY2YzMDFmMzk0MTp7fQ==".to_owned(),
                TextFormat::Before31,
                false,
            ),
        ] {
            assert_eq!((TextFormat::of(&text), is_compressed(&text)), (format, compressed), "{text}");
        }
    }
}
