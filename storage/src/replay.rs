//! From the log back into files, before the first append of a new process.
//!
//! Everything that is replayed is flushed at once: afterwards nothing rests on log bytes that a failing disk may have shown
//! to this process from memory only, and the log starts empty. The ids of replayed batches are remembered before the flush
//! that removes them from the log, and saved with it.
//!
//! Where that flush cannot be done, because the disk is full say, the start goes on without: the rows stay in memory and in
//! the log, queries see them, and appends are refused until the flush thread has caught up.

use std::collections::{HashMap, HashSet};

use alula_catalog::{SequenceNumber, TenantId, TenantNumber, error_chain};

use crate::buffer::{Chunk, TableKey};
use crate::entry::{EntryDecoder, LoggedEntry};
use crate::flush::{PendingFlush, remove_segments};
use crate::retry_window::{BatchKey, Stored};
use crate::store::Store;
use crate::wal::{Cut, Frame, Loss, Replayed, recover};
use crate::{Config, Error, OnCorruption, Result};

const NOT_IN_FILES: &str = "what was stored before the start could not be written to data files yet, and ingest goes on once \
                            it is; the server's log says why";

/// Recovers the log into the store. Returns where the log goes on, and what could not be flushed.
///
/// Bounds: holds one segment and `flush_bytes` of rows at a time; where nothing can be flushed, `max_buffer_bytes` of rows and
/// what waited for the writer. Interrupting it anywhere and starting again gives the same store, because a flush moves the
/// flushed sequence number in the same transaction as its files.
///
/// # Errors
/// `RefusedCorruption` — something was lost, and the configuration says to refuse. `ReplayBlocked` — there is more than
/// fits into memory, and it cannot be flushed. Others as of recovery, or because an entry cannot be decoded.
pub(crate) fn replay(
    store: &Store,
    config: &Config,
    decoder: &dyn EntryDecoder,
) -> Result<(Replayed, Option<PendingFlush>)> {
    let flushed = store.catalog.flushed_seq()?;
    let log = recover(&store.layout, store.store_uuid, flushed)?;
    if config.on_corruption == OnCorruption::Refuse {
        refuse_losses(log.missing_segments())?;
        for index in 0..log.num_segments() {
            refuse_losses(log.read(index)?.losses)?;
        }
    }
    let mut replay = Replay {
        store,
        config,
        decoder,
        tenants: store.catalog.tenants()?.into_iter().collect(),
        flushed,
        last_seq: flushed,
        losses: Vec::new(),
        blocked: None,
    };
    replay.lose(log.missing_segments());
    let mut replayed = 0_u64;
    for index in 0..log.num_segments() {
        let segment = log.read(index)?;
        replay.lose(segment.losses.clone());
        for frame in segment.frames() {
            replay.entry(frame?)?;
            replayed += 1;
        }
        // Also past lost entries at the end: their numbers are never given out again.
        replay.last_seq = replay.last_seq.max(segment.last_seq);
    }
    if replayed > 0 {
        tracing::info!(entries = replayed, last_seq = replay.last_seq.0, "replayed the log");
    }
    replay.finish(log.paths())
}

struct Replay<'a> {
    store: &'a Store,
    config: &'a Config,
    decoder: &'a dyn EntryDecoder,
    tenants: HashMap<TenantNumber, TenantId>,
    flushed: SequenceNumber,
    last_seq: SequenceNumber,
    /// To be put on record with the next flush, which moves the flushed sequence number past them.
    losses: Vec<Loss>,
    /// A flush that failed, and why. There is no other until it has succeeded.
    blocked: Option<(PendingFlush, Error)>,
}

