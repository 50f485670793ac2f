//! From the log back into files, before the first append of a new process.
//!
//! Everything that is replayed is flushed at once: afterwards nothing rests on log bytes that a failing disk may have shown
//! to this process from memory only, and the log starts empty. The ids of replayed batches are remembered before the flush
//! that removes them from the log, and saved with it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use alula_catalog::{DataFile, DataLoss, SequenceNumber, TenantId, TenantNumber};

use crate::buffer::{Chunk, TableKey};
use crate::disk::{Disk, create_dir_durably, read_exact_at, sync_dir};
use crate::entry::{EntryDecoder, LoggedEntry};
use crate::flush::{PendingFlush, remove_segments};
use crate::parquet::is_data_file_name;
use crate::retry_window::{BatchKey, Stored};
use crate::store::Store;
use crate::wal::{Cut, Frame, RecoveredLog, recover};
use crate::{Config, Error, OnCorruption, Result};

/// Bytes copied at a time.
const COPIED_BYTES: usize = 1 << 20;

/// Recovers the log into the store. Returns the highest sequence number in use.
///
/// Bounds: holds one segment and `flush_bytes` of rows at a time. Interrupting it anywhere and starting again gives the same
/// store, because a flush moves the flushed sequence number in the same transaction as its files.
pub(crate) fn replay(store: &Store, config: &Config, decoder: &dyn EntryDecoder) -> Result<SequenceNumber> {
    let flushed = store.catalog.flushed_seq()?;
    let log = recover(&store.layout, store.store_uuid, flushed)?;
    handle_losses(store, config, &log)?;
    let tenants: HashMap<TenantNumber, TenantId> = store.catalog.tenants()?.into_iter().collect();

    let mut replayed = 0_u64;
    let mut last_seq = flushed;
    for segment in &log.segments {
        for frame in segment.frames(store.layout.disk())? {
            if let Some(id) = frame.batch_id {
                let key = BatchKey { tenant: frame.tenant, id };
                let stored = Stored { seq: frame.seq, num_rejected: frame.rejected.len() as u32 };
                store.retry_window.load(key, stored, frame.received_ns);
            }
            let (seq, key, chunk) = decode(frame, &tenants, decoder)?;
            if let Some(chunk) = chunk {
                store.buffer.append(vec![(key, chunk)]);
                store.buffer.merge_small_chunks(&HashSet::from([key]));
            }
            last_seq = last_seq.max(seq);
            replayed += 1;
            if store.buffer.hot_bytes() >= config.flush_bytes {
                flush(store, last_seq)?;
            }
        }
    }
    // Also past lost entries at the end of the log: their numbers are never given out again.
    let last_seq = last_seq.max(log.last_seq);
    flush(store, last_seq)?;
    if replayed > 0 {
        tracing::info!(entries = replayed, last_seq = last_seq.0, "replayed the log");
    }
    let segments: Vec<_> = log.segments.iter().map(|segment| segment.path.clone()).collect();
    remove_segments(&store.layout, &segments);
    Ok(last_seq)
}

fn flush(store: &Store, last_seq: SequenceNumber) -> Result<()> {
    store.buffer.freeze();
    store.commit_frozen(&mut PendingFlush::new(Cut { last_seq, segments: Vec::new() }))
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

/// Puts losses on record and damaged segments aside, or refuses to start.
fn handle_losses(store: &Store, config: &Config, log: &RecoveredLog) -> Result<()> {
    for loss in &log.losses {
        if config.on_corruption == OnCorruption::Refuse {
            return Err(Error::RefusedCorruption {
                path: loss.segment.clone(),
                first: loss.first,
                last: loss.last,
            });
        }
        tracing::error!(
            segment = %loss.segment.display(),
            first_seq = loss.first.0,
            last_seq = loss.last.0,
            offset = loss.offset,
            "acknowledged log entries cannot be read; the segment is kept in wal/quarantine"
        );
        quarantine(store, &loss.segment)?;
        let name = loss.segment.file_name().unwrap_or_default().to_string_lossy();
        store.catalog.record_data_loss(&DataLoss {
            first_seq: loss.first,
            last_seq: loss.last,
            source: format!("wal/{name}"),
            detail: format!("missing at byte {}", loss.offset),
        })?;
    }
    Ok(())
}

fn quarantine(store: &Store, segment: &Path) -> Result<()> {
    let disk = store.layout.disk();
    let dir = store.layout.quarantine_dir();
    create_dir_durably(disk, &dir)?;
    let target = dir.join(segment.file_name().unwrap_or_default());
    let copy = || {
        let from = disk.open(segment)?;
        let to = disk.create(&target)?;
        let length = from.len()?;
        let mut at = 0;
        while at < length {
            let bytes = read_exact_at(from.as_ref(), COPIED_BYTES.min((length - at) as usize), at)?;
            to.write_all_at(&bytes, at)?;
            at += bytes.len() as u64;
        }
        to.sync_data()
    };
    copy().map_err(Error::io(&target, "cannot keep the damaged segment"))?;
    sync_dir(disk, &dir)
}

/// Compares the tree of data files with the catalog: removes files of flushes that never committed, and names files that
/// are missing.
pub(crate) fn reconcile_files(store: &Store, live: &[DataFile]) -> Result<()> {
    let root = store.layout.data_root();
    for file in live {
        let path = store.layout.data_file(file);
        match store.layout.disk().file_len(&path) {
            Ok(found) if found == file.size_bytes => {}
            Ok(found) => tracing::error!(
                file = %path.display(), expected = file.size_bytes, found,
                "a data file has the wrong size; queries that need it fail"
            ),
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "a data file is missing; queries that need it fail");
            }
        }
    }
    let known = live.iter().map(|file| store.layout.data_file(file)).collect();
    let removed = sweep(store.layout.disk(), &root, &known)?;
    if removed > 0 {
        tracing::info!(removed, "removed files of flushes that had not been committed");
    }
    Ok(())
}

fn sweep(disk: &dyn Disk, dir: &Path, known: &HashSet<PathBuf>) -> Result<usize> {
    let mut removed = 0;
    for entry in disk.list(dir).map_err(Error::io(dir, "cannot list the directory"))? {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            removed += sweep(disk, &path, known)?;
        } else if entry.name.to_str().is_some_and(is_data_file_name) && !known.contains(&path) {
            disk.remove_file(&path).map_err(Error::io(&path, "cannot remove the file"))?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
