//! Requests of one visitor at the same time.
