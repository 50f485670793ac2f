//! The one point at which a transaction on user tables happens, and what follows from it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use alula_catalog::{Catalog, FileId, TenantId, TenantNumber, UserFile, UserTableChange, UserTableId};

use super::quota::{Uncommitted, Writers};
use super::writer::WrittenFiles;
use super::{UserTable, UserTableError, UserTables, decode_schema};
use crate::disk::sync_dir;
use crate::store::{Store, lock};
use crate::{Error, Result};

/// What the user tables of all tenants share, besides the snapshot that has them.
#[derive(Debug, Default)]
pub(crate) struct UserTableState {
    /// Held by whoever commits. Has commits of which it is not known whether they took place.
    commits: Mutex<Vec<Unsettled>>,
    /// Files that are in no table any more, or never were, and are still on disk.
    garbage: Mutex<Vec<Arc<UserFile>>>,
    pub(super) uncommitted: Uncommitted,
    pub(super) writers: Writers,
}

impl UserTableState {
    pub(super) fn add_garbage(&self, files: Vec<Arc<UserFile>>) {
        lock(&self.garbage).extend(files);
    }

    /// Files of a table that may be on disk and are not in it.
    pub(super) fn garbage_of(&self, table: UserTableId) -> Vec<FileId> {
        lock(&self.garbage).iter().filter(|file| file.table == table).map(|file| file.id).collect()
    }

    /// Units: bytes of such files of one tenant.
    pub(super) fn garbage_bytes(&self, tenant: TenantNumber) -> u64 {
        lock(&self.garbage).iter().filter(|file| file.tenant == tenant).map(|file| file.size_bytes).sum()
    }

    /// Those that no snapshot, no transaction and no scan names any more.
    pub(crate) fn take_unread_garbage(&self) -> Vec<Arc<UserFile>> {
        lock(&self.garbage).extract_if(.., |file| Arc::strong_count(file) == 1).collect()
    }

    /// Those of [`Self::take_unread_garbage`] that could not be removed.
    pub(crate) fn put_back_garbage(&self, files: Vec<Arc<UserFile>>) {
        self.add_garbage(files);
    }

    /// Waits for a commit that is under way.
    pub(crate) fn wait_for_commit(&self) {
        drop(lock(&self.commits));
    }

    /// Does what must not happen beside a commit, nor beside other such work.
    pub(crate) fn beside_no_commit<T>(&self, work: impl FnOnce() -> T) -> T {
        let _commits = lock(&self.commits);
        work()
    }
}

/// Changes of the tables of one tenant.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    pub tenant: TenantId,
    pub number: TenantNumber,
    /// In the order in which they are made; not empty.
    pub list: Vec<UserTableChange>,
    /// Tables that are there afterwards and were not, or not so.
    pub after: Vec<UserTable>,
    /// Names of tables that were not seen before and are made.
    pub new_names: Vec<String>,
}

impl Changes {
    /// Tables that must still be as the transaction saw them.
    fn expected(&self) -> impl Iterator<Item = (UserTableId, u64)> {
        self.list.iter().filter_map(|change| match change {
            UserTableChange::Create { .. } => None,
            UserTableChange::Drop { table, version }
            | UserTableChange::ReplaceFiles { table, version, .. } => Some((*table, *version)),
        })
    }
}

#[derive(Debug)]
struct Unsettled {
    changes: Changes,
    /// Their bytes stay taken from the tenant.
    written: Vec<Arc<UserFile>>,
}

impl Store {
    /// Whether user tables may be written to.
    ///
    /// # Errors
    /// `Closed`; `DiskFull`, `ReadOnly`, `WalWrite` — as of an append.
    pub(super) fn ensure_writable(&self) -> Result<()> {
        if self.is_stopping() {
            return Err(Error::Closed);
        }
        self.condition.refusal().map_or(Ok(()), Err)
    }

    /// Makes the changes happen, whose files are `written`.
    ///
    /// Durable: when this returns.
    ///
    /// # Errors
    /// `UserTable` — another transaction was first, or there are too many tables. `ReadOnly` — it is not known yet what became
    /// of an earlier commit. `Catalog` — it did not happen, or, if the catalog does not answer at all, it is found out later
    /// whether it did. `Io` — the disk failed, and it did not happen.
    pub(super) fn commit_user_tables(
        &self,
        changes: Changes,
        mut written: WrittenFiles,
        max_tables: usize,
    ) -> Result<()> {
        let mut unsettled = lock(&self.user_tables.commits);
        self.settle(&mut unsettled);
        if !unsettled.is_empty() {
            return Err(Error::ReadOnly { reason: "the catalog cannot be written" });
        }
        if self.is_stopping() {
            return Err(Error::Closed);
        }
        let current = self.buffer.snapshot().user_tables(&changes.tenant);
        check_unchanged(&changes, &current)?;
        let num_new = changes.list.iter().map(|change| match change {
            UserTableChange::Create { .. } => 1,
            UserTableChange::Drop { .. } => -1,
            UserTableChange::ReplaceFiles { .. } => 0,
        });
        let num_new: isize = num_new.sum();
        if num_new > 0 && current.len().saturating_add_signed(num_new) > max_tables {
            return Err(UserTableError::TooManyTables { limit: max_tables }.into());
        }
        self.give_final_names(&written.files)?;
        let Err(error) = self.catalog.commit_user_tables(changes.number, &changes.list) else {
            self.show_user_tables(&changes);
            drop(written.take());
            return Ok(());
        };
        // A COMMIT that failed may be on disk all the same: then its files must not go.
        match self.took_place(&changes) {
            Some(true) => {
                self.show_user_tables(&changes);
                drop(written.take());
                Ok(())
            }
            Some(false) => Err(error.into()),
            None => {
                unsettled.push(Unsettled { changes, written: written.leave() });
                Err(error.into())
            }
        }
    }

