//! The requests of the clients.

use crate::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Reads two keys of the client's own session.
    Read,
    /// Asks who the user of the client's own session is.
    User,
    /// Adds one to a counter in the client's own session.
    Write,
    /// Adds one to a counter in any of a great many sessions.
    WriteAny,
    /// Comes without a cookie and leaves with a new session.
    Create,
    /// Sends a session's cookie to a handler that has no use for it.
    Untouched,
    /// Adds one to a counter in the session that all clients share.
    Hot,
    /// Adds one to a counter while another transaction holds the lock on the row of one session.
    HeldRow,
    /// Reads and writes sessions of growing size.
    Sizes,
    /// Counts the statements behind a request, the WAL behind a save and the updates without index work.
    Statements,
    /// Memory of the server with idle connections.
    Memory,
    /// Any of a great many sessions is read or written.
    AtSize,
    /// Expired sessions are cleared while others are used.
    Clearing,
    /// Failed logins with known and with unknown names.
    Logins,
}

impl Workload {
    pub const ALL: [Self; 14] = [
        Self::Read,
        Self::User,
        Self::Write,
        Self::WriteAny,
        Self::Create,
        Self::Untouched,
        Self::Hot,
        Self::HeldRow,
        Self::Sizes,
        Self::Statements,
        Self::Memory,
        Self::AtSize,
        Self::Clearing,
        Self::Logins,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::User => "user",
            Self::Write => "write",
            Self::WriteAny => "write-any",
            Self::Create => "create",
            Self::Untouched => "untouched",
            Self::Hot => "hot",
            Self::HeldRow => "held-row",
            Self::Sizes => "sizes",
            Self::Statements => "statements",
            Self::Memory => "memory",
            Self::AtSize => "at-size",
            Self::Clearing => "clearing",
            Self::Logins => "logins",
        }
    }

    pub fn named(name: &str) -> Result<Self> {
        let all = Self::ALL.iter();
        let found = all.copied().find(|workload| workload.name() == name);
        found.ok_or_else(|| format!("there is no workload {name:?}").into())
    }

    /// Whether it is measured by how many requests are answered.
    pub fn is_throughput(self) -> bool {
        !matches!(
            self,
            Self::HeldRow
                | Self::Sizes
                | Self::Statements
                | Self::Memory
                | Self::AtSize
                | Self::Clearing
                | Self::Logins
        )
    }

    /// Whom the others are compared with.
    pub fn reference(self) -> &'static str {
        if self == Self::Untouched { "bare" } else { "floor" }
    }

    pub fn meaning(self) -> &'static str {
        match self {
            Self::Read => "two keys of the client's own session are read",
            Self::User => "the user of the client's own session is loaded, and named",
            Self::Write => "a counter in the client's own session is incremented",
            Self::WriteAny => "a counter in any of 50,000 sessions is incremented",
            Self::Create => "no cookie comes in, a new session goes out",
            Self::Untouched => "the session's cookie comes in, the handler does not use the session",
            Self::Hot => "all clients increment a counter in one session",
            Self::HeldRow => "others are saved while a transaction holds the row of one session",
            Self::Sizes => "sessions of growing size are read and written",
            Self::Statements => "what the database does for a request",
            Self::Memory => "memory of the server by idle keep-alive connections",
            Self::AtSize => "any of a great many sessions is read or written",
            Self::Clearing => "expired sessions are cleared while others are used",
            Self::Logins => "time of a failed login by known and unknown names",
        }
    }
}
