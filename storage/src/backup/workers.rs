//! The same work on many files, by a few threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use super::Result;

/// Files that are copied at a time. Each takes one chunk of memory.
const THREADS: usize = 4;

/// Calls `work` with each of `items`, in any order, until one fails.
pub(super) fn for_each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let failed = AtomicBool::new(false);
    let waiting = Mutex::new(items.iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while !failed.load(Ordering::Relaxed) {
            let Some(item) = next() else { break };
            work(item).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS.min(items.len())).map(|_| scope.spawn(run)).collect();
        let ended = threads.into_iter().map(ScopedJoinHandle::join);
        // All are joined before the first failure is told.
        let ended: Vec<_> = ended.collect();
        ended.into_iter().try_for_each(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
