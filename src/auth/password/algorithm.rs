//! The algorithms of Django's hashers, and a hasher with its parameters.

use std::fmt;

use argon2::{Algorithm as Variety, Version};

/// An algorithm of Django's password hashers.
///
/// ```
/// use actix_django_session::auth::password::PasswordAlgorithm;
///
/// assert_eq!(PasswordAlgorithm::from_name("bcrypt_sha256"), Some(PasswordAlgorithm::BcryptSha256));
/// assert_eq!(PasswordAlgorithm::Pbkdf2Sha256.name(), "pbkdf2_sha256");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PasswordAlgorithm {
    /// `PBKDF2PasswordHasher`, Django's default.
    Pbkdf2Sha256,
    /// `PBKDF2SHA1PasswordHasher`.
    Pbkdf2Sha1,
    /// `Argon2PasswordHasher`: Argon2id; Argon2i and Argon2d are verified too.
    Argon2,
    /// `BCryptSHA256PasswordHasher`.
    BcryptSha256,
    /// `BCryptPasswordHasher`, for passwords of up to 72 bytes. Django accepts it only where it is listed.
    Bcrypt,
    /// `ScryptPasswordHasher`.
    Scrypt,
    /// `MD5PasswordHasher`: for test suites, and columns of very old sites.
    Md5,
    /// `SHA1PasswordHasher`, gone in Django 5.1: only to verify.
    Sha1,
    /// `UnsaltedMD5PasswordHasher`, gone in Django 5.1: only to verify.
    UnsaltedMd5,
    /// `UnsaltedSHA1PasswordHasher`, gone in Django 5.1: only to verify.
    UnsaltedSha1,
}

use PasswordAlgorithm::{
    Argon2, Bcrypt, BcryptSha256, Md5, Pbkdf2Sha1, Pbkdf2Sha256, Scrypt, Sha1, UnsaltedMd5, UnsaltedSha1,
};

const ALL: [PasswordAlgorithm; 10] =
    [Pbkdf2Sha256, Pbkdf2Sha1, Argon2, BcryptSha256, Bcrypt, Scrypt, Md5, Sha1, UnsaltedMd5, UnsaltedSha1];

impl PasswordAlgorithm {
    /// Django's default for `PASSWORD_HASHERS`.
    pub(super) const DJANGO: [Self; 5] = [Pbkdf2Sha256, Pbkdf2Sha1, Argon2, BcryptSha256, Scrypt];

    /// Returns the name of the algorithm in Django, which is also the first part of most columns.
    pub const fn name(self) -> &'static str {
        match self {
            Pbkdf2Sha256 => "pbkdf2_sha256",
            Pbkdf2Sha1 => "pbkdf2_sha1",
            Argon2 => "argon2",
            BcryptSha256 => "bcrypt_sha256",
            Bcrypt => "bcrypt",
            Scrypt => "scrypt",
            Md5 => "md5",
            Sha1 => "sha1",
            UnsaltedMd5 => "unsalted_md5",
            UnsaltedSha1 => "unsalted_sha1",
        }
    }

    /// Returns the algorithm of that name in Django.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// So quick that an answer after it alone would show that the user exists.
    pub(super) const fn is_quick(self) -> bool {
        matches!(self, Md5 | Sha1 | UnsaltedMd5 | UnsaltedSha1)
    }
}

/// An algorithm and its parameters: how new passwords are hashed.
///
/// Take the parameters of the Django site next door: each of two sites with different parameters hashes the
/// passwords of its visitors again when they log in, and so ends their sessions on the other one.
/// [`DjangoVersion::hasher`](super::DjangoVersion::hasher) knows Django's defaults.
///
/// ```
/// use actix_django_session::auth::password::PasswordHasher;
///
/// let hasher = PasswordHasher::argon2(102_400, 2, 8);
/// assert_eq!(hasher.to_string(), "argon2id, v=19 m=102400 t=2 p=8, 32 bytes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordHasher(pub(super) Scheme);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Pbkdf2 {
        digest: Pbkdf2Digest,
        iterations: u32,
    },
    Argon2 {
        variety: Variety,
        version: Version,
        /// In KiB.
        memory: u32,
        passes: u32,
        lanes: u32,
        /// Of the hash, in bytes.
        length: u32,
    },
    Bcrypt {
        /// Of the password's SHA-256.
        prehashed: bool,
        rounds: u32,
    },
    Scrypt {
        n: u32,
        r: u32,
        p: u32,
    },
    Md5,
    Sha1,
    UnsaltedMd5,
    UnsaltedSha1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pbkdf2Digest {
    Sha256,
    Sha1,
}

