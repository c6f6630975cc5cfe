//! The content of the sessions, the same for everybody: Django's keys of a login, and a counter.

use serde_json::{Value, json};

pub const USER: &str = "_auth_user_id";
pub const BACKEND: &str = "_auth_user_backend";
pub const BACKEND_VALUE: &str = "django.contrib.auth.backends.ModelBackend";
pub const HASH: &str = "_auth_user_hash";
pub const HASH_VALUE: &str = "3b9f1e6c0d7a52844e1bb8f0c6a9d2375f48e01c9ab36d7725e0f1842cd96b3a";
pub const COUNTER: &str = "n";
pub const CART: &str = "cart";

/// The SECRET_KEY of both. A benchmark has no secret to protect.
pub const SECRET: &str = "django-insecure-benchmark-benchmark-benchmark-benchmark-benchmark";

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
