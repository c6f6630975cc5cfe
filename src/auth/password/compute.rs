//! The hash functions, and the text of the column.

use std::hint::black_box;

use argon2::Argon2;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{
    algorithm::{Pbkdf2Digest, Scheme},
    column::{BCRYPT_BASE64, Column, Salt},
    random::{random_bytes, random_text},
};

/// bcrypt looks at no more. Django refuses longer passwords, rather than ignore the rest.
pub(super) const BCRYPT_MAX_BYTES: usize = 72;

/// Characters in a salt: 128 bits.
pub(super) const SALT_LENGTH: usize = 22;

pub(super) const TOO_LONG_FOR_BCRYPT: &str = "bcrypt takes passwords of up to 72 bytes: use bcrypt_sha256";

/// Returns the column of a password with a new salt.
pub(super) fn new_column(scheme: Scheme, password: &[u8]) -> Result<String, &'static str> {
    let text = random_text(SALT_LENGTH);
    let salt = match scheme {
        Scheme::Argon2 { .. } => Salt::Argon2 { bytes: text.into_bytes(), names_version: true },
        Scheme::Bcrypt { .. } => Salt::Bcrypt { prefix: "2b", bytes: random_bytes() },
        _ => return encode(&Column { scheme, salt: Salt::Text(&text) }, password),
    };
    encode(&Column { scheme, salt }, password)
}

/// Returns the whole text of the column that a password has with this salt.
///
/// Errors if the function does not take this password or these parameters.
pub(super) fn encode(column: &Column<'_>, password: &[u8]) -> Result<String, &'static str> {
    let name = column.scheme.algorithm().name();
    match (column.scheme, &column.salt) {
        (Scheme::Pbkdf2 { digest, iterations }, Salt::Text(salt)) => {
            let hash = pbkdf2(digest, password, salt.as_bytes(), iterations);
            Ok(format!("{name}${iterations}${salt}${}", STANDARD.encode(hash)))
        }
        (
            Scheme::Argon2 { variety, version, memory, passes, lanes, length },
            Salt::Argon2 { bytes: salt, names_version },
        ) => {
            let refused = |_| "Argon2 refuses the parameters";
            let mut hash = vec![0; length as usize];
            let parameters = argon2::Params::new(memory, passes, lanes, Some(hash.len())).map_err(refused)?;
            Argon2::new(variety, version, parameters).hash_password_into(password, salt, &mut hash).map_err(
                |error| match error {
                    argon2::Error::OutOfMemory => "there is not enough memory for Argon2",
                    _ => "Argon2 refuses the parameters",
                },
            )?;
            let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
            let version = if *names_version { format!("v={}$", u32::from(version)) } else { String::new() };
            Ok(format!("{name}${variety}${version}m={memory},t={passes},p={lanes}${salt}${hash}"))
        }
        (Scheme::Bcrypt { prehashed, rounds }, Salt::Bcrypt { prefix, bytes }) => {
            let prehash = prehashed.then(|| hex(&Sha256::digest(password)));
            let password = prehash.as_ref().map_or(password, |hex| hex.as_bytes());
            let hash = bcrypt(rounds, *bytes, password)?;
            let (salt, hash) = (BCRYPT_BASE64.encode(bytes), BCRYPT_BASE64.encode(hash));
            Ok(format!("{name}$${prefix}${rounds:02}${salt}{hash}"))
        }
        (Scheme::Scrypt { n, r, p }, Salt::Text(salt)) => {
            let refused = "scrypt refuses the parameters";
            let parameters = scrypt::Params::new(n.trailing_zeros() as u8, r, p).map_err(|_| refused)?;
            let mut hash = [0; 64];
            scrypt::scrypt(password, salt.as_bytes(), &parameters, &mut hash).map_err(|_| refused)?;
            Ok(format!("{name}${n}${salt}${r}${p}${}", STANDARD.encode(hash)))
        }
        (Scheme::Md5, Salt::Text(salt)) => Ok(format!(
            "{name}${salt}${}",
            hex(&Md5::new().chain_update(salt).chain_update(password).finalize())
        )),
        (Scheme::Sha1, Salt::Text(salt)) => {
            let hash = Sha1::new().chain_update(salt).chain_update(password).finalize();
            Ok(format!("{name}${salt}${}", hex(&hash)))
        }
        (Scheme::UnsaltedMd5, Salt::Text(prefix)) => Ok(format!("{prefix}{}", hex(&Md5::digest(password)))),
        (Scheme::UnsaltedSha1, Salt::Text(prefix)) => Ok(format!("{prefix}{}", hex(&Sha1::digest(password)))),
        // The parser gives each scheme its kind of salt.
        _ => Err("the salt is of another algorithm"),
    }
}

pub(super) fn pbkdf2(digest: Pbkdf2Digest, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
    match digest {
        Pbkdf2Digest::Sha256 => pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations).to_vec(),
        Pbkdf2Digest::Sha1 => pbkdf2::pbkdf2_hmac_array::<Sha1, 20>(password, salt, iterations).to_vec(),
    }
}

fn bcrypt(rounds: u32, salt: [u8; 16], password: &[u8]) -> Result<[u8; 23], &'static str> {
    if password.len() > BCRYPT_MAX_BYTES {
        return Err(TOO_LONG_FOR_BCRYPT);
    }
    // With the NUL of a C string, unless all 72 bytes are used.
    let mut text = [0; BCRYPT_MAX_BYTES];
    text[..password.len()].copy_from_slice(password);
    let used = (password.len() + 1).min(BCRYPT_MAX_BYTES);
    let output = bcrypt::bcrypt(rounds, salt, &text[..used]);
    black_box(&mut text).fill(0);
    let mut hash = [0; 23];
    hash.copy_from_slice(&output[..23]);
    Ok(hash)
}

/// Compares in a time that depends on the lengths alone.
pub(super) fn equal(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    one.len() == other.len() && differences == 0
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
