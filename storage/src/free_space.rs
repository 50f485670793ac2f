//! Refuses ingest before the disk is full: the catalog's COMMIT and the flush need some of what is left.
//!
//! Once refused, it goes on only when somewhat more is free. Otherwise each flush at the bound, and each log segment that it
//! removes, would let a few senders in and shut them out again.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::store::Store;

const INTERVAL: Duration = Duration::from_secs(1);
const MAX_DEFAULT_BYTES: u64 = 1 << 30;
/// The default is this part of the file system.
const DEFAULT_PART: u64 = 20;
/// The part of the bound that has to be free on top of it before ingest goes on.
const MARGIN_PART: u64 = 10;
const MAX_MARGIN_BYTES: u64 = 64 << 20;

/// Looks about once a second, until the other end of `stop` goes.
pub(crate) fn watch_free_space(store: &Store, min_free_bytes: Option<u64>, stop: &Receiver<()>) {
    while stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        check_free_space(store, min_free_bytes);
    }
}

/// Compares the free space with what there has to be, and tells the store's condition of a change.
pub(crate) fn check_free_space(store: &Store, min_free_bytes: Option<u64>) {
    let (disk, path) = (store.layout.disk(), store.layout.root());
    let total_bytes = || disk.total_bytes(path).unwrap_or(u64::MAX);
    let min_bytes = min_free_bytes.unwrap_or_else(|| MAX_DEFAULT_BYTES.min(total_bytes() / DEFAULT_PART));
    if min_bytes == 0 {
        return;
    }
    // Where nobody can tell, the log finds out when it is written.
    let Ok(free_bytes) = disk.free_bytes(path) else { return };
    let enough_bytes = min_bytes.saturating_add(MAX_MARGIN_BYTES.min(min_bytes / MARGIN_PART));
    let was_short = store.condition.is_short_of_space();
    let is_short = free_bytes < if was_short { enough_bytes } else { min_bytes };
    if is_short != was_short {
        tracing::warn!(free_bytes, min_bytes, enough_bytes, ingest = !is_short, "free space on the disk");
        store.condition.free_space(is_short.then_some((free_bytes, enough_bytes)));
    }
}

#[cfg(test)]
mod tests;
