//! The slots of a Redis Cluster: which one a key has, and new keys for a slot.

use crate::SessionKey;

pub(super) const SLOTS: u16 = 16_384;

/// CRC-16/XMODEM, as Redis uses it.
const POLYNOMIAL: u16 = 0x1021;

/// Returns the slot of a Redis key, which is that of its hash tag (`{…}`) if it has one.
pub(super) fn slot(name: &[u8]) -> u16 {
    crc16(hash_tag(name).unwrap_or(name)) % SLOTS
}

fn hash_tag(name: &[u8]) -> Option<&[u8]> {
    let open = name.iter().position(|&byte| byte == b'{')? + 1;
    let length = name[open..].iter().position(|&byte| byte == b'}')?;
    Some(&name[open..open + length]).filter(|tag| !tag.is_empty())
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| shift(crc ^ u16::from(byte) << 8))
}

/// Eight steps of the CRC.
fn shift(crc: u16) -> u16 {
    (0..8).fold(crc, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ POLYNOMIAL })
}

/// Undoes sixteen steps of the CRC. The polynomial is odd, so the last bit tells whether a step has applied
/// it.
fn unshift(crc: u16) -> u16 {
    (0..16).fold(crc, |crc, _| if crc & 1 == 0 { crc >> 1 } else { (crc ^ POLYNOMIAL) >> 1 | 0x8000 })
}

/// Generates a key whose name in Redis, `prefix` and the key, has this slot.
///
/// Thirty characters are random and the last two are computed. That fits one time in fifteen on average,
/// since they must be of a-z and 0-9. All keys of the slot remain possible: no key is likelier than one in
/// 2^151.
pub(super) fn key_in_slot(prefix: &str, slot: u16) -> SessionKey {
    if hash_tag(prefix.as_bytes()).is_some() {
        return SessionKey::generate(); // whose slot is that of the tag, whatever the key
    }
    loop {
        let key = SessionKey::generate();
        let Some((head, _)) = key.as_str().split_at_checked(30) else { return key };
        let crc = crc16(&[prefix.as_bytes(), head.as_bytes()].concat());
        // The slot is the lower 14 bits of the CRC; the upper two are free. Two bytes decide all sixteen.
        for upper in 0..4 {
            let last = (crc ^ unshift(upper << 14 | slot)).to_be_bytes();
            if last.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
                return SessionKey::from_text(&format!(
                    "{head}{}{}",
                    char::from(last[0]),
                    char::from(last[1])
                ));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // From `CLUSTER KEYSLOT`.
        for (name, expected) in
            [("", 0), ("123456789", 12_739), ("foo", 12_182), ("{foo}bar", 12_182), ("a{foo}{bar}", 12_182)]
        {
            assert_eq!(slot(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(slot(b"{}foo"), crc16(b"{}foo") % SLOTS);
        assert_eq!(slot(b"{foo"), crc16(b"{foo") % SLOTS);
        assert_eq!(slot(b"}{foo}"), slot(b"foo"));
    }

    #[test]
    fn steps_of_the_crc_can_be_undone() {
        assert!((0..=u16::MAX).all(|crc| unshift(shift(shift(crc))) == crc));
    }

    #[test]
    fn new_keys_have_the_slot_and_are_random() {
        let prefix = ":1:django.contrib.sessions.cache";
        let wanted = slot(format!("{prefix}{}", SessionKey::generate().as_str()).as_bytes());
        let keys: HashSet<_> = (0..10_000).map(|_| key_in_slot(prefix, wanted)).collect();
        assert_eq!(keys.len(), 10_000);
        let mut characters = vec![HashSet::new(); 32];
        for key in &keys {
            let key = key.as_str();
            assert_eq!(slot(format!("{prefix}{key}").as_bytes()), wanted);
            assert!(key.len() == 32 && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
            for (character, all) in key.chars().zip(&mut characters) {
                all.insert(character);
            }
        }
        assert!(characters.iter().all(|all| all.len() == 36), "every character occurs at every position");
    }

    #[test]
    fn every_slot_and_every_prefix_has_new_keys() {
        let name = |prefix: &str, wanted| format!("{prefix}{}", key_in_slot(prefix, wanted).as_str());
        for wanted in (0..SLOTS).step_by(13) {
            assert_eq!(slot(name("site:1:", wanted).as_bytes()), wanted);
        }
        for open in ["{", "a{b:1:", "{}:1:", "}{:1:"] {
            assert_eq!(slot(name(open, 77).as_bytes()), 77, "{open}");
        }
        assert_eq!(slot(name("{site}:1:", 77).as_bytes()), slot(b"site"), "the tag decides");
    }
}
