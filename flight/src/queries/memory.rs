//! [`QueryPool`]: counts the memory of one query on its way to the pool that all share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

use super::query::Query;

/// What the operators of a query hold.
#[derive(Debug, Default)]
pub(super) struct Memory {
    held: AtomicUsize,
    peak: AtomicUsize,
}

impl Memory {
    fn grow(&self, bytes: usize) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
    }

    fn shrink(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The most that was held at one time.
    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed) as u64
    }
}

/// The shared pool, as one query sees it. A query that is to end gets no more of it.
pub(crate) struct QueryPool {
    shared: Arc<dyn MemoryPool>,
    query: Arc<Query>,
}

impl QueryPool {
    pub(crate) fn new(shared: &Arc<dyn MemoryPool>, query: &Arc<Query>) -> Self {
        Self { shared: Arc::clone(shared), query: Arc::clone(query) }
    }
}

impl fmt::Debug for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.shared, f)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        self.shared.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.shared.grow(reservation, additional);
        self.query.memory.grow(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.shared.shrink(reservation, shrink);
        self.query.memory.shrink(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.query.stop.check_plan()?;
        self.shared.try_grow(reservation, additional)?;
        self.query.memory.grow(additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.shared.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.shared.memory_limit()
    }
}
