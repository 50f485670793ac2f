//! The flush thread: moves the buffer into files.
//!
//! ```text
//! freeze (the log goes on in a new segment) -> write and sync files -> COMMIT -> swap the snapshot -> remove old segments
//! ```
//!
//! A crash before the COMMIT leaves the rows in the log and the files as orphans; a crash after it leaves old segments, whose
//! entries the next start skips. If a step fails, the frozen rows stay visible and the next attempt goes on from that step.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use alula_catalog::{DataFile, error_chain, now_ns};
use tokio::sync::oneshot;

use crate::buffer::Chunk;
use crate::disk::sync_dir;
use crate::layout::Layout;
use crate::parquet::{FileIdentity, partition_rows, write_data_file};
use crate::store::Store;
use crate::wal::{Command, Cut, Loss, WriterHandle};
use crate::{Config, Error, Result};

/// How often the thread looks at the buffer's size and age.
const TICK: Duration = Duration::from_millis(250);
/// The pause after a failed flush.
const RETRY: Duration = Duration::from_secs(2);
/// The same while appends wait for the flush.
const HELD_RETRY: Duration = Duration::from_secs(1);

/// What the flush thread is asked to do.
#[derive(Debug)]
pub(crate) enum FlushRequest {
    Flush(oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<Result<()>>),
    /// End without a flush: what is in the buffer is in the log.
    Stop,
}

pub(crate) type FlushQueue = SyncSender<FlushRequest>;

impl Store {
    /// Writes all frozen rows to files and makes them part of the store.
    ///
    /// Durable: when this returns, the rows no longer need the log.
    pub(crate) fn commit_frozen(&self, flush: &mut PendingFlush) -> Result<()> {
        // Before the flushed sequence number moves past them.
        while let Some(loss) = flush.losses.front() {
            self.record_log_loss(loss)?;
            flush.losses.pop_front();
        }
        if flush.files.is_empty() {
            flush.files = self.write_files()?;
        }
        let (flushed, last) = (self.catalog.flushed_seq()?, flush.cut.last_seq);
        let retry_window = self.retry_window.change_of_flush(flushed, last, now_ns(), Instant::now());
        // A COMMIT that failed may still be on disk, so the files stay and the next attempt commits these same ones.
        self.catalog.commit_flush(&flush.files, last, &retry_window)?;
        let files = std::mem::take(&mut flush.files);
        let (num_files, num_rows) = (files.len(), files.iter().map(|file| file.num_rows).sum::<u64>());
        self.buffer.commit_frozen(files);
        self.condition.flushed(last);
        remove_segments(&self.layout, &flush.cut.segments);
        tracing::debug!(num_files, num_rows, last_seq = last.0, "flushed the buffer");
        Ok(())
    }

    /// All frozen rows as files, or none: what was written before a failure is removed.
    fn write_files(&self) -> Result<Vec<DataFile>> {
        let mut written = Written { store: self, files: Vec::new() };
        self.write_files_into(&mut written.files)?;
        Ok(std::mem::take(&mut written.files))
    }

