//! Refuses ingest before the disk is full: the catalog's COMMIT and the flush need some of what is left.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::store::Store;

const INTERVAL: Duration = Duration::from_secs(1);
const MAX_DEFAULT_BYTES: u64 = 1 << 30;
/// The default is this part of the file system.
const DEFAULT_PART: u64 = 20;

/// Looks about once a second, until the other end of `stop` goes.
pub(crate) fn watch_free_space(store: &Store, min_free_bytes: Option<u64>, stop: &Receiver<()>) {
    while stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        check_free_space(store, min_free_bytes);
    }
}

/// Compares the free space with what there has to be, and tells the store's condition.
pub(crate) fn check_free_space(store: &Store, min_free_bytes: Option<u64>) {
    let (disk, path) = (store.layout.disk(), store.layout.root());
    let total_bytes = || disk.total_bytes(path).unwrap_or(u64::MAX);
    let needed_bytes = min_free_bytes.unwrap_or_else(|| MAX_DEFAULT_BYTES.min(total_bytes() / DEFAULT_PART));
    if needed_bytes == 0 {
        return;
    }
    // Where nobody can tell, the log finds out when it is written.
    let Ok(free_bytes) = disk.free_bytes(path) else { return };
    let is_short = free_bytes < needed_bytes;
    if is_short != store.condition.is_short_of_space() {
        tracing::warn!(free_bytes, needed_bytes, ingest = !is_short, "free space on the disk");
    }
    store.condition.free_space(is_short.then_some((free_bytes, needed_bytes)));
}

#[cfg(test)]
mod tests;
