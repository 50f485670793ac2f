//! [`Storage`]: the only façade.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use alula_catalog::{Catalog, SequenceNumber, Signal, TenantId, TenantNumber, now_ns};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};

use crate::blocking::blocking;
use crate::buffer::{Buffer, Snapshot, TableKey};
use crate::data_files::DataFiles;
use crate::disk::{Disk, RealDisk, create_dir_durably, sync_dir};
use crate::entry::{Appended, Entry, EntryDecoder};
use crate::flush::{FlushQueue, FlushRequest, FlushThread};
use crate::free_space::{check_free_space, watch_free_space};
use crate::health::{Condition, Health};
use crate::layout::Layout;
use crate::losses::Losses;
use crate::maintenance::compaction::{CompactionReport, CompactionScope};
use crate::maintenance::{MaintenanceQueue, MaintenanceRequest, MaintenanceThread, remove_dead_files};
use crate::reconcile::reconcile_files;
use crate::rejections::{RejectionGroup, RejectionLog, save_rejections};
use crate::remote::RemoteTier;
use crate::replay::replay;
use crate::retry_window::{BatchKey, Bounds, Entered, RetryWindow, Stored, Turn};
use crate::store::Store;
use crate::user_tables::load_user_tables;
use crate::wal::{Append, Command, Frame, MAX_PAYLOAD_BYTES, WalWriter, WriterHandle, payload_bytes};
use crate::{
    BatchId, Config, Error, PredicateCompiler, ProposedDeletion, Result, UserTables, UserTablesConfig,
    UserTransaction,
};

/// Flush requests that may wait.
const FLUSH_QUEUE: usize = 16;
/// Maintenance requests that may wait.
const MAINTENANCE_QUEUE: usize = 16;

/// The storage engine of one data directory. Clones share it.
#[derive(Clone)]
pub struct Storage {
    inner: Arc<Inner>,
}

struct Inner {
    buffer: Arc<Buffer>,
    rejections: Arc<RejectionLog>,
    retry_window: Arc<RetryWindow>,
    writer: WriterHandle,
    flush: FlushQueue,
    maintenance: MaintenanceQueue,
    store: Arc<Store>,
    /// Bytes of entries that may wait for the log's writer.
    queue_bytes: Arc<Semaphore>,
    queue_limit: usize,
    max_buffer_bytes: usize,
    user_tables: UserTablesConfig,
    /// Taken once: by [`Storage::close`], or when the last clone goes.
    running: Mutex<Option<Running>>,
}

