//! Lists the keys of all servers with `SCAN`, page by page.

use std::time::Duration;

use super::{
    call::{Call, Reply},
    client::Client,
    error::CallError,
};
use crate::{Error, backend::Cursor};

pub(super) const ACTION: &str = "list the sessions in Redis";

/// How many keys Redis looks at for one page.
const MAX_COUNT: u32 = 500;

/// Where a page begins.
#[derive(Clone, Copy)]
pub(super) struct Position {
    /// The index of the server.
    server: usize,
    /// That server's own cursor.
    cursor: u64,
    count: u32,
    /// Of the slot map when the listing began.
    fingerprint: Option<u64>,
}

impl Position {
    pub(super) fn new(after: Option<&Cursor>) -> Result<Self, Error> {
        let Some(after) = after else {
            return Ok(Self { server: 0, cursor: 0, count: MAX_COUNT, fingerprint: None });
        };
        Self::parse(after.as_str()).ok_or_else(|| {
            Error::store(format!("cannot {ACTION}: an earlier page did not return this cursor; begin again"))
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let server = parts.next()?.parse().ok()?;
        let cursor = parts.next()?.parse().ok()?;
        let count = parts.next()?.parse().ok()?;
        let fingerprint = Some(parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { server, cursor, count, fingerprint })
    }

    pub(super) fn cursor(self) -> Cursor {
        let Self { server, cursor, count, fingerprint } = self;
        Cursor::new(format!("{server}.{cursor}.{count}.{}", fingerprint.unwrap_or_default()))
    }

    /// The same page with fewer keys; `None` if it cannot be smaller.
    pub(super) fn smaller(self) -> Option<Self> {
        (self.count > 1).then_some(Self { count: self.count / 4 + u32::from(self.count < 4), ..self })
    }
}

/// Returns the Redis keys of one page that begin with `prefix`, and where the next page begins. A key that
/// exists all the time is returned at least once.
pub(super) async fn scan(
    client: &Client,
    timeout: Duration,
    prefix: &str,
    from: Position,
) -> Result<(Vec<String>, Option<Position>), CallError> {
    let slots = client.slot_map(timeout).await?;
    let fingerprint = slots.fingerprint();
    if from.fingerprint.is_some_and(|before| before != fingerprint) {
        let text = "the servers of Redis changed meanwhile, so that sessions could be missed; begin again";
        return Err(CallError::Other(text.to_owned()));
    }
    let servers = slots.servers();
    let Some(server) = servers.get(from.server) else { return Ok((Vec::new(), None)) };
    let (cursor, pattern, count) = (from.cursor.to_string(), pattern(prefix), from.count.to_string());
    let command = ["SCAN", &cursor, "MATCH", &pattern, "COUNT", &count].map(str::as_bytes);
    let Reply { mut values, .. } = client.call(timeout, Call::to_server(server.clone(), &command)).await?;
    let reply = values.pop().and_then(|value| redis::from_redis_value(value).ok());
    let (cursor, names): (u64, Vec<Vec<u8>>) = reply.ok_or_else(|| CallError::Malformed(server.clone()))?;
    let (count, fingerprint) = (from.count.saturating_mul(2).min(MAX_COUNT), Some(fingerprint));
    let server = from.server + usize::from(cursor == 0);
    let next = Position { server, cursor, count, fingerprint };
    // A session's key is text.
    let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect();
    Ok((names, (server < servers.len()).then_some(next)))
}

/// A pattern of `SCAN` for everything that begins with `prefix`.
fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('*');
    pattern
}
