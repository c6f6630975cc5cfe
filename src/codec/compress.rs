//! zlib, bounded on the way in.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::Error;

/// What compression is for.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    /// zlib's level 1: 4 KB become 1.3 KB.
    Quick,
    /// Django's level, 6: 4 KB become 0.9 KB in three times the time, 64 KB in seven times that of [`Aim::Quick`].
    Small,
}

thread_local! {
    // Making one takes as long as compressing a small session: each thread keeps its own.
    static QUICK: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(1), true));
    static SMALL: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(6), true));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

/// A zlib stream, or nothing if zlib does not want to.
pub(crate) fn deflate(payload: &[u8], aim: Aim) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(payload.len() + 64); // zlib's own bound for what does not shrink
    let zlib = match aim {
        Aim::Quick => &QUICK,
        Aim::Small => &SMALL,
    };
    let status = zlib.with_borrow_mut(|zlib| {
        zlib.reset();
        zlib.compress_vec(payload, &mut out, FlushCompress::Finish)
    });
    (status.ok()? == Status::StreamEnd).then_some(out)
}

/// The payload of a whole zlib stream of at most `limit` bytes. What follows the stream is ignored.
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
            out.reserve(out.len());
        } else if before == (zlib.total_in(), zlib.total_out()) {
            return Err(broken()); // all is read and the end has not come
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = deflate(&vec![b' '; 8 << 20], Aim::Small).unwrap();
        assert!(bomb.len() < 10_000);
        assert!(inflate(&bomb, 1 << 20).unwrap_err().is_too_large());
        assert_eq!(inflate(&bomb, 8 << 20).unwrap().len(), 8 << 20);
    }

    #[test]
    fn a_cut_stream_is_an_error_and_a_tail_is_not() {
        let mut stream = deflate(b"twelve bytes", Aim::Quick).unwrap();
        assert!(inflate(&stream[..stream.len() - 1], 100).is_err());
        stream.extend(b"tail");
        assert_eq!(inflate(&stream, 100).unwrap(), b"twelve bytes");
    }
}
