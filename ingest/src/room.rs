//! The memory that requests under way share.
//!
//! It is refused at once where it ends, never waited for. No tenant gets all of it: one whose uploads stall, or who sends
//! more than the disk takes, does not keep the others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use alula_catalog::TenantId;

use crate::{Error, Result};

/// Past this many tenants, those without a request under way are forgotten.
const TENANTS_KEPT: usize = 10_000;

/// The room of all tenants.
#[derive(Debug)]
pub(crate) struct Rooms {
    bytes: Arc<Semaphore>,
    limit_bytes: usize,
    tenant_bytes: usize,
    /// Held for a look-up, never across an await.
    tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

/// The room as one tenant sees it. A permit of either semaphore is a byte.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
    /// For the message of an error.
    limit_bytes: usize,
}

/// Bytes of the room, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    all: OwnedSemaphorePermit,
    own: OwnedSemaphorePermit,
}

impl Rooms {
    /// A tenant gets three quarters of `limit_bytes`, and in any case what its largest request takes.
    pub(crate) fn new(limit_bytes: usize, largest_bytes: usize) -> Self {
        let limit_bytes = bounded(limit_bytes.max(largest_bytes));
        Self {
            bytes: Arc::new(Semaphore::new(limit_bytes)),
            limit_bytes,
            tenant_bytes: (limit_bytes / 4 * 3).max(largest_bytes).clamp(1, limit_bytes),
            tenants: Mutex::default(),
        }
    }

    pub(crate) fn of(&self, tenant: &TenantId) -> Room {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= TENANTS_KEPT && !tenants.contains_key(tenant) {
            // One that nobody else refers to has all of its permits.
            tenants.retain(|_, own| Arc::strong_count(own) > 1);
        }
        let own = match tenants.get(tenant) {
            Some(own) => Arc::clone(own),
            None => {
                let own = Arc::new(Semaphore::new(self.tenant_bytes));
                tenants.insert(tenant.clone(), Arc::clone(&own));
                own
            }
        };
        Room { all: Arc::clone(&self.bytes), own, limit_bytes: self.limit_bytes }
    }

    /// Waits until nobody holds any of it.
    #[cfg(test)]
    pub(crate) async fn all(&self) {
        let all = self.bytes.acquire_many(self.limit_bytes as u32).await;
        drop(all.expect("the semaphore is never closed"));
    }
}

impl Room {
    /// The room of somebody who is alone in it.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn new(limit_bytes: usize) -> Self {
        let limit_bytes = bounded(limit_bytes);
        let semaphore = || Arc::new(Semaphore::new(limit_bytes));
        Self { all: semaphore(), own: semaphore(), limit_bytes }
    }

    /// Takes `bytes`, or refuses at once.
    pub(crate) fn take(&self, bytes: usize) -> Result<Share> {
        let overloaded = || Error::Overloaded { limit_bytes: self.limit_bytes };
        let permits = u32::try_from(bytes).map_err(|_| overloaded())?;
        let take = |semaphore: &Arc<Semaphore>| {
            Arc::clone(semaphore).try_acquire_many_owned(permits).map_err(|_| overloaded())
        };
        Ok(Share { own: take(&self.own)?, all: take(&self.all)? })
    }

    /// What is left of it.
    #[cfg(test)]
    pub(crate) fn free_bytes(&self) -> usize {
        self.all.available_permits().min(self.own.available_permits())
    }
}

impl Share {
    #[cfg(feature = "fuzzing")]
    pub(crate) fn num_bytes(&self) -> usize {
        self.all.num_permits()
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.all.merge(other.all);
        self.own.merge(other.own);
    }
}

/// What a semaphore can count, and its requests can say.
fn bounded(bytes: usize) -> usize {
    bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[test]
    fn a_tenant_that_holds_all_it_gets_leaves_room_for_others() {
        let rooms = Rooms::new(400, 10);
        let (greedy, modest) = (rooms.of(&tenant("greedy")), rooms.of(&tenant("modest")));
        let held = greedy.take(300).unwrap();
        assert!(matches!(greedy.take(1), Err(Error::Overloaded { limit_bytes: 400 })));
        let other = modest.take(100).unwrap();
        assert!(modest.take(1).is_err(), "all of it is taken");
        drop((held, other));
        assert_eq!((greedy.free_bytes(), modest.free_bytes()), (300, 300));
    }

    /// What was refused for want of the common room is not counted against the tenant.
    #[test]
    fn a_refusal_takes_nothing() {
        let rooms = Rooms::new(400, 10);
        let (first, second) = (rooms.of(&tenant("a")), rooms.of(&tenant("b")));
        let held = first.take(300).unwrap();
        assert!(second.take(101).is_err());
        drop(held);
        assert_eq!(second.free_bytes(), 300);
    }

    #[test]
    fn the_largest_request_always_fits_alone() {
        for (limit, largest) in [(400, 350), (3, 1000), (0, 1)] {
            let rooms = Rooms::new(limit, largest);
            assert!(rooms.of(&tenant("a")).take(largest).is_ok(), "{limit} {largest}");
        }
    }

    #[test]
    fn idle_tenants_are_forgotten_and_busy_ones_are_not() {
        let rooms = Rooms::new(400, 10);
        let busy = rooms.of(&tenant("busy"));
        let _held = busy.take(300).unwrap();
        for number in 1..TENANTS_KEPT {
            rooms.of(&tenant(&format!("t{number}")));
        }
        rooms.of(&tenant("another"));
        assert_eq!(rooms.tenants.lock().unwrap().len(), 2);
        assert!(rooms.of(&tenant("busy")).take(1).is_err());
    }
}
