//! The session object, where Django has no tests for it: clones, races, failing and dropped saves.

mod dictionary;
mod saving;

fn more(n: Option<u32>) -> u32 {
    n.unwrap_or(0) + 1
}
