//! The remote tier: which files are there, what their parts are verified with, and which uploads are unfinished.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::Catalog;
use super::files::{parse_file_id, parse_tier};
use crate::{Error, FileId, Result, Tier};

/// Hashes of the blocks of a file, in order: BLAKE3, cut to 128 bits. The last block may be shorter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHashes {
    pub block_bytes: u32,
    pub hashes: Vec<[u8; 16]>,
}

/// A multipart upload that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUpload {
    pub object_name: String,
    pub upload_id: String,
}

impl Catalog {
    /// Says that a live file is in the remote tier from here on.
    ///
    /// Durable: this COMMIT is the one point at which a file changes its tier.
    ///
    /// # Errors
    /// `NotLive` — it is not part of the store, or remote already; nothing was changed.
    pub fn move_to_remote(&self, file: FileId, hashes: &BlockHashes) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let moved = transaction.execute(
            "UPDATE files SET tier = 'remote' WHERE id = ?1 AND state = 'live' AND tier = 'local'",
            [file.to_string()],
        )?;
        if moved != 1 {
            return Err(Error::NotLive { file });
        }
        insert_hashes(&transaction, file, hashes)?;
        transaction.commit()?;
        Ok(())
    }

    /// Where a live file is. None if it is no part of the store.
    pub fn tier_of(&self, file: FileId) -> Result<Option<Tier>> {
        let tier: Option<String> = self
            .lock()
            .query_row("SELECT tier FROM files WHERE id = ?1 AND state = 'live'", [file.to_string()], |row| {
                row.get(0)
            })
            .optional()?;
        tier.map(|tier| parse_tier(&tier, &file.to_string())).transpose()
    }

    /// What the parts of a remote file are verified with.
    ///
    /// # Errors
    /// `InvalidRow` — the catalog has none.
    pub fn block_hashes(&self, file: FileId) -> Result<BlockHashes> {
        let found: Option<(u32, Vec<u8>)> = self
            .lock()
            .query_row(
                "SELECT block_bytes, hashes FROM remote_files WHERE file_id = ?1",
                [file.to_string()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let (block_bytes, hashes) = found.ok_or_else(|| Error::InvalidRow {
            table: "remote_files",
            detail: format!("file {file} has no hashes"),
        })?;
        Ok(BlockHashes { block_bytes, hashes: hashes.as_chunks().0.to_vec() })
    }

    /// Every file of the remote tier that is live, or dead and not forgotten.
    pub fn remote_file_ids(&self) -> Result<HashSet<FileId>> {
        let connection = self.lock();
        let mut statement = connection.prepare("SELECT id FROM files WHERE tier = 'remote'")?;
        let mut rows = statement.query([])?;
        let mut ids = HashSet::new();
        while let Some(row) = rows.next()? {
            ids.insert(parse_file_id(&row.get::<_, String>(0)?)?);
        }
        Ok(ids)
    }

    /// Remembers an upload until [`Self::forget_upload`], across restarts.
    pub fn note_upload(&self, upload: &RemoteUpload) -> Result<()> {
        self.lock().execute(
            "INSERT INTO remote_uploads (object_name, upload_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            [&upload.object_name, &upload.upload_id],
        )?;
        Ok(())
    }

    /// The upload was completed or aborted.
    pub fn forget_upload(&self, upload: &RemoteUpload) -> Result<()> {
        self.lock().execute(
            "DELETE FROM remote_uploads WHERE object_name = ?1 AND upload_id = ?2",
            [&upload.object_name, &upload.upload_id],
        )?;
        Ok(())
    }

    /// Uploads that were begun and not forgotten.
    pub fn unfinished_uploads(&self) -> Result<Vec<RemoteUpload>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare("SELECT object_name, upload_id FROM remote_uploads ORDER BY created_at")?;
        let uploads = statement
            .query_map([], |row| Ok(RemoteUpload { object_name: row.get(0)?, upload_id: row.get(1)? }))?;
        Ok(uploads.collect::<rusqlite::Result<_>>()?)
    }
}

pub(super) fn insert_hashes(connection: &Connection, file: FileId, hashes: &BlockHashes) -> Result<()> {
    let mut statement = connection
        .prepare_cached("INSERT INTO remote_files (file_id, block_bytes, hashes) VALUES (?1, ?2, ?3)")?;
    statement.execute(params![file.to_string(), hashes.block_bytes, hashes.hashes.as_flattened()])?;
    Ok(())
}

#[cfg(test)]
mod tests;