    /// Looks again at commits of which it is not known whether they took place.
    pub(crate) fn settle_user_tables(&self) {
        self.settle(&mut lock(&self.user_tables.commits));
    }

    fn settle(&self, unsettled: &mut Vec<Unsettled>) {
        for Unsettled { changes, written } in std::mem::take(unsettled) {
            let bytes = written.iter().map(|file| file.size_bytes).sum();
            match self.took_place(&changes) {
                Some(true) => self.show_user_tables(&changes),
                Some(false) => self.user_tables.add_garbage(written),
                None => {
                    unsettled.push(Unsettled { changes, written });
                    continue;
                }
            }
            self.user_tables.uncommitted.give_back(&changes.tenant, bytes);
        }
    }

    /// None if the catalog cannot tell.
    fn took_place(&self, changes: &Changes) -> Option<bool> {
        // What it says from here on is what the next process finds as well.
        self.catalog.bury_failed_commit().ok()?;
        let tables = self.catalog.user_tables().ok()?;
        let version = |id: UserTableId| tables.iter().find(|table| table.id == id).map(|table| table.version);
        // Nobody else has committed since, so one change tells of all.
        Some(match changes.list.first()? {
            UserTableChange::Create { table, .. } => version(table.id).is_some(),
            UserTableChange::Drop { table, .. } => version(*table).is_none(),
            UserTableChange::ReplaceFiles { table, version: before, .. } => version(*table) != Some(*before),
        })
    }

    /// Durable: the names when this returns.
    fn give_final_names(&self, files: &[Arc<UserFile>]) -> Result<()> {
        let disk = self.layout.disk();
        let mut dirs = BTreeSet::new();
        for file in files {
            let path = self.layout.data_file(file);
            let renamed = disk.rename(&self.layout.uncommitted(file), &path);
            renamed.map_err(Error::io(&path, "cannot rename the data file"))?;
            dirs.extend(path.parent().map(std::path::Path::to_owned));
        }
        dirs.iter().try_for_each(|dir| sync_dir(disk, dir))
    }

    /// From here on queries see them.
    fn show_user_tables(&self, changes: &Changes) {
        let before = self.buffer.snapshot().user_tables(&changes.tenant);
        let mut next = UserTables::clone(&before);
        let changed: HashSet<_> = changes.expected().map(|(id, _)| id).collect();
        next.by_name.retain(|_, table| !changed.contains(&table.id));
        for table in &changes.after {
            next.insert(table.clone());
        }
        let live: HashSet<_> = next.files().map(|file| file.id).collect();
        let dead: Vec<_> = before.files().filter(|file| !live.contains(&file.id)).map(Arc::clone).collect();
        self.buffer.set_user_tables(changes.number, Arc::new(next));
        self.user_tables.add_garbage(dead);
    }
}

fn check_unchanged(changes: &Changes, current: &UserTables) -> Result<(), UserTableError> {
    let name = |id: UserTableId| {
        let after = changes.after.iter().find(|table| table.id == id);
        let now = current.find(id).map(AsRef::as_ref);
        after.or(now).map_or_else(|| id.to_string(), |table| table.name.clone())
    };
    let mut stale = changes
        .expected()
        .filter(|(id, version)| current.find(*id).is_none_or(|table| table.version != *version));
    if let Some((id, _)) = stale.next() {
        return Err(UserTableError::Conflict { table: name(id) });
    }
    match changes.new_names.iter().find(|name| current.get(name).is_some()) {
        Some(table) => Err(UserTableError::Conflict { table: table.clone() }),
        None => Ok(()),
    }
}

/// The tables of all tenants, as the catalog has them.
///
/// # Errors
/// `Catalog` — also if a file is of a table that is not there.
pub(crate) fn load_user_tables(catalog: &Catalog) -> Result<HashMap<TenantNumber, Arc<UserTables>>> {
    let tenants: HashMap<_, _> = catalog.tenants()?.into_iter().collect();
    let mut files: HashMap<UserTableId, Vec<Arc<UserFile>>> = HashMap::new();
    for file in catalog.live_user_files()? {
        files.entry(file.table).or_default().push(Arc::new(file));
    }
    let invalid = |detail: String| alula_catalog::Error::InvalidRow { table: "user_tables", detail };
    let mut loaded: HashMap<TenantNumber, UserTables> = HashMap::new();
    for record in catalog.user_tables()? {
        let id = record.id;
        let tenant =
            tenants.get(&record.tenant).ok_or_else(|| invalid(format!("the tenant of table {id}")))?;
        let schema =
            decode_schema(&record.schema).map_err(|_| invalid(format!("the schema of table {id}")))?;
        let tables = loaded.entry(record.tenant).or_insert_with(|| UserTables::new(tenant.clone()));
        tables.insert(UserTable {
            id,
            name: record.name,
            schema,
            version: record.version,
            created_ns: record.created_ns,
            files: Arc::new(files.remove(&id).unwrap_or_default()),
        });
    }
    if let Some(table) = files.keys().next() {
        return Err(invalid(format!("files of table {table}, which does not exist")).into());
    }
    Ok(loaded.into_iter().map(|(tenant, tables)| (tenant, Arc::new(tables))).collect())
}
