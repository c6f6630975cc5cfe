//! Django's `UserAttributeSimilarityValidator`: Python's `SequenceMatcher.quick_ratio`.

use std::collections::HashMap;

use unicode_normalization::char::is_combining_mark;

/// Whether the password resembles the value, or one of its words.
pub(super) fn is_similar(password: &str, value: &str, max: f64) -> bool {
    if value.is_empty() {
        return false;
    }
    let (password, value) = (password.to_lowercase(), value.to_lowercase());
    let password: Vec<char> = password.chars().collect();
    // As re.split(r"\W+"): with an empty part before a leading and after a trailing separator.
    let mut words = vec![Vec::new()];
    let mut in_word = true;
    for c in value.chars() {
        match (is_word(c), in_word) {
            (true, _) => {
                words.last_mut().unwrap_or(&mut Vec::new()).push(c);
                in_word = true;
            }
            (false, true) => {
                words.push(Vec::new());
                in_word = false;
            }
            (false, false) => {}
        }
    }
    words.push(value.chars().collect());
    words
        .iter()
        .any(|part| !is_out_of_proportion(password.len(), part.len(), max) && ratio(&password, part) >= max)
}

/// Django's `exceeds_maximum_length_ratio`: much longer than the value cannot be similar.
fn is_out_of_proportion(password: usize, part: usize, max: f64) -> bool {
    password >= 10 * part && (part as f64) < max / 2.0 * password as f64
}

/// How many characters both have, in any order. 1 if both are empty.
fn ratio(password: &[char], part: &[char]) -> f64 {
    let total = password.len() + part.len();
    if total == 0 {
        return 1.0;
    }
    let mut available: HashMap<char, usize> = HashMap::new();
    for c in part {
        *available.entry(*c).or_default() += 1;
    }
    let mut matches = 0;
    for c in password {
        if let Some(left) = available.get_mut(c).filter(|left| **left > 0) {
            *left -= 1;
            matches += 1;
        }
    }
    2.0 * f64::from(matches) / total as f64
}

/// Python's `\w`. Rust also counts marks and enclosed letters as alphabetic.
fn is_word(c: char) -> bool {
    let enclosed = matches!(c, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f149}' | '\u{1f150}'..='\u{1f169}'
        | '\u{1f170}'..='\u{1f189}');
    c == '_' || (c.is_alphanumeric() && !is_combining_mark(c) && !enclosed)
}
