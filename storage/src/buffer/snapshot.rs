//! What a query sees: buffer, files, rejections and losses of all tenants at one instant.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use alula_catalog::{DataFile, FileId, RecordedLoss, Signal, TenantId, TenantNumber, UserFile};

use super::Chunk;
use crate::UserTables;
use crate::data_files::DataFiles;
use crate::deletion::{Compiler, Deletion};
use crate::rejections::{Rejections, TenantRejections};

/// One table of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TableKey {
    pub tenant: TenantNumber,
    pub signal: Signal,
}

/// The rows of one table: each is in exactly one of the three places.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableSnapshot {
    pub hot: Vec<Arc<Chunk>>,
    /// Being written to files, which are not part of the store yet.
    pub frozen: Vec<Arc<Chunk>>,
    pub files: Arc<Vec<Arc<DataFile>>>,
    /// Those on record, oldest first. The rows of pending ones are among the above.
    pub deletions: Arc<Vec<Arc<Deletion>>>,
}

/// An immutable view of everything that was durable at one instant.
///
/// It holds no lock and costs nothing to keep but the memory of its chunks.
#[derive(Clone, Debug)]
pub struct Snapshot {
    data_files: Arc<DataFiles>,
    tenants: Arc<HashMap<TenantId, TenantNumber>>,
    tables: Arc<HashMap<TableKey, Arc<TableSnapshot>>>,
    user_tables: Arc<HashMap<TenantNumber, Arc<UserTables>>>,
    /// Empty in the buffer's own snapshots, like the losses.
    rejections: Rejections,
    losses: Arc<Vec<RecordedLoss>>,
    /// What predicates of deletions are compiled with.
    compiler: Arc<Compiler>,
}

impl Snapshot {
    pub(crate) fn new(
        data_files: Arc<DataFiles>,
        tenants: HashMap<TenantId, TenantNumber>,
        files: Vec<DataFile>,
    ) -> Self {
        let mut snapshot = Self {
            data_files,
            tenants: Arc::new(tenants),
            tables: Arc::default(),
            user_tables: Arc::default(),
            rejections: Rejections::default(),
            losses: Arc::default(),
            compiler: Arc::default(),
        };
        snapshot.add_files(files);
        snapshot
    }

    pub(crate) fn with_user_tables(self, tables: HashMap<TenantNumber, Arc<UserTables>>) -> Self {
        Self { user_tables: Arc::new(tables), ..self }
    }

    /// The tables of a tenant's own.
    pub fn user_tables(&self, tenant: &TenantId) -> Arc<UserTables> {
        let tables = self.tenant_number(tenant).and_then(|number| self.user_tables.get(&number));
        tables.map_or_else(|| Arc::new(UserTables::new(tenant.clone())), Arc::clone)
    }

    /// Every file of every user table, in no order.
    pub(crate) fn user_files(&self) -> impl Iterator<Item = &Arc<UserFile>> {
        self.user_tables.values().flat_map(|tables| tables.files())
    }

    pub(super) fn set_user_tables(&mut self, tenant: TenantNumber, tables: Arc<UserTables>) {
        Arc::make_mut(&mut self.user_tables).insert(tenant, tables);
    }

    pub(crate) fn with_reports(&self, rejections: Rejections, losses: Arc<Vec<RecordedLoss>>) -> Self {
        Self { rejections, losses, ..self.clone() }
    }

    pub(crate) fn tenant_number(&self, tenant: &TenantId) -> Option<TenantNumber> {
        self.tenants.get(tenant).copied()
    }

    pub(crate) fn tenant_id(&self, number: TenantNumber) -> Option<&TenantId> {
        self.tenants.iter().find(|(_, n)| **n == number).map(|(id, _)| id)
    }

    pub(crate) fn compiler(&self) -> &Arc<Compiler> {
        &self.compiler
    }

