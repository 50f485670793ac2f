//! [`Store`]: what the flush and all maintenance of one data directory share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alula_catalog::{Catalog, DataFile};

use crate::buffer::Buffer;
use crate::data_files::DataFiles;
use crate::layout::Layout;
use crate::retry_window::RetryWindow;

/// The parts of an open data directory.
#[derive(Debug)]
pub(crate) struct Store {
    pub layout: Layout,
    pub catalog: Arc<Catalog>,
    pub buffer: Arc<Buffer>,
    pub store_uuid: [u8; 16],
    pub retry_window: Arc<RetryWindow>,
    pub data_files: Arc<DataFiles>,
    /// The engine is closing: long work in the background ends at its next step.
    pub stopping: AtomicBool,
}

impl Store {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Removes a file that was written and did not become part of the store. What cannot be removed is swept at the next start.
    pub(crate) fn discard(&self, file: &DataFile) {
        let _ = self.layout.disk().remove_file(&self.layout.data_file(file));
        self.data_files.forget(file.id);
    }
}
