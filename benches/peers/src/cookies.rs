//! Cookies for sessions that are in the tables from the start.

use actix_web::cookie::{Cookie, CookieJar, Key};

use crate::{
    Result,
    contender::{self, Contender, Keeps},
    content, redis,
    rows::Keys,
};

/// Sessions of which each request takes any.
#[derive(Debug)]
pub struct Anybody {
    pub cookies: Vec<String>,
    /// Whether the n-th is the session of user n, which is checked then.
    pub in_order: bool,
}

/// How many sessions of the start a contender's requests are about, where these are many.
const MANY: usize = 50_000;

/// The cookies of a contender's sessions of the start, for as many as there are up to 50,000.
pub fn any(contender: &Contender, keys: &Keys) -> Result<Anybody> {
    let plain = |name: &str, keys: &[String]| {
        keys.iter().take(MANY).map(|key| format!("{name}={key}")).collect::<Vec<_>>()
    };
    let cookies = match (contender.name, contender.keeps) {
        ("floor", _) => plain("sid", &keys.django),
        (contender::TOWER, _) => plain("id", &keys.tower),
        (_, Keeps::Redis | Keeps::RedisDurable) => {
            let secret = Key::derive_from(content::SECRET.as_bytes());
            (0..keys.django.len().min(MANY))
                .map(|n| encrypted(&secret, redis::key(n)))
                .collect::<Result<_>>()?
        }
        _ => plain("sessionid", &keys.django),
    };
    Ok(Anybody { cookies, in_order: true })
}

/// As actix-session sends it to the browser.
fn encrypted(secret: &Key, key: String) -> Result<String> {
    let mut jar = CookieJar::new();
    jar.private_mut(secret).add(Cookie::new("id", key));
    let cookie = jar.get("id").ok_or("the jar keeps no cookie")?;
    Ok(cookie.encoded().to_string())
}
