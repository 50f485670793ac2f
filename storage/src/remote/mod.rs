//! The remote tier: data files in an object store, read through a cache on the local disk.
//!
//! | file | purpose |
//! |---|---|
//! | `address.rs` | [`RemoteUrl`]: where the tier is, and the client for it |
//! | `objects.rs` | requests, each within a time limit and tried again where that may help |
//! | `upload.rs` | puts a file there, whole or in parts |
//! | `blocks.rs` | which blocks a range needs, and how it is cut from them |
//! | `cache.rs` | blocks in memory and on disk |
//! | `owner.rs` | the proof that the objects are ours to change |
//! | `survey.rs` | what is there, for a repair that has no catalog to say so |
//!
//! ```text
//! <url path>/<store uuid>/<signal>/<tenant number>/YYYY/MM/DD/[HH/]<id>.parquet      the same name as in data/
//! <url path>/<store uuid>/OWNER
//! ```
//!
//! The catalog says which files are here; the store is never listed to answer a query. A file is read in blocks, and no byte
//! of a block is used before its hash was found to be the one that the catalog has, wherever the block came from.
//!
//! The client is asynchronous and the engine is not: a runtime of its own drives it, with one thread. Scans wait for it as
//! futures, the threads of the engine block.

mod address;
mod blocks;
mod cache;
mod objects;
mod owner;
mod survey;
mod upload;

#[cfg(test)]
pub(crate) mod testing;

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use alula_catalog::{BlockHashes, Catalog, DataFile, FileId};
use bytes::Bytes;
use foyer::{Cache, CacheBuilder, Spawner};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use address::Backend;
pub use address::RemoteUrl;
pub(crate) use objects::{Failure, Listed, Objects, Patience, Put, Upload};
pub(crate) use owner::{Ownership, give_up, had_remote_tier, take_back};
pub(crate) use survey::{ObjectFault, Survey, file_of_object};

use self::blocks::{blocks_of, cut, range_of};
use self::cache::{BlockCache, BlockKey};
use self::owner::Owner;
use crate::blocking::blocking;
use crate::checksum::{Hasher, checksum_of};
use crate::config::RemoteConfig;
use crate::disk::DiskFile;
use crate::layout::Layout;
use crate::{Error, Result};

/// Blocks that are read for one request of a scan at the same time.
const READS_PER_REQUEST: usize = 8;
/// Blocks that are read for all scans at the same time.
const READS: usize = 32;
/// Bytes of uploads that are in memory. Units: bytes.
const UPLOAD_BYTES: u64 = 64 << 20;
const MIB: u64 = 1 << 20;
/// Memory for the hashes of blocks. Units: bytes.
const HASHES_BYTES: usize = 16 << 20;
/// Threads for what blocks: the disk of the cache, the catalog, local files.
const BLOCKING_THREADS: usize = 8;
/// Objects removed at the same time.
const DELETIONS: usize = 8;
/// The longest that a removal of objects may take.
const DELETION_LIMIT: Duration = Duration::from_secs(30);
/// Orphans that are removed in one go; the rest is found the next time.
const ORPHANS: usize = 10_000;
/// Bytes read at a time of a file that is read whole.
const DOWNLOADED_BYTES: u64 = 8 << 20;
/// Free space that reading a file whole leaves to everything else. Units: bytes.
const DOWNLOAD_RESERVE: u64 = 256 << 20;
const READING: &str = "read a data file";

/// The name of a file's object below `<url path>/<store uuid>/`. It never changes, and no other file ever has it.
pub(crate) fn object_name(file: &DataFile) -> String {
    Layout::data_file_name(file)
}

/// The files of one data directory that are in an object store.
#[derive(Debug)]
pub(crate) struct RemoteTier {
    layout: Layout,
    catalog: Arc<Catalog>,
    objects: Objects,
    owner: Owner,
    /// Before `runtime`, which its end still needs.
    cache: BlockCache,
    hashes: Cache<FileId, Arc<BlockHashes>>,
    reads: Semaphore,
    /// Units: MiB.
    uploads: Semaphore,
    /// Larger files are uploaded in parts. Units: bytes.
    multipart_above: u64,
    /// The last request failed: said once in the log, and taken back once.
    is_failing: AtomicBool,
    num_downloads: AtomicU64,
    /// True once the engine closes.
    closing: watch::Sender<bool>,
    handle: Handle,
    runtime: Option<Runtime>,
    #[cfg(test)]
    settings: RemoteConfig,
}

