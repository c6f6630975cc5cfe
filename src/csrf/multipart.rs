//! A field of a multipart form, found in one pass over what was read of the body.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{content_type::ContentType, form::BadForm};

/// The longest headers of a part.
const MAX_HEADER_BYTES: usize = 1024;

/// The format of a body: where its parts begin.
#[derive(Debug)]
pub(super) struct Multipart {
    /// With the two dashes.
    boundary: Vec<u8>,
    /// How much of the boundary's beginning is also the end of its first n + 1 bytes.
    borders: Vec<usize>,
}

/// The result of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) value: Option<String>,
    pub(super) has_files: bool,
}

enum Part<'a> {
    Field {
        name: String,
        value: &'a [u8],
        is_base64: bool,
    },
    File,
    /// Without a Content-Disposition or a name. Django counts them as fields.
    Other,
}

impl Multipart {
    pub(super) fn new(content_type: &ContentType) -> Result<Self, BadForm> {
        // Fields in these have the same bytes as in UTF-8, as far as a token needs them.
        const CHARSETS: [&str; 6] = ["utf-8", "utf8", "us-ascii", "iso-8859-1", "latin-1", "windows-1252"];
        let charset = content_type.parameter("charset");
        if charset.is_some_and(|name| !CHARSETS.iter().any(|known| name.eq_ignore_ascii_case(known))) {
            return Err(BadForm::Charset);
        }
        let text = content_type.parameter("boundary").unwrap_or_default();
        let possible = (1..=201).contains(&text.len())
            && text.bytes().all(|b| (b' '..=b'~').contains(&b))
            && !text.ends_with(' ');
        if !possible || !content_type.text.starts_with("multipart/") || !content_type.text.is_ascii() {
            return Err(BadForm::Multipart);
        }
        let boundary = [b"--", text.as_bytes()].concat();
        Ok(Self { borders: borders(&boundary), boundary })
    }

    /// The last value of a field. Of a body that goes on, the part at its end is left out.
    pub(super) fn last_field(
        &self,
        body: &[u8],
        name: &str,
        max_fields: usize,
        is_complete: bool,
    ) -> Result<Search, BadForm> {
        let mut search = Search { value: None, has_files: false };
        let (mut rest, mut fields) = (Some(body).filter(|body| !body.is_empty()), 0);
        while let Some(bytes) = rest {
            let end = self.find(bytes);
            rest = end.map(|end| &bytes[end + self.boundary.len()..]).filter(|rest| !rest.is_empty());
            let part = end.map_or(bytes, |end| without_line_end(&bytes[..end]));
            let is_whole = end.is_some() || is_complete;
            let part = match Part::parse(part) {
                Err(_) if !is_whole => break,
                part => part?,
            };
            if matches!(part, Part::File) {
                search.has_files = true;
                continue;
            }
            fields += 1;
            // The empty ones before the first boundary and after the last count too.
            if fields > max_fields.saturating_add(2) {
                return Err(BadForm::TooManyFields);
            }
            match part {
                Part::Field { name: found, value, is_base64 } if is_whole && found == name => {
                    let decoded = is_base64.then(|| STANDARD.decode(value).ok()).flatten();
                    let value = decoded.as_deref().unwrap_or(value);
                    search.value = Some(String::from_utf8_lossy(value).into_owned());
                }
                _ => {}
            }
        }
        Ok(search)
    }

    /// Where the next boundary begins, by Knuth, Morris and Pratt: no body makes it slow.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let mut matched = 0;
        for (index, byte) in bytes.iter().enumerate() {
            while matched > 0 && self.boundary[matched] != *byte {
                matched = self.borders[matched - 1];
            }
            if self.boundary[matched] == *byte {
                matched += 1;
            }
            if matched == self.boundary.len() {
                return Some(index + 1 - matched);
            }
        }
        None
    }
}

fn borders(pattern: &[u8]) -> Vec<usize> {
    let mut borders = vec![0; pattern.len()];
    let mut matched = 0;
    for index in 1..pattern.len() {
        while matched > 0 && pattern[matched] != pattern[index] {
            matched = borders[matched - 1];
        }
        if pattern[matched] == pattern[index] {
            matched += 1;
        }
        borders[index] = matched;
    }
    borders
}

/// The line end in front of a boundary belongs to it.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

impl<'a> Part<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, BadForm> {
        let begin = &bytes[..bytes.len().min(MAX_HEADER_BYTES)];
        let Some(end) = begin.windows(4).position(|window| window == b"\r\n\r\n") else {
            // Django 4.2 ignores such a part.
            return if begin.len() < MAX_HEADER_BYTES { Ok(Self::Other) } else { Err(BadForm::Multipart) };
        };
        let (mut disposition, mut is_base64) = (None, false);
        for line in String::from_utf8_lossy(&bytes[..end]).split("\r\n") {
            let Some((name, value)) = line.split_once(':') else { continue };
            if line.contains(char::REPLACEMENT_CHARACTER) {
                continue; // Django too ignores a line that is not UTF-8
            }
            match name.trim_end_matches(' ').to_lowercase().as_str() {
                "content-disposition" => disposition = Some(ContentType::parse(value)),
                "content-transfer-encoding" => is_base64 = ContentType::parse(value).essence == "base64",
                _ => {}
            }
        }
        let Some(disposition) = disposition else { return Ok(Self::Other) };
        if disposition.has_any_form_of("filename") {
            return Ok(Self::File);
        }
        Ok(match disposition.parameter("name") {
            Some(name) => Self::Field { name: name.trim().to_owned(), value: &bytes[end + 4..], is_base64 },
            None => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Multipart {
        Multipart::new(&ContentType::parse("multipart/form-data; boundary=aab")).unwrap()
    }

    fn field(name: &str, value: &str) -> String {
        format!("--aab\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    fn value(body: &str, is_complete: bool) -> Option<String> {
        form().last_field(body.as_bytes(), "t", 1000, is_complete).unwrap().value
    }

    #[test]
    fn a_boundary_is_found_wherever_it_begins() {
        let form = form();
        for before in ["", "-", "--", "---", "--a", "--aa-", "--aa--aa-", "x"] {
            assert_eq!(form.find(format!("{before}--aabx").as_bytes()), Some(before.len()), "{before}");
        }
        assert_eq!(form.find(b"--aa--ab--aaab"), None);
    }

    #[test]
    fn the_part_at_the_end_counts_only_if_nothing_follows() {
        let body = [field("t", "1"), field("t", "2")].concat();
        assert_eq!(value(&body, true).as_deref(), Some("2\r\n"));
        assert_eq!(value(&body, false).as_deref(), Some("1"));
        assert_eq!(value(&(body + "--aab--\r\n"), true).as_deref(), Some("2"));
    }

    #[test]
    fn every_cut_of_a_form_is_read() {
        let body = [field("a", "x"), field("t", "token"), field("b", "y"), "--aab--\r\n".to_owned()].concat();
        for end in 0..=body.len() {
            let found = value(&body[..end], false);
            assert!(found.is_none() || found.as_deref() == Some("token"), "{end}: {found:?}");
            let complete = value(&body[..end], true);
            assert!(complete.is_none_or(|found| "token\r\n--aab".starts_with(&found)), "{end}");
        }
    }
}
