//! Real Django: records again, verifies our columns, and has the same classes of characters.

use actix_django_session::auth::password::{
    DjangoVersion, PasswordAlgorithm, PasswordHasher, PasswordHashers, PasswordValidators,
};
use serde_json::json;

use crate::support::{django::Django, proc::TempDir};

#[test]
#[ignore = "needs Django: run tests/run"]
fn the_recordings_are_up_to_date() {
    let versions = Django::codec_versions();
    assert!(!versions.is_empty());
    for version in versions {
        let minor = version.name.rsplit_once('.').unwrap().0;
        let file = format!("../vectors/passwords-{minor}.json");
        version.script(&["record_passwords.py", "--check", &file], None);
        if version.name.starts_with("6.") {
            version.script(&["record_passwords.py", "--common-passwords", "--check"], None);
        }
    }
}

const PASSWORDS: [&str; 5] = ["correct horse", "", "nul\0inside", "пароль 🔑", "pass$word"];

/// All algorithms, with small parameters, and with the defaults of the release.
#[test]
#[ignore = "needs Django: run tests/run"]
fn django_verifies_our_columns() {
    let small = [
        PasswordHasher::pbkdf2_sha256(7),
        PasswordHasher::pbkdf2_sha1(7),
        PasswordHasher::argon2(64, 1, 3),
        PasswordHasher::bcrypt_sha256(4),
        PasswordHasher::bcrypt(4),
        PasswordHasher::scrypt(4, 1, 3),
        PasswordHasher::md5(),
    ];
    let versions = Django::versions();
    assert!(!versions.is_empty());
    for version in versions {
        let release = match version.name.rsplit_once('.').unwrap().0 {
            "4.2" => DjangoVersion::V4_2,
            "5.2" => DjangoVersion::V5_2,
            "6.1" => DjangoVersion::V6_1,
            other => panic!("{other} has no defaults here"),
        };
        let mut lines = String::new();
        let mut add = |hasher: PasswordHasher, password: &str, default: Option<&str>| {
            let column = PasswordHashers::new(hasher).hash_blocking(password).unwrap();
            assert!(column.len() <= 128, "{column} does not fit Django's column");
            lines += &json!({"password": password, "column": column, "default": default}).to_string();
            lines.push('\n');
        };
        for password in PASSWORDS {
            small.iter().for_each(|hasher| add(*hasher, password, None));
        }
        for name in ["pbkdf2_sha256", "argon2", "bcrypt_sha256", "bcrypt", "scrypt", "md5"] {
            let hasher = release.hasher(PasswordAlgorithm::from_name(name).unwrap()).unwrap();
            add(hasher, "correct horse", Some(name));
        }
        let dir = TempDir::new("passwords");
        let file = dir.path().join("columns");
        std::fs::write(&file, lines).unwrap();
        version.script(&["record_passwords.py", "--verify", file.to_str().unwrap()], None);
    }
}

/// Python's digits and characters of words. Only what is new in the Unicode of one of the two may differ.
#[test]
#[ignore = "needs Django: run tests/run"]
fn characters_have_the_classes_of_python() {
    let version = Django::versions().into_iter().find(|version| version.name.starts_with("6.")).unwrap();
    let kinds = version.script(&["record_passwords.py", "--characters"], None);
    let numeric = PasswordValidators::none().refuse_numeric();
    let similar = PasswordValidators::none().max_similarity(0.7);
    let (mut digits, mut words) = (0, 0);
    for (c, kind) in ('\0'..=char::MAX).zip(kinds.trim().bytes().map(|b| b - b'0')) {
        let is_assigned = kind & 4 == 0;
        if !is_assigned {
            continue;
        }
        let is_digit = numeric.validate(&c.to_string(), &[]).is_err();
        assert_eq!(is_digit, kind & 1 != 0, "{c:?}");
        digits += usize::from(is_digit);
        // In lower case it is two characters, one of them a mark.
        if c == 'İ' || !(c.is_alphanumeric() || kind & 2 != 0) {
            continue;
        }
        // Only what separates words leaves one that is like the password.
        let is_word = similar.validate("ab", &[("name", &format!("ab{c}qqqqqqqq"))]).is_ok();
        assert_eq!(is_word, kind & 2 != 0, "{c:?}");
        words += usize::from(is_word);
    }
    assert!(digits > 750 && words > 130_000, "{digits} {words}");
}
