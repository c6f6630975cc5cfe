//! The beginning of a body, read within bounds of size, time and memory.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpMessage as _,
    dev::{Payload, ServiceRequest},
    web::{Bytes, BytesMut},
};
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::form::BadForm;

/// As much of each body needs no room in the [`Buffers`]: large forms keep nobody from posting small ones.
/// actix buffers twice as much of any body.
const FREE_BYTES: usize = 16 * 1024;

/// A client that sends so much in a second is not late: slow lines may take long for a large form.
const BYTES_PER_SECOND: f64 = 8.0 * 1024.0;

/// Memory for bodies that are read here and not yet by their handlers, for all requests of a middleware.
#[derive(Clone, Debug)]
pub(super) struct Buffers(Arc<Semaphore>);

impl Buffers {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Makes room for `bytes` in all.
    fn reserve(&self, held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), BadForm> {
        let present = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.saturating_sub(FREE_BYTES + present);
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).map_err(|_| BadForm::NoRoom)?;
        let more = self.0.clone().try_acquire_many_owned(missing).map_err(|_| BadForm::NoRoom)?;
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}

/// The beginning of a body.
pub(super) struct Read {
    pub(super) bytes: Bytes,
    /// Whether this is all that can be read, also if the client broke off.
    pub(super) is_complete: bool,
}

/// Reads up to `limit` bytes, or one chunk more, and puts them back.
pub(super) async fn read(
    req: &mut ServiceRequest,
    limit: usize,
    time_limit: Duration,
    buffers: &Buffers,
) -> Result<Read, BadForm> {
    let mut payload = req.take_payload();
    let (mut bytes, mut error, mut room) = (BytesMut::new(), None, None);
    let mut left = time_limit;
    let is_complete = loop {
        let start = Instant::now();
        match timeout(left, payload.next()).await.map_err(|_| BadForm::Late)? {
            Some(Ok(chunk)) => {
                // Bytes earn time, but no more than the limit: a client that was fast may not stop for long,
                // nor go on at a trickle.
                let earned = Duration::from_secs_f64(chunk.len() as f64 / BYTES_PER_SECOND);
                left = left.saturating_sub(start.elapsed()).saturating_add(earned).min(time_limit);
                buffers.reserve(&mut room, bytes.len() + chunk.len())?;
                bytes.extend_from_slice(&chunk);
            }
            Some(Err(broken)) => {
                error = Some(Err(broken));
                break true;
            }
            None => break true,
        }
        if bytes.len() > limit {
            break false;
        }
    };
    let bytes = bytes.freeze();
    let first = (!bytes.is_empty()).then(|| bytes.clone());
    // The room is free once the handler takes the bytes, or drops the payload.
    let first = stream::iter(first).map(move |bytes| {
        drop(room.take());
        Ok(bytes)
    });
    let again = first.chain(stream::iter(error)).chain(payload);
    req.set_payload(Payload::Stream { payload: Box::pin(again) });
    Ok(Read { bytes, is_complete })
}
