//! Losses on record: never silent, and with what is left of the rows kept for a look.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use alula_catalog::{Catalog, DataLoss, RecordedLoss, now_ns};
use arc_swap::ArcSwap;

use crate::disk::{Disk, create_dir_durably, read_exact_at, sync_dir};
use crate::health::Condition;
use crate::store::{Store, lock};
use crate::wal::Loss;
use crate::{Error, Result};

/// Bytes copied at a time.
const COPIED_BYTES: usize = 1 << 20;

/// The losses on record, for `system.data_loss` and the state of health.
#[derive(Debug)]
pub(crate) struct Losses {
    catalog: Arc<Catalog>,
    condition: Arc<Condition>,
    /// Oldest first.
    listed: ArcSwap<Vec<RecordedLoss>>,
    /// How many of the catalog are not acknowledged. Held while the catalog or the list gets one, so that they change in the
    /// same order.
    num_unacknowledged: Mutex<u64>,
}

impl Losses {
    pub(crate) fn load(catalog: &Arc<Catalog>, condition: &Arc<Condition>) -> Result<Self> {
        let losses = Self {
            catalog: Arc::clone(catalog),
            condition: Arc::clone(condition),
            listed: ArcSwap::default(),
            num_unacknowledged: Mutex::default(),
        };
        losses.reload(lock(&losses.num_unacknowledged))?;
        Ok(losses)
    }

    pub(crate) fn condition(&self) -> &Arc<Condition> {
        &self.condition
    }

    pub(crate) fn listed(&self) -> Arc<Vec<RecordedLoss>> {
        self.listed.load_full()
    }

    /// Puts losses on record and tells the log of the server. Once: one that is on record already is left as it is.
    ///
    /// Durable: when this returns.
    pub(crate) fn record(&self, losses: &[DataLoss]) -> Result<()> {
        let mut num_unacknowledged = lock(&self.num_unacknowledged);
        let recorded = self.catalog.record_data_losses(losses)?;
        if recorded.is_empty() {
            return Ok(());
        }
        for RecordedLoss { id, loss, .. } in &recorded {
            tracing::error!(
                id,
                source = loss.source,
                detail = loss.detail,
                first_seq = loss.first_seq.0,
                last_seq = loss.last_seq.0,
                tenant_number = loss.tenant.map(|tenant| tenant.0),
                signal = loss.signal.map(tracing::field::display),
                rows = loss.num_rows,
                "acknowledged rows are lost; health says so until `alula loss acknowledge`"
            );
        }
        *num_unacknowledged += recorded.len() as u64;
        let mut listed = Vec::clone(&self.listed.load());
        listed.extend(recorded);
        self.listed.store(Arc::new(listed));
        self.condition.note_losses(*num_unacknowledged);
        Ok(())
    }

    /// Looks whether an operator acknowledged any, which they do in another process.
    pub(crate) fn follow_acknowledgements(&self) -> Result<()> {
        let known = lock(&self.num_unacknowledged);
        if *known == 0 {
            return Ok(());
        }
        let (before, left) = (*known, self.catalog.num_unacknowledged_losses()?);
        if left != before {
            self.reload(known)?;
            tracing::info!(acknowledged = before.saturating_sub(left), left, "losses were acknowledged");
        }
        Ok(())
    }

    fn reload(&self, mut num_unacknowledged: MutexGuard<'_, u64>) -> Result<()> {
        // Counted first: what is acknowledged in between is found by the next look.
        *num_unacknowledged = self.catalog.num_unacknowledged_losses()?;
        self.listed.store(Arc::new(self.catalog.data_losses()?));
        self.condition.note_losses(*num_unacknowledged);
        Ok(())
    }
}

impl Store {
    /// Keeps the damaged segment and puts what it lost on record.
    pub(crate) fn record_log_loss(&self, loss: &Loss) -> Result<()> {
        quarantine(self, &loss.segment)?;
        let name = loss.segment.file_name().unwrap_or_default().to_string_lossy();
        self.losses.record(&[DataLoss {
            first_seq: loss.first,
            last_seq: loss.last,
            source: format!("wal/{name}"),
            detail: format!("missing at byte {}", loss.offset),
            found_ns: now_ns(),
            tenant: loss.entry.map(|entry| entry.tenant),
            signal: loss.entry.and_then(|entry| entry.signal),
            num_rows: loss.entry.map(|entry| u64::from(entry.num_rows)),
            timestamps: None,
        }])
    }
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

#[cfg(test)]
mod tests;
