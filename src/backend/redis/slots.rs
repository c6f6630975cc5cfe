//! Which server has a key: slots and their owners.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use redis::Value;

use super::server::Address;

const SLOTS: u16 = 16_384;

/// The slot of a key in a Redis Cluster: of all of it, or of what stands between its first braces.
pub(super) fn slot(key: &[u8]) -> u16 {
    crc16(tag(key)) % SLOTS
}

fn tag(key: &[u8]) -> &[u8] {
    let inside = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|&byte| byte == b'}').map(|close| &rest[..close])
    });
    inside.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(
            crc ^ u16::from(byte) << 8,
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            },
        )
    })
}

/// The owners of all slots at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owners(Vec<(u16, u16, Address)>);

impl Owners {
    /// One that has everything.
    pub(super) fn one(server: Address) -> Self {
        Self(vec![(0, SLOTS - 1, server)])
    }

    /// From the answer to `CLUSTER SLOTS`: `[[start, end, [host, port, …], replica…]…]`. None if it is not of that form.
    pub(super) fn parse(answer: &Value, asked: &Address) -> Option<Self> {
        let mut ranges = Vec::new();
        for range in array(answer)? {
            let [Value::Int(start), Value::Int(end), owner, ..] = array(range)? else { return None };
            let [host, Value::Int(port), ..] = array(owner)? else { return None };
            let host = match host {
                Value::BulkString(host) => str::from_utf8(host).ok()?,
                _ => "",
            };
            let owner = Address::relative(host, u16::try_from(*port).ok()?, asked);
            ranges.push((u16::try_from(*start).ok()?, u16::try_from(*end).ok()?, owner));
        }
        ranges.sort_by_key(|(start, ..)| *start);
        Some(Self(ranges))
    }

    /// None if nobody has the slot.
    pub(super) fn of(&self, slot: u16) -> Option<&Address> {
        self.0.iter().find(|(start, end, _)| (*start..=*end).contains(&slot)).map(|(.., owner)| owner)
    }

    /// Each of them once, in an order that stays.
    pub(super) fn all(&self) -> Vec<Address> {
        let mut all: Vec<_> = self.0.iter().map(|(.., owner)| owner.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The same for the same owners of the same slots.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }
}

fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // From `CLUSTER KEYSLOT`.
        for (key, expected) in
            [("", 0), ("123456789", 12_739), ("foo", 12_182), ("{foo}bar", 12_182), ("a{foo}{bar}", 12_182)]
        {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_eq!(slot(b"{}foo"), crc16(b"{}foo") % SLOTS);
        assert_eq!(slot(b"{foo"), crc16(b"{foo") % SLOTS);
        assert_eq!(slot(b"}{foo}"), slot(b"foo"));
    }

    #[test]
    fn nonsense_has_no_owners() {
        let asked = Address::Tcp("h".to_owned(), 1);
        for nonsense in [
            Value::Nil,
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![Value::Array(vec![Value::Int(1), Value::Int(-2), Value::Nil])]),
            Value::Array(vec![Value::Array(vec![
                Value::Int(-1),
                Value::Int(1),
                Value::Array(vec![Value::Nil, Value::Int(99_999)]),
            ])]),
        ] {
            assert_eq!(Owners::parse(&nonsense, &asked), None);
        }
        let owner = Value::Array(vec![Value::Nil, Value::Int(7)]);
        let answer = Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(9), owner])]);
        let owners = Owners::parse(&answer, &asked).unwrap();
        assert_eq!(owners.of(9), Some(&Address::Tcp("h".to_owned(), 7)));
        assert_eq!(owners.of(10), None);
    }
}