/// The threads, and what makes the data directory theirs alone: it is given up once they have ended.
struct Running {
    threads: [(&'static str, JoinHandle<()>); 5],
    /// Their ends tell the threads that save rejections and watch the free space to end.
    until_closed: [SyncSender<()>; 2],
    _lock: File,
}

impl Running {
    /// Waits for all threads, also past one that panicked: the others may still be writing in the directory.
    fn join(self) -> Result<()> {
        drop(self.until_closed);
        let ended = self.threads.map(|(name, thread)| thread.join().map_err(|_| Error::ThreadEnded(name)));
        ended.into_iter().collect()
    }
}

impl Inner {
    /// A share of the queue's bytes, or the reason why there is none.
    fn room_for(&self, waiting_bytes: usize) -> Result<OwnedSemaphorePermit> {
        if let Some(refusal) = self.store.condition.refusal() {
            return Err(refusal);
        }
        if self.buffer.total_bytes() >= self.max_buffer_bytes {
            return Err(Error::Overloaded {
                what: "the buffer",
                limit: self.max_buffer_bytes,
                unit: "bytes",
            });
        }
        let permits = u32::try_from(waiting_bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.queue_bytes).try_acquire_many_owned(permits).map_err(|error| match error {
            TryAcquireError::NoPermits => Error::Overloaded {
                what: "the queue of the write-ahead log",
                limit: self.queue_limit,
                unit: "bytes",
            },
            TryAcquireError::Closed => Error::Closed,
        })
    }

    /// What is to become of a batch, and the share of the queue that it has if it had to wait for that.
    ///
    /// Bounds: one that waits is in memory with all its rows, so it needs room like one that is stored.
    async fn enter(
        &self,
        key: BatchKey,
        waiting_bytes: usize,
    ) -> Result<(Turn, Option<OwnedSemaphorePermit>)> {
        match self.retry_window.enter(key, Instant::now())? {
            Entered::Now(turn) => Ok((turn, None)),
            Entered::Later(turn) => {
                let queued = self.room_for(waiting_bytes)?;
                Ok((turn.await.map_err(|_| Error::Closed)?, Some(queued)))
            }
        }
    }

    /// Maintenance has nothing to finish: whatever it is at can be begun again.
    fn stop_maintenance(&self) {
        self.store.stopping.store(true, Ordering::Relaxed);
        if let Some(remote) = self.store.data_files.remote() {
            remote.close();
        }
        // Full or gone: it looks at `stopping` as well.
        let _ = self.maintenance.try_send(MaintenanceRequest::Stop);
    }

    fn take_running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Inner {
    /// Ends the threads of an engine that was not closed, without a flush: its rows are in the log.
    ///
    /// Waits for a flush that is under way, which would otherwise go on in a directory that another engine may have taken.
    fn drop(&mut self) {
        if let Some(running) = self.take_running() {
            self.stop_maintenance();
            // A thread that is gone already need not be told.
            let _ = self.flush.send(FlushRequest::Stop);
            let _ = self.writer.send(Command::Close);
            self.store.user_tables.wait_for_commit();
            let _ = running.join();
        }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("buffered_bytes", &self.inner.buffer.total_bytes())
            .finish_non_exhaustive()
    }
}

impl Storage {
    /// Takes the data directory, replays the log, and starts the threads. Blocks.
    ///
    /// # Errors
    /// `DirectoryInUse` — another process has it. `RefusedCorruption`, `NewerFormat`, `CorruptSegment`, `Undecodable` — the log
    /// needs a person. `Io`, `Catalog` — the disk or the catalog failed.
    pub fn open(config: &Config, catalog: Arc<Catalog>, decoder: &dyn EntryDecoder) -> Result<Self> {
        Self::open_on(Arc::new(RealDisk), config, catalog, decoder)
    }

    /// [`Self::open`] on any disk.
    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        config: &Config,
        catalog: Arc<Catalog>,
        decoder: &dyn EntryDecoder,
    ) -> Result<Self> {
        let layout = Layout::new(config.data_dir.clone(), disk);
        let lock = layout.lock()?;
        create_dir_durably(layout.disk(), &layout.wal_dir())?;
        create_dir_durably(layout.disk(), &layout.data_root())?;
        // A start that was cut off may have made them, or what is in them, without a sync.
        for dir in [&layout.wal_dir(), &layout.data_root(), layout.root()] {
            sync_dir(layout.disk(), dir)?;
        }
        let store_uuid = catalog.store_uuid()?;
        let live = catalog.live_files()?;
        let tenants =
            catalog.tenants()?.into_iter().map(|(number, id)| (id, number)).collect::<HashMap<_, _>>();
        let remote = config.remote.as_ref();
        let remote =
            remote.map(|remote| RemoteTier::open(remote, &layout, &catalog, store_uuid)).transpose()?;
        let data_files = Arc::new(DataFiles::new(layout.clone()).with_remote(remote));
        let snapshot = Snapshot::new(Arc::clone(&data_files), tenants, live.clone())
            .with_user_tables(load_user_tables(&catalog)?);
        let buffer = Arc::new(Buffer::new(snapshot));
        let retry_window = load_retry_window(&catalog)?;
        let store = Arc::new(Store::new(
            layout.clone(),
            Arc::clone(&catalog),
            Arc::clone(&buffer),
            store_uuid,
            Arc::clone(&retry_window),
            data_files,
            Arc::new(Losses::load(&catalog, &Arc::new(Condition::new()))?),
        ));
        store.data_files.report_to(&store.losses);
        store.load_deletions()?;
        remove_dead_files(&store)?;
        reconcile_files(&store, &live)?;
        let (replayed, pending) = replay(&store, config, decoder)?;
        check_free_space(&store, config.min_free_bytes);
        retry_window.start(now_ns(), Instant::now());

        let (wal_writer, writer) = WalWriter::new(&store, config, replayed);
        let (flush, flush_requests) = sync_channel(FLUSH_QUEUE);
        let flush_thread =
            FlushThread::new(Arc::clone(&store), writer.clone(), config, flush_requests, pending);
        let rejections = Arc::new(RejectionLog::load(&catalog));
        let (saving, stop) = sync_channel(0);
        let saver = {
            let (rejections, catalog) = (Arc::clone(&rejections), Arc::clone(&catalog));
            move || save_rejections(&rejections, &catalog, &stop)
        };
        let (watching, stop) = sync_channel(0);
        let watcher = {
            let (store, min_free_bytes) = (Arc::clone(&store), config.min_free_bytes);
            move || watch_free_space(&store, min_free_bytes, &stop)
        };
        let (maintenance, maintenance_requests) = sync_channel(MAINTENANCE_QUEUE);
        let maintenance_thread = MaintenanceThread::new(Arc::clone(&store), config, maintenance_requests);
        let threads = [
            spawn("alula-wal", move || wal_writer.run())?,
            spawn("alula-flush", move || flush_thread.run())?,
            spawn("alula-rejected", saver)?,
            spawn("alula-space", watcher)?,
            spawn("alula-maintain", move || maintenance_thread.run())?,
        ];
        let inner = Inner {
            buffer,
            rejections,
            retry_window,
            writer,
            flush,
            maintenance,
            store,
            queue_bytes: Arc::new(Semaphore::new(config.wal_queue_bytes)),
            queue_limit: config.wal_queue_bytes,
            max_buffer_bytes: config.max_buffer_bytes,
            user_tables: config.user_tables,
            running: Mutex::new(Some(Running { threads, until_closed: [saving, watching], _lock: lock })),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Stores an entry, unless its batch was stored before.
    ///
    /// Durable: when this returns, the entry survives power loss, and the next [`Self::snapshot`] has its rows. So it does for a
    /// duplicate: that is one only of an entry which is there already.
    /// Bounds: never waits for room. Refuses at once when the queue or the buffer is full; copies of an entry in flight count
    /// as if they were in the queue.
    /// Cancel: the entry is handed over at the first poll that finds its tenant known and no equal one in flight; from then on
    /// dropping the future does not undo it.
    ///
    /// # Errors
    /// `Overloaded`, `WalWrite`, `ReadOnly`, `DiskFull`, `Closed` — nothing was stored; the same entry may be sent again.
    /// `TooLarge`, `WrongSchema` — it can never be stored.
    pub async fn append(&self, entry: Entry) -> Result<Appended> {
        let inner = &self.inner;
        let bytes = payload_bytes(&entry.rejected, &entry.payload);
        let limit_bytes = MAX_PAYLOAD_BYTES.min(inner.queue_limit);
        if bytes > limit_bytes {
            return Err(Error::TooLarge { bytes, limit_bytes });
        }
        if inner.queue_bytes.is_closed() {
            return Err(Error::Closed);
        }
        let tenant = self.tenant_number(&entry.tenant).await?;
        // Rows can be far larger than the bytes they came in: an empty log record is two bytes. An entry that alone is larger
        // than the queue waits there alone.
        let waiting_bytes = bytes.max(entry.batch.get_array_memory_size()).clamp(1, inner.queue_limit);
        // Before anything is refused for want of room: what is stored already needs none.
        let (turn, queued) = match entry.batch_id {
            None => (None, None),
            Some(id) => {
                let (turn, queued) = inner.enter(BatchKey { tenant, id }, waiting_bytes).await?;
                (Some(turn), queued)
            }
        };
        let claim = match turn {
            None => None,
            Some(Turn::First(claim)) => Some(claim),
            Some(Turn::Duplicate(Stored { seq, num_rejected })) => {
                tracing::debug!(%tenant, %seq, "a batch came again and was not stored again");
                return Ok(Appended { seq, is_duplicate: true, num_rejected });
            }
        };
        let queued = match queued {
            Some(queued) => queued,
            None => inner.room_for(waiting_bytes)?,
        };
        let (reply, answer) = oneshot::channel();
        let frame = Frame {
            seq: SequenceNumber(0),
            signal: entry.signal,
            tenant,
            batch_id: entry.batch_id,
            received_ns: entry.received_ns,
            num_rows: entry.batch.num_rows() as u32,
            rejected: entry.rejected,
            payload: entry.payload,
        };
        let append = Append { frame, batch: entry.batch, reply, claim, queued };
        inner.writer.try_send(Command::Append(Box::new(append)))?;
        let Stored { seq, num_rejected } = answer.await.map_err(|_| Error::Closed)??;
        Ok(Appended { seq, is_duplicate: false, num_rejected })
    }

    /// What a query that starts now sees: every acknowledged row, once, and every recorded rejection.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let (rejections, losses) = (self.inner.rejections.current(), self.inner.store.losses.listed());
        Arc::new(self.inner.buffer.snapshot().with_reports(rejections, losses))
    }

    /// Tells of the entries that one table of a tenant gets from here on: each is in the snapshots taken after it is told of.
    ///
    /// # Errors
    /// `Catalog` — the tenant never sent anything, and cannot be put on record.
    pub async fn follow(&self, tenant: &TenantId, signal: Signal) -> Result<watch::Receiver<SequenceNumber>> {
        let tenant = self.tenant_number(tenant).await?;
        Ok(self.inner.buffer.arrivals().follow(TableKey { tenant, signal }))
    }

    /// The state of storage, and every change of it.
    pub fn watch_health(&self) -> watch::Receiver<Health> {
        self.inner.store.condition.watch()
    }

    /// Puts what was refused of one request on record, for `system.ingest_rejections`: a group for each reason.
    ///
    /// Durable: the next [`Self::snapshot`] has it; on disk it is within about a second, and when [`Self::close`] returns.
    /// Bounds: never fails and waits for no disk. Texts are cut, old rows go.
    pub fn record_rejections(
        &self,
        tenant: &TenantId,
        signal: Signal,
        received_ns: i64,
        rejections: Vec<RejectionGroup>,
    ) {
        self.inner.rejections.record(tenant, signal, received_ns, rejections);
    }

    /// Moves everything that is in the buffer now into files.
    ///
    /// Durable: the files are part of the store when this returns.
    pub async fn flush(&self) -> Result<()> {
        self.request_flush(FlushRequest::Flush).await
    }

    /// Says what predicates of deletions are compiled with. Until then a query that a deletion concerns fails.
    pub fn compile_predicates_with(&self, compiler: Arc<dyn PredicateCompiler>) {
        self.inner.buffer.snapshot().compiler().set(compiler);
    }

    /// Makes a deletion happen that was proposed on a snapshot of this storage, where it hits `num_rows` rows.
    ///
    /// Durable: when this returns, no later snapshot shows the rows, also after a power loss.
    /// Cancel: once polled it goes on, whether anybody waits or not.
    ///
    /// # Errors
    /// `DeletedMeanwhile` — nothing was deleted; propose it again, on a new snapshot. `TooManyDeletions` — nothing was deleted.
    /// `Catalog` — it is not certain that it was deleted.
    pub async fn delete(&self, proposed: ProposedDeletion, num_rows: u64) -> Result<()> {
        let store = Arc::clone(&self.inner.store);
        blocking(move || store.delete(&proposed, num_rows)).await
    }

    /// The tables of a tenant's own, as they are committed at this moment. [`Self::snapshot`] has them, too.
    pub fn user_tables(&self, tenant: &TenantId) -> Arc<UserTables> {
        self.inner.buffer.snapshot().user_tables(tenant)
    }

    /// Begins a transaction on a tenant's own tables, as they are at this moment. Costs nothing until it writes.
    pub fn begin_user_transaction(&self, tenant: &TenantId) -> UserTransaction {
        UserTransaction::begin(&self.inner.store, self.inner.user_tables, tenant)
    }

    /// Compacts the files of one tenant and signal, or of all, as far as that goes, and takes deleted rows out of them.
    /// In the background that happens too, with patience.
    ///
    /// Durable: the new files are part of the store when this returns.
    /// Cancel: what is under way goes on.
    pub async fn compact(
        &self,
        tenant: Option<&TenantId>,
        signal: Option<Signal>,
    ) -> Result<CompactionReport> {
        let number = match tenant {
            None => None,
            Some(tenant) => match self.inner.buffer.snapshot().tenant_number(tenant) {
                Some(number) => Some(number),
                // It never sent anything.
                None => return Ok(CompactionReport::default()),
            },
        };
        let scope = CompactionScope { tenant: number, signal };
        let (reply, answer) = oneshot::channel();
        let queue = self.inner.maintenance.clone();
        blocking(move || queue.send(MaintenanceRequest::Compact(scope, reply)).map_err(|_| Error::Closed))
            .await?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Flushes, ends the threads and gives the data directory up. Later appends fail with `Closed`; snapshots stay readable.
    ///
    /// If the flush fails, the rest is done all the same: the rows are in the log, and the next start flushes them.
    ///
    /// # Errors
    /// `Closed` — it was closed before. Anything else — the flush failed.
    pub async fn close(&self) -> Result<()> {
        self.inner.queue_bytes.close();
        self.inner.stop_maintenance();
        let flushed = self.request_flush(FlushRequest::Close).await;
        let writer = self.inner.writer.clone();
        let running = self.inner.take_running();
        let store = Arc::clone(&self.inner.store);
        blocking(move || {
            // Later ones find that storage is closed.
            store.user_tables.wait_for_commit();
            if let Some(running) = running {
                // If the writer is gone already, there is nobody to tell.
                let _ = writer.send(Command::Close);
                running.join()?;
            }
            Ok(())
        })
        .await?;
        flushed
    }

    #[cfg(test)]
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    async fn request_flush(&self, request: fn(oneshot::Sender<Result<()>>) -> FlushRequest) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let queue = self.inner.flush.clone();
        blocking(move || queue.send(request(reply)).map_err(|_| Error::Closed)).await?;
        answer.await.map_err(|_| Error::ThreadEnded("alula-flush"))?
    }

    async fn tenant_number(&self, tenant: &TenantId) -> Result<TenantNumber> {
        if let Some(number) = self.inner.buffer.snapshot().tenant_number(tenant) {
            return Ok(number);
        }
        let (store, tenant) = (Arc::clone(&self.inner.store), tenant.clone());
        blocking(move || store.tenant_number(&tenant)).await
    }
}

/// The batches that the catalog knows; those in the log are added by its replay.
fn load_retry_window(catalog: &Catalog) -> Result<Arc<RetryWindow>> {
    let retry_window = RetryWindow::new(Bounds::default());
    for batch in catalog.retryable_batches()? {
        if let Some(id) = BatchId::from_bytes(batch.id) {
            let stored = Stored { seq: batch.seq, num_rejected: batch.num_rejected };
            retry_window.load(BatchKey { tenant: batch.tenant, id }, stored, batch.received_ns);
        }
    }
    Ok(Arc::new(retry_window))
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<(&'static str, JoinHandle<()>)> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(|thread| (name, thread)).map_err(|_| Error::ThreadEnded(name))
}

#[cfg(test)]
mod tests;
