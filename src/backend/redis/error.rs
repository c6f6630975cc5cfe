//! Why a call to Redis failed, and what to do about it.
//!
//! Redis quotes keys and arguments in some errors, so that only their codes are repeated.

use std::{io, time::Duration};

use redis::ServerError;

use super::stream::Address;
use crate::Error;

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// No connection: nothing was sent.
    Unreachable(Address, io::Error),
    /// Nothing was sent: the server was reached, but the TLS handshake failed.
    Tls(Address, io::Error),
    /// The connection broke before anything was sent.
    NotSent(Address, io::Error),
    /// The connection broke before the reply: the call may have been carried out or not.
    Lost(Address, io::Error),
    /// The call failed for this reason, and an attempt of it may have been carried out.
    InDoubt(Box<CallError>),
    /// The reply is not Redis's protocol.
    Malformed(Address),
    /// Redis replied with an error.
    Rejected(Rejection),
    /// No reply within the timeout.
    TimedOut(Option<Address>, Duration),
    /// The TLS handshake did not end within the timeout.
    TlsTimedOut(Address, Duration),
    /// The text says why.
    Other(String),
}

/// An error reply. Its text may quote keys and is never shown.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) code: String,
    text: String,
}

impl From<&ServerError> for Rejection {
    fn from(error: &ServerError) -> Self {
        Self { code: error.code().to_owned(), text: error.details().unwrap_or_default().to_owned() }
    }
}

impl From<&str> for Rejection {
    fn from(line: &str) -> Self {
        let (code, text) = line.split_once(' ').unwrap_or((line, ""));
        Self { code: code.to_owned(), text: text.to_owned() }
    }
}

impl Rejection {
    /// Whether the user lacks a right on this key only, and may have it on others.
    pub(super) fn is_about_a_key(&self) -> bool {
        self.code == "NOPERM" && !self.text.contains(" command")
    }

    fn explain(&self, action: &str) -> Error {
        // Before Redis 7 a script's error is an ERR with the code somewhere in its text.
        let fits = |word: &str| self.code == word || (self.code == "ERR" && self.text.contains(word));
        let advice = ADVICE.iter().find(|(word, _)| fits(word));
        let advice = advice.map_or("Redis replied with an error", |(_, advice)| advice);
        let is_code = self.code.len() < 20 && self.code.bytes().all(|byte| byte.is_ascii_uppercase());
        let code = if is_code { &*self.code } else { "an unknown error" };
        Error::store(format!("cannot {action}: {advice} ({code})"))
    }
}

impl CallError {
    /// The error for the application, which could not do `action`.
    pub(super) fn explain(self, action: &str) -> Error {
        let (reason, cause) = match self {
            Self::Unreachable(server, cause) => (
                format!("Redis at {server} is away; check that it runs and can be reached from here"),
                Some(cause),
            ),
            Self::Tls(server, cause) => (
                format!(
                    "no TLS with Redis at {server}; check that it speaks TLS on this port, and that its \
                     certificate is for this host and from a trusted authority (?ca=file names others)"
                ),
                Some(cause),
            ),
            Self::InDoubt(reason) => return reason.explain(action),
            Self::NotSent(server, cause) | Self::Lost(server, cause) => {
                (format!("the connection to Redis at {server} was lost"), Some(cause))
            }
            Self::Malformed(server) => {
                (format!("the server at {server} is not Redis, or wants TLS (rediss://)"), None)
            }
            Self::Rejected(rejection) => return rejection.explain(action),
            Self::TimedOut(server, timeout) => {
                let server = server.map_or_else(String::new, |server| format!(" at {server}"));
                (format!("Redis{server} did not answer within {timeout:?}"), None)
            }
            Self::TlsTimedOut(server, timeout) => (
                format!(
                    "Redis at {server} did not answer within {timeout:?}; does it speak TLS on this port?"
                ),
                None,
            ),
            Self::Other(reason) => (reason, None),
        };
        let text = format!("cannot {action}: {reason}");
        match cause {
            Some(cause) => Error::store_caused_by(text, cause),
            None => Error::store(text),
        }
    }
}

/// Advice for an error: by its code, or by words in the text of an `ERR`.
const ADVICE: &[(&str, &str)] = &[
    ("NOAUTH", "this Redis wants a password: write it in the URL, as in redis://:password@host"),
    ("WRONGPASS", "Redis refuses this user or password"),
    ("invalid password", "Redis refuses this user or password"),
    ("without any password", "this Redis has no password: leave it out of the URL"),
    ("no password is set", "this Redis has no password: leave it out of the URL"),
    (
        "NOPERM",
        "this user of Redis lacks a right: it needs +get +pttl +set +del +exists +eval +evalsha +scan +ping \
         (+cluster|slots in a cluster) and the keys of the site's prefix",
    ),
    ("READONLY", "this Redis is a replica: write the URL of its master, or redis+sentinel://"),
    (
        "OOM",
        "Redis is full: give it more memory (maxmemory), or let it evict what expires first \
         (maxmemory-policy volatile-ttl)",
    ),
    ("MISCONF", "Redis cannot write to its disk, and refuses changes until it can"),
    ("NOREPLICAS", "Redis has fewer replicas than its min-replicas-to-write, and refuses changes"),
    ("LOADING", "Redis has just started and is still reading its data"),
    ("MASTERDOWN", "this Redis is a replica that has lost its master"),
    ("MOVED", "this Redis is part of a cluster: write redis+cluster://, with some of its servers"),
    ("ASK", "this Redis is part of a cluster: write redis+cluster://, with some of its servers"),
    ("CLUSTERDOWN", "the cluster does not serve this key: see CLUSTER INFO and CLUSTER NODES"),
    ("TRYAGAIN", "the cluster is moving this key"),
    ("CROSSSLOT", "two keys of one call are in different slots of the cluster"),
    (
        "cluster support disabled",
        "this Redis is not part of a cluster: write redis:// instead of redis+cluster://",
    ),
    ("WRONGTYPE", "the key of a session holds another type: two programs use the same prefix"),
    ("DENIED", "Redis is in protected mode: set a password, or its `bind` and `protected-mode`"),
    ("BUSY", "a script keeps Redis busy: see SCRIPT KILL"),
    ("max number of clients", "Redis takes no more connections: see its maxclients"),
    ("DB index", "Redis has no database of this number: see its `databases`"),
    ("No such master", "the sentinels know no master of this name"),
    ("unknown command", "this server lacks a necessary command (EVAL, SCAN or PTTL)"),
    ("unknown subcommand", "this server lacks a necessary command (CLUSTER SLOTS)"),
];
