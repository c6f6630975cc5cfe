//! Django's login: who the visitor is, on the tables and the session keys that a Django site uses.

pub mod next_url;
pub mod password;