    /// Every file of every tenant, in no order.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.tables.values().flat_map(|table| table.files.iter())
    }

    pub(crate) fn table_by_key(&self, key: TableKey) -> Option<&Arc<TableSnapshot>> {
        self.tables.get(&key)
    }

    /// Tables with rows that are being flushed, in a fixed order.
    pub(crate) fn frozen_tables(&self) -> Vec<(TableKey, Arc<TableSnapshot>)> {
        let frozen = self.tables.iter().filter(|(_, table)| !table.frozen.is_empty());
        let mut tables: Vec<_> = frozen.map(|(key, table)| (*key, Arc::clone(table))).collect();
        tables.sort_by_key(|(key, _)| *key);
        tables
    }

    pub(crate) fn update_table(&mut self, key: TableKey, change: impl FnOnce(&mut TableSnapshot)) {
        change(Arc::make_mut(Arc::make_mut(&mut self.tables).entry(key).or_default()));
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = (TableKey, &Arc<TableSnapshot>)> {
        self.tables.iter().map(|(key, table)| (*key, table))
    }

    pub(super) fn update_tables(&mut self, change: impl Fn(&mut TableSnapshot)) {
        for table in Arc::make_mut(&mut self.tables).values_mut() {
            change(Arc::make_mut(table));
        }
    }

    pub(super) fn add_files(&mut self, files: Vec<DataFile>) {
        let mut by_table: HashMap<TableKey, Vec<Arc<DataFile>>> = HashMap::new();
        for file in files {
            let key = TableKey { tenant: file.tenant, signal: file.signal };
            by_table.entry(key).or_default().push(Arc::new(file));
        }
        for (key, files) in by_table {
            self.update_table(key, |table| Arc::make_mut(&mut table.files).extend(files));
        }
    }

    /// Takes files out. Returns them.
    pub(super) fn remove_files(&mut self, ids: &HashSet<FileId>) -> Vec<Arc<DataFile>> {
        let mut removed = Vec::new();
        let tables = Arc::make_mut(&mut self.tables).values_mut();
        for table in tables.filter(|table| table.files.iter().any(|file| ids.contains(&file.id))) {
            let files = Arc::make_mut(&mut Arc::make_mut(table).files);
            removed.extend(files.extract_if(.., |file| ids.contains(&file.id)));
        }
        removed
    }

    /// Tables that are not named have none.
    pub(super) fn set_deletions(&mut self, mut by_table: HashMap<TableKey, Vec<Arc<Deletion>>>) {
        let named: HashSet<_> = by_table.keys().copied().collect();
        for key in self.tables.keys().copied().collect::<HashSet<_>>().union(&named) {
            let deletions = by_table.remove(key).unwrap_or_default();
            if !deletions.is_empty()
                || self.table_by_key(*key).is_some_and(|table| !table.deletions.is_empty())
            {
                self.update_table(*key, |table| table.deletions = Arc::new(deletions));
            }
        }
    }

    pub(super) fn add_tenant(&mut self, id: TenantId, number: TenantNumber) {
        Arc::make_mut(&mut self.tenants).insert(id, number);
    }
}

#[cfg_attr(not(any(test, feature = "datafusion")), expect(dead_code, reason = "only the scan reads rows"))]
impl Snapshot {
    /// What the scan opens data files with.
    pub(crate) fn data_files(&self) -> &Arc<DataFiles> {
        &self.data_files
    }

    /// The rows of one tenant's table. A tenant that never sent anything has an empty one.
    pub(crate) fn table(&self, tenant: &TenantId, signal: Signal) -> Arc<TableSnapshot> {
        self.tenant_number(tenant)
            .and_then(|tenant| self.tables.get(&TableKey { tenant, signal }))
            .map(Arc::clone)
            .unwrap_or_default()
    }

    /// The deletions on record of one tenant, oldest first.
    pub(crate) fn deletions(&self, tenant: &TenantId) -> Vec<Arc<Deletion>> {
        let tables = Signal::ALL.map(|signal| Arc::clone(&self.table(tenant, signal).deletions));
        let mut deletions: Vec<_> = tables.iter().flat_map(|table| table.iter().map(Arc::clone)).collect();
        deletions.sort_by_key(|deletion| deletion.record.id);
        deletions
    }

    /// What was refused of one tenant.
    pub(crate) fn rejections(&self, tenant: &TenantId) -> Arc<TenantRejections> {
        self.rejections.get(tenant).map(Arc::clone).unwrap_or_default()
    }

    /// What was lost of one tenant, or of nobody knows which one.
    pub(crate) fn data_losses(&self, tenant: &TenantId) -> Vec<RecordedLoss> {
        let number = self.tenant_number(tenant);
        let may_be_its =
            |recorded: &&RecordedLoss| recorded.loss.tenant.is_none_or(|owner| Some(owner) == number);
        self.losses.iter().filter(may_be_its).cloned().collect()
    }
}
