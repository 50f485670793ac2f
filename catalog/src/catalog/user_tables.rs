//! Tables of a tenant's own, and the files that hold their rows.

use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::Catalog;
use super::files::parse_file_id;
use crate::{Error, FileId, Result, TenantNumber, UserTableId};

/// A table as the catalog has it, without its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTableRecord {
    pub id: UserTableId,
    pub tenant: TenantNumber,
    /// Unique among the tables of its tenant.
    pub name: String,
    /// An Arrow schema as an IPC message, which the catalog does not look into.
    pub schema: Vec<u8>,
    /// 1 at first; rises by one with every change of the table.
    pub version: u64,
    /// Units: nanoseconds since the Unix epoch, kept to the millisecond. Set by the catalog when the table is created.
    pub created_ns: i64,
}

/// One Parquet file with rows of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFile {
    pub id: FileId,
    pub tenant: TenantNumber,
    pub table: UserTableId,
    pub num_rows: u64,
    pub size_bytes: u64,
    /// BLAKE3 of the whole file, cut to 128 bits.
    pub checksum: [u8; 16],
}

/// A part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserTableChange {
    Create {
        /// Its version and time are not looked at.
        table: UserTableRecord,
        files: Vec<UserFile>,
    },
    Drop {
        table: UserTableId,
        version: u64,
    },
    /// Takes the files `dead` out of the table and puts `live` in.
    ReplaceFiles {
        table: UserTableId,
        version: u64,
        dead: Vec<FileId>,
        live: Vec<UserFile>,
    },
}

const TABLE_COLUMNS: &str = "id, tenant_number, name, schema, version, \
                             CAST(round(unixepoch(created_at, 'subsec') * 1000) AS INTEGER)";
const FILE_COLUMNS: &str = "id, tenant_number, table_id, num_rows, size_bytes, checksum";

