//! Leases as values in the cache: `None` to Django, with bytes behind it that Python's readers do not see.

use bytes::Bytes;
use rand::RngExt as _;

use crate::codec::{Codec, SessionData};

const PICKLED_NONE: &[u8] = b"\x80\x02N.";
const JSON_NULL: &[u8] = b"null";

/// Two bits of a lease in JSON.
const BLANKS: [u8; 4] = [b' ', b'\t', b'\n', b'\r'];

const FILL: u8 = b'F';
const SOLE: u8 = b'C';
const SHARED: u8 = b'S';

/// More holders than any session has. A lease of more is nobody's, and expires by itself.
const MAX_HOLDERS: usize = 32;

/// The meaning of a cached value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A session, or something else that may be overwritten.
    Value,
    /// The right of one reader to fill the cache. Every change revokes it.
    Fill,
    /// Changes in flight: nobody fills the cache.
    Change(Holders),
}

/// The changes in flight of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holders {
    ids: Vec<u64>,
    /// Whether there has been one holder only. Otherwise none of them knows that its own state is the latest,
    /// and none may cache it.
    sole: bool,
}

impl Holders {
    pub(super) fn sole(id: u64) -> Self {
        Self { ids: vec![id], sole: true }
    }

    pub(super) fn is_sole(&self, id: u64) -> bool {
        self.sole && self.ids == [id]
    }

    pub(super) fn join(&self, id: u64) -> Self {
        match self.ids.len() {
            MAX_HOLDERS.. => Self { ids: vec![rand::rng().random()], sole: false },
            _ => Self { ids: self.ids.iter().copied().chain([id]).collect(), sole: false },
        }
    }

    /// Returns those that are left, or `None` if nothing changes.
    pub(super) fn leave(&self, id: u64) -> Option<Self> {
        let left: Vec<u64> = self.ids.iter().copied().filter(|holder| *holder != id).collect();
        // A sole holder that came after this one was evicted must not cache what may be older.
        let changed = self.sole || left.len() < self.ids.len();
        changed.then_some(Self { ids: left, sole: false })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl Content {
    pub(super) fn parse(value: &[u8]) -> Self {
        let bytes = match (value.strip_prefix(PICKLED_NONE), value.strip_prefix(JSON_NULL)) {
            (Some(bytes), _) => Some(bytes.to_vec()),
            (None, Some(blanks)) => from_blanks(blanks),
            (None, None) => None,
        };
        let Some((kind, ids)) = bytes.as_deref().and_then(<[u8]>::split_first) else { return Self::Value };
        let (ids, rest) = ids.as_chunks::<8>();
        let ids: Vec<u64> = ids.iter().map(|id| u64::from_be_bytes(*id)).collect();
        match *kind {
            FILL if rest.is_empty() => Self::Fill,
            SOLE | SHARED if rest.is_empty() => Self::Change(Holders { ids, sole: *kind == SOLE }),
            _ => Self::Value,
        }
    }
}

/// How the cache encodes `None`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    Pickle,
    Json,
}

impl Format {
    pub(super) fn of(codec: &Codec) -> Self {
        let empty = codec.encode(&SessionData::default());
        let pickled = empty.is_ok_and(|empty| empty.first() == Some(&0x80));
        if pickled { Self::Pickle } else { Self::Json }
    }

    /// A reader's lease, unlike any other.
    pub(super) fn fill(self) -> Bytes {
        self.encode(FILL, &[rand::rng().random()])
    }

    pub(super) fn change(self, holders: &Holders) -> Bytes {
        self.encode(if holders.sole { SOLE } else { SHARED }, &holders.ids)
    }

    fn encode(self, kind: u8, ids: &[u64]) -> Bytes {
        let bytes = [kind].into_iter().chain(ids.iter().flat_map(|id| id.to_be_bytes()));
        match self {
            Self::Pickle => PICKLED_NONE.iter().copied().chain(bytes).collect(),
            Self::Json => JSON_NULL.iter().copied().chain(bytes.flat_map(to_blanks)).collect(),
        }
    }
}

fn to_blanks(byte: u8) -> [u8; 4] {
    [6, 4, 2, 0].map(|shift| BLANKS[usize::from(byte >> shift & 3)])
}

fn from_blanks(blanks: &[u8]) -> Option<Vec<u8>> {
    let (bytes, []) = blanks.as_chunks::<4>() else { return None };
    let bits = |blank: &u8| BLANKS.iter().position(|known| known == blank);
    let byte = |four: &[u8; 4]| {
        four.iter().try_fold(0u8, |byte, blank| Some(byte << 2 | u8::try_from(bits(blank)?).ok()?))
    };
    bytes.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_as_it_was_written_and_is_none_to_django() {
        for (format, none) in [(Format::Pickle, PICKLED_NONE), (Format::Json, JSON_NULL)] {
            let shared = Holders::sole(0x0123_4567_89ab_cdef).join(u64::MAX);
            for holders in [Holders::sole(0), Holders::sole(u64::MAX), shared] {
                let value = format.change(&holders);
                assert!(value.starts_with(none));
                assert_eq!(Content::parse(&value), Content::Change(holders));
            }
            let fill = format.fill();
            assert_eq!(Content::parse(&fill), Content::Fill);
            assert_ne!(fill, format.fill(), "each is another");
            assert_eq!(Content::parse(none), Content::Value, "no lease");
        }
        let json = Format::Json.change(&Holders::sole(7));
        assert_eq!(serde_json::from_slice::<Option<u8>>(&json).unwrap_or(Some(0)), None);
        for value in
            [&b""[..], b"null ", b"null    x", b"nullxxxx", b"\x80\x02N.", b"\x80\x02N.C1234567", b"{}"]
        {
            assert_eq!(Content::parse(value), Content::Value);
        }
    }

    #[test]
    fn a_lease_that_was_shared_is_never_sole_again() {
        let shared = Holders::sole(1).join(2);
        let left = shared.leave(2);
        assert!(left.as_ref().is_some_and(|left| !left.is_sole(1) && !left.is_empty()));
        assert!(left.and_then(|left| left.leave(1)).is_some_and(|left| left.is_empty()));
        assert_eq!(shared.leave(3), None, "another's");
        let marked = Holders::sole(1).leave(3);
        assert!(marked.is_some_and(|marked| !marked.is_sole(1) && !marked.is_empty()));
        let many = (0..100).fold(Holders::sole(0), |holders, id| holders.join(id));
        assert!(many.ids.len() <= MAX_HOLDERS);
    }
}
