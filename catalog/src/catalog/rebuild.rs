//! A catalog made of what others know: the footers of data files, and the log.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};

use super::mark::Mark;
use super::{
    BlockHashes, Catalog, DataFile, DataLoss, RecordedLoss, UserFile, UserTableRecord, data_loss, files,
    remote, user_tables,
};
use crate::{FileId, Result, SequenceNumber, TenantId, TenantNumber};

/// What a catalog is made of.
#[derive(Clone, Debug)]
pub struct CatalogContents {
    /// None: a new store.
    pub store_uuid: Option<[u8; 16]>,
    pub flushed_seq: SequenceNumber,
    pub tenants: Vec<(TenantNumber, TenantId)>,
    /// Numbers up to this one were given out, and are not given out again.
    pub last_tenant: TenantNumber,
    /// The same for deletions.
    pub last_deletion: u64,
    pub files: Vec<DataFile>,
    /// What the parts of those that are remote are verified with.
    pub block_hashes: Vec<(FileId, BlockHashes)>,
    pub user_tables: Vec<UserTableRecord>,
    pub user_files: Vec<UserFile>,
    /// On record before, and kept as they were.
    pub known_losses: Vec<RecordedLoss>,
    pub losses: Vec<DataLoss>,
}

impl Catalog {
    /// Makes a catalog at `path`, where none is, to take the place of the one at `replaced`.
    ///
    /// The mark that is kept beside `replaced` takes it for a later state of that catalog.
    ///
    /// Durable: the database, closed and without a log, when this returns; its name is not.
    pub fn build(path: &Path, replaced: &Path, contents: &CatalogContents) -> Result<()> {
        let catalog = Self::open(path)?;
        {
            let mut connection = catalog.lock();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            fill(&transaction, contents)?;
            let before = Mark::read(replaced).unwrap_or_default().num_changes;
            transaction.execute("UPDATE store SET num_changes = num_changes + ?1", [before.cast_signed()])?;
            transaction.commit()?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(())
    }

    /// What refers to rows that are not there, as a person reads it.
    pub fn broken_references(&self) -> Result<Vec<String>> {
        let connection = self.lock();
        let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
        let rows = statement.query_map([], |row| {
            let (table, to): (String, String) = (row.get(0)?, row.get(2)?);
            Ok(format!("a row of {table} refers to a row of {to} that does not exist"))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The number of the last change of the tables' form.
    pub fn schema_version(&self) -> Result<i64> {
        let sql = "SELECT max(version) FROM refinery_schema_history";
        Ok(self.lock().query_row(sql, [], |row| row.get(0))?)
    }
}

fn fill(connection: &Connection, contents: &CatalogContents) -> Result<()> {
    if let Some(uuid) = contents.store_uuid {
        connection.execute("UPDATE store SET uuid = ?1", [uuid])?;
    }
    connection.execute("UPDATE store SET flushed_seq = ?1", [contents.flushed_seq.0.cast_signed()])?;
    for (number, id) in &contents.tenants {
        connection
            .execute("INSERT INTO tenants (number, id) VALUES (?1, ?2)", params![number.0, id.as_str()])?;
    }
    let sequences =
        [("tenants", i64::from(contents.last_tenant.0)), ("deletions", contents.last_deletion.cast_signed())];
    for (table, last) in sequences {
        connection.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [table])?;
        connection
            .execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", params![table, last])?;
    }
    for file in &contents.files {
        files::insert_file(connection, file)?;
    }
    for (file, hashes) in &contents.block_hashes {
        remote::insert_hashes(connection, *file, hashes)?;
    }
    for table in &contents.user_tables {
        user_tables::insert_table(connection, table)?;
    }
    for file in &contents.user_files {
        user_tables::insert_user_file(connection, (file.tenant, file.table), file)?;
    }
    for RecordedLoss { id, loss, acknowledgement } in &contents.known_losses {
        data_loss::insert(connection, Some(*id), loss, acknowledgement.as_ref())?;
    }
    for loss in &contents.losses {
        data_loss::insert(connection, None, loss, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
