//! Django's login: who the visitor is, on the tables and the session keys that a Django site uses.

mod next_url;
pub mod password;
