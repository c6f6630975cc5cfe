//! Scopes and handlers that need a user.
