//! What was bound to a handle, for clients that go on with that handle instead of the one that binding answers with.
//!
//! A handle is the statement, signed, and needs no memory. But flightsql-dbapi binds, ignores the answer and runs what it
//! has. For it this process remembers the values. It is a convenience: another process does not know them and says that
//! the parameters have no value, and the oldest go when there are too many. Who reads the answer of a bind has its values in
//! the handle, and does not depend on this.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use alula_auth::Principal;
use alula_catalog::TenantId;
use bytes::Bytes;

use crate::ticket::LIFETIME;

/// The most handles.
const MAX_ENTRIES: usize = 4_096;

/// The most bytes of values.
const MAX_BYTES: usize = 64 << 20;

/// A handle in the hands of a caller.
type Key = [u8; 32];

/// See the module.
pub(crate) struct Bindings {
    /// Held for a look-up, never over an await.
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    entries: HashMap<Key, Entry>,
    tenants: HashMap<TenantId, OfTenant>,
    uses: u64,
    bytes: usize,
}

#[derive(Default)]
struct OfTenant {
    /// Keys by when they were last used, which is also the order in which they expire.
    by_use: BTreeMap<u64, Key>,
    bytes: usize,
}

struct Entry {
    tenant: TenantId,
    parameters: Bytes,
    last_use: u64,
    expires: SystemTime,
}

impl Bindings {
    pub(crate) fn new() -> Self {
        Self { memory: Mutex::default() }
    }

    /// Keeps what was bound to a handle, instead of what was before.
    ///
    /// Bounds: where it would be more than 4,096 handles or 64 MiB, the least recently used go of the tenant that has most.
    pub(crate) fn remember(&self, principal: &Principal, handle: &[u8], parameters: Bytes) {
        let key = key(principal, handle);
        self.with(|memory| memory.insert(principal.tenant(), key, parameters, SystemTime::now()));
    }

    /// What was bound to a handle, if it is still known.
    pub(crate) fn recall(&self, principal: &Principal, handle: &[u8]) -> Option<Bytes> {
        self.with(|memory| memory.get(&key(principal, handle), SystemTime::now()))
    }

    pub(crate) fn forget(&self, principal: &Principal, handle: &[u8]) {
        self.with(|memory| memory.remove(&key(principal, handle)));
    }

    fn with<T>(&self, work: impl FnOnce(&mut Memory) -> T) -> T {
        work(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Memory {
    fn insert(&mut self, tenant: &TenantId, key: Key, parameters: Bytes, now: SystemTime) {
        self.remove(&key);
        let last_use = self.next_use();
        self.bytes += parameters.len();
        let of_tenant = self.tenants.entry(tenant.clone()).or_default();
        of_tenant.bytes += parameters.len();
        of_tenant.by_use.insert(last_use, key);
        let entry = Entry { tenant: tenant.clone(), parameters, last_use, expires: now + LIFETIME };
        self.entries.insert(key, entry);
        self.expire(now);
        while let Some(oldest) = self.superfluous() {
            self.remove(&oldest);
        }
    }

    fn expire(&mut self, now: SystemTime) {
        loop {
            let oldest = self.tenants.values().filter_map(|of_tenant| of_tenant.by_use.first_key_value());
            let is_over = |key: &Key| self.entries.get(key).is_some_and(|entry| entry.expires <= now);
            let expired: Vec<Key> = oldest.map(|(_, key)| *key).filter(is_over).collect();
            if expired.is_empty() {
                return;
            }
            for key in &expired {
                self.remove(key);
            }
        }
    }

    /// What goes next where there is too much, of the tenant that has most of it.
    fn superfluous(&self) -> Option<Key> {
        let most = if self.bytes > MAX_BYTES {
            self.tenants.values().max_by_key(|of_tenant| of_tenant.bytes)
        } else if self.entries.len() > MAX_ENTRIES {
            self.tenants.values().max_by_key(|of_tenant| of_tenant.by_use.len())
        } else {
            None
        };
        most?.by_use.first_key_value().map(|(_, key)| *key)
    }

    fn get(&mut self, key: &Key, now: SystemTime) -> Option<Bytes> {
        let last_use = self.next_use();
        let entry = self.entries.get_mut(key).filter(|entry| now < entry.expires)?;
        if let Some(of_tenant) = self.tenants.get_mut(&entry.tenant) {
            of_tenant.by_use.remove(&entry.last_use);
            of_tenant.by_use.insert(last_use, *key);
        }
        entry.last_use = last_use;
        entry.expires = now + LIFETIME;
        Some(entry.parameters.clone())
    }

    fn remove(&mut self, key: &Key) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.bytes -= entry.parameters.len();
        if let Some(of_tenant) = self.tenants.get_mut(&entry.tenant) {
            of_tenant.bytes -= entry.parameters.len();
            of_tenant.by_use.remove(&entry.last_use);
            if of_tenant.by_use.is_empty() {
                self.tenants.remove(&entry.tenant);
            }
        }
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

fn key(principal: &Principal, handle: &[u8]) -> Key {
    let mut hasher = blake3::Hasher::new();
    for part in [principal.tenant().as_str().as_bytes(), principal.subject().as_bytes(), handle] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests;
