//! [`Room`]: how much of the spill space kept results take, of each tenant and of all.
//!
//! A result takes its room from the moment it is written until the last who holds its file has let go of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alula_catalog::TenantId;

use crate::{Error, Result};

/// The part of the spill space that the results of a tenant may take, and that those of all may take: running queries need
/// the rest.
const PART_OF_TENANT: u64 = 4;
const PART_OF_ALL: u64 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Room {
    limit_of_tenant: u64,
    limit: u64,
    /// Bytes taken; held to count, never over an await.
    taken: Mutex<HashMap<TenantId, u64>>,
}

impl Room {
    pub(super) fn new(spill_limit: u64) -> Self {
        let (limit_of_tenant, limit) = (spill_limit / PART_OF_TENANT, spill_limit / PART_OF_ALL);
        Self { limit_of_tenant, limit, taken: Mutex::default() }
    }

    /// What one result of a tenant takes: nothing yet.
    pub(super) fn share(self: &Arc<Self>, tenant: &TenantId) -> Share {
        Share { room: Arc::clone(self), tenant: tenant.clone(), bytes: 0 }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<TenantId, u64>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that a result has taken, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    tenant: TenantId,
    bytes: u64,
}

impl Share {
    /// Takes more.
    ///
    /// # Errors
    /// `PolledTooLarge` — the tenant would have more than its part. `PolledFull` — all together would.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<()> {
        let mut taken = self.room.taken();
        let of_tenant = taken.get(&self.tenant).copied().unwrap_or(0) + bytes;
        let limit = self.room.limit_of_tenant;
        if of_tenant > limit {
            return Err(Error::PolledTooLarge { limit });
        }
        if taken.values().sum::<u64>() + bytes > self.room.limit {
            return Err(Error::PolledFull);
        }
        taken.insert(self.tenant.clone(), of_tenant);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        if let Some(of_tenant) = taken.get_mut(&self.tenant) {
            *of_tenant -= self.bytes;
            if *of_tenant == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_leaves_room_for_others_and_gets_its_own_back() {
        let room = Arc::new(Room::new(80));
        let share = |tenant: &str| room.share(&tenant.parse().unwrap());
        let (mut a, mut also_a, mut b, mut c) = (share("a"), share("a"), share("b"), share("c"));
        a.grow(15).unwrap();
        assert!(matches!(also_a.grow(6), Err(Error::PolledTooLarge { limit: 20 })));
        also_a.grow(5).unwrap();
        b.grow(19).unwrap();
        assert!(matches!(c.grow(2), Err(Error::PolledFull)));
        c.grow(1).unwrap();
        drop(a);
        also_a.grow(15).unwrap();
        drop((also_a, b, c));
        assert!(room.taken().is_empty());
    }
}
