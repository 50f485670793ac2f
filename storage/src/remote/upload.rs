//! Putting a data file into the object store, whole or in parts, and finding out whether it is there.
//!
//! ```text
//! read and compare with the checksum -> put (create only) or parts -> HEAD -> the caller's COMMIT
//! ```
//!
//! A file is put under one name for ever, so an attempt whose answer was lost, or that a crash cut off, is found by the next
//! one: an object that is there with all the bytes of the file counts as put.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use alula_catalog::{BlockHashes, Catalog, DataFile, RemoteUpload};
use bytes::Bytes;
use object_store::PutPayload;
use object_store::multipart::PartId;

use super::blocks::{BLOCK_BYTES, range_of};
use super::objects::{Failure, Put, Upload};
use super::{RemoteTier, object_name};
use crate::blocking::blocking;
use crate::checksum::{Hasher, checksum_of};
use crate::disk::{DiskFile, read_exact_at};
use crate::{Error, Result};

/// Larger files go up in parts.
pub(super) const MULTIPART_ABOVE: u64 = 64 << 20;
/// Blocks of a part.
const PART_BLOCKS: u64 = 8;
const UPLOADING: &str = "upload a data file";

impl RemoteTier {
    /// Puts a local file into the object store. Returns the hashes that its parts are verified with from then on.
    ///
    /// Durable: the object is, when this returns. It is part of the store only once the catalog says so.
    /// Bounds: waits for a share of [`super::UPLOAD_BYTES`]; a file is in memory whole up to [`MULTIPART_ABOVE`].
    /// Cancel: the object may be there, or an unfinished upload that [`Self::abort_uploads`] finds.
    ///
    /// # Errors
    /// `CorruptFile` — the local file is not what was written. `RemoteUnavailable` — try again. `RemoteOwned` — never.
    pub(crate) async fn upload(self: Arc<Self>, file: Arc<DataFile>) -> Result<BlockHashes> {
        self.owner.claim(&self.objects).await?;
        let path = self.layout.data_file(&file);
        let layout = self.layout.clone();
        let opened = blocking(move || {
            layout.disk().open(&path).map_err(Error::io(&path, "cannot open the data file"))
        });
        let mut source = Source::new(&file, opened.await?.into());
        let in_parts = file.size_bytes > self.multipart_above && self.objects.takes_parts();
        let _room = self
            .upload_room(if in_parts { PART_BLOCKS * u64::from(BLOCK_BYTES) } else { file.size_bytes })
            .await?;
        let name = object_name(&file);
        let hashes = if in_parts {
            self.upload_parts(&file, &name, source).await?
        } else {
            let blocks;
            (source, blocks) = source.read(source_blocks(&file)).await?;
            let hashes = source.finish()?;
            self.put_whole(&file, &name, blocks.into_iter().collect(), &hashes).await?;
            hashes
        };
        let size = self.objects.size(&name).await.map_err(|failure| failure.into_error(UPLOADING, &name))?;
        if size == Some(file.size_bytes) { Ok(hashes) } else { Err(Failure::Damaged.unavailable(UPLOADING)) }
    }

    async fn put_whole(
        &self,
        file: &DataFile,
        name: &str,
        payload: PutPayload,
        hashes: &BlockHashes,
    ) -> Result<()> {
        let unavailable = |failure: Failure| failure.unavailable(UPLOADING);
        let put = self.objects.put_new(name, &payload).await.map_err(unavailable)?;
        if put == Put::Existed && !self.has_content(file, name, hashes).await? {
            // Only a store that keeps part of a put has such: nobody else has the name, and no row needs the object.
            self.objects.delete(name).await.map_err(unavailable)?;
            if self.objects.put_new(name, &payload).await.map_err(unavailable)? == Put::Existed {
                return Err(Failure::Damaged.unavailable(UPLOADING));
            }
        }
        Ok(())
    }

