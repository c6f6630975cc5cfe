//! The answer for one password and one column, and what is computed besides so that the time tells nothing.

use std::{fmt, hint::black_box};

use super::{
    PasswordAlgorithm,
    algorithm::Scheme,
    column::{Column, Unreadable},
    compute::{BCRYPT_MAX_BYTES, SALT_LENGTH, encode, equal, new_column},
    limits::Limits,
};

/// The answer to a password.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The password is wrong, or no password fits the column.
    Wrong,
    /// The password is right.
    Right,
    /// The password is right, and the column is to be replaced by this one, which has the preferred algorithm
    /// and parameters. That changes the session hash of the user, and so ends the user's other sessions.
    Upgrade(String),
}

impl PasswordCheck {
    /// Whether the password is right.
    pub fn is_right(&self) -> bool {
        !matches!(self, Self::Wrong)
    }
}

/// Does not show the new column.
impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrong => "Wrong",
            Self::Right => "Right",
            Self::Upgrade(_) => "Upgrade(…)",
        })
    }
}

/// The settings that decide on the answer.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) preferred: Scheme,
    pub(super) accepted: Vec<PasswordAlgorithm>,
    pub(super) upgrade: bool,
    pub(super) limits: Limits,
}

/// The work that makes a wrong password cost what an unknown user costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Nothing,
    /// Of PBKDF2.
    Iterations(u32),
    /// Hashes with the column's parameters.
    Repeats(u64),
    /// A hash of the preferred algorithm.
    Preferred,
}

