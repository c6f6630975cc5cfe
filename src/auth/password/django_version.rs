//! The defaults of Django's releases.

use super::{PasswordAlgorithm, PasswordHasher};

/// A release of Django, for the parameters that its hashers have unless a site changes them.
///
/// Each release raises the iterations of PBKDF2, and with 5.1 the parallelism of scrypt went from 1 to 5. So
/// sites of different releases on one table, or one of them and this crate, hash the passwords of their
/// visitors again and again, and log them out of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DjangoVersion {
    /// Django 4.2 (LTS): 600,000 iterations.
    V4_2,
    /// Django 5.0: 720,000 iterations.
    V5_0,
    /// Django 5.1: 870,000 iterations.
    V5_1,
    /// Django 5.2 (LTS): 1,000,000 iterations.
    V5_2,
    /// Django 6.0: 1,200,000 iterations.
    V6_0,
    /// Django 6.1: 1,500,000 iterations.
    V6_1,
}

impl DjangoVersion {
    /// Returns the hasher with the parameters of this release.
    ///
    /// `None` for algorithms that only verify.
    ///
    /// ```
    /// use actix_django_session::auth::password::{DjangoVersion, PasswordAlgorithm, PasswordHasher};
    ///
    /// let hasher = DjangoVersion::V5_0.hasher(PasswordAlgorithm::Scrypt);
    /// assert_eq!(hasher, Some(PasswordHasher::scrypt(16_384, 8, 1)));
    /// ```
    pub const fn hasher(self, algorithm: PasswordAlgorithm) -> Option<PasswordHasher> {
        let iterations = self.iterations();
        Some(match algorithm {
            PasswordAlgorithm::Pbkdf2Sha256 => PasswordHasher::pbkdf2_sha256(iterations),
            PasswordAlgorithm::Pbkdf2Sha1 => PasswordHasher::pbkdf2_sha1(iterations),
            PasswordAlgorithm::Argon2 => PasswordHasher::argon2(102_400, 2, 8),
            PasswordAlgorithm::BcryptSha256 => PasswordHasher::bcrypt_sha256(12),
            PasswordAlgorithm::Bcrypt => PasswordHasher::bcrypt(12),
            PasswordAlgorithm::Scrypt => PasswordHasher::scrypt(
                1 << 14,
                8,
                if matches!(self, Self::V4_2 | Self::V5_0) { 1 } else { 5 },
            ),
            PasswordAlgorithm::Md5 => PasswordHasher::md5(),
            PasswordAlgorithm::Sha1 | PasswordAlgorithm::UnsaltedMd5 | PasswordAlgorithm::UnsaltedSha1 => {
                return None;
            }
        })
    }

    pub(super) const fn iterations(self) -> u32 {
        match self {
            Self::V4_2 => 600_000,
            Self::V5_0 => 720_000,
            Self::V5_1 => 870_000,
            Self::V5_2 => 1_000_000,
            Self::V6_0 => 1_200_000,
            Self::V6_1 => 1_500_000,
        }
    }
}
