//! What can go wrong with Redis, in words that say what to do.
//!
//! Redis quotes keys and arguments in some of its errors, so of those only the code is repeated.

use std::{io, time::Duration};

use redis::ServerError;

use super::server::Address;
use crate::Error;

/// Why a request had no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection; nothing was asked.
    Away(Address, io::Error),
    /// As above: a connection, but no TLS.
    Tls(Address, io::Error),
    /// The connection broke: it may have been carried out or not.
    Lost(Address, io::Error),
    /// The answer is none that Redis gives.
    Nonsense(Address),
    /// Redis said no.
    Refused(Refusal),
    /// No answer within the deadline, or not even a connection.
    TooLate(Option<Address>, Duration),
    /// As above, while TLS was awaited.
    NoTls(Address, Duration),
    /// The text says why.
    Other(String),
}

/// Redis's own words, for us alone.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: String,
    text: String,
}

impl From<&ServerError> for Refusal {
    fn from(error: &ServerError) -> Self {
        Self { code: error.code().to_owned(), text: error.details().unwrap_or_default().to_owned() }
    }
}

impl From<&str> for Refusal {
    fn from(line: &str) -> Self {
        let (code, text) = line.split_once(' ').unwrap_or((line, ""));
        Self { code: code.to_owned(), text: text.to_owned() }
    }
}

impl Refusal {
    /// Whether a user who is refused this may have the rights that matter, for other keys.
    pub(super) fn is_about_a_key(&self) -> bool {
        self.code == "NOPERM" && !self.text.contains(" command")
    }

    fn explain(&self, what: &str) -> Error {
        // Before version 7 a script's error is an ERR with the code somewhere inside.
        let fits = |word: &str| self.code == word || (self.code == "ERR" && self.text.contains(word));
        let advice = ADVICE.iter().find(|(word, _)| fits(word)).map_or("Redis refused", |(_, advice)| advice);
        let is_code = self.code.len() < 20 && self.code.bytes().all(|byte| byte.is_ascii_uppercase());
        let code = if is_code { &*self.code } else { "an unknown error" };
        Error::store(format!("cannot {what}: {advice} ({code})"))
    }
}

impl Failure {
    pub(super) fn explain(self, what: &str) -> Error {
        match self {
            Self::Away(server, cause) => Error::store_caused_by(
                format!(
                    "cannot {what}: Redis at {server} is away; see that it runs and can be reached from here"
                ),
                cause,
            ),
            Self::Tls(server, cause) => Error::store_caused_by(
                format!(
                    "cannot {what}: no TLS with Redis at {server}; see that it speaks TLS on this port, and that its \
                     certificate is for this host and from somebody whom we trust (?ca=file names others)"
                ),
                cause,
            ),
            Self::Lost(server, cause) => Error::store_caused_by(
                format!("cannot {what}: the connection to Redis at {server} was lost"),
                cause,
            ),
            Self::Nonsense(server) => Error::store(format!(
                "cannot {what}: what answers at {server} is not Redis, or wants TLS (rediss://)"
            )),
            Self::Refused(refusal) => refusal.explain(what),
            Self::TooLate(server, deadline) => {
                let server = server.map_or_else(String::new, |server| format!(" at {server}"));
                Error::store(format!("cannot {what}: Redis{server} did not answer within {deadline:?}"))
            }
            Self::NoTls(server, deadline) => Error::store(format!(
                "cannot {what}: Redis at {server} did not answer within {deadline:?}; does it speak TLS on this port?"
            )),
            Self::Other(text) => Error::store(format!("cannot {what}: {text}")),
        }
    }
}

/// Codes, or words of errors that have only `ERR`, and what to do.
const ADVICE: &[(&str, &str)] = &[
    ("NOAUTH", "this Redis wants a password: write it in the URL, as in redis://:password@host"),
    ("WRONGPASS", "Redis refuses this user or password"),
    ("invalid password", "Redis refuses this user or password"),
    ("without any password", "this Redis has no password: leave it out of the URL"),
    ("no password is set", "this Redis has no password: leave it out of the URL"),
    (
        "NOPERM",
        "this user of Redis may not: it needs +get +pttl +set +del +exists +eval +evalsha +scan +ping \
         (+cluster|slots in a cluster) and the keys of our prefix",
    ),
    ("READONLY", "this Redis is a replica: write the URL of its master, or redis+sentinel://"),
    (
        "OOM",
        "Redis is full: give it more memory (maxmemory), or let it drop what ends soonest \
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
    ("CROSSSLOT", "two keys of one step are in different slots of the cluster"),
    (
        "cluster support disabled",
        "this Redis is not part of a cluster: write redis:// instead of redis+cluster://",
    ),
    ("WRONGTYPE", "under the name of a session Redis holds something else: two programs use the same prefix"),
    ("DENIED", "Redis is in protected mode: set a password, or its `bind` and `protected-mode`"),
    ("BUSY", "a script keeps Redis busy: see SCRIPT KILL"),
    ("max number of clients", "Redis takes no more connections: see its maxclients"),
    ("DB index", "Redis has no database of this number: see its `databases`"),
    ("No such master", "the sentinels know no master of this name"),
    ("unknown command", "this server lacks a command that we need (EVAL, SCAN, PTTL)"),
    ("unknown subcommand", "this server lacks a command that we need (CLUSTER SLOTS)"),
];