    fn write_files_into(&self, files: &mut Vec<DataFile>) -> Result<()> {
        let snapshot = self.buffer.snapshot();
        for (key, table) in snapshot.frozen_tables() {
            let tenant_id = snapshot.tenant_id(key.tenant).ok_or(Error::WrongSchema)?;
            let identity = FileIdentity {
                store_uuid: self.store_uuid,
                tenant: key.tenant,
                tenant_id,
                signal: key.signal,
            };
            self.write_table(&identity, &table.frozen, files).map_err(|source| Error::FlushTable {
                tenant: tenant_id.clone(),
                signal: key.signal,
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    fn write_table(
        &self,
        identity: &FileIdentity<'_>,
        chunks: &[Arc<Chunk>],
        files: &mut Vec<DataFile>,
    ) -> Result<()> {
        for partition in partition_rows(identity.signal, chunks)? {
            let file = write_data_file(&self.layout, identity, &partition)?;
            self.data_files.note_verified(file.id);
            files.push(file);
        }
        Ok(())
    }
}

/// Files that are removed again unless all of them were written, also where a bug panics.
#[derive(Debug)]
struct Written<'a> {
    store: &'a Store,
    files: Vec<DataFile>,
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        for file in &self.files {
            self.store.discard(file);
        }
    }
}

/// A frozen buffer on its way into files.
#[derive(Debug)]
pub(crate) struct PendingFlush {
    pub cut: Cut,
    /// Not on record yet: entries up to the cut that recovery could not read, oldest first.
    pub losses: VecDeque<Loss>,
    /// Written and synced, but not part of the store yet.
    files: Vec<DataFile>,
}

impl PendingFlush {
    pub(crate) fn new(cut: Cut, losses: Vec<Loss>) -> Self {
        Self { cut, losses: losses.into(), files: Vec::new() }
    }
}

/// Removes segments whose entries are all in committed files.
///
/// A segment that cannot be removed is harmless: its entries are skipped at the next start.
pub(crate) fn remove_segments(layout: &Layout, segments: &[PathBuf]) {
    for segment in segments {
        if let Err(error) = layout.disk().remove_file(segment) {
            tracing::warn!(segment = %segment.display(), %error, "cannot remove a flushed log segment");
        }
    }
    if let Err(error) = sync_dir(layout.disk(), &layout.wal_dir()) {
        tracing::warn!(%error, "cannot sync the log directory");
    }
}

/// The loop of the flush thread.
#[derive(Debug)]
pub(crate) struct FlushThread {
    store: Arc<Store>,
    writer: WriterHandle,
    flush_bytes: usize,
    flush_interval: Duration,
    requests: Receiver<FlushRequest>,
    /// Set aside by a freeze whose flush has not succeeded yet.
    pending: Option<PendingFlush>,
}

impl FlushThread {
    /// `pending` is what the replay could not flush.
    pub(crate) fn new(
        store: Arc<Store>,
        writer: WriterHandle,
        config: &Config,
        requests: Receiver<FlushRequest>,
        pending: Option<PendingFlush>,
    ) -> Self {
        Self {
            store,
            writer,
            flush_bytes: config.flush_bytes,
            flush_interval: config.flush_interval,
            requests,
            pending,
        }
    }

    /// Works until [`FlushRequest::Close`] or [`FlushRequest::Stop`].
    pub(crate) fn run(mut self) {
        let mut oldest: Option<Instant> = None;
        let mut retry_at: Option<Instant> = None;
        loop {
            match self.requests.recv_timeout(TICK) {
                Ok(FlushRequest::Flush(reply)) => {
                    let _ = reply.send(self.try_flush());
                    oldest = None;
                }
                Ok(FlushRequest::Close(reply)) => {
                    let _ = reply.send(self.try_flush());
                    return;
                }
                Ok(FlushRequest::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    let hot_bytes = self.store.buffer.hot_bytes();
                    oldest = if hot_bytes == 0 { None } else { oldest.or(Some(now)) };
                    let aged = oldest.is_some_and(|since| now - since >= self.flush_interval);
                    let held = self.store.condition.is_held();
                    let due = hot_bytes >= self.flush_bytes || aged || held || self.pending.is_some();
                    if !due || retry_at.is_some_and(|at| now < at) {
                        continue;
                    }
                    oldest = None;
                    retry_at = None;
                    if let Err(error) = self.try_flush() {
                        let error = error_chain(&error);
                        tracing::error!(error, "cannot flush the buffer; trying again");
                        retry_at = Some(Instant::now() + if held { HELD_RETRY } else { RETRY });
                    }
                }
            }
        }
    }

    /// [`Self::flush`], also where a bug panics in it: the thread goes on, and so does what a person sees of it.
    fn try_flush(&mut self) -> Result<()> {
        let flushed = catch_unwind(AssertUnwindSafe(|| self.flush()));
        let flushed = flushed.unwrap_or(Err(Error::Panicked("the flush")));
        if flushed.is_err() {
            self.store.condition.flush_failed();
        }
        flushed
    }

    /// Flushes what an earlier attempt left, then everything that is in the buffer now.
    fn flush(&mut self) -> Result<()> {
        if let Some(pending) = &mut self.pending {
            self.store.commit_frozen(pending)?;
            self.pending = None;
        }
        if self.store.buffer.hot_bytes() == 0 {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        self.writer.send(Command::Freeze(sender))?;
        let cut = receiver.blocking_recv().map_err(|_| Error::ThreadEnded("alula-wal"))?;
        self.store.commit_frozen(self.pending.insert(PendingFlush::new(cut, Vec::new())))?;
        self.pending = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