impl Drop for RemoteTier {
    fn drop(&mut self) {
        // The last owner may be a task of another runtime, where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl RemoteTier {
    /// Builds the client and opens the cache. Nothing is sent yet: a store that is down keeps nobody from starting.
    ///
    /// # Errors
    /// `RemoteSetup` — the environment is not right. `Io` — the cache cannot be opened.
    pub(crate) fn open(
        config: &RemoteConfig,
        layout: &Layout,
        catalog: &Arc<Catalog>,
        store_uuid: [u8; 16],
    ) -> Result<Arc<Self>> {
        let objects = objects_in(config)?.below(&store_dir(store_uuid));
        #[cfg(test)]
        let multipart_above =
            config.backend.as_ref().map_or(upload::MULTIPART_ABOVE, |test| test.multipart_above);
        #[cfg(not(test))]
        let multipart_above = upload::MULTIPART_ABOVE;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("alula-remote")
            .enable_all()
            .build()
            .map_err(|_| Error::ThreadEnded("alula-remote"))?;
        let handle = runtime.handle().clone();
        let (dir, disk, memory) = (layout.cache_dir(), config.cache_bytes, config.cache_memory_bytes);
        let spawner = Spawner::from(handle.clone());
        let cache = wait_on(&handle, async move { BlockCache::open(&dir, disk, memory, spawner).await })??;
        let weight = |_: &FileId, hashes: &Arc<BlockHashes>| 64 + hashes.hashes.len() * 16;
        Ok(Arc::new(Self {
            layout: layout.clone(),
            catalog: Arc::clone(catalog),
            objects,
            owner: Owner::new(layout.clone()),
            cache,
            hashes: CacheBuilder::new(HASHES_BYTES).with_weighter(weight).build(),
            reads: Semaphore::new(READS),
            uploads: Semaphore::new((UPLOAD_BYTES / MIB) as usize),
            multipart_above,
            is_failing: AtomicBool::new(false),
            num_downloads: AtomicU64::new(0),
            closing: watch::Sender::new(false),
            handle,
            runtime: Some(runtime),
            #[cfg(test)]
            settings: config.clone(),
        }))
    }

    #[cfg(test)]
    pub(crate) fn settings(&self) -> &RemoteConfig {
        &self.settings
    }

    /// What drives this tier's futures.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Reads parts of a file.
    ///
    /// Bounds: [`READS`] blocks at a time, over all scans.
    /// Cancel: safe; requests that nobody waits for end.
    ///
    /// # Errors
    /// `RemoteUnavailable` — the store does not answer. `CorruptFile`, `MissingObject` — the object is not what was put there.
    #[cfg_attr(
        not(any(test, feature = "datafusion")),
        expect(dead_code, reason = "only the scan reads parts")
    )]
    pub(crate) async fn read_ranges(
        self: &Arc<Self>,
        file: Arc<DataFile>,
        ranges: Vec<Range<u64>>,
    ) -> Result<Vec<Bytes>> {
        let tier = Arc::clone(self);
        let mut task = JoinSet::new();
        task.spawn_on(async move { tier.read_blocks(file, &ranges).await }, &self.handle);
        match task.join_next().await {
            Some(Ok(read)) => read,
            _ => Err(Error::ThreadEnded("alula-remote")),
        }
    }

    async fn read_blocks(self: Arc<Self>, file: Arc<DataFile>, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let hashes = self.hashes(&file).await?;
        let block_bytes = u64::from(hashes.block_bytes);
        let name = object_name(&file);
        let blocks: BTreeMap<u64, Bytes> = stream::iter(blocks_of(ranges, block_bytes))
            .map(|block| {
                let (tier, file, hash) = (Arc::clone(&self), Arc::clone(&file), hash_of(&hashes, block));
                async move { Ok((block, tier.block(file, block, block_bytes, hash?).await?)) }
            })
            .buffer_unordered(READS_PER_REQUEST)
            .try_collect()
            .await
            .map_err(|failure: Failure| failure.into_error(READING, &name))
            .inspect_err(|error| self.note_failure(error))?;
        Ok(ranges.iter().map(|range| cut(range, &blocks, block_bytes)).collect())
    }

    async fn block(
        self: Arc<Self>,
        file: Arc<DataFile>,
        block: u64,
        block_bytes: u64,
        hash: [u8; 16],
    ) -> Result<Bytes, Failure> {
        let key = BlockKey { file: file.id, block };
        let range = range_of(block, block_bytes, file.size_bytes);
        let fetch = || {
            let (tier, name, range) = (Arc::clone(&self), object_name(&file), range.clone());
            async move { tier.fetch(&name, range, hash).await }
        };
        self.cache.get(key, hash, fetch).await
    }

    /// A block from the object store. One that was damaged on the way is read again.
    async fn fetch(&self, name: &str, range: Range<u64>, hash: [u8; 16]) -> Result<Bytes, Failure> {
        let _permit = self.reads.acquire().await;
        for _ in 0..2 {
            let bytes = self.objects.get(name, range.clone()).await?;
            if checksum_of(&bytes) == hash {
                self.note_success();
                return Ok(bytes);
            }
        }
        Err(Failure::Damaged)
    }

    async fn hashes(&self, file: &DataFile) -> Result<Arc<BlockHashes>> {
        if let Some(hashes) = self.hashes.get(&file.id) {
            return Ok(Arc::clone(hashes.value()));
        }
        let (catalog, id) = (Arc::clone(&self.catalog), file.id);
        let hashes = Arc::new(blocking(move || Ok(catalog.block_hashes(id)?)).await?);
        self.hashes.insert(file.id, Arc::clone(&hashes));
        Ok(hashes)
    }

    /// The engine closes: nobody waits for a file that is being read whole any more.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Reads a whole file into a temporary one that is gone once it is closed. Blocks.
    ///
    /// # Errors
    /// As of [`Self::read_ranges`]; `DiskFull` — there is no room for it; `Closed` — the engine is closing.
    pub(crate) fn download(self: &Arc<Self>, file: &DataFile) -> Result<Box<dyn DiskFile>> {
        let (disk, dir) = (self.layout.disk(), self.layout.cache_dir());
        let free_bytes = disk.free_bytes(&dir).map_err(Error::io(&dir, "cannot ask for free space"))?;
        let needed_bytes = file.size_bytes + DOWNLOAD_RESERVE;
        if free_bytes < needed_bytes {
            return Err(Error::DiskFull { free_bytes, needed_bytes });
        }
        let number = self.num_downloads.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{}.{number}.download", file.id));
        let io = |doing| Error::io(&path, doing);
        let target = disk.create(&path).map_err(io("cannot create the file"))?;
        // Its bytes stay as long as it is open.
        disk.remove_file(&path).map_err(io("cannot remove the file"))?;
        let mut hasher = Hasher::default();
        for at in (0..file.size_bytes).step_by(DOWNLOADED_BYTES as usize) {
            let range = at..(at + DOWNLOADED_BYTES).min(file.size_bytes);
            let (tier, name) = (Arc::clone(self), object_name(file));
            let mut closing = self.closing.subscribe();
            let bytes = self.wait(async move {
                tokio::select! {
                    bytes = tier.objects.get(&name, range) => Ok(bytes),
                    _ = closing.wait_for(|closing| *closing) => Err(Error::Closed),
                }
            })??;
            let bytes = bytes.map_err(|failure| failure.into_error(READING, &object_name(file)))?;
            hasher.update(&bytes);
            target.write_all_at(&bytes, at).map_err(io("cannot write the file"))?;
        }
        if hasher.checksum() != file.checksum {
            return Err(Error::CorruptFile { file: object_name(file) });
        }
        Ok(target)
    }

    /// Removes the objects of dead files. Returns those of which the object is gone. Blocks.
    pub(crate) fn delete(self: &Arc<Self>, files: &[Arc<DataFile>]) -> Result<Vec<FileId>> {
        let names: Vec<_> = files.iter().map(|file| (file.id, object_name(file))).collect();
        let tier = Arc::clone(self);
        self.wait(async move {
            let mut gone = Vec::new();
            // A store that does not answer keeps maintenance no longer than this.
            let ended = timeout(DELETION_LIMIT, tier.delete_names(names, &mut gone)).await;
            if let Ok(Err(error)) = ended {
                tier.note_failure(&error);
            }
            gone
        })
    }

    /// Removes objects until one cannot be removed.
    async fn delete_names(&self, names: Vec<(FileId, String)>, gone: &mut Vec<FileId>) -> Result<()> {
        self.owner.claim(&self.objects).await?;
        let deleted = stream::iter(names)
            .map(|(id, name)| async move { self.objects.delete(&name).await.map(|()| id) })
            .buffer_unordered(DELETIONS);
        let mut deleted = std::pin::pin!(deleted);
        while let Some(id) = deleted.next().await {
            gone.push(id.map_err(|failure| failure.unavailable("remove an object"))?);
        }
        Ok(())
    }

    /// Removes objects older than `age` that belong to no file. Returns how many.
    ///
    /// No upload may be under way, nor one that is not committed yet.
    pub(crate) async fn remove_orphans(self: Arc<Self>, age: Duration) -> Result<usize> {
        self.owner.claim(&self.objects).await?;
        let catalog = Arc::clone(&self.catalog);
        let known: HashSet<FileId> = blocking(move || Ok(catalog.remote_file_ids()?)).await?;
        let is_orphan = |name: &str| file_of(name).is_some_and(|id| !known.contains(&id));
        let unavailable = |failure: Failure| failure.unavailable("look for objects that belong to no file");
        let orphans = self.objects.list_orphans(age, ORPHANS, is_orphan).await.map_err(unavailable)?;
        for name in &orphans {
            self.objects.delete(name).await.map_err(unavailable)?;
        }
        Ok(orphans.len())
    }

    /// Aborts uploads in parts that a crash or a failing store left unfinished, all that it can. None may be under way.
    pub(crate) async fn abort_uploads(self: Arc<Self>) -> Result<()> {
        let catalog = Arc::clone(&self.catalog);
        let unfinished = blocking(move || Ok(catalog.unfinished_uploads()?)).await?;
        let mut result = Ok(());
        for upload in unfinished {
            result = result.and(self.abort(&upload).await);
        }
        result
    }

    /// Blocks until a future of this tier has ended.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        wait_on(&self.handle, future)
    }

    /// Says in the log that the store does not answer, once until it answers again.
    pub(crate) fn note_failure(&self, error: &Error) {
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            let error = error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "the remote tier fails; files stay on the local disk and queries that need it fail"
            );
        }
    }

    pub(crate) fn note_success(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the remote tier answers again");
        }
    }

    async fn upload_room(&self, bytes: u64) -> Result<SemaphorePermit<'_>> {
        let mib = bytes.div_ceil(MIB).clamp(1, UPLOAD_BYTES / MIB);
        self.uploads.acquire_many(mib as u32).await.map_err(|_| Error::Closed)
    }
}

