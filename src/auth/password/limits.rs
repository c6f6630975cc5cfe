//! Which parameters can be computed, and which are worth it: a column may hold any numbers.

use super::algorithm::Scheme;

/// Above this Django's scrypt raises: OpenSSL's default.
const SCRYPT_MAX_MEMORY: u64 = 32 << 20;

/// Upper bounds of what one password may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// In multiples of the most expensive default of any Django.
    pub(super) cost: u32,
    /// In bytes.
    pub(super) memory: u64,
}

impl Limits {
    /// Returns why a hash with these parameters is refused.
    pub(super) fn check(self, scheme: Scheme) -> Result<(), &'static str> {
        scheme.check()?;
        let cost = u64::from(self.cost);
        let affordable = match scheme {
            Scheme::Pbkdf2 { iterations, .. } => u64::from(iterations) <= cost * 1_500_000,
            Scheme::Argon2 { memory, passes, .. } => {
                u64::from(memory) * u64::from(passes) <= cost * 2 * 102_400
            }
            Scheme::Bcrypt { rounds, .. } => 1 << rounds <= cost << 12,
            Scheme::Scrypt { n, r, p } => u64::from(n) * u64::from(r) * u64::from(p) <= cost * 16_384 * 8 * 5,
            Scheme::Md5 | Scheme::Sha1 | Scheme::UnsaltedMd5 | Scheme::UnsaltedSha1 => true,
        };
        if !affordable {
            return Err("one hash costs more than max_cost allows");
        }
        if scheme.memory() > self.memory {
            return Err("one hash takes more memory than max_memory allows");
        }
        Ok(())
    }
}

impl Scheme {
    /// Refuses what Django's libraries refuse. The functions behind it may rely on that.
    pub(super) fn check(self) -> Result<(), &'static str> {
        let refused = match self {
            Self::Pbkdf2 { iterations, .. } => {
                (iterations == 0 || iterations > i32::MAX as u32).then_some("the iterations are out of range")
            }
            Self::Argon2 { memory, passes, lanes, length, .. } => {
                let in_range = (1..1 << 24).contains(&lanes) && memory >= 8 * lanes && passes > 0;
                (!in_range || !(4..=512).contains(&length)).then_some("a parameter of Argon2 is out of range")
            }
            Self::Bcrypt { rounds, .. } => {
                (!(4..=31).contains(&rounds)).then_some("the rounds are not 4 to 31")
            }
            Self::Scrypt { n, r, p } => scrypt_problem(n.into(), r.into(), p.into()),
            Self::Md5 | Self::Sha1 | Self::UnsaltedMd5 | Self::UnsaltedSha1 => None,
        };
        refused.map_or(Ok(()), Err)
    }

    /// How many bytes one hash takes while it is computed. The other algorithms take next to none.
    pub(super) fn memory(self) -> u64 {
        match self {
            Self::Argon2 { memory, .. } => u64::from(memory) << 10,
            Self::Scrypt { n, r, p } => scrypt_memory(n.into(), r.into(), p.into()),
            _ => 0,
        }
    }
}

/// The checks of OpenSSL and Python.
fn scrypt_problem(n: u64, r: u64, p: u64) -> Option<&'static str> {
    if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
        return Some("N is no power of two, or r or p is 0");
    }
    let small_blocks = r < 4 && n >= 1 << (16 * r);
    if small_blocks || p > ((1 << 30) - 1) / r {
        return Some("N or p is too large for r");
    }
    (scrypt_memory(n, r, p) > SCRYPT_MAX_MEMORY).then_some("it takes more than the 32 MiB that Django allows")
}

fn scrypt_memory(n: u64, r: u64, p: u64) -> u64 {
    r.saturating_mul(n + 2 + p).saturating_mul(128)
}
