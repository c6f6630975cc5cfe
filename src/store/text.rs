//! What the engines share that keep Django's signed text in a row.

use std::{sync::Arc, time::SystemTime};

use super::{Loaded, Outcome, Record, Seen};
use crate::codec::Codec;

/// A row's text and expiry as a load's answer.
pub(super) fn loaded(codec: &Codec, row: Option<(String, SystemTime)>) -> Loaded {
    let Some((text, expires)) = row else { return Loaded::Missing };
    match codec.decode(&text) {
        Ok(data) => Loaded::Found(Record { data, seen: Seen::new(text), expires }),
        Err(error) => Loaded::Unreadable(Arc::new(error)),
    }
}

/// The answer to a compare-and-set that changed nothing, from what is there now.
pub(super) fn refused(now_there: Loaded) -> Outcome {
    match now_there {
        Loaded::Found(record) => Outcome::Changed(record),
        Loaded::Missing => Outcome::Gone,
        Loaded::Unreadable(error) => Outcome::Unreadable(error),
    }
}
