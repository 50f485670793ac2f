//! The one path from a request's bytes to its answer, for every signal and transport.
//!
//! ```text
//! may write? --> size --> room in flight? --> [task: convert --> append --> rejections] --> answer
//! ```
//!
//! What is in brackets runs as a task of its own: a client that hangs up, or whose deadline passes, drops only the
//! waiting for it.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Semaphore;

use alula_auth::Principal;
use alula_catalog::{Signal, TenantId};
use alula_storage::{Entry, Storage};

use crate::convert::{Context, Converted, Limits, MAX_PAYLOAD_BYTES, Policy, convert};
use crate::partial_success::PartialSuccess;
use crate::{Config, Error, Result};

/// Payloads up to this size are converted where they are; larger ones would hold up the other work of that thread.
const INLINE_BYTES: usize = 64 * 1024;

/// Takes export requests in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ingest(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Storage,
    config: Config,
    /// A permit is a byte of a request that is under way.
    in_flight: Arc<Semaphore>,
    /// A permit is a large conversion: one for each core, as more would only take turns and hold more memory.
    converters: Arc<Semaphore>,
}

/// A request as handed over.
struct Request {
    tenant: TenantId,
    signal: Signal,
    received_ns: i64,
    payload: Bytes,
}

impl Ingest {
    pub fn new(storage: Storage, config: Config) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Inner {
            storage,
            config,
            in_flight: Arc::new(Semaphore::new(config.max_in_flight_bytes.clamp(1, Semaphore::MAX_PERMITS))),
            converters: Arc::new(Semaphore::new(cores)),
        }))
    }

    /// The largest request that is taken, in bytes after decompression.
    pub(crate) fn max_message_bytes(&self) -> usize {
        self.0.config.max_message_bytes.min(MAX_PAYLOAD_BYTES)
    }

    /// Stores the records of one request for the caller's tenant.
    ///
    /// Bounds:  refuses at once when the bytes of all requests under way exceed `max_in_flight_bytes`.
    /// Durable: the returned rows are on disk and visible to the next query.
    /// Cancel:  dropping the future does not undo the request; it may or may not have been stored.
    ///
    /// # Errors
    /// [`Error::Auth`] — the caller may not write.
    /// [`Error::Malformed`], [`Error::TooLarge`] — sending the same bytes again is pointless.
    /// [`Error::Overloaded`], most of [`Error::Storage`] — nothing was stored; send again later.
    pub(crate) async fn export(
        &self,
        principal: &Principal,
        signal: Signal,
        payload: Bytes,
    ) -> Result<Option<PartialSuccess>> {
        principal.require_write()?;
        let limit_bytes = self.max_message_bytes();
        if payload.len() > limit_bytes {
            return Err(Error::TooLarge { limit_bytes });
        }
        if payload.is_empty() {
            return Ok(None);
        }
        let limit_bytes = self.0.config.max_in_flight_bytes;
        // A request larger than the whole bound may still go alone.
        let bytes = u32::try_from(payload.len().min(limit_bytes).max(1)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.0.in_flight)
            .try_acquire_many_owned(bytes)
            .map_err(|_| Error::Overloaded { limit_bytes })?;

        let request = Request { tenant: principal.tenant().clone(), signal, received_ns: now_ns(), payload };
        let inner = Arc::clone(&self.0);
        let task = tokio::spawn(async move {
            let _permit = permit;
            inner.store(request).await
        });
        task.await.map_err(Error::Interrupted)?
    }
}

impl Inner {
    async fn store(&self, request: Request) -> Result<Option<PartialSuccess>> {
        let limits =
            Limits { max_future_ns: i64::try_from(self.config.max_future.as_nanos()).unwrap_or(i64::MAX) };
        let (request, converted) = self.convert(request, limits).await?;
        let Converted { batch, rejected } = converted;
        let signal = request.signal;
        if batch.num_rows() > 0 {
            let entry = Entry {
                tenant: request.tenant,
                signal,
                received_ns: request.received_ns,
                payload: request.payload,
                rejected: rejected.iter().map(|rejection| rejection.ordinal).collect(),
                batch,
            };
            self.storage.append(entry).await?;
        }
        Ok(PartialSuccess::of(signal, &rejected))
    }

    async fn convert(&self, request: Request, limits: Limits) -> Result<(Request, Converted)> {
        let convert = move |request: Request| {
            let policy = Policy::Check(limits);
            let context =
                Context { tenant: request.tenant.clone(), received_ns: request.received_ns, policy };
            let converted = convert(request.signal, &request.payload, &context)?;
            Ok((request, converted))
        };
        if request.payload.len() <= INLINE_BYTES {
            return convert(request);
        }
        let slot = Arc::clone(&self.converters).acquire_owned().await.expect("the semaphore is never closed");
        let task = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            convert(request)
        });
        task.await.map_err(Error::Interrupted)?
    }
}

fn now_ns() -> i64 {
    // A clock before 1970 is wrong in any case; a row must have a time.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
