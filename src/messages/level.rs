//! How important a message is.

use std::fmt;

use serde::{Serialize, Serializer};

/// How important a message is: Django's numbers. Any other number is possible too.
///
/// ```
/// use actix_django_session::messages::MessageLevel;
///
/// let critical = MessageLevel::new(50);
/// assert!(critical > MessageLevel::ERROR);
/// assert_eq!(MessageLevel::SUCCESS.value(), 25);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageLevel(i64);

impl MessageLevel {
    /// 10: for developers. Not stored by default.
    pub const DEBUG: Self = Self(10);
    /// 20: for the visitor's information.
    pub const INFO: Self = Self(20);
    /// 25: something succeeded.
    pub const SUCCESS: Self = Self(25);
    /// 30: something may go wrong.
    pub const WARNING: Self = Self(30);
    /// 40: something failed.
    pub const ERROR: Self = Self(40);

    /// Returns a level of the site's own.
    pub const fn new(value: i64) -> Self {
        Self(value)
    }

    /// Returns the number.
    pub const fn value(self) -> i64 {
        self.0
    }

    /// Django's `DEFAULT_TAGS`.
    pub(super) fn default_tag(self) -> &'static str {
        match self {
            Self::DEBUG => "debug",
            Self::INFO => "info",
            Self::SUCCESS => "success",
            Self::WARNING => "warning",
            Self::ERROR => "error",
            _ => "",
        }
    }
}

impl fmt::Debug for MessageLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageLevel({})", self.0)
    }
}

impl Serialize for MessageLevel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}
