//! Puts lost rows on record: never silent, and with what is left of them kept for a look.

use std::path::Path;

use alula_catalog::{Catalog, DataLoss, now_ns};

use crate::disk::{Disk, create_dir_durably, read_exact_at, sync_dir};
use crate::health::Condition;
use crate::store::Store;
use crate::wal::Loss;
use crate::{Error, Result};

/// Bytes copied at a time.
const COPIED_BYTES: usize = 1 << 20;

impl Store {
    /// Puts a loss on record, for `system.data_loss` and the state of health, and tells the log of the server. Once: one that
    /// is on record already is left as it is.
    ///
    /// Durable: when this returns.
    pub(crate) fn record_loss(&self, loss: DataLoss) -> Result<()> {
        record_loss(&self.catalog, &self.condition, loss)
    }

    /// Keeps the damaged segment and puts what it lost on record.
    pub(crate) fn record_log_loss(&self, loss: &Loss) -> Result<()> {
        quarantine(self, &loss.segment)?;
        let name = loss.segment.file_name().unwrap_or_default().to_string_lossy();
        self.record_loss(DataLoss {
            first_seq: loss.first,
            last_seq: loss.last,
            source: format!("wal/{name}"),
            detail: format!("missing at byte {}", loss.offset),
            found_ns: now_ns(),
            tenant: loss.entry.map(|entry| entry.tenant),
            signal: loss.entry.and_then(|entry| entry.signal),
            num_rows: loss.entry.map(|entry| u64::from(entry.num_rows)),
            timestamps: None,
        })
    }
}

/// [`Store::record_loss`], before there is a store.
pub(crate) fn record_loss(catalog: &Catalog, condition: &Condition, loss: DataLoss) -> Result<()> {
    if catalog.record_data_loss(&loss)? {
        tracing::error!(
            source = loss.source,
            detail = loss.detail,
            first_seq = loss.first_seq.0,
            last_seq = loss.last_seq.0,
            tenant_number = loss.tenant.map(|tenant| tenant.0),
            signal = loss.signal.map(tracing::field::display),
            rows = loss.num_rows,
            "acknowledged rows are lost"
        );
        condition.add_loss(loss);
    }
    Ok(())
}

/// Gives a segment that the log is about to remove a second name. That takes no space, and nobody writes to it any more.
fn quarantine(store: &Store, segment: &Path) -> Result<()> {
    let disk = store.layout.disk();
    if disk.file_len(segment).is_err() {
        // The entries of a segment that is gone.
        return Ok(());
    }
    let dir = store.layout.quarantine_dir();
    create_dir_durably(disk, &dir)?;
    let target = dir.join(segment.file_name().unwrap_or_default());
    // From a start that was interrupted, and perhaps not durable.
    let _ = disk.remove_file(&target);
    if disk.hard_link(segment, &target).is_err() {
        // Not every file system can.
        copy(disk, segment, &target).map_err(Error::io(&target, "cannot keep the damaged segment"))?;
    }
    sync_dir(disk, &dir)
}

/// What cannot be read is left out: a hole in the copy.
fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> std::io::Result<()> {
    let from = disk.open(from)?;
    let to = disk.create(to)?;
    let length = from.len()?;
    let mut at = 0;
    while at < length {
        let part = COPIED_BYTES.min((length - at) as usize);
        if let Ok(bytes) = read_exact_at(from.as_ref(), part, at) {
            to.write_all_at(&bytes, at)?;
        }
        at += part as u64;
    }
    to.sync_data()
}
