//! The flush thread: moves the buffer into files.
//!
//! ```text
//! freeze (the log goes on in a new segment) -> write and sync files -> COMMIT -> swap the snapshot -> remove old segments
//! ```
//!
//! A crash before the COMMIT leaves the rows in the log and the files as orphans; a crash after it leaves old segments, whose
//! entries the next start skips. If a step fails, the frozen rows stay visible and the next attempt writes them again.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use alula_catalog::{Catalog, DataFile};
use tokio::sync::oneshot;

use crate::buffer::Buffer;
use crate::layout::{Layout, sync_dir};
use crate::parquet::{FileIdentity, partition_rows, write_data_file};
use crate::wal::{Command, Cut, WriterHandle};
use crate::{Config, Error, Result};

/// How often the thread looks at the buffer's size and age.
const TICK: Duration = Duration::from_millis(250);
/// The pause after a failed flush.
const RETRY: Duration = Duration::from_secs(5);

/// What the flush thread is asked to do.
#[derive(Debug)]
pub(crate) enum FlushRequest {
    Flush(oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<Result<()>>),
}

pub(crate) type FlushQueue = SyncSender<FlushRequest>;

/// Everything a flush touches.
#[derive(Debug)]
pub(crate) struct Flusher {
    pub layout: Layout,
    pub catalog: Arc<Catalog>,
    pub buffer: Arc<Buffer>,
    pub store_uuid: [u8; 16],
}

impl Flusher {
    /// Writes all frozen rows to files and makes them part of the store.
    ///
    /// Durable: when this returns, the rows no longer need the log.
    pub(crate) fn commit_frozen(&self, cut: &Cut) -> Result<()> {
        let files = self.write_files()?;
        if let Err(error) = self.catalog.commit_flush(&files, cut.last_seq) {
            for file in &files {
                let _ = fs::remove_file(self.layout.data_file(file));
            }
            return Err(error.into());
        }
        let (num_files, num_rows) = (files.len(), files.iter().map(|file| file.num_rows).sum::<u64>());
        self.buffer.commit_frozen(files);
        remove_segments(&self.layout, &cut.segments);
        tracing::debug!(num_files, num_rows, last_seq = cut.last_seq.0, "flushed the buffer");
        Ok(())
    }

    fn write_files(&self) -> Result<Vec<DataFile>> {
        let snapshot = self.buffer.snapshot();
        let mut files = Vec::new();
        for (key, table) in snapshot.frozen_tables() {
            let tenant_id = snapshot.tenant_id(key.tenant).ok_or(Error::WrongSchema)?;
            let identity = FileIdentity {
                store_uuid: self.store_uuid,
                tenant: key.tenant,
                tenant_id,
                signal: key.signal,
            };
            for partition in partition_rows(key.signal, &table.frozen)? {
                match write_data_file(&self.layout, &identity, &partition) {
                    Ok(file) => files.push(file),
                    Err(error) => {
                        for file in &files {
                            let _ = fs::remove_file(self.layout.data_file(file));
                        }
                        return Err(error);
                    }
                }
            }
        }
        Ok(files)
    }
}

/// Removes segments whose entries are all in committed files.
///
/// A segment that cannot be removed is harmless: its entries are skipped at the next start.
pub(crate) fn remove_segments(layout: &Layout, segments: &[PathBuf]) {
    for segment in segments {
        if let Err(error) = fs::remove_file(segment) {
            tracing::warn!(segment = %segment.display(), %error, "cannot remove a flushed log segment");
        }
    }
    if let Err(error) = sync_dir(&layout.wal_dir()) {
        tracing::warn!(%error, "cannot sync the log directory");
    }
}

/// The loop of the flush thread.
#[derive(Debug)]
pub(crate) struct FlushThread {
    flusher: Flusher,
    writer: WriterHandle,
    flush_bytes: usize,
    flush_interval: Duration,
    requests: Receiver<FlushRequest>,
    /// Set aside by a freeze whose flush has not succeeded yet.
    pending: Option<Cut>,
}

impl FlushThread {
    pub(crate) fn new(
        flusher: Flusher,
        writer: WriterHandle,
        config: &Config,
        requests: Receiver<FlushRequest>,
    ) -> Self {
        Self {
            flusher,
            writer,
            flush_bytes: config.flush_bytes,
            flush_interval: config.flush_interval,
            requests,
            pending: None,
        }
    }

    /// Works until [`FlushRequest::Close`], or until the engine is gone.
    pub(crate) fn run(mut self) {
        let mut oldest: Option<Instant> = None;
        let mut retry_at: Option<Instant> = None;
        loop {
            match self.requests.recv_timeout(TICK) {
                Ok(FlushRequest::Flush(reply)) => {
                    let _ = reply.send(self.flush());
                    oldest = None;
                }
                Ok(FlushRequest::Close(reply)) => {
                    let _ = reply.send(self.flush());
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    let hot_bytes = self.flusher.buffer.hot_bytes();
                    oldest = if hot_bytes == 0 { None } else { oldest.or(Some(now)) };
                    let aged = oldest.is_some_and(|since| now - since >= self.flush_interval);
                    let due = hot_bytes >= self.flush_bytes || aged || self.pending.is_some();
                    if !due || retry_at.is_some_and(|at| now < at) {
                        continue;
                    }
                    oldest = None;
                    retry_at = None;
                    if let Err(error) = self.flush() {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "cannot flush the buffer; trying again");
                        retry_at = Some(now + RETRY);
                    }
                }
            }
        }
    }

    /// Flushes what an earlier attempt left, then everything that is in the buffer now.
    fn flush(&mut self) -> Result<()> {
        if let Some(cut) = &self.pending {
            self.flusher.commit_frozen(cut)?;
            self.pending = None;
        }
        if self.flusher.buffer.hot_bytes() == 0 {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        self.writer.send(Command::Freeze(sender))?;
        let cut = receiver.blocking_recv().map_err(|_| Error::ThreadEnded("alula-wal"))?;
        self.flusher.commit_frozen(self.pending.insert(cut))?;
        self.pending = None;
        Ok(())
    }
}