impl Catalog {
    /// Makes all changes of a transaction on the tables of one tenant, in this order, atomically.
    ///
    /// Durable: this COMMIT is the one point at which they happen.
    ///
    /// # Errors
    /// `UserTableChanged` — a table is not of the version that the transaction saw, or its name is taken; nothing was changed.
    /// `NotLive` — one of `dead` is no file of its table; nothing was changed.
    pub fn commit_user_tables(&self, tenant: TenantNumber, changes: &[UserTableChange]) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for change in changes {
            match change {
                UserTableChange::Create { table, files } => create(&transaction, tenant, table, files)?,
                UserTableChange::Drop { table, version } => {
                    drop_table(&transaction, tenant, *table, *version)?;
                }
                UserTableChange::ReplaceFiles { table, version, dead, live } => {
                    replace_files(&transaction, tenant, (*table, *version), dead, live)?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Every table of every tenant.
    pub fn user_tables(&self) -> Result<Vec<UserTableRecord>> {
        let connection = self.lock();
        let mut statement = connection
            .prepare(&format!("SELECT {TABLE_COLUMNS} FROM user_tables ORDER BY tenant_number, name"))?;
        let mut rows = statement.query([])?;
        let mut tables = Vec::new();
        while let Some(row) = rows.next()? {
            tables.push(read_table(row)?);
        }
        Ok(tables)
    }

    /// Every file of a table that queries read.
    pub fn live_user_files(&self) -> Result<Vec<UserFile>> {
        self.user_files("live")
    }

    /// Every file that is in no table any more and may still exist.
    pub fn dead_user_files(&self) -> Result<Vec<UserFile>> {
        self.user_files("dead")
    }

    fn user_files(&self, state: &str) -> Result<Vec<UserFile>> {
        let connection = self.lock();
        let mut statement = connection.prepare(&format!(
            "SELECT {FILE_COLUMNS} FROM user_files WHERE state = ?1 ORDER BY tenant_number, table_id, id"
        ))?;
        let mut rows = statement.query([state])?;
        let mut files = Vec::new();
        while let Some(row) = rows.next()? {
            files.push(read_file(row)?);
        }
        Ok(files)
    }

    /// Drops the rows of dead files that are gone.
    pub fn forget_user_files(&self, files: &[FileId]) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for id in files {
            transaction
                .execute("DELETE FROM user_files WHERE id = ?1 AND state = 'dead'", [id.to_string()])?;
        }
        transaction.commit()?;
        Ok(())
    }
}

fn create(
    connection: &Connection,
    tenant: TenantNumber,
    table: &UserTableRecord,
    files: &[UserFile],
) -> Result<()> {
    let taken = "SELECT EXISTS (SELECT 1 FROM user_tables WHERE tenant_number = ?1 AND name = ?2)";
    if connection.query_row(taken, params![tenant.0, table.name], |row| row.get(0))? {
        return Err(Error::UserTableChanged { table: table.id });
    }
    insert_table(connection, &UserTableRecord { tenant, version: 1, ..table.clone() })?;
    files.iter().try_for_each(|file| insert_user_file(connection, (tenant, table.id), file))
}

fn drop_table(connection: &Connection, tenant: TenantNumber, table: UserTableId, version: u64) -> Result<()> {
    let dropped = connection.execute(
        "DELETE FROM user_tables WHERE id = ?1 AND tenant_number = ?2 AND version = ?3",
        params![table.to_string(), tenant.0, version as i64],
    )?;
    if dropped != 1 {
        return Err(Error::UserTableChanged { table });
    }
    connection.execute(
        "UPDATE user_files SET state = 'dead', dead_at = strftime('%Y-%m-%dT%H:%M:%fZ')
         WHERE table_id = ?1 AND state = 'live'",
        [table.to_string()],
    )?;
    Ok(())
}

fn replace_files(
    connection: &Connection,
    tenant: TenantNumber,
    (table, version): (UserTableId, u64),
    dead: &[FileId],
    live: &[UserFile],
) -> Result<()> {
    let changed = connection.execute(
        "UPDATE user_tables SET version = version + 1 WHERE id = ?1 AND tenant_number = ?2 AND version = ?3",
        params![table.to_string(), tenant.0, version as i64],
    )?;
    if changed != 1 {
        return Err(Error::UserTableChanged { table });
    }
    let mut bury = connection.prepare_cached(
        "UPDATE user_files SET state = 'dead', dead_at = strftime('%Y-%m-%dT%H:%M:%fZ')
         WHERE id = ?1 AND table_id = ?2 AND state = 'live'",
    )?;
    for id in dead {
        if bury.execute([id.to_string(), table.to_string()])? != 1 {
            return Err(Error::NotLive { file: *id });
        }
    }
    live.iter().try_for_each(|file| insert_user_file(connection, (tenant, table), file))
}

/// With the version that it has, and at this moment.
pub(super) fn insert_table(connection: &Connection, table: &UserTableRecord) -> Result<()> {
    connection.execute(
        "INSERT INTO user_tables (id, tenant_number, name, schema, version) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![table.id.to_string(), table.tenant.0, table.name, table.schema, table.version as i64],
    )?;
    Ok(())
}

/// Whatever the file says of itself, it becomes one of this table.
pub(super) fn insert_user_file(
    connection: &Connection,
    (tenant, table): (TenantNumber, UserTableId),
    file: &UserFile,
) -> Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO user_files ({FILE_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
    ))?;
    statement.execute(params![
        file.id.to_string(),
        tenant.0,
        table.to_string(),
        file.num_rows as i64,
        file.size_bytes as i64,
        file.checksum,
    ])?;
    Ok(())
}

fn read_table(row: &Row<'_>) -> Result<UserTableRecord> {
    let id: String = row.get(0)?;
    Ok(UserTableRecord {
        id: parse_table_id(&id)?,
        tenant: TenantNumber(row.get(1)?),
        name: row.get(2)?,
        schema: row.get(3)?,
        version: row.get::<_, i64>(4)? as u64,
        created_ns: row.get::<_, Option<i64>>(5)?.unwrap_or_default().saturating_mul(1_000_000),
    })
}

fn read_file(row: &Row<'_>) -> Result<UserFile> {
    let (id, table): (String, String) = (row.get(0)?, row.get(2)?);
    Ok(UserFile {
        id: parse_file_id(&id)?,
        tenant: TenantNumber(row.get(1)?),
        table: parse_table_id(&table)?,
        num_rows: row.get::<_, i64>(3)? as u64,
        size_bytes: row.get::<_, i64>(4)? as u64,
        checksum: row.get(5)?,
    })
}

fn parse_table_id(text: &str) -> Result<UserTableId> {
    let id = u128::from_str_radix(text, 16);
    id.map(UserTableId)
        .map_err(|_| Error::InvalidRow { table: "user_tables", detail: format!("id {text:?}") })
}

#[cfg(test)]
pub(super) mod tests;
