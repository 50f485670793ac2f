//! [`UserTransaction`]: changes of a tenant's tables that happen together or not at all.

use std::collections::HashSet;
use std::sync::Arc;

use alula_catalog::{FileId, TenantId, UserFile, UserTableChange, UserTableId, UserTableRecord, now_ns};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use futures::{Stream, StreamExt};
use tokio::task::JoinHandle;

use super::commit::Changes;
use super::quota::{Reservation, WriterPlace};
use super::schema::{check_name, checked_schema, encode_schema};
use super::writer::{Of, WrittenFiles, create_file};
use super::{UserTable, UserTableError, UserTableWriter, UserTables, WrittenRows};
use crate::blocking::blocking;
use crate::store::Store;
use crate::{Error, Result, UserTablesConfig};

/// What becomes of a table that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// An error.
    New,
    /// It stays, and nothing is made.
    IfNotExists,
    /// It is dropped.
    Replace,
}

/// Changes of one tenant's tables, seen by whoever reads through [`Self::tables`] and by nobody else until [`Self::commit`].
///
/// A statement that fails changes nothing; the transaction can go on. Dropped without a commit, nothing happened.
#[derive(Debug)]
pub struct UserTransaction {
    store: Arc<Store>,
    limits: UserTablesConfig,
    /// As they were when it began.
    base: Arc<UserTables>,
    /// As it sees them.
    tables: Arc<UserTables>,
    /// Files of these tables that are not committed.
    written: WrittenFiles,
    reservation: Arc<Reservation>,
}

impl UserTransaction {
    pub(crate) fn begin(store: &Arc<Store>, limits: UserTablesConfig, tenant: &TenantId) -> Self {
        let base = store.buffer.snapshot().user_tables(tenant);
        let reservation = Arc::new(Reservation::new(store, tenant, limits.max_bytes));
        Self {
            store: Arc::clone(store),
            limits,
            tables: Arc::clone(&base),
            base,
            written: WrittenFiles::new(store, &reservation),
            reservation,
        }
    }

    pub fn tenant(&self) -> &TenantId {
        self.base.tenant()
    }

    /// The tables as the transaction sees them, with its own changes.
    pub fn tables(&self) -> &Arc<UserTables> {
        &self.tables
    }

    /// Whether it changed anything.
    fn is_changed(&self) -> bool {
        !Arc::ptr_eq(&self.base, &self.tables)
    }

    /// Makes an empty table. False if it was there and stays.
    ///
    /// # Errors
    /// `UserTable` — of what the name, the columns or the number of tables is. Nothing changed.
    pub fn create_table(&mut self, name: &str, schema: &Schema, mode: CreateMode) -> Result<bool> {
        check_name(name)?;
        let exists = self.tables.get(name).is_some();
        match mode {
            CreateMode::New if exists => {
                return Err(UserTableError::TableExists { table: name.to_owned() }.into());
            }
            CreateMode::IfNotExists if exists => return Ok(false),
            CreateMode::New | CreateMode::IfNotExists | CreateMode::Replace => {}
        }
        let schema = checked_schema(schema)?;
        if !exists && self.tables.len() >= self.limits.max_tables {
            return Err(UserTableError::TooManyTables { limit: self.limits.max_tables }.into());
        }
        let table = UserTable {
            id: UserTableId(uuid::Uuid::now_v7().as_u128()),
            name: name.to_owned(),
            schema,
            version: 0,
            created_ns: now_ns(),
            files: Arc::default(),
        };
        self.change(|tables| tables.insert(table));
        Ok(true)
    }

    /// # Errors
    /// `UserTable` — there is no such table.
    pub fn drop_table(&mut self, name: &str) -> Result<()> {
        if self.tables.get(name).is_none() {
            return Err(UserTableError::NoTable { table: name.to_owned() }.into());
        }
        self.change(|tables| {
            tables.by_name.remove(name);
        });
        Ok(())
    }

    /// Begins to write rows with the columns `given` to a table. Nothing is on disk yet.
    ///
    /// # Errors
    /// `UserTable` — there is no such table, or its columns are others; `TooManyWriters`.
    pub(super) fn writer(&self, name: &str, given: &Schema) -> Result<UserTableWriter> {
        let table =
            self.tables.get(name).ok_or_else(|| UserTableError::NoTable { table: name.to_owned() })?;
        let place = WriterPlace::take(&self.store, self.tenant())?;
        UserTableWriter::try_new(self.of(table), place, Arc::clone(table), given)
    }

    /// Puts the rows of a writer into their table. Returns how many there are.
    ///
    /// # Errors
    /// `UserTable` — the table was changed since the writer began, by another statement of this transaction.
    pub(super) fn add(&mut self, rows: WrittenRows) -> Result<u64> {
        let WrittenRows { num_rows, before, files, written } = rows;
        if !self.tables.find(before.id).is_some_and(|table| Arc::ptr_eq(table, &before)) {
            return Err(UserTableError::Conflict { table: before.name.clone() }.into());
        }
        if num_rows > 0 {
            self.written.absorb(written);
            let table = UserTable { files: Arc::new(files), ..UserTable::clone(&before) };
            self.change(|tables| tables.insert(table));
        }
        Ok(num_rows)
    }

