//! What a session looks like as the value of a cache.

use std::{fmt, sync::Arc};

use crate::{
    Error,
    codec::{
        Serializer, SessionData,
        compress::{self, Level},
    },
};

/// A zlib stream's first byte. Neither a pickle nor JSON begins with it.
const ZLIB: u8 = 0x78;

/// How sessions are written into a cache, and read from it: by a serializer, maybe compressed. Not signed, as in Django.
#[derive(Clone)]
pub(in crate::store) struct Format {
    pub(in crate::store) serializer: Arc<dyn Serializer>,
    /// Compress from this size on, if that makes it shorter; django-redis reads that, Django's own `RedisCache` does not.
    pub(in crate::store) compress_from: Option<usize>,
    pub(in crate::store) max_session_bytes: usize,
}

impl Format {
    pub(in crate::store) fn dump(&self, data: &SessionData) -> Result<Vec<u8>, Error> {
        let bytes = self.serializer.dumps(data)?;
        if bytes.len() > self.max_session_bytes {
            return Err(Error::too_large(bytes.len(), self.max_session_bytes));
        }
        let worth_it = self.compress_from.is_some_and(|from| bytes.len() >= from);
        match worth_it.then(|| compress::deflate(&bytes, Level::Fast)).flatten() {
            Some(shorter) if shorter.len() < bytes.len() => Ok(shorter),
            _ => Ok(bytes),
        }
    }

    /// Compressed or not.
    pub(in crate::store) fn load(&self, value: &[u8]) -> Result<SessionData, Error> {
        let limit = self.max_session_bytes;
        if value.first() == Some(&ZLIB) {
            match compress::inflate(value, limit) {
                // Another serializer's bytes may begin so too.
                Err(error) if !error.is_too_large() => {}
                inflated => return self.serializer.loads(inflated?, limit),
            }
        }
        if value.len() > limit {
            return Err(Error::too_large(value.len(), limit));
        }
        self.serializer.loads(value.to_vec(), limit)
    }
}

impl Default for Format {
    fn default() -> Self {
        #[cfg(feature = "pickle")]
        let serializer = Arc::new(crate::codec::PickleSerializer::new());
        #[cfg(not(feature = "pickle"))]
        let serializer = Arc::new(crate::codec::JsonSerializer);
        Self { serializer, compress_from: None, max_session_bytes: 16 * 1024 * 1024 }
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Format").field("compress_from", &self.compress_from).finish_non_exhaustive()
    }
}
