//! The contenders that are Rust: `serve NAME PORT`, each in a process of its own.
//!
//! Each answers the same five requests: `GET /untouched`, `GET /read`, `POST /write` and `POST
//! /create/{user}/{bytes of cart}`; the last three with the session's user and counter. Those with logins
//! answer `GET /user` with the name of the user, and some `POST /login/{name}`, an attempt to log in.

mod actix_session;
mod axum_login;
mod bare;
mod floor;
mod ours;
mod tower;
mod with_login;

use std::time::Duration;

use actix_django_session::SessionSettings;

use crate::{
    Result,
    contender::{AXUM_LOGIN, EXACT, LOGIN, OURS},
};

/// Threads that answer requests, for everybody.
pub const WORKERS: usize = 2;

/// Longer than anything here takes.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Connections to the database of those who leave the number to the application.
pub const CONNECTIONS: usize = 16;

/// How long sessions live, in seconds.
pub const TWO_WEEKS: i64 = 14 * 24 * 60 * 60;

/// Serves until it is killed.
pub fn serve(arguments: &[String]) -> Result<()> {
    let [name, port] = arguments else {
        return Err("usage: serve NAME PORT".into());
    };
    let port = port.parse()?;
    match name.as_str() {
        "bare" => bare::serve(port),
        "floor" => floor::serve(port),
        OURS => ours::serve(port, SessionSettings::default()),
        EXACT => ours::serve(port, SessionSettings::default().exact_expiry(true)),
        LOGIN => with_login::serve(port),
        AXUM_LOGIN => axum_login::serve(port),
        "actix-session-redis" => actix_session::serve_redis(port),
        "actix-session-cookie" => actix_session::serve_cookie(port),
        "tower-sessions" => tower::serve(port),
        _ => Err(format!("there is no server {name:?}").into()),
    }
}

/// The URL of the database, from the environment.
fn database() -> Result<String> {
    std::env::var("BENCH_DATABASE").map_err(|_| "BENCH_DATABASE is not set: use cargo bench".into())
}

/// The body of every answer about a session.
fn answer(user: &str, counter: u64) -> String {
    format!("{user} {counter}")
}
