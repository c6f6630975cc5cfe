//! Integers of any size: decimal text, and the little-endian two's complement of pickles.

use super::PickleError;

/// Python's limit for decimal text. It bounds the conversion, which takes quadratic time.
pub(super) const MAX_DIGITS: usize = 4300;

/// Integers of fewer bytes are within [`MAX_DIGITS`], and integers of more bytes are not.
const MAX_BYTES: usize = 1786;

const BILLION: u32 = 1_000_000_000;

#[derive(Debug, PartialEq)]
pub(super) enum Int {
    Small(i64),
    /// Beyond 64 bits: little-endian two's complement.
    Big(Box<[u8]>),
}

/// Reads little-endian two's complement. Errors beyond [`MAX_DIGITS`].
pub(super) fn from_bytes(bytes: &[u8]) -> Result<Int, PickleError> {
    let bytes = shortest(bytes);
    if let Some(small) = small(bytes) {
        return Ok(Int::Small(small));
    }
    let too_long = || to_decimal(bytes).trim_start_matches('-').len() > MAX_DIGITS;
    if bytes.len() > MAX_BYTES || (bytes.len() == MAX_BYTES && too_long()) {
        Err(TOO_LONG)
    } else {
        Ok(Int::Big(bytes.into()))
    }
}

const TOO_LONG: PickleError = PickleError("an integer has more than 4300 digits");

/// Parses digits with an optional sign. `None` for any other text, and beyond [`MAX_DIGITS`].
pub(super) fn from_decimal(text: &str) -> Option<Int> {
    if let Ok(small) = text.parse() {
        return Some(Int::Small(small));
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut limbs: Vec<u32> = Vec::with_capacity(digits.len() / 9 + 1);
    // The first group is the short one. The others have nine digits.
    let (first, rest) = digits.split_at(digits.len() % 9);
    let rest = rest.as_bytes().chunks(9).map(|group| std::str::from_utf8(group).unwrap_or_default());
    for group in std::iter::once(first).chain(rest).filter(|group| !group.is_empty()) {
        let mut carry = group.parse::<u64>().ok()?;
        for limb in &mut limbs {
            let sum = u64::from(*limb) * u64::from(BILLION) + carry;
            *limb = sum as u32;
            carry = sum >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32); // below a billion, so it fits a limb
        }
    }
    let mut bytes: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
    bytes.push(0); // the sign
    if text.starts_with('-') {
        negate(&mut bytes);
    }
    let bytes = shortest(&bytes);
    Some(small(bytes).map_or_else(|| Int::Big(bytes.into()), Int::Small))
}

pub(super) fn to_decimal(bytes: &[u8]) -> String {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut bytes = bytes.to_vec();
    if negative {
        bytes.push(0xff); // the lowest number of a length needs one more byte when negated
        negate(&mut bytes);
    }
    let mut limbs: Vec<u32> = bytes
        .chunks(4)
        .map(|chunk| chunk.iter().rev().fold(0, |limb, &byte| limb << 8 | u32::from(byte)))
        .collect();
    let mut groups: Vec<u32> = Vec::with_capacity(limbs.len() * 32 / 29 + 1);
    loop {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        if limbs.is_empty() {
            break;
        }
        let mut rest = 0;
        for limb in limbs.iter_mut().rev() {
            let part = rest << 32 | u64::from(*limb);
            *limb = (part / u64::from(BILLION)) as u32;
            rest = part % u64::from(BILLION);
        }
        groups.push(rest as u32);
    }
    let mut text = String::from(if negative { "-" } else { "" });
    text.push_str(&groups.pop().unwrap_or(0).to_string());
    for group in groups.iter().rev() {
        text.push_str(&format!("{group:09}"));
    }
    text
}

/// Strips the bytes that only extend the sign.
pub(super) fn shortest(mut bytes: &[u8]) -> &[u8] {
    while let [.., next, last] = bytes {
        let sign = if next & 0x80 == 0 { 0 } else { 0xff };
        if *last != sign {
            break;
        }
        bytes = &bytes[..bytes.len() - 1];
    }
    bytes
}

fn small(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut all = [sign; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(all))
}

fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes {
        (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn big(text: &str) -> Vec<u8> {
        match from_decimal(text) {
            Some(Int::Big(bytes)) => bytes.into(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn decimal_text_round_trips() {
        let long = "9".repeat(MAX_DIGITS);
        for text in [
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "-340282366920938463463374607431768211456",
            "123456789012345678901234567890",
            "1000000000000000000000000000000000000",
            &long,
            &format!("-{long}"),
        ] {
            assert_eq!(to_decimal(&big(text)), text);
            assert_eq!(from_bytes(&big(text)), Ok(Int::Big(big(text).into())));
        }
        // Python: (2**64).to_bytes(9, "little"), (-2**71).to_bytes(9, "little", signed=True)
        assert_eq!(big("18446744073709551616"), [0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(big("-2361183241434822606848"), [0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
    }

    #[test]
    fn integers_of_64_bits_are_small_and_too_long_ones_are_rejected() {
        assert_eq!(from_bytes(&[]), Ok(Int::Small(0)));
        assert_eq!(from_bytes(&[0xff]), Ok(Int::Small(-1)));
        assert_eq!(from_bytes(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(Int::Small(255)));
        assert_eq!(from_bytes(&[0, 0, 0, 0, 0, 0, 0, 0x80]), Ok(Int::Small(i64::MIN)));
        assert_eq!(from_decimal("-000"), Some(Int::Small(0)));
        for text in ["", "-", "1x", "1_0", &"1".repeat(MAX_DIGITS + 1)] {
            assert_eq!(from_decimal(text), None, "{text}");
        }
        // One more than the largest number of MAX_DIGITS digits.
        let mut bytes = big(&"9".repeat(MAX_DIGITS));
        let carried = bytes.iter().take_while(|byte| **byte == 0xff).count();
        bytes[..carried].fill(0);
        bytes[carried] += 1;
        assert_eq!(from_bytes(&bytes), Err(TOO_LONG));
        assert_eq!(from_bytes(&vec![1; 100_000]), Err(TOO_LONG));
        let mut padded = vec![7];
        padded.resize(100_000, 0);
        assert_eq!(from_bytes(&padded), Ok(Int::Small(7)));
    }
}