impl Replay<'_> {
    fn lose(&mut self, losses: impl IntoIterator<Item = Loss>) {
        for loss in losses {
            self.last_seq = self.last_seq.max(loss.last);
            match &mut self.blocked {
                Some((pending, _)) => pending.losses.push_back(loss),
                None => self.losses.push(loss),
            }
        }
    }

    fn entry(&mut self, frame: Frame) -> Result<()> {
        if let Some(id) = frame.batch_id {
            let key = BatchKey { tenant: frame.tenant, id };
            let stored = Stored { seq: frame.seq, num_rejected: frame.rejected.len() as u32 };
            self.store.retry_window.load(key, stored, frame.received_ns);
        }
        let (seq, key, chunk) = decode(frame, &self.tenants, self.decoder)?;
        let buffer = &self.store.buffer;
        if let Some(chunk) = chunk {
            buffer.append(vec![(key, chunk)]);
            buffer.merge_small_chunks(&HashSet::from([key]));
        }
        self.last_seq = self.last_seq.max(seq);
        // What waited for the writer when the process ended came on top of a full buffer.
        let limit_bytes = self.config.max_buffer_bytes.saturating_add(self.config.wal_queue_bytes);
        match self.blocked.take() {
            None if buffer.hot_bytes() >= self.config.flush_bytes => self.flush(),
            Some((_, source)) if buffer.total_bytes() > limit_bytes => {
                let limit_bytes = self.config.max_buffer_bytes;
                Err(Error::ReplayBlocked { limit_bytes, source: Box::new(source) })
            }
            blocked => {
                self.blocked = blocked;
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.store.buffer.freeze();
        let cut = Cut { last_seq: self.last_seq, segments: Vec::new() };
        let mut pending = PendingFlush::new(cut, std::mem::take(&mut self.losses));
        match self.store.commit_frozen(&mut pending) {
            Ok(()) => {
                self.flushed = self.last_seq;
                Ok(())
            }
            // The log and the catalog contradict each other: to show both would show rows twice.
            Err(error @ Error::Catalog(alula_catalog::Error::AlreadyFlushed { .. })) => Err(error),
            Err(error) => {
                tracing::error!(
                    error = error_chain(&error),
                    "cannot write what was stored before the start to data files; going on without ingest"
                );
                self.blocked = Some((pending, error));
                Ok(())
            }
        }
    }

    fn finish(mut self, segments: Vec<std::path::PathBuf>) -> Result<(Replayed, Option<PendingFlush>)> {
        let is_done = |replay: &Self| {
            replay.store.buffer.hot_bytes() == 0
                && replay.losses.is_empty()
                && replay.flushed == replay.last_seq
        };
        if self.blocked.is_none() && !is_done(&self) {
            self.flush()?;
        }
        let Self { store, last_seq, blocked, .. } = self;
        let Some((mut pending, _)) = blocked else {
            remove_segments(&store.layout, &segments);
            return Ok((Replayed { last_seq, segments: Vec::new() }, None));
        };
        store.condition.hold_until_flushed(last_seq, NOT_IN_FILES);
        if store.buffer.hot_bytes() > 0 {
            // The flush of these rows, which comes after the pending one, is the last that needs the segments.
            return Ok((Replayed { last_seq, segments }, Some(pending)));
        }
        pending.cut = Cut { last_seq, segments };
        Ok((Replayed { last_seq, segments: Vec::new() }, Some(pending)))
    }
}

fn decode(
    frame: Frame,
    tenants: &HashMap<TenantNumber, TenantId>,
    decoder: &dyn EntryDecoder,
) -> Result<(SequenceNumber, TableKey, Option<Chunk>)> {
    let undecodable = |source| Error::Undecodable { seq: frame.seq, source };
    let tenant = tenants
        .get(&frame.tenant)
        .ok_or_else(|| undecodable(format!("tenant number {} is not in the catalog", frame.tenant).into()))?;
    let entry = LoggedEntry {
        tenant: tenant.clone(),
        signal: frame.signal,
        received_ns: frame.received_ns,
        payload: frame.payload,
        rejected: frame.rejected,
    };
    let batch = decoder.decode(&entry).map_err(undecodable)?;
    let key = TableKey { tenant: frame.tenant, signal: frame.signal };
    if batch.num_rows() == 0 {
        return Ok((frame.seq, key, None));
    }
    Ok((frame.seq, key, Some(Chunk::from_entry(frame.signal, &batch, frame.seq)?)))
}

fn refuse_losses(losses: impl IntoIterator<Item = Loss>) -> Result<()> {
    match losses.into_iter().next() {
        Some(Loss { segment, first, last, .. }) => {
            Err(Error::RefusedCorruption { path: segment, first, last })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
