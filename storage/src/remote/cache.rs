//! Blocks of remote files, kept in memory and on disk. Wrong bytes in the cache cost a request, never a row.

use std::fmt;
use std::future::Future;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use alula_catalog::FileId;
use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    PsyncIoEngineConfig, RecoverMode, Spawner,
};

use super::objects::Failure;
use crate::checksum::checksum_of;
use crate::{Error, Result};

/// What the cache writes and evicts at a time. Units: bytes.
const SEGMENT_BYTES: u64 = 8 << 20;
/// With fewer segments it would evict what it just wrote.
const MIN_SEGMENTS: u64 = 4;
/// The part of the file system that the cache may have.
const DISK_SHARE: u64 = 4;
/// Longer values on disk are damaged.
const MAX_VALUE_BYTES: u64 = SEGMENT_BYTES;

/// A block of a remote file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BlockKey {
    pub file: FileId,
    pub block: u64,
}

impl Code for BlockKey {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        self.file.0.encode(writer)?;
        self.block.encode(writer)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        Ok(Self { file: FileId(u128::decode(reader)?), block: u64::decode(reader)? })
    }

    fn estimated_size(&self) -> usize {
        24
    }
}

#[derive(Debug)]
struct Block {
    bytes: Bytes,
    /// Since they are in memory, the bytes were found to be those of the file.
    is_verified: AtomicBool,
}

impl Code for Block {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        (self.bytes.len() as u64).encode(writer)?;
        writer.write_all(&self.bytes).map_err(foyer::Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        let length = u64::decode(reader)?.min(MAX_VALUE_BYTES);
        let mut bytes = vec![0; length as usize];
        reader.read_exact(&mut bytes).map_err(foyer::Error::io_error)?;
        Ok(Self { bytes: bytes.into(), is_verified: AtomicBool::new(false) })
    }

    fn estimated_size(&self) -> usize {
        8 + self.bytes.len()
    }
}

/// The cache of one data directory.
pub(super) struct BlockCache {
    cache: HybridCache<BlockKey, Block>,
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache").finish_non_exhaustive()
    }
}

impl BlockCache {
    /// Opens the cache in `dir` with what an earlier process left there.
    ///
    /// Bounds: `disk_bytes`, at most a quarter of the file system; `memory_bytes` plus some 32 MiB on the way to the disk.
    pub(super) async fn open(
        dir: &Path,
        disk_bytes: u64,
        memory_bytes: usize,
        spawner: Spawner,
    ) -> Result<Self> {
        let io = |doing| Error::io(dir, doing);
        std::fs::create_dir_all(dir).map_err(io("cannot create the directory of the cache"))?;
        let file_system =
            rustix::fs::statvfs(dir).map_err(|error| io("cannot ask for the disk's size")(error.into()))?;
        let share = file_system.f_blocks.saturating_mul(file_system.f_frsize) / DISK_SHARE;
        let segments = disk_bytes.min(share) / SEGMENT_BYTES;
        let segments = if segments < MIN_SEGMENTS { 0 } else { segments };
        remove_surplus(dir, segments).map_err(io("cannot shrink the cache"))?;
        let builder = HybridCacheBuilder::new()
            .with_name("remote")
            .memory(memory_bytes)
            .with_weighter(|_: &BlockKey, block: &Block| block.bytes.len())
            .storage()
            .with_spawner(spawner)
            .with_recover_mode(RecoverMode::Quiet)
            .with_io_engine_config(PsyncIoEngineConfig::new());
        let failed = |error| Error::RemoteSetup(Box::new(error));
        let builder = if segments == 0 {
            builder
        } else {
            let device = FsDeviceBuilder::new(dir).with_capacity((segments * SEGMENT_BYTES) as usize);
            let device = device.build().map_err(failed)?;
            builder.with_engine_config(BlockEngineConfig::new(device).with_block_size(SEGMENT_BYTES as usize))
        };
        Ok(Self { cache: builder.build().await.map_err(failed)? })
    }

    /// A block of a file, from here or by `fetch`, which several readers share. Its bytes have this hash.
    pub(super) async fn get<F>(
        &self,
        key: BlockKey,
        hash: [u8; 16],
        fetch: impl Fn() -> F,
    ) -> Result<Bytes, Failure>
    where
        F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
    {
        if let Some(bytes) = self.cached(key, hash).await {
            return Ok(bytes);
        }
        let fetched = fetch();
        let fetched = async move {
            let bytes = fetched.await?;
            if checksum_of(&bytes) == hash {
                Ok(Block { bytes, is_verified: AtomicBool::new(true) })
            } else {
                Err(Failure::Damaged)
            }
        };
        let entry = self.cache.get_or_fetch(&key, || fetched).await.map_err(failure_of)?;
        if verify(&entry, hash) { Ok(entry.bytes.clone()) } else { Err(Failure::Damaged) }
    }

    /// A block that is here and has this hash. One that has not is thrown out.
    async fn cached(&self, key: BlockKey, hash: [u8; 16]) -> Option<Bytes> {
        let found = self.cache.get(&key).await;
        match found {
            Ok(None) => return None,
            Ok(Some(entry)) if verify(&entry, hash) => return Some(entry.bytes.clone()),
            Ok(Some(_)) => {
                tracing::warn!("a block in the cache of the remote tier is damaged; reading it again");
            }
            Err(error) => tracing::warn!(%error, "cannot read the cache of the remote tier"),
        }
        self.cache.remove(&key);
        None
    }

    /// Everything that was evicted from memory is on disk.
    #[cfg(test)]
    pub(super) async fn settle(&self) {
        self.cache.memory().evict_all();
        self.cache.storage().wait().await;
    }
}

fn verify(block: &Block, hash: [u8; 16]) -> bool {
    if block.is_verified.load(Ordering::Relaxed) {
        return true;
    }
    let is_right = checksum_of(&block.bytes) == hash;
    block.is_verified.store(is_right, Ordering::Relaxed);
    is_right
}

/// The failure that a fetch ended with, out of the cache's wrapping.
fn failure_of(error: foyer::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.clone();
        }
        cause = error.source();
    }
    Failure::Cache(error.into())
}

/// Removes the files of segments past the first `segments`, which a larger cache left, and what a crash left of files that
/// were read whole.
fn remove_surplus(dir: &Path, segments: u64) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number =
            name.to_str().and_then(|name| name.rsplit('-').next()).and_then(|digits| digits.parse().ok());
        let is_download = entry.path().extension().is_some_and(|extension| extension == "download");
        if is_download || number.is_some_and(|number: u64| number >= segments) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
