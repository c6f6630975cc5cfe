//! The list of Django's `CommonPasswordValidator`, made by Royce Williams: 19,640 passwords in lower case.
//! `common-passwords.txt.gz` is Django's file, under the licence in `common-passwords.LICENSE`.

use std::{collections::HashSet, io::Read as _, sync::LazyLock};

use flate2::read::GzDecoder;

/// Never freed. Half a megabyte, of applications that use it.
static PASSWORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let mut text = String::new();
    let mut file = GzDecoder::new(&include_bytes!("common-passwords.txt.gz")[..]);
    #[allow(clippy::expect_used)] // a test reads it whole
    file.read_to_string(&mut text).expect("the list of common passwords is intact");
    text.leak().lines().map(strip).collect()
});

pub(super) fn is_common(password: &str) -> bool {
    PASSWORDS.contains(strip(&password.to_lowercase()))
}

/// Python's `strip`, which removes four control characters more than Rust's.
fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
}
