//! Headers with parameters: `multipart/form-data; boundary=x`, `form-data; name="x"`.

/// A value and its parameters. Django's `parse_header_parameters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContentType {
    /// In lower case.
    pub(super) essence: String,
    /// Names in lower case, values without quotes.
    parameters: Vec<(String, String)>,
    /// As sent.
    pub(super) text: String,
}

impl ContentType {
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = split_outside_quotes(text).into_iter();
        let essence = parts.next().unwrap_or_default().trim().to_lowercase();
        let parameters = parts.filter_map(|part| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_lowercase(), unquote(value.trim())))
        });
        Self { essence, parameters: parameters.collect(), text: text.to_owned() }
    }

    /// The last value of a parameter. Not of RFC 2231's extended ones, which no browser sends in a form.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut values = self.parameters.iter().rev();
        values.find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter has a value, or an extended form of it (`filename*`) has one.
    pub(super) fn has_any_form_of(&self, name: &str) -> bool {
        self.parameters.iter().any(|(found, value)| {
            let rest = found.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('*')) && !value.is_empty()
        })
    }
}

fn split_outside_quotes(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (index, character) in text.char_indices() {
        match character {
            '"' if !escaped => quoted = !quoted,
            ';' if !quoted => {
                parts.push(&text[begin..index]);
                begin = index + 1;
            }
            _ => {}
        }
        escaped = character == '\\';
    }
    parts.push(&text[begin..]);
    parts
}

fn unquote(value: &str) -> String {
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\\", "\\").replace("\\\"", "\""),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found() {
        let parsed = ContentType::parse("Multipart/Form-Data ; Boundary=\"a;b\\\"c\"; x; y = z;boundary=d");
        assert_eq!(parsed.essence, "multipart/form-data");
        assert_eq!(parsed.parameter("y"), Some("z"));
        assert_eq!(parsed.parameter("boundary"), Some("d"));
        assert_eq!(parsed.parameter("x"), None);
        let quoted = ContentType::parse("a; b=\"a;b\\\"c\"");
        assert_eq!(quoted.parameter("b"), Some("a;b\"c"));
    }

    #[test]
    fn extended_parameters_count_as_files() {
        let file = |text| ContentType::parse(text).has_any_form_of("filename");
        assert!(file("form-data; name=a; filename=b"));
        assert!(file("form-data; name=a; filename*=utf-8''b"));
        assert!(!file("form-data; name=a; filename=\"\""));
        assert!(!file("form-data; name=filename"));
    }
}
