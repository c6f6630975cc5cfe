//! Texts that nobody wrote as a column.

use actix_django_session::auth::password::{PasswordCheck, PasswordHasher, PasswordHashers, PasswordSummary};
use proptest::{
    prelude::*,
    sample::{Index, select},
};

/// Quick ones.
const HASHERS: [PasswordHasher; 5] = [
    PasswordHasher::pbkdf2_sha256(1),
    PasswordHasher::argon2(8, 1, 1),
    PasswordHasher::bcrypt_sha256(4),
    PasswordHasher::scrypt(2, 1, 1),
    PasswordHasher::md5(),
];

const PIECES: [&str; 14] =
    ["$", "", "0", "9", "é", "=", "\n", "v=19", "m=8", ",", "argon2", "md5$$", "!", "4294967295"];

/// Anything, or a good column of which a part is replaced.
fn text() -> impl Strategy<Value = String> {
    let columns = HASHERS.map(|hasher| PasswordHashers::new(hasher).hash_blocking("x").unwrap());
    let parts = (select(columns.to_vec()), select(PIECES.to_vec()), any::<Index>(), any::<Index>());
    let replaced = parts.prop_map(|(column, piece, one, other)| {
        let (one, other) = (one.index(column.len() + 1), other.index(column.len() + 1));
        format!("{}{piece}{}", &column[..one.min(other)], &column[one.max(other)..])
    });
    prop_oneof![any::<String>(), replaced]
}

proptest! {
    #[test]
    fn it_does_not_panic_and_fits_no_password(column in text()) {
        let hashers = PasswordHashers::new(PasswordHasher::md5());
        hashers.must_update(&column);
        // Other parameters may cost minutes.
        if PasswordSummary::of(&column).hasher().is_none_or(|hasher| HASHERS.contains(&hasher)) {
            prop_assert_eq!(hashers.check_blocking("y", &column).unwrap(), PasswordCheck::Wrong);
        }
    }
}