impl Rules {
    /// Reads a column whose algorithm is accepted, with parameters within the limits. Otherwise the text for
    /// the log, if there is something that an operator should know.
    pub(super) fn read<'a>(&self, column: &'a str) -> Result<Column<'a>, Option<String>> {
        let parsed = match Column::parse(column) {
            Ok(column) => Ok(column),
            Err(Unreadable::Malformed(algorithm, reason)) => Err((algorithm, reason)),
            Err(Unreadable::Empty | Unreadable::Unusable) => return Err(None),
            Err(Unreadable::Unknown) => {
                return Err(Some(
                    "a password column is in no format of Django, so it fits no password".to_owned(),
                ));
            }
        };
        let algorithm = parsed.as_ref().map_or_else(|error| error.0, |column| column.scheme.algorithm());
        let name = algorithm.name();
        if !self.accepts(algorithm) {
            return Err(Some(format!(
                "a password column of {name} fits no password, because {name} is not accepted: if the Django \
                 site has it in PASSWORD_HASHERS, add PasswordHashers::accept"
            )));
        }
        parsed
            .and_then(|column| match self.limits.check(column.scheme) {
                Ok(()) => Ok(column),
                Err(reason) => Err((algorithm, reason)),
            })
            .map_err(|(_, reason)| Some(format!("a password column of {name} fits no password: {reason}")))
    }

    fn accepts(&self, algorithm: PasswordAlgorithm) -> bool {
        algorithm == self.preferred.algorithm() || self.accepted.contains(&algorithm)
    }

    /// Django's `must_update`.
    pub(super) fn must_update(&self, column: &Column<'_>) -> bool {
        let stored = column.scheme;
        if stored.algorithm() != self.preferred.algorithm() {
            return true;
        }
        let short_salt = match stored {
            Scheme::Pbkdf2 { .. } | Scheme::Argon2 { .. } | Scheme::Md5 => column.salt_length() < SALT_LENGTH,
            _ => false,
        };
        stored != self.preferred || short_salt
    }

    /// Django's `harden_runtime`, and a whole hash after quick algorithms, which Django does not level.
    pub(super) fn missing(&self, column: &Column<'_>) -> Missing {
        match (column.scheme, self.preferred) {
            (
                Scheme::Pbkdf2 { digest: stored, iterations },
                Scheme::Pbkdf2 { digest: preferred, iterations: wanted },
            ) if stored == preferred && wanted > iterations => Missing::Iterations(wanted - iterations),
            (
                Scheme::Bcrypt { prehashed: stored, rounds },
                Scheme::Bcrypt { prehashed: preferred, rounds: wanted },
            ) if stored == preferred && wanted > rounds => Missing::Repeats((1 << (wanted - rounds)) - 1),
            (stored, preferred) if stored.algorithm().is_quick() && stored != preferred => Missing::Preferred,
            _ => Missing::Nothing,
        }
    }

    /// Blocks for as long as one or two hashes take. Also returns the text for the log.
    pub(super) fn check(&self, password: &[u8], column: &str) -> (PasswordCheck, Option<String>) {
        let read = match self.read(column) {
            Ok(read) => read,
            Err(warning) => {
                self.spend(password);
                return (PasswordCheck::Wrong, warning);
            }
        };
        match encode(&read, password) {
            Err(reason) => {
                self.spend(password);
                let warning = format!("a password was refused unread: {reason}");
                (PasswordCheck::Wrong, Some(warning))
            }
            Ok(encoded) if !equal(&encoded, column) => {
                self.level(&read, password);
                (PasswordCheck::Wrong, None)
            }
            Ok(_) if !self.upgrade || !self.must_update(&read) => (PasswordCheck::Right, None),
            Ok(_) => match new_column(self.preferred, password) {
                Ok(new) => (PasswordCheck::Upgrade(new), None),
                Err(reason) => {
                    (PasswordCheck::Right, Some(format!("a password cannot be hashed again: {reason}")))
                }
            },
        }
    }

    fn level(&self, column: &Column<'_>, password: &[u8]) {
        match self.missing(column) {
            Missing::Nothing => {}
            Missing::Iterations(iterations) => {
                if let Scheme::Pbkdf2 { digest, .. } = column.scheme {
                    let rest = Scheme::Pbkdf2 { digest, iterations };
                    let rest = Column { scheme: rest, salt: column.salt.clone() };
                    black_box(encode(&rest, password)).ok();
                }
            }
            Missing::Repeats(times) => {
                for _ in 0..times {
                    black_box(encode(column, password)).ok();
                }
            }
            Missing::Preferred => self.spend(password),
        }
    }

    /// Costs what a wrong password of a user costs who has the preferred algorithm and parameters.
    pub(super) fn spend(&self, password: &[u8]) {
        let used = match self.preferred {
            Scheme::Bcrypt { prehashed: false, .. } => password.len().min(BCRYPT_MAX_BYTES),
            _ => password.len(),
        };
        black_box(new_column(self.preferred, &password[..used])).ok();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::{super::PasswordHasher, *};

    fn rules(preferred: PasswordHasher) -> Rules {
        let limits = Limits { cost: 16, memory: 256 << 20 };
        let accepted = vec![PasswordAlgorithm::Md5, PasswordAlgorithm::Argon2];
        Rules { preferred: preferred.0, accepted, upgrade: true, limits }
    }

    /// Iterations of PBKDF2, or hashes of bcrypt.
    #[test]
    fn a_wrong_password_costs_what_django_recorded() {
        let file: Value =
            serde_json::from_str(include_str!("../../../tests/vectors/passwords-6.1.json")).unwrap();
        let mut compared = 0;
        for case in file["cases"].as_array().unwrap().iter().filter(|case| case["work"].is_u64()) {
            let preferred = match case["by"].as_str().unwrap() {
                "pbkdf2_sha256" => PasswordHasher::pbkdf2_sha256(60),
                "pbkdf2_sha1" => PasswordHasher::pbkdf2_sha1(60),
                "bcrypt_sha256" => PasswordHasher::bcrypt_sha256(5),
                _ => PasswordHasher::bcrypt(5),
            };
            let rules = rules(preferred);
            // A malformed column costs one preferred hash.
            let Ok(column) = rules.read(case["column"].as_str().unwrap()) else { continue };
            let verified = match column.scheme {
                Scheme::Pbkdf2 { iterations, .. } => u64::from(iterations),
                _ => 1,
            };
            let work = verified
                + match rules.missing(&column) {
                    Missing::Iterations(iterations) => iterations.into(),
                    Missing::Repeats(times) => times,
                    Missing::Nothing => 0,
                    Missing::Preferred => panic!("{case}"),
                };
            assert_eq!(work, case["work"].as_u64().unwrap(), "{case}");
            compared += 1;
        }
        assert!(compared > 40, "{compared}");
    }

    #[test]
    fn after_a_quick_algorithm_comes_a_hash_of_the_preferred_one() {
        let column = new_column(Scheme::Md5, b"x").unwrap();
        let column = Column::parse(&column).unwrap();
        let pbkdf2 = rules(PasswordHasher::pbkdf2_sha256(5));
        assert_eq!(pbkdf2.missing(&column), Missing::Preferred);
        assert_eq!(rules(PasswordHasher::md5()).missing(&column), Missing::Nothing);
        let other = new_column(PasswordHasher::argon2(64, 1, 1).0, b"x").unwrap();
        assert_eq!(pbkdf2.missing(&Column::parse(&other).unwrap()), Missing::Nothing);
    }

    #[test]
    fn warnings_name_the_reason_and_quote_nothing() {
        let rules = rules(PasswordHasher::pbkdf2_sha256(2));
        let warning = |column: &str| rules.check(b"hunter2", column).1;
        for column in ["", "!", "!x", "pbkdf2_sha256$2$sAlT$x"] {
            assert_eq!(warning(column), None, "{column}");
        }
        for (column, reason) in [
            ("hunter2", "in no format of Django"),
            ("crypt$$sEcReT", "in no format of Django"),
            ("pbkdf2_sha256$sEcReT", "not the right number of parts"),
            ("pbkdf2_sha256$0$sAlT$x", "the iterations are out of range"),
            ("argon2$argon2id$v=19$m=64,t=1,p=1$sEcReT!!$x", "the salt is not base64"),
            ("bcrypt$sEcReT", "bcrypt is not accepted"),
            ("pbkdf2_sha256$2147483647$sAlT$x", "more than max_cost allows"),
            (
                "argon2$argon2id$v=19$m=1000000,t=1,p=1$c0VjUmVUYWE$eHh4eA",
                "more memory than max_memory allows",
            ),
        ] {
            let warning = warning(column).unwrap();
            assert!(warning.contains(reason), "{column}: {warning}");
            assert!(!["hunter2", "sEcReT", "sAlT", "c0Vj"].iter().any(|secret| warning.contains(secret)));
        }
    }
}