    /// Appends a stream of rows with the columns `given`, on threads that may block. Returns how many there are.
    ///
    /// Bounds: one batch is written while the next one comes; then the stream waits. No thread waits for the stream.
    /// Cancel: dropped before it is ready, nothing was appended.
    ///
    /// # Errors
    /// What the stream gave; otherwise as of `UserTableWriter::write`. Nothing was appended.
    pub async fn append<E: From<Error>>(
        &mut self,
        name: &str,
        given: &Schema,
        rows: impl Stream<Item = Result<RecordBatch, E>>,
    ) -> Result<u64, E> {
        let writer = self.writer(name, given)?;
        let mut rows = std::pin::pin!(rows);
        let mut writing = tokio::task::spawn_blocking(move || Ok(writer));
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let mut writer = written(writing).await?;
            writing = tokio::task::spawn_blocking(move || writer.write(&batch).map(|()| writer));
        }
        let writer = written(writing).await?;
        let rows = blocking(move || writer.finish()).await?;
        Ok(self.add(rows)?)
    }

    /// Makes all changes happen, on a thread that may block.
    ///
    /// Durable: when this returns, all of it survives power loss, and the next snapshot has it.
    /// Cancel: once polled it goes on, whether anybody waits or not.
    ///
    /// # Errors
    /// `UserTable` — `Conflict`: another transaction changed one of the same tables first; nothing happened, do it again.
    /// `TooManyTables`. `Catalog` — it is not certain that nothing happened. Otherwise nothing did.
    pub async fn commit(self) -> Result<()> {
        blocking(move || self.commit_blocking()).await
    }

    /// [`Self::commit`] on this thread.
    pub(crate) fn commit_blocking(mut self) -> Result<()> {
        if !self.is_changed() {
            return Ok(());
        }
        self.write_empty_tables()?;
        let Some(changes) = self.changes()? else { return Ok(()) };
        let written = std::mem::replace(&mut self.written, WrittenFiles::new(&self.store, &self.reservation));
        self.store.commit_user_tables(changes, written, self.limits.max_tables)
    }

    /// A table without rows has a file without rows, which has its name and its columns.
    fn write_empty_tables(&mut self) -> Result<()> {
        let empty: Vec<_> =
            self.tables.iter().filter(|table| table.files.is_empty()).map(Arc::clone).collect();
        for table in empty {
            self.store.ensure_writable()?;
            let of = self.of(&table);
            let file = create_file(&of, &table)?.finish(&[])?;
            self.reservation.grow(file.size_bytes, of.freed).inspect_err(|_| {
                self.store.user_tables.add_garbage(vec![Arc::new(file.clone())]);
            })?;
            let file = self.written.push(file);
            let table = UserTable { files: Arc::new(vec![file]), ..UserTable::clone(&table) };
            self.change(|tables| tables.insert(table));
        }
        Ok(())
    }

    /// What is different from the beginning: tables that go come first, their names may be taken again.
    fn changes(&self) -> Result<Option<Changes>> {
        let number = self.store.tenant_number(self.tenant())?;
        let (mut list, mut after, mut new_names) = (Vec::new(), Vec::new(), Vec::new());
        for before in self.base.iter().filter(|before| self.tables.find(before.id).is_none()) {
            list.push(UserTableChange::Drop { table: before.id, version: before.version });
        }
        for table in self.tables.iter() {
            let before = self.base.find(table.id);
            if before.is_some_and(|before| Arc::ptr_eq(before, table)) {
                continue;
            }
            let version = before.map_or(1, |before| before.version + 1);
            list.push(match before {
                Some(before) => UserTableChange::ReplaceFiles {
                    table: table.id,
                    version: before.version,
                    dead: not_in(&before.files, &table.files).map(|file| file.id).collect(),
                    live: not_in(&table.files, &before.files).map(|file| UserFile::clone(file)).collect(),
                },
                None => UserTableChange::Create {
                    table: UserTableRecord {
                        id: table.id,
                        tenant: number,
                        name: table.name.clone(),
                        schema: encode_schema(&table.schema)?,
                        version,
                        created_ns: table.created_ns,
                    },
                    files: table.files.iter().map(|file| UserFile::clone(file)).collect(),
                },
            });
            if before.is_none() && self.base.get(&table.name).is_none() {
                new_names.push(table.name.clone());
            }
            after.push(UserTable { version, ..UserTable::clone(table) });
        }
        let tenant = self.tenant().clone();
        Ok((!list.is_empty()).then_some(Changes { tenant, number, list, after, new_names }))
    }

    fn change(&mut self, change: impl FnOnce(&mut UserTables)) {
        let mut next = UserTables::clone(&self.tables);
        change(&mut next);
        let kept: HashSet<FileId> = next.files().map(|file| file.id).collect();
        self.tables = Arc::new(next);
        self.written.retain(|id| kept.contains(&id));
    }

    fn of(&self, table: &UserTable) -> Of {
        let base = self.base.find(table.id);
        let kept: HashSet<FileId> = self.tables.files().map(|file| file.id).collect();
        let freed = self.base.files().filter(|file| !kept.contains(&file.id));
        Of {
            store: Arc::clone(&self.store),
            reservation: Arc::clone(&self.reservation),
            tenant: self.tenant().clone(),
            table_version: base.map_or(1, |base| base.version + 1),
            base: base.map(|base| base.files.iter().map(|file| file.id).collect()).unwrap_or_default(),
            freed: freed.map(|file| file.size_bytes).sum(),
        }
    }
}

/// The writer, once it has written.
async fn written(writing: JoinHandle<Result<UserTableWriter>>) -> Result<UserTableWriter> {
    writing.await.map_err(|_| Error::ThreadEnded("a blocking task"))?
}

fn not_in<'a>(
    files: &'a [Arc<UserFile>],
    others: &'a [Arc<UserFile>],
) -> impl Iterator<Item = &'a Arc<UserFile>> {
    files.iter().filter(|file| !others.iter().any(|other| other.id == file.id))
}