fn hash_of(hashes: &BlockHashes, block: u64) -> Result<[u8; 16], Failure> {
    // The catalog has fewer hashes than the file has blocks.
    hashes.hashes.get(block as usize).copied().ok_or(Failure::Damaged)
}

/// The directory of the tier, in which each store has its own.
fn objects_in(config: &RemoteConfig) -> Result<Objects> {
    #[cfg(test)]
    if let Some(test) = &config.backend {
        return Ok(Objects::new(test.backend.clone(), test.patience));
    }
    Ok(Objects::new(Backend::open(&config.url)?, Patience::default()))
}

/// The directory of a store.
fn store_dir(store_uuid: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(store_uuid))
}

/// The file that an object is of; None if it is of none.
fn file_of(name: &str) -> Option<FileId> {
    let stem = name.rsplit('/').next()?.strip_suffix(".parquet")?;
    (stem.len() == 32).then(|| u128::from_str_radix(stem, 16).ok().map(FileId))?
}

/// Blocks any thread, whether it is one of a runtime or not.
fn wait_on<T: Send + 'static>(
    handle: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    handle.spawn(async move {
        // Nobody waits any more only if the waiting thread panicked.
        let _ = sender.send(future.await);
    });
    receiver.recv().map_err(|_| Error::ThreadEnded("alula-remote"))
}

#[cfg(test)]
mod tests;
