//! The one path from a request's bytes to its answer, for every signal and transport.
//!
//! ```text
//! may write? --> quota --> receive (size, room) --> [task: convert --> append --> rejections] --> answer
//! ```
//!
//! What is in brackets runs as a task of its own: a client that hangs up, or whose deadline passes, drops only the
//! waiting for it.

mod backfill;

use std::future::Future;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use alula_auth::Principal;
use alula_catalog::{Signal, TenantId, now_ns};
use alula_storage::{BatchId, Entry, Storage};

use crate::body::{Encoding, Payload, Receiver, SizeLimit};
use crate::convert::{Context, Converted, Limits, MAX_PAYLOAD_BYTES, Policy, convert};
use crate::otlp_json;
use crate::partial_success::PartialSuccess;
use crate::quota::Quota;
use crate::rejections::{groups, whole_request};
use crate::room::Rooms;
use crate::{Config, Error, Result};

/// Payloads up to this size are converted where they are; larger ones would hold up the other work of that thread.
const INLINE_BYTES: usize = 64 * 1024;

/// The longest that a body may take to come in. The room it takes is not there for others meanwhile.
const RECEIVE_LIMIT: Duration = Duration::from_secs(30);

/// Takes export requests in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ingest(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Storage,
    config: Config,
    /// For the bytes of all requests under way.
    rooms: Rooms,
    quota: Option<Quota>,
    /// A permit is a large conversion: one for each core, as more would only take turns and hold more memory.
    converters: Arc<Semaphore>,
}

/// How the message of a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Protobuf,
    Json,
}

/// Which way a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Grpc,
    Http,
}

/// A request as handed over.
struct Request {
    tenant: TenantId,
    signal: Signal,
    format: Format,
    received_ns: i64,
    payload: Bytes,
    /// Of rows that came as such: how many came before these.
    first_row: Option<u64>,
    /// Known once it is converted, if every record carries a time.
    batch_id: Option<BatchId>,
}

impl Ingest {
    pub fn new(storage: Storage, config: Config) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let largest = config.max_message_bytes.max(config.max_http_message_bytes);
        Self(Arc::new(Inner {
            storage,
            config,
            rooms: Rooms::new(config.max_in_flight_bytes, largest),
            quota: config.tenant_bytes_per_second.map(Quota::new),
            converters: Arc::new(Semaphore::new(cores)),
        }))
    }

    /// What takes the body of a request in.
    pub(crate) fn receiver(
        &self,
        tenant: &TenantId,
        transport: Transport,
        encoding: Encoding,
        announced_bytes: Option<usize>,
    ) -> Result<Receiver> {
        Receiver::new(encoding, announced_bytes, self.0.size_limit(transport), &self.0.rooms.of(tenant))
    }

    /// Receives one request and stores its records for the caller's tenant.
    ///
    /// Bounds:  the body is not looked at before the caller is known to be allowed it. Refuses at once when the bytes of
    /// all requests under way exceed `max_in_flight_bytes`.
    /// Durable: the returned rows are on disk and visible to the next query.
    /// Cancel:  dropping the future before the body is whole stores nothing; after that it does not undo the request.
    ///
    /// # Errors
    /// [`Error::Auth`] — the caller may not write.
    /// [`Error::Malformed`], [`Error::TooLarge`] and what `body` gives — sending the same bytes again is pointless.
    /// [`Error::Overloaded`], [`Error::QuotaExceeded`], most of [`Error::Storage`] — nothing was stored; send again later.
    pub(crate) async fn export(
        &self,
        principal: &Principal,
        signal: Signal,
        format: Format,
        body: impl Future<Output = Result<Payload>>,
    ) -> Result<Option<PartialSuccess>> {
        principal.require_write()?;
        let tenant = principal.tenant();
        if let Some(quota) = &self.0.quota {
            quota.check(tenant, Instant::now())?;
        }
        let answer = self.receive(tenant, signal, format, body).await;
        if let Some(refused) = answer.as_ref().err().and_then(whole_request) {
            self.0.storage.record_rejections(tenant, signal, now_ns(), vec![refused]);
        }
        answer
    }

    async fn receive(
        &self,
        tenant: &TenantId,
        signal: Signal,
        format: Format,
        body: impl Future<Output = Result<Payload>>,
    ) -> Result<Option<PartialSuccess>> {
        let received =
            timeout(RECEIVE_LIMIT, body).await.map_err(|_| Error::TooSlow { limit: RECEIVE_LIMIT })?;
        let Payload { bytes: payload, share } = received?;
        if let Some(quota) = &self.0.quota {
            quota.charge(tenant, payload.len(), Instant::now());
        }
        if payload.is_empty() {
            return Ok(None);
        }
        let request = Request {
            tenant: tenant.clone(),
            signal,
            format,
            received_ns: now_ns(),
            payload,
            first_row: None,
            batch_id: None,
        };
        let inner = Arc::clone(&self.0);
        let task = tokio::spawn(async move {
            let _share = share;
            inner.store(request).await
        });
        task.await.map_err(Error::Interrupted)?
    }
}

