//! What a tenant may have, with what is not committed yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use alula_catalog::TenantId;

use super::UserTableError;
use crate::store::{Store, lock};

/// Statements that write at one time, of one tenant and in all. Each has a row group in memory, of which a tenant's count
/// against its bytes, and what else its encoders need.
pub(super) const MAX_WRITERS_PER_TENANT: usize = 32;
pub(super) const MAX_WRITERS: usize = 256;

/// Bytes of files of transactions that are under way, by tenant.
#[derive(Debug, Default)]
pub(super) struct Uncommitted {
    bytes: Mutex<HashMap<TenantId, u64>>,
}

impl Uncommitted {
    /// Gives bytes back that a reservation left behind: see [`Reservation::leave`].
    pub(super) fn give_back(&self, tenant: &TenantId, bytes: u64) {
        let mut all = lock(&self.bytes);
        if let Some(uncommitted) = all.get_mut(tenant) {
            *uncommitted = uncommitted.saturating_sub(bytes);
            if *uncommitted == 0 {
                all.remove(tenant);
            }
        }
    }
}

/// Statements that write, by tenant.
#[derive(Debug, Default)]
pub(super) struct Writers {
    open: Mutex<HashMap<TenantId, usize>>,
}

/// The place of one statement among them.
#[derive(Debug)]
pub(super) struct WriterPlace {
    store: Arc<Store>,
    tenant: TenantId,
}

impl WriterPlace {
    /// # Errors
    /// `TooManyWriters`.
    pub(super) fn take(store: &Arc<Store>, tenant: &TenantId) -> Result<Self, UserTableError> {
        let mut open = lock(&store.user_tables.writers.open);
        let of_tenant = open.get(tenant).copied().unwrap_or(0);
        for (found, limit) in
            [(of_tenant, MAX_WRITERS_PER_TENANT), (open.values().sum::<usize>(), MAX_WRITERS)]
        {
            if found >= limit {
                return Err(UserTableError::TooManyWriters { limit });
            }
        }
        open.insert(tenant.clone(), of_tenant + 1);
        Ok(Self { store: Arc::clone(store), tenant: tenant.clone() })
    }
}

impl Drop for WriterPlace {
    fn drop(&mut self) {
        let mut open = lock(&self.store.user_tables.writers.open);
        if let Some(of_tenant) = open.get_mut(&self.tenant) {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

/// The uncommitted bytes of one transaction, which are given back with it.
#[derive(Debug)]
pub(super) struct Reservation {
    store: Arc<Store>,
    tenant: TenantId,
    limit_bytes: u64,
    bytes: AtomicU64,
}

impl Reservation {
    pub(super) fn new(store: &Arc<Store>, tenant: &TenantId, limit_bytes: u64) -> Self {
        let (store, tenant) = (Arc::clone(store), tenant.clone());
        Self { store, tenant, limit_bytes, bytes: AtomicU64::new(0) }
    }

    /// Takes more, of which the transaction frees `freed` again when it commits. Files that nobody needs count while they
    /// are on disk; where they are in the way they are removed at once. Blocks.
    ///
    /// # Errors
    /// `TooManyBytes` — nothing was taken.
    pub(super) fn grow(&self, more: u64, freed: u64) -> Result<(), UserTableError> {
        self.try_grow(more, freed).or_else(|_| {
            self.store.remove_user_garbage();
            self.try_grow(more, freed)
        })
    }

    fn try_grow(&self, more: u64, freed: u64) -> Result<(), UserTableError> {
        let snapshot = self.store.buffer.snapshot();
        let live = snapshot.user_tables(&self.tenant).size_bytes();
        let number = snapshot.tenant_number(&self.tenant);
        let garbage = number.map_or(0, |number| self.store.user_tables.garbage_bytes(number));
        let mut all = lock(&self.store.user_tables.uncommitted.bytes);
        let uncommitted = all.get(&self.tenant).copied().unwrap_or(0);
        if live + garbage + uncommitted + more > self.limit_bytes.saturating_add(freed) {
            return Err(UserTableError::TooManyBytes { limit_bytes: self.limit_bytes });
        }
        *all.entry(self.tenant.clone()).or_default() += more;
        self.bytes.fetch_add(more, Ordering::Relaxed);
        Ok(())
    }

    /// Lets go of bytes that stay taken from the tenant until [`Uncommitted::give_back`].
    pub(super) fn leave(&self, bytes: u64) {
        self.bytes.store(self.bytes.load(Ordering::Relaxed).saturating_sub(bytes), Ordering::Relaxed);
    }

    /// Says what a part that was reserved as `before` has in the end. Never refuses.
    pub(super) fn settle(&self, before: u64, after: u64) {
        let mut all = lock(&self.store.user_tables.uncommitted.bytes);
        let bytes = all.entry(self.tenant.clone()).or_default();
        *bytes = (*bytes + after).saturating_sub(before);
        self.bytes
            .store((self.bytes.load(Ordering::Relaxed) + after).saturating_sub(before), Ordering::Relaxed);
        if *bytes == 0 {
            all.remove(&self.tenant);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.settle(self.bytes.load(Ordering::Relaxed), 0);
    }
}

#[cfg(test)]
mod tests;
