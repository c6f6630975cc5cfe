//! A strict parser of the password column.
//!
//! It refuses what Django's hashers do not write. The rest shows when the column is written again and
//! compared.

use argon2::{Algorithm as Variety, Version};
use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD_NO_PAD},
};

use super::{
    PasswordAlgorithm,
    algorithm::{Pbkdf2Digest, Scheme},
};

/// bcrypt's own alphabet.
pub(super) const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::BCRYPT, NO_PAD);

/// Django's columns have up to 128 characters.
const MAX_BYTES: usize = 1024;

/// The parts of a column except its hash.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Column<'a> {
    pub(super) scheme: Scheme,
    pub(super) salt: Salt<'a>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Salt<'a> {
    /// As it stands in the column. Before an unsalted hash: the prefix.
    Text(&'a str),
    Argon2 {
        bytes: Vec<u8>,
        /// Columns of the first version may leave it out.
        names_version: bool,
    },
    Bcrypt {
        /// `2a`, `2b`, `2x` or `2y`, which is written back.
        prefix: &'a str,
        bytes: [u8; 16],
    },
}

/// Why no password can be compared with a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Empty,
    /// Begins with `!`.
    Unusable,
    /// Of no algorithm of Django.
    Unknown,
    Malformed(PasswordAlgorithm, &'static str),
}

impl<'a> Column<'a> {
    pub(super) fn parse(column: &'a str) -> Result<Self, Unreadable> {
        if column.is_empty() {
            return Err(Unreadable::Empty);
        }
        if column.starts_with('!') {
            return Err(Unreadable::Unusable);
        }
        let algorithm = algorithm(column).ok_or(Unreadable::Unknown)?;
        let malformed = |reason| Unreadable::Malformed(algorithm, reason);
        if column.len() > MAX_BYTES {
            return Err(malformed("it is longer than any of Django's"));
        }
        let column = match algorithm {
            PasswordAlgorithm::Pbkdf2Sha256 => pbkdf2(column, Pbkdf2Digest::Sha256),
            PasswordAlgorithm::Pbkdf2Sha1 => pbkdf2(column, Pbkdf2Digest::Sha1),
            PasswordAlgorithm::Argon2 => argon2(column),
            PasswordAlgorithm::BcryptSha256 => bcrypt(column, true),
            PasswordAlgorithm::Bcrypt => bcrypt(column, false),
            PasswordAlgorithm::Scrypt => scrypt(column),
            PasswordAlgorithm::Md5 => salted(column, Scheme::Md5),
            PasswordAlgorithm::Sha1 => salted(column, Scheme::Sha1),
            PasswordAlgorithm::UnsaltedMd5 => Ok(unsalted(Scheme::UnsaltedMd5, column, 32)),
            PasswordAlgorithm::UnsaltedSha1 => Ok(unsalted(Scheme::UnsaltedSha1, column, 40)),
        }
        .map_err(malformed)?;
        column.scheme.check().map_err(malformed)?;
        Ok(column)
    }

    /// The characters of the salt, as Django counts them.
    pub(super) fn salt_length(&self) -> usize {
        match &self.salt {
            Salt::Text(text) => text.chars().count(),
            Salt::Argon2 { bytes, .. } => bytes.len(),
            Salt::Bcrypt { bytes, .. } => bytes.len(),
        }
    }
}

/// Django's `identify_hasher`. It counts characters, not bytes.
fn algorithm(column: &str) -> Option<PasswordAlgorithm> {
    let length = column.chars().take(47).count();
    if (length == 32 && !column.contains('$')) || (length == 37 && column.starts_with("md5$$")) {
        return Some(PasswordAlgorithm::UnsaltedMd5);
    }
    if length == 46 && column.starts_with("sha1$$") {
        return Some(PasswordAlgorithm::UnsaltedSha1);
    }
    let name = column.split('$').next()?;
    // No column begins with the names of the unsalted ones.
    PasswordAlgorithm::from_name(name).filter(|_| !name.starts_with("unsalted"))
}

type Parsed<'a> = Result<Column<'a>, &'static str>;

const PARTS: &str = "it has not the right number of parts";
const NO_SALT: &str = "it has no salt";

fn pbkdf2(column: &str, digest: Pbkdf2Digest) -> Parsed<'_> {
    let parts: Vec<_> = column.splitn(4, '$').collect();
    let [_, iterations, salt, _] = parts[..] else { return Err(PARTS) };
    let iterations = number(iterations).ok_or("the iterations are no number, or too large")?;
    text_salt(Scheme::Pbkdf2 { digest, iterations }, salt)
}

