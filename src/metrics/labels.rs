//! Labels of metrics. Each has few fixed values: nothing of a visitor, and no name that somebody chose.

/// A label whose values are all known.
pub(super) trait Label: Copy {
    const NAME: &'static str;
    const VALUES: &'static [&'static str];

    fn index(self) -> usize;
}

macro_rules! labels {
    ($(
        $(#[$doc:meta])*
        $type:ident = $name:literal { $($(#[$case:meta])* $value:ident = $text:literal,)+ }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $type { $($(#[$case])* $value,)+ }

        impl $type {
            pub(super) fn text(self) -> &'static str {
                <Self as Label>::VALUES[self as usize]
            }
        }

        impl Label for $type {
            const NAME: &'static str = $name;
            const VALUES: &'static [&'static str] = &[$($text),+];

            fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

labels! {
    /// Where sessions are kept.
    EngineLabel = "engine" {
        Postgres = "postgres",
        Sqlite = "sqlite",
        Redis = "redis",
        Files = "file",
        Memory = "memory",
        Cached = "cached",
        SignedCookies = "signed_cookies",
        /// A backend of the application.
        Other = "other",
    }

    /// An operation of a store.
    Operation = "operation" {
        Load = "load",
        Create = "create",
        Update = "update",
        Rename = "rename",
        Touch = "touch",
        Delete = "delete",
        Clear = "clear",
    }

    /// How an operation of a store ended.
    OutcomeLabel = "result" {
        Found = "found",
        Missing = "missing",
        Unreadable = "unreadable",
        Done = "done",
        /// Another writer was faster.
        Conflict = "conflict",
        Gone = "gone",
        KeyTaken = "key_taken",
        InDoubt = "in_doubt",
        Error = "error",
        /// The caller has left.
        Cancelled = "cancelled",
    }

    /// The purpose of a statement or a batch in PostgreSQL.
    Purpose = "operation" {
        Load = "load",
        Create = "create",
        Save = "save",
        Delete = "delete",
        Clear = "clear",
        List = "list",
        User = "user",
        Throttle = "throttle",
        Other = "other",
    }

    /// Why a statement was sent again.
    Retried = "reason" {
        /// Another transaction was faster: SQLSTATE 40001 or 40P01.
        Conflict = "conflict",
        Locked = "locked",
        ConnectionLost = "connection_lost",
    }

    /// The kind of an error.
    ErrorKind = "kind" {
        Interrupted = "interrupted",
        Store = "store",
        InDoubt = "in_doubt",
        Closed = "closed",
        Login = "login",
        TooLarge = "too_large",
        Value = "value",
        Unreadable = "unreadable",
        Configuration = "configuration",
    }

    /// A part that can fail and recover.
    PartLabel = "part" {
        Store = "store",
        Cache = "cache",
        Logins = "logins",
        Other = "other",
    }

    /// The result of a look-up in the cache in front of a database.
    LookupLabel = "result" {
        Hit = "hit",
        Miss = "miss",
        Leased = "leased",
        Unreadable = "unreadable",
        Unavailable = "unavailable",
    }

    /// The purpose of a lease.
    LeaseLabel = "kind" {
        Fill = "fill",
        Change = "change",
    }

    /// Whether a lease or a fill succeeded.
    Granted = "result" {
        Granted = "granted",
        Refused = "refused",
    }

    /// How a sweep ended.
    Swept = "result" {
        Done = "done",
        Error = "error",
    }

    /// How an attempt to log in ended.
    AttemptLabel = "result" {
        Accepted = "accepted",
        Rejected = "rejected",
        Throttled = "throttled",
        Error = "error",
    }
}

/// No label, one, or several, and a number for each combination of their values.
pub(super) trait Labels: Copy {
    const ALL: &'static [(&'static str, &'static [&'static str])];

    fn index(self) -> usize;
}

impl Labels for () {
    const ALL: &'static [(&'static str, &'static [&'static str])] = &[];

    fn index(self) -> usize {
        0
    }
}

impl<A: Label> Labels for A {
    const ALL: &'static [(&'static str, &'static [&'static str])] = &[(A::NAME, A::VALUES)];

    fn index(self) -> usize {
        Label::index(self)
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    const ALL: &'static [(&'static str, &'static [&'static str])] =
        &[(A::NAME, A::VALUES), (B::NAME, B::VALUES)];

    fn index(self) -> usize {
        self.0.index() * B::VALUES.len() + self.1.index()
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    const ALL: &'static [(&'static str, &'static [&'static str])] =
        &[(A::NAME, A::VALUES), (B::NAME, B::VALUES), (C::NAME, C::VALUES)];

    fn index(self) -> usize {
        (self.0, self.1).index() * C::VALUES.len() + self.2.index()
    }
}