impl PasswordHasher {
    /// `PBKDF2PasswordHasher` with that many `iterations`.
    pub const fn pbkdf2_sha256(iterations: u32) -> Self {
        Self(Scheme::Pbkdf2 { digest: Pbkdf2Digest::Sha256, iterations })
    }

    /// `PBKDF2SHA1PasswordHasher` with that many `iterations`.
    pub const fn pbkdf2_sha1(iterations: u32) -> Self {
        Self(Scheme::Pbkdf2 { digest: Pbkdf2Digest::Sha1, iterations })
    }

    /// `Argon2PasswordHasher`: Argon2id with `memory_cost` in KiB, `time_cost` passes and `parallelism`
    /// lanes. The lanes are computed one after the other.
    pub const fn argon2(memory_cost: u32, time_cost: u32, parallelism: u32) -> Self {
        Self(Scheme::Argon2 {
            variety: Variety::Argon2id,
            version: Version::V0x13,
            memory: memory_cost,
            passes: time_cost,
            lanes: parallelism,
            length: 32,
        })
    }

    /// `BCryptSHA256PasswordHasher` with 2 to the power of `rounds` rounds.
    pub const fn bcrypt_sha256(rounds: u32) -> Self {
        Self(Scheme::Bcrypt { prehashed: true, rounds })
    }

    /// `BCryptPasswordHasher`, which refuses passwords of more than 72 bytes.
    pub const fn bcrypt(rounds: u32) -> Self {
        Self(Scheme::Bcrypt { prehashed: false, rounds })
    }

    /// `ScryptPasswordHasher` with `work_factor` (N), `block_size` (r) and `parallelism` (p).
    pub const fn scrypt(work_factor: u32, block_size: u32, parallelism: u32) -> Self {
        Self(Scheme::Scrypt { n: work_factor, r: block_size, p: parallelism })
    }

    /// `MD5PasswordHasher`: it makes test suites quick, and protects nothing.
    pub const fn md5() -> Self {
        Self(Scheme::Md5)
    }

    /// Returns the algorithm without its parameters.
    pub const fn algorithm(self) -> PasswordAlgorithm {
        self.0.algorithm()
    }
}

impl Scheme {
    pub(super) const fn algorithm(self) -> PasswordAlgorithm {
        match self {
            Self::Pbkdf2 { digest: Pbkdf2Digest::Sha256, .. } => Pbkdf2Sha256,
            Self::Pbkdf2 { digest: Pbkdf2Digest::Sha1, .. } => Pbkdf2Sha1,
            Self::Argon2 { .. } => Argon2,
            Self::Bcrypt { prehashed: true, .. } => BcryptSha256,
            Self::Bcrypt { prehashed: false, .. } => Bcrypt,
            Self::Scrypt { .. } => Scrypt,
            Self::Md5 => Md5,
            Self::Sha1 => Sha1,
            Self::UnsaltedMd5 => UnsaltedMd5,
            Self::UnsaltedSha1 => UnsaltedSha1,
        }
    }
}

impl fmt::Display for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.algorithm().name();
        match self.0 {
            Scheme::Pbkdf2 { iterations, .. } => write!(f, "{name}, {iterations} iterations"),
            Scheme::Argon2 { variety, version, memory, passes, lanes, length } => {
                let version = u32::from(version);
                write!(f, "{variety}, v={version} m={memory} t={passes} p={lanes}, {length} bytes")
            }
            Scheme::Bcrypt { rounds, .. } => write!(f, "{name}, {rounds} rounds"),
            Scheme::Scrypt { n, r, p } => write!(f, "{name}, N={n} r={r} p={p}"),
            _ => f.write_str(name),
        }
    }
}