impl Request {
    /// Two equal parts of the same rows are two.
    fn id(&self) -> BatchId {
        match self.first_row {
            None => BatchId::of(&self.tenant, self.signal, &self.payload),
            Some(first_row) => {
                let named = [&self.payload[..], b"rows", &first_row.to_le_bytes()].concat();
                BatchId::of(&self.tenant, self.signal, &named)
            }
        }
    }
}

impl Inner {
    fn size_limit(&self, transport: Transport) -> SizeLimit {
        let (bytes, setting) = match transport {
            Transport::Grpc => (self.config.max_message_bytes, "ingest.max_message_bytes"),
            Transport::Http => (self.config.max_http_message_bytes, "ingest.max_http_message_bytes"),
        };
        SizeLimit { bytes: bytes.min(MAX_PAYLOAD_BYTES), setting }
    }

    /// That of the transport which takes more.
    fn largest(&self) -> SizeLimit {
        let (grpc, http) = (self.size_limit(Transport::Grpc), self.size_limit(Transport::Http));
        if grpc.bytes > http.bytes { grpc } else { http }
    }

    async fn store(&self, request: Request) -> Result<Option<PartialSuccess>> {
        let (request, converted) = self.convert(request).await?;
        let Converted { batch, rejected, .. } = converted;
        let signal = request.signal;
        if batch.num_rows() > 0 {
            let entry = Entry {
                tenant: request.tenant.clone(),
                signal,
                received_ns: request.received_ns,
                batch_id: request.batch_id,
                payload: request.payload,
                rejected: rejected.iter().map(|rejection| rejection.ordinal).collect(),
                batch,
            };
            let appended = self.storage.append(entry).await?;
            if appended.is_duplicate {
                // The first has put its rejections on record.
                return Ok(PartialSuccess::of_duplicate(signal, &rejected, appended.num_rejected));
            }
        }
        if !rejected.is_empty() {
            let groups = groups(&rejected);
            self.storage.record_rejections(&request.tenant, signal, request.received_ns, groups);
        }
        Ok(PartialSuccess::of(signal, &rejected))
    }

    async fn convert(&self, request: Request) -> Result<(Request, Converted)> {
        let limits =
            Limits { max_future_ns: i64::try_from(self.config.max_future.as_nanos()).unwrap_or(i64::MAX) };
        let limit = self.size_limit(Transport::Http);
        let convert = move |mut request: Request| {
            if request.format == Format::Json {
                request.payload = otlp_json::to_protobuf(request.signal, &request.payload, limit)?.into();
            }
            let policy = Policy::Check(limits);
            let context =
                Context { tenant: request.tenant.clone(), received_ns: request.received_ns, policy };
            let converted = convert(request.signal, &request.payload, &context)?;
            if converted.all_timed {
                request.batch_id = Some(request.id());
            }
            Ok((request, converted))
        };
        if request.payload.len() <= INLINE_BYTES {
            return convert(request);
        }
        let slot = self.converter().await;
        let task = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            convert(request)
        });
        task.await.map_err(Error::Interrupted)?
    }

    /// Waits for the right to do a large conversion.
    async fn converter(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.converters).acquire_owned().await.expect("the semaphore is never closed")
    }
}

#[cfg(test)]
mod tests;
