//! [`UserTables`]: the tables of one tenant at one instant.

use std::collections::BTreeMap;
use std::sync::Arc;

use alula_catalog::{TenantId, UserFile, UserTableId};
use arrow::datatypes::SchemaRef;

/// A table, as one snapshot or one transaction sees it.
#[derive(Clone, Debug)]
pub struct UserTable {
    pub(super) id: UserTableId,
    pub(super) name: String,
    pub(super) schema: SchemaRef,
    /// Of the catalog; 0 for a table that is not committed.
    pub(super) version: u64,
    pub(super) created_ns: i64,
    /// Whoever has one here keeps it on disk.
    pub(super) files: Arc<Vec<Arc<UserFile>>>,
}

impl UserTable {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn num_rows(&self) -> u64 {
        self.files.iter().map(|file| file.num_rows).sum()
    }

    /// Units: bytes of its files.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }

    pub fn num_files(&self) -> usize {
        self.files.len()
    }

    #[cfg_attr(not(feature = "datafusion"), expect(dead_code, reason = "only the scan reads rows"))]
    pub(crate) fn id(&self) -> UserTableId {
        self.id
    }

    #[cfg_attr(
        not(any(test, feature = "datafusion")),
        expect(dead_code, reason = "only the scan reads rows")
    )]
    pub(crate) fn files(&self) -> &[Arc<UserFile>] {
        &self.files
    }
}

/// The tables of one tenant, by name. An immutable view, as a snapshot is.
#[derive(Clone, Debug)]
pub struct UserTables {
    tenant: TenantId,
    pub(super) by_name: BTreeMap<String, Arc<UserTable>>,
    is_outdated: bool,
}

impl UserTables {
    pub(crate) fn new(tenant: TenantId) -> Self {
        Self { tenant, by_name: BTreeMap::new(), is_outdated: false }
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub fn get(&self, name: &str) -> Option<&Arc<UserTable>> {
        self.by_name.get(name)
    }

    /// In order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<UserTable>> {
        self.by_name.values()
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The same tables, for a transaction that began over others: their columns can be seen, and their rows cannot.
    #[must_use]
    pub fn outdated(&self) -> Self {
        Self { is_outdated: true, ..self.clone() }
    }

    #[cfg_attr(not(feature = "datafusion"), expect(dead_code, reason = "only the scan reads rows"))]
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_outdated
    }

    /// Equal where the same tables with the same rows are committed, in every process.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = blake3::Hasher::new();
        for table in self.iter() {
            hash.update(&table.id.0.to_le_bytes()).update(&table.version.to_le_bytes());
        }
        let hash = hash.finalize();
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("it has 32 bytes"))
    }

    /// Whether these are the very tables of `other`.
    pub fn is_same(&self, other: &Self) -> bool {
        self.tenant == other.tenant
            && self.is_outdated == other.is_outdated
            && self.len() == other.len()
            && self.iter().zip(other.iter()).all(|(own, other)| Arc::ptr_eq(own, other))
    }

    /// Units: bytes of all their files.
    pub fn size_bytes(&self) -> u64 {
        self.iter().map(|table| table.size_bytes()).sum()
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &Arc<UserFile>> {
        self.iter().flat_map(|table| table.files.iter())
    }

    pub(super) fn find(&self, id: UserTableId) -> Option<&Arc<UserTable>> {
        self.iter().find(|table| table.id == id)
    }

    pub(super) fn insert(&mut self, table: UserTable) {
        self.by_name.insert(table.name.clone(), Arc::new(table));
    }
}
