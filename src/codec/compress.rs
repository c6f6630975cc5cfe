//! zlib and gzip, with a limit on the decompressed size, and the marks of what cannot be read.

use std::{cell::RefCell, io::Read as _};

use flate2::{
    Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status, read::MultiGzDecoder,
};

use crate::Error;

/// The compression level.
#[derive(Clone, Copy)]
pub(crate) enum Level {
    /// zlib's level 1: 4 KB become 1.3 KB.
    Fast,
    /// zlib's level 6, as Django: 4 KB become 0.9 KB in three times the time, 64 KB in seven times.
    Best,
}

thread_local! {
    // Making one takes as long as compressing a small session, so each thread reuses its own.
    static FAST: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(1), true));
    static BEST: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(6), true));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

/// Compresses to a zlib stream. `None` if it would be much longer than the payload.
pub(crate) fn deflate(payload: &[u8], level: Level) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(payload.len() + 64); // zlib's bound for incompressible data
    let zlib = match level {
        Level::Fast => &FAST,
        Level::Best => &BEST,
    };
    let status = zlib.with_borrow_mut(|zlib| {
        zlib.reset();
        zlib.compress_vec(payload, &mut out, FlushCompress::Finish)
    });
    (status.ok()? == Status::StreamEnd).then_some(out)
}

/// Decompresses a complete zlib stream to at most `limit` bytes. Trailing bytes are ignored, as in Python.
pub(crate) fn inflate(stream: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    DECOMPRESS.with_borrow_mut(|zlib| {
        zlib.reset(true);
        inflate_by(zlib, stream, limit)
    })
}

fn inflate_by(zlib: &mut Decompress, stream: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let broken = || Error::unreadable("the session data is not a valid zlib stream");
    let mut out = Vec::with_capacity(stream.len().saturating_mul(5).clamp(256, 64 * 1024));
    loop {
        let rest = stream.get(zlib.total_in() as usize..).unwrap_or_default();
        let before = (zlib.total_in(), zlib.total_out());
        let status = zlib.decompress_vec(rest, &mut out, FlushDecompress::None).map_err(|_| broken())?;
        if out.len() > limit {
            return Err(Error::too_large(out.len(), limit));
        }
        if status == Status::StreamEnd {
            return Ok(out);
        }
        if out.len() == out.capacity() {
            // Up to the first byte that is too many.
            out.reserve_exact(out.len().min(limit.saturating_add(1) - out.len()));
        } else if before == (zlib.total_in(), zlib.total_out()) {
            return Err(broken()); // the input is used up before the end of the stream
        }
    }
}

/// Decompresses gzip, as django-redis with its `GzipCompressor` writes it, to at most `limit` bytes.
pub(crate) fn gunzip(stream: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut out = Vec::new();
    let read = MultiGzDecoder::new(stream).take(most).read_to_end(&mut out);
    read.map_err(|_| Error::unreadable("the session data is not a valid gzip stream"))?;
    if out.len() > limit { Err(Error::too_large(out.len(), limit)) } else { Ok(out) }
}

/// The first bytes of what other compressors and serializers of django-redis write.
const MARKS: &[(&[u8], &str)] = &[
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"\xfd7zXZ\0", "compressed with lzma (xz)"),
    (b"\x5d\0\0", "compressed with lzma"),
    (b"\xde", "in msgpack"),
    (b"\xdf", "in msgpack"),
];

/// Names the form of a value that could not be read, if its first bytes tell.
pub(crate) fn name_form(value: &[u8]) -> Option<&'static str> {
    match value {
        // A dictionary of up to 15 keys. One of none is a pickle's first byte too.
        [0x81..=0x8f, ..] => Some("in msgpack"),
        _ => MARKS.iter().find(|(mark, _)| value.starts_with(mark)).map(|(_, name)| *name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decompression_stops_at_the_limit() {
        let bomb = deflate(&vec![b' '; 8 << 20], Level::Best).unwrap();
        assert!(bomb.len() < 10_000);
        assert!(inflate(&bomb, 1 << 20).unwrap_err().is_too_large());
        assert_eq!(inflate(&bomb, 8 << 20).unwrap().len(), 8 << 20);
    }

    #[test]
    fn truncation_is_an_error_and_trailing_bytes_are_not() {
        let mut stream = deflate(b"twelve bytes", Level::Fast).unwrap();
        assert!(inflate(&stream[..stream.len() - 1], 100).is_err());
        stream.extend(b"tail");
        assert_eq!(inflate(&stream, 100).unwrap(), b"twelve bytes");
    }
}
