//! [`Store`]: what the flush and all maintenance of one data directory share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alula_catalog::{Catalog, DataFile, FileId, TenantId, TenantNumber};

use crate::Result;
use crate::buffer::Buffer;
use crate::data_files::DataFiles;
use crate::health::Condition;
use crate::layout::Layout;
use crate::losses::Losses;
use crate::retry_window::RetryWindow;
use crate::user_tables::UserTableState;

/// The parts of an open data directory.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "the UUID is of the store on disk, and called so everywhere")]
pub(crate) struct Store {
    pub layout: Layout,
    pub catalog: Arc<Catalog>,
    pub buffer: Arc<Buffer>,
    pub store_uuid: [u8; 16],
    pub retry_window: Arc<RetryWindow>,
    pub data_files: Arc<DataFiles>,
    pub condition: Arc<Condition>,
    pub losses: Arc<Losses>,
    /// The engine is closing: long work in the background ends at its next step.
    pub stopping: AtomicBool,
    /// Files that were taken out of the store and are still on disk.
    garbage: Mutex<Vec<Arc<DataFile>>>,
    /// Of which it is not known whether their COMMIT took place.
    unsettled: Mutex<Vec<Replacement>>,
    pub user_tables: UserTableState,
    /// Whether the snapshot has the deletions that the catalog has. Held while either gets one, so that they change in the
    /// same order.
    pub deletions_current: Mutex<bool>,
}

#[derive(Debug)]
struct Replacement {
    dead: Vec<FileId>,
    live: Vec<DataFile>,
}

impl Store {
    pub(crate) fn new(
        layout: Layout,
        catalog: Arc<Catalog>,
        buffer: Arc<Buffer>,
        store_uuid: [u8; 16],
        retry_window: Arc<RetryWindow>,
        data_files: Arc<DataFiles>,
        losses: Arc<Losses>,
    ) -> Self {
        Self {
            layout,
            catalog,
            buffer,
            store_uuid,
            retry_window,
            data_files,
            condition: Arc::clone(losses.condition()),
            losses,
            stopping: AtomicBool::new(false),
            garbage: Mutex::default(),
            unsettled: Mutex::default(),
            user_tables: UserTableState::default(),
            deletions_current: Mutex::default(),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The number of a tenant, which is given out on first use. Blocks.
    pub(crate) fn tenant_number(&self, tenant: &TenantId) -> Result<TenantNumber> {
        if let Some(number) = self.buffer.snapshot().tenant_number(tenant) {
            return Ok(number);
        }
        let number = self.catalog.register_tenant(tenant)?;
        self.buffer.add_tenant(tenant.clone(), number);
        Ok(number)
    }

    /// Takes the files `dead` out of the store and puts `live`, which are on disk, in their place: in the catalog, then for
    /// queries.
    ///
    /// Durable: when this returns.
    ///
    /// # Errors
    /// `Catalog` — nothing changed and `live` are removed from disk; or, if the catalog does not answer at all, it is found
    /// out later, by [`Self::settle_replacements`], whether it happened.
    pub(crate) fn replace_files(&self, dead: Vec<FileId>, live: Vec<DataFile>) -> Result<()> {
        let replaced = self.catalog.replace_files(&dead, &live);
        let replacement = Replacement { dead, live };
        match replaced {
            Ok(()) => self.show(replacement),
            // A COMMIT that failed may be on disk all the same: then its files must not go.
            Err(error) => match self.is_committed(&replacement) {
                Some(true) => self.show(replacement),
                Some(false) => {
                    replacement.live.iter().for_each(|file| self.discard(file));
                    return Err(error.into());
                }
                None => {
                    lock(&self.unsettled).push(replacement);
                    return Err(error.into());
                }
            },
        }
        Ok(())
    }

    /// Looks again at replacements of which it is not known whether they happened.
    pub(crate) fn settle_replacements(&self) {
        let unsettled = std::mem::take(&mut *lock(&self.unsettled));
        for replacement in unsettled {
            match self.is_committed(&replacement) {
                Some(true) => self.show(replacement),
                Some(false) => replacement.live.iter().for_each(|file| self.discard(file)),
                None => lock(&self.unsettled).push(replacement),
            }
        }
    }

    /// None if the catalog cannot tell.
    fn is_committed(&self, replacement: &Replacement) -> Option<bool> {
        // What it says from here on is what the next process finds as well.
        self.catalog.bury_failed_commit().ok()?;
        let live = self.catalog.live_files().ok()?;
        let is_live = |id: FileId| live.iter().any(|file| file.id == id);
        Some(match (replacement.live.first(), replacement.dead.first()) {
            (Some(file), _) => is_live(file.id),
            (None, Some(dead)) => !is_live(*dead),
            (None, None) => true,
        })
    }

    fn show(&self, replacement: Replacement) {
        let removed = self.buffer.replace_files(&replacement.dead, replacement.live);
        self.add_garbage(removed);
    }

    pub(crate) fn add_garbage(&self, files: Vec<Arc<DataFile>>) {
        lock(&self.garbage).extend(files);
    }

    /// Removed files that no snapshot and no scan names any more.
    pub(crate) fn take_unread_garbage(&self) -> Vec<Arc<DataFile>> {
        lock(&self.garbage).extract_if(.., |file| Arc::strong_count(file) == 1).collect()
    }

    /// Removes a file that was written and did not become part of the store. What cannot be removed is swept at the next start.
    pub(crate) fn discard(&self, file: &DataFile) {
        let _ = self.layout.disk().remove_file(&self.layout.data_file(file));
        self.data_files.forget(file.id);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