    async fn upload_parts(&self, file: &DataFile, name: &str, source: Source) -> Result<BlockHashes> {
        if let Some(hashes) = self.uploaded_before(file, name, &source).await? {
            return Ok(hashes);
        }
        let begun = self.objects.begin_upload(name).await;
        let id = begun.map_err(|failure| failure.unavailable(UPLOADING))?;
        let upload = RemoteUpload { object_name: name.to_owned(), upload_id: id };
        self.on_catalog(&upload, Catalog::note_upload).await?;
        let parts = parts_of(&upload);
        let put = self.put_parts(file, source, parts).await;
        let completed = match put {
            Ok((hashes, put)) => self.complete(file, parts, put, &hashes).await.map(|()| hashes),
            Err(error) => Err(error),
        };
        match completed {
            Ok(hashes) => {
                self.on_catalog(&upload, Catalog::forget_upload).await?;
                Ok(hashes)
            }
            Err(error) => {
                // What cannot be aborted stays on record and is tried again later.
                if let Err(error) = self.abort(&upload).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "cannot abort an upload");
                }
                Err(error)
            }
        }
    }

    async fn put_parts(
        &self,
        file: &DataFile,
        mut source: Source,
        upload: Upload<'_>,
    ) -> Result<(BlockHashes, Vec<PartId>)> {
        let all = source_blocks(file);
        let mut parts = Vec::new();
        for first in (all.start..all.end).step_by(PART_BLOCKS as usize) {
            let blocks;
            (source, blocks) = source.read(first..(first + PART_BLOCKS).min(all.end)).await?;
            let payload: PutPayload = blocks.into_iter().collect();
            let part = self.objects.put_part(upload, parts.len(), &payload).await;
            parts.push(part.map_err(|failure| failure.unavailable(UPLOADING))?);
        }
        Ok((source.finish()?, parts))
    }

    /// Makes one object of the parts. Done again after a lost answer, a store says that there is no such upload.
    async fn complete(
        &self,
        file: &DataFile,
        upload: Upload<'_>,
        parts: Vec<PartId>,
        hashes: &BlockHashes,
    ) -> Result<()> {
        match self.objects.complete_upload(upload, parts).await {
            Ok(()) => Ok(()),
            Err(failure) => {
                if self.has_content(file, upload.name, hashes).await? {
                    Ok(())
                } else {
                    Err(failure.unavailable(UPLOADING))
                }
            }
        }
    }

    /// The hashes of a file whose object is there already: an answer was lost, or a crash came before the COMMIT.
    async fn uploaded_before(
        &self,
        file: &DataFile,
        name: &str,
        source: &Source,
    ) -> Result<Option<BlockHashes>> {
        let size = self.objects.size(name).await.map_err(|failure| failure.unavailable(UPLOADING))?;
        if size != Some(file.size_bytes) {
            return Ok(None);
        }
        let mut again = Source::new(file, Arc::clone(&source.file));
        for block in source_blocks(file) {
            (again, _) = again.read(block..block + 1).await?;
        }
        let hashes = again.finish()?;
        Ok(self.has_content(file, name, &hashes).await?.then_some(hashes))
    }

    /// Whether the object has the bytes of the file, all of them read back.
    async fn has_content(&self, file: &DataFile, name: &str, hashes: &BlockHashes) -> Result<bool> {
        let unavailable = |failure: Failure| failure.unavailable(UPLOADING);
        if self.objects.size(name).await.map_err(unavailable)? != Some(file.size_bytes) {
            return Ok(false);
        }
        for (block, hash) in hashes.hashes.iter().enumerate() {
            let range = range_of(block as u64, hashes.block_bytes.into(), file.size_bytes);
            if checksum_of(&self.objects.get(name, range).await.map_err(unavailable)?) != *hash {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends an upload that was begun and is not under way.
    pub(super) async fn abort(&self, upload: &RemoteUpload) -> Result<()> {
        // A store without uploads in parts has none that could be left.
        if self.objects.takes_parts() {
            let aborted = self.objects.abort_upload(parts_of(upload)).await;
            aborted.map_err(|failure| failure.unavailable("abort an upload"))?;
        }
        self.on_catalog(upload, Catalog::forget_upload).await
    }

    async fn on_catalog(
        &self,
        upload: &RemoteUpload,
        change: fn(&Catalog, &RemoteUpload) -> alula_catalog::Result<()>,
    ) -> Result<()> {
        let (catalog, upload) = (Arc::clone(&self.catalog), upload.clone());
        blocking(move || Ok(change(&catalog, &upload)?)).await
    }
}

fn parts_of(upload: &RemoteUpload) -> Upload<'_> {
    Upload { name: &upload.object_name, id: &upload.upload_id }
}

fn source_blocks(file: &DataFile) -> Range<u64> {
    0..file.size_bytes.div_ceil(BLOCK_BYTES.into())
}

/// A local file that is read once from start to end, hashed on the way.
struct Source {
    file: Arc<dyn DiskFile>,
    name: String,
    size_bytes: u64,
    checksum: [u8; 16],
    hasher: Hasher,
    hashes: Vec<[u8; 16]>,
}

impl Source {
    fn new(file: &DataFile, opened: Arc<dyn DiskFile>) -> Self {
        Self {
            file: opened,
            name: object_name(file),
            size_bytes: file.size_bytes,
            checksum: file.checksum,
            hasher: Hasher::default(),
            hashes: Vec::new(),
        }
    }

    /// The next blocks.
    async fn read(mut self, blocks: Range<u64>) -> Result<(Self, Vec<Bytes>)> {
        blocking(move || {
            let mut read = Vec::new();
            for block in blocks {
                let range = range_of(block, BLOCK_BYTES.into(), self.size_bytes);
                let bytes =
                    read_exact_at(self.file.as_ref(), (range.end - range.start) as usize, range.start);
                let bytes = bytes.map_err(|source| match source.kind() {
                    io::ErrorKind::UnexpectedEof => Error::CorruptFile { file: self.name.clone() },
                    _ => Error::Io {
                        path: self.name.clone().into(),
                        doing: "cannot read the data file",
                        source,
                    },
                })?;
                self.hasher.update(&bytes);
                self.hashes.push(checksum_of(&bytes));
                read.push(Bytes::from(bytes));
            }
            Ok((self, read))
        })
        .await
    }

    /// After the last block: the hashes, if the file is what was written.
    fn finish(self) -> Result<BlockHashes> {
        if self.hasher.checksum() != self.checksum {
            return Err(Error::CorruptFile { file: self.name });
        }
        Ok(BlockHashes { block_bytes: BLOCK_BYTES, hashes: self.hashes })
    }
}
