//! Passwords: Django's columns and rules, and the pool that hashes.

mod any_text;
mod django;
mod pool;
mod recording;
mod validators;

use std::path::Path;

use actix_django_session::auth::password::{PasswordAlgorithm, PasswordHasher, PasswordHashers};
use serde_json::Value;

/// The Djangos that were recorded.
const RECORDED: [&str; 7] = ["1.11", "2.2", "3.0", "3.2", "4.2", "5.2", "6.1"];

fn recorded(version: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/passwords-{version}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A hasher as the recordings describe it.
fn hasher(parameters: &Value) -> PasswordHasher {
    let number = |name: &str| u32::try_from(parameters[name].as_u64().unwrap()).unwrap();
    match parameters["algorithm"].as_str().unwrap() {
        "pbkdf2_sha256" => PasswordHasher::pbkdf2_sha256(number("iterations")),
        "pbkdf2_sha1" => PasswordHasher::pbkdf2_sha1(number("iterations")),
        "argon2" => PasswordHasher::argon2(number("memory_cost"), number("time_cost"), number("parallelism")),
        "bcrypt_sha256" => PasswordHasher::bcrypt_sha256(number("rounds")),
        "bcrypt" => PasswordHasher::bcrypt(number("rounds")),
        "scrypt" => {
            PasswordHasher::scrypt(number("work_factor"), number("block_size"), number("parallelism"))
        }
        "md5" => PasswordHasher::md5(),
        other => panic!("{other}"),
    }
}

/// Accepts what the recorder's settings list.
fn accepting(preferred: PasswordHasher, algorithms: &Value) -> PasswordHashers {
    let names = algorithms.as_array().unwrap().iter();
    PasswordHashers::new(preferred)
        .accept_only(names.map(|name| PasswordAlgorithm::from_name(name.as_str().unwrap()).unwrap()))
}
