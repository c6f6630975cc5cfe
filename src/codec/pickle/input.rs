//! The bytes of a pickle, and the numbers, lengths and lines in them.

use super::Broken;

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

    /// Nothing is allocated for a length before the bytes are known to be there; nor afterwards.
    fn take(&mut self, length: u64) -> Result<&'a [u8], Broken> {
        let taken = usize::try_from(length).ok().and_then(|length| self.rest().get(..length));
        let taken = taken.ok_or(Broken("it is cut off"))?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        self.take(N as u64)?.try_into().map_err(|_| Broken("it is cut off"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, Broken> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// A number of `N` bytes, at most 8.
    pub(super) fn number<const N: usize>(&mut self) -> Result<u64, Broken> {
        Ok(self.array::<N>()?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A length of `N` bytes, and as many bytes.
    pub(super) fn counted<const N: usize>(&mut self) -> Result<&'a [u8], Broken> {
        let length = self.number::<N>()?;
        self.take(length)
    }

    /// As `counted::<4>`, for the opcodes whose length has a sign.
    pub(super) fn signed_counted(&mut self) -> Result<&'a [u8], Broken> {
        let length = i32::from_le_bytes(self.array()?);
        self.take(u64::try_from(length).map_err(|_| Broken("a length is negative"))?)
    }

    /// Up to the next newline, without it.
    pub(super) fn line(&mut self) -> Result<&'a [u8], Broken> {
        let rest = self.rest();
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Broken("it is cut off"))?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    /// The length of what follows. It says no more than the end of the pickle does.
    pub(super) fn frame(&mut self) -> Result<(), Broken> {
        let length = self.number::<8>()?;
        if length > self.rest().len() as u64 { Err(Broken("it is cut off")) } else { Ok(()) }
    }
}
