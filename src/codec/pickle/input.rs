//! Reads the bytes of a pickle: numbers, counted bytes and lines.

use super::PickleError;

const TRUNCATED: PickleError = PickleError("it is truncated");

pub(super) struct Input<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Returns a slice, so a hostile length allocates nothing.
    fn take(&mut self, length: u64) -> Result<&'a [u8], PickleError> {
        let taken = usize::try_from(length).ok().and_then(|length| self.rest().get(..length));
        let taken = taken.ok_or(TRUNCATED)?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        self.take(N as u64)?.try_into().map_err(|_| TRUNCATED)
    }

    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// A little-endian number of `N` bytes, at most 8.
    pub(super) fn number<const N: usize>(&mut self) -> Result<u64, PickleError> {
        Ok(self.array::<N>()?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Bytes, after their length as a number of `N` bytes.
    pub(super) fn counted<const N: usize>(&mut self) -> Result<&'a [u8], PickleError> {
        let length = self.number::<N>()?;
        self.take(length)
    }

    /// As `counted::<4>`, for the opcodes whose length is signed.
    pub(super) fn signed_counted(&mut self) -> Result<&'a [u8], PickleError> {
        let length = i32::from_le_bytes(self.array()?);
        self.take(u64::try_from(length).map_err(|_| PickleError("a length is negative"))?)
    }

    /// The bytes before the next newline.
    pub(super) fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = self.rest();
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(TRUNCATED)?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    /// Checks and skips a frame's length. Frames only help readers of streams.
    pub(super) fn frame(&mut self) -> Result<(), PickleError> {
        let length = self.number::<8>()?;
        if length > self.rest().len() as u64 { Err(TRUNCATED) } else { Ok(()) }
    }
}
