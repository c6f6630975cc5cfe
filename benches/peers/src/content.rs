//! The content of the sessions, the same for everybody: Django's keys of a login, and a counter.

use serde_json::{Value, json};

pub const USER: &str = "_auth_user_id";
pub const BACKEND: &str = "_auth_user_backend";
pub const BACKEND_VALUE: &str = "django.contrib.auth.backends.ModelBackend";
pub const HASH: &str = "_auth_user_hash";
/// Django's hash of [`PASSWORD_COLUMN`] under [`SECRET`]: who has it is logged in.
pub const HASH_VALUE: &str = "8a32dc5893462fa6c74ffc41d28f99ddba819f00985cc8c35c513456d57c9898";
pub const COUNTER: &str = "n";
pub const CART: &str = "cart";

/// The SECRET_KEY of both. A benchmark has no secret to protect.
pub const SECRET: &str = "django-insecure-benchmark-benchmark-benchmark-benchmark-benchmark";

/// The password of every user as Django 5.2 stores it.
pub const PASSWORD_COLUMN: &str =
    "pbkdf2_sha256$1000000$saltOfTheBenchmark0001$/4LsyNHLBtFF4UgY7vHUC/zgLvvGuL0NV9phNWjn0Mw=";
pub const WRONG_PASSWORD: &str = "not the password";

/// The key of the first user; the others follow. Each visitor of the load is one of them.
pub const FIRST_USER: usize = 100_000;

/// The login name of a user.
pub fn user_name(id: usize) -> String {
    format!("user{id}")
}

/// A list of about so many bytes as JSON, repetitive as carts are. `django/site_under_load.py` makes the
/// same.
pub fn cart(bytes: usize) -> Value {
    let mut items = Vec::new();
    let (mut length, mut state) = (2, 42_u32);
    while length < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (sku, count) = (format!("{:06X}", state >> 8), state >> 29);
        let price = format!("{}.{:02}", (state >> 12) % 200, (state >> 20) % 100);
        let item =
            json!({"sku": sku, "title": format!("Item {sku}, large, blue"), "count": count, "price": price});
        length += item.to_string().len() + 1;
        items.push(item);
    }
    Value::Array(items)
}