fn scrypt(column: &str) -> Parsed<'_> {
    let parts: Vec<_> = column.split('$').collect();
    let [_, n, salt, r, p, _] = parts[..] else { return Err(PARTS) };
    let scheme = (|| Some(Scheme::Scrypt { n: number(n)?, r: number(r)?, p: number(p)? }))();
    text_salt(scheme.ok_or("a parameter is no number, or too large")?, salt)
}

fn salted(column: &str, scheme: Scheme) -> Parsed<'_> {
    let parts: Vec<_> = column.splitn(3, '$').collect();
    let [_, salt, _] = parts[..] else { return Err(PARTS) };
    text_salt(scheme, salt)
}

fn text_salt(scheme: Scheme, salt: &str) -> Parsed<'_> {
    if salt.is_empty() { Err(NO_SALT) } else { Ok(Column { scheme, salt: Salt::Text(salt) }) }
}

fn unsalted(scheme: Scheme, column: &str, digits: usize) -> Column<'_> {
    let prefix = column.len().checked_sub(digits).and_then(|end| column.get(..end)).unwrap_or_default();
    Column { scheme, salt: Salt::Text(prefix) }
}

/// `argon2$argon2id$v=19$m=102400,t=2,p=8$SALT$HASH`, as strict as the C library: a column that it cannot
/// decode fits no password.
fn argon2(column: &str) -> Parsed<'_> {
    let parts: Vec<_> = column.split('$').collect();
    let (variety, version, parameters, salt, hash) = match parts[..] {
        [_, variety, version, parameters, salt, hash] => (variety, Some(version), parameters, salt, hash),
        [_, variety, parameters, salt, hash] => (variety, None, parameters, salt, hash),
        _ => return Err(PARTS),
    };
    let variety = match variety {
        "argon2i" => Variety::Argon2i,
        "argon2d" => Variety::Argon2d,
        "argon2id" => Variety::Argon2id,
        _ => return Err("the variety is none of argon2i, argon2d and argon2id"),
    };
    let names_version = version.is_some();
    let version = match version {
        None | Some("v=16") => Version::V0x10,
        Some("v=19") => Version::V0x13,
        _ => return Err("the version is neither 16 nor 19"),
    };
    let parameters: Vec<_> = parameters.split(',').collect();
    let [m, t, p] = parameters[..] else { return Err("the parameters are not m, t and p") };
    let value = |text: &str, name| text.strip_prefix(name).and_then(number);
    let (Some(memory), Some(passes), Some(lanes)) = (value(m, "m="), value(t, "t="), value(p, "p=")) else {
        return Err("the parameters are not m, t and p");
    };
    let bytes = STANDARD_NO_PAD.decode(salt).map_err(|_| "the salt is not base64 without padding")?;
    if bytes.len() < 8 {
        return Err("the salt has fewer than 8 bytes");
    }
    let hash = STANDARD_NO_PAD.decode(hash).map_err(|_| "the hash is not base64 without padding")?;
    // MAX_BYTES bounds it.
    let length = hash.len() as u32;
    let scheme = Scheme::Argon2 { variety, version, memory, passes, lanes, length };
    Ok(Column { scheme, salt: Salt::Argon2 { bytes, names_version } })
}

/// `bcrypt$$2b$12$<22 characters of salt><31 of hash>`
fn bcrypt(column: &str, prehashed: bool) -> Parsed<'_> {
    let parts: Vec<_> = column.split('$').collect();
    let [_, "", prefix, rounds, data] = parts[..] else { return Err(PARTS) };
    if !["2a", "2b", "2x", "2y"].contains(&prefix) {
        return Err("the version is none of 2a, 2b, 2x and 2y");
    }
    if data.len() != 53 || !data.is_ascii() {
        return Err("salt and hash have not 53 characters");
    }
    let two_digits = rounds.len() == 2 && rounds.bytes().all(|b| b.is_ascii_digit());
    let rounds = two_digits.then(|| rounds.parse().ok()).flatten().ok_or("the rounds are not two digits")?;
    let mut bytes = [0; 16];
    let decoded = BCRYPT_BASE64.decode_slice_unchecked(&data[..22], &mut bytes);
    if decoded != Ok(16) {
        return Err("the salt is not bcrypt's base64");
    }
    Ok(Column { scheme: Scheme::Bcrypt { prehashed, rounds }, salt: Salt::Bcrypt { prefix, bytes } })
}

/// A number as Django writes it: `+1`, `01` and Arabic digits, which Python reads too, differ when the column
/// is written again.
fn number(text: &str) -> Option<u32> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}
