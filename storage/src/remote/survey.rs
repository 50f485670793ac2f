//! What is in the tier, for those who have no catalog to say so, or compare it with one.
//!
//! Footers are read from the ends of the objects, many at a time. Only an object whose rows are part of the store is read
//! whole, through a temporary file, as each block of it needs its hash in the catalog. Nothing is changed there.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::Duration;

use alula_catalog::BlockHashes;
use bytes::{Buf, Bytes};
use futures::stream::{self, StreamExt, TryStreamExt};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::blocks::BLOCK_BYTES;
use super::objects::{Failure, Listed, Objects};
use super::owner::{self, Ownership};
use super::{DOWNLOAD_RESERVE, DOWNLOADED_BYTES, file_of, objects_in, store_dir, wait_on};
use crate::blocking::blocking;
use crate::checksum::checksum_of;
use crate::config::RemoteConfig;
use crate::data_files::DataFileReader;
use crate::disk::{DiskFile, create_dir_durably};
use crate::layout::Layout;
use crate::parquet::{Footer, FooterError, read_footer};
use crate::{Error, Result};

/// What is read of the end of an object at first: nearly all footers are in it. Units: bytes.
const TAIL_BYTES: u64 = 64 << 10;
/// The largest footer that is read. Units: bytes.
const MAX_FOOTER_BYTES: u64 = 16 << 20;
/// Footers that are read at the same time.
const FOOTERS: usize = 16;
/// Pieces of one object that are read at the same time.
const PIECES: usize = 3;
/// What is after the footer: its length and the magic. Units: bytes.
const END_BYTES: u64 = 8;
/// The longest that the question may take whether the store answers at all.
const PROBE_LIMIT: Duration = Duration::from_mins(2);

/// Why an object is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectFault {
    #[error("it was removed meanwhile")]
    Gone,
    #[error("it cannot be read ({})", alula_catalog::error_chain(.0))]
    Unreadable(Failure),
    #[error(transparent)]
    Footer(#[from] FooterError),
}

/// What is in one directory of an object store. All methods block.
#[derive(Debug)]
pub(crate) struct Survey {
    layout: Layout,
    objects: Objects,
    url: String,
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Drop for Survey {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Survey {
    /// Of the whole tier, which may have the objects of several stores.
    ///
    /// # Errors
    /// `RemoteSetup` — the environment is not right.
    pub(crate) fn open(config: &RemoteConfig, layout: &Layout) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(FOOTERS)
            .thread_name("alula-remote")
            .enable_all()
            .build()
            .map_err(|_| Error::ThreadEnded("alula-remote"))?;
        Ok(Self {
            layout: layout.clone(),
            objects: objects_in(config)?,
            url: config.url.to_string().trim_end_matches('/').to_owned(),
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Of one store from here on.
    pub(crate) fn enter(&mut self, store_uuid: [u8; 16]) {
        let dir = store_dir(store_uuid);
        self.objects = self.objects.below(&dir);
        self.url = format!("{}/{dir}", self.url);
    }

    /// Where an object is, as other programs name it.
    pub(crate) fn url_of(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The stores that have objects here, before [`Self::enter`].
    ///
    /// # Errors
    /// `RemoteUnavailable`.
    pub(crate) fn stores(&self) -> Result<Vec<[u8; 16]>> {
        let dirs = self.wait(|objects| async move {
            objects.dirs().await.map_err(|failure| failure.unavailable("look for stores"))
        })?;
        let uuid = |dir: &String| (dir.len() == 32).then(|| u128::from_str_radix(dir, 16).ok())?;
        Ok(dirs.iter().filter_map(uuid).map(u128::to_be_bytes).collect())
    }

    /// Whose the objects of the store are.
    ///
    /// # Errors
    /// `RemoteUnavailable`.
    pub(crate) fn ownership(&self) -> Result<Ownership> {
        let layout = self.layout.clone();
        self.wait(|objects| async move { owner::ownership(&objects, &layout).await })
    }

    /// The same for one of [`Self::stores`].
    ///
    /// # Errors
    /// `RemoteUnavailable`.
    pub(crate) fn ownership_of(&self, store_uuid: [u8; 16]) -> Result<Ownership> {
        let (layout, dir) = (self.layout.clone(), store_dir(store_uuid));
        self.wait(|objects| async move { owner::ownership(&objects.below(&dir), &layout).await })
    }

    /// Sees to it that no server removes an object: see [`owner::keep_from_all`].
    ///
    /// # Errors
    /// `RemoteUnavailable`.
    pub(crate) fn keep_from_all(&self) -> Result<()> {
        self.wait(|objects| async move { owner::keep_from_all(&objects).await })
    }

    /// Every object of the store but its `OWNER`, by name.
    ///
    /// Bounds: a name and a size for each.
    ///
    /// # Errors
    /// `RemoteUnavailable`.
    pub(crate) fn list(&self) -> Result<Vec<Listed>> {
        let listed = self.wait(|objects| async move {
            objects.list_all().await.map_err(|failure| failure.unavailable("list the data files"))
        });
        let mut listed: Vec<_> = listed?.into_iter().filter(|object| object.name != owner::OBJECT).collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// What the footer of each object says, in no order. Nothing else of an object is read.
    ///
    /// Bounds: [`FOOTERS`] at a time, each of at most [`MAX_FOOTER_BYTES`].
    ///
    /// # Errors
    /// `RemoteUnavailable` — the store does not answer any more.
    pub(crate) fn footers(&self, listed: Vec<Listed>) -> Result<Vec<(Listed, Result<Footer, ObjectFault>)>> {
        self.wait(|objects| async move {
            let read = |object: Listed| {
                let objects = objects.clone();
                async move {
                    let footer = match footer_of(&objects, &object).await {
                        Err(fault @ ObjectFault::Unreadable(_)) => {
                            probe(&objects).await?;
                            Err(fault)
                        }
                        read => read,
                    };
                    Ok((object, footer))
                }
            };
            stream::iter(listed).map(read).buffer_unordered(FOOTERS).try_collect().await
        })
    }

    /// Reads an object into a temporary file that is gone once it is closed, and hashes its blocks on the way.
    ///
    /// Bounds: [`PIECES`] of [`DOWNLOADED_BYTES`] in memory; the object on the disk.
    ///
    /// # Errors
    /// `RemoteUnavailable` — the store does not answer any more. `Io` — the disk of the data directory failed, or is full.
    pub(crate) fn download(
        &self,
        object: &Listed,
    ) -> Result<Result<(DataFileReader, BlockHashes), ObjectFault>> {
        let target = self.temporary(object)?;
        let mut ranges = pieces_of(object.size_bytes);
        let mut pending = VecDeque::new();
        let (mut at, mut hashes) = (0, Vec::new());
        loop {
            pending
                .extend(ranges.by_ref().take(PIECES - pending.len()).map(|range| self.fetch(object, range)));
            let Some(mut fetching) = pending.pop_front() else { break };
            let fetched = wait_on(&self.handle, async move { fetching.join_next().await })?;
            let Some(Ok(fetched)) = fetched else { return Err(Error::ThreadEnded("alula-remote")) };
            let bytes = match fetched {
                Ok(bytes) => bytes,
                Err(failure) => {
                    if !failure.is_not_found() {
                        self.wait(|objects| async move { probe(&objects).await })?;
                    }
                    return Ok(Err(fault_of(failure)));
                }
            };
            hashes.extend(bytes.chunks(BLOCK_BYTES as usize).map(checksum_of));
            let dir = self.layout.cache_dir();
            target.write_all_at(&bytes, at).map_err(Error::io(&dir, "cannot write a temporary file"))?;
            at += bytes.len() as u64;
        }
        let reader = DataFileReader::of(target, object.size_bytes);
        Ok(Ok((reader, BlockHashes { block_bytes: BLOCK_BYTES, hashes })))
    }

    /// Begins to read a part of an object.
    fn fetch(&self, object: &Listed, range: Range<u64>) -> JoinSet<Result<Bytes, Failure>> {
        let (objects, name) = (self.objects.clone(), object.name.clone());
        let mut task = JoinSet::new();
        task.spawn_on(async move { objects.get(&name, range).await }, &self.handle);
        task
    }

    /// A file that is there as long as it is open, if there is room for it.
    fn temporary(&self, object: &Listed) -> Result<Box<dyn DiskFile>> {
        let (disk, dir) = (self.layout.disk(), self.layout.cache_dir());
        create_dir_durably(disk, &dir)?;
        let free_bytes = disk.free_bytes(&dir).map_err(Error::io(&dir, "cannot ask for free space"))?;
        if free_bytes < object.size_bytes.saturating_add(DOWNLOAD_RESERVE) {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            let doing = "there is no room to read a file of the remote tier; nothing was changed";
            return Err(Error::io(&dir, doing)(full));
        }
        let path = dir.join("survey.download");
        let target = disk.create(&path).map_err(Error::io(&path, "cannot create the file"))?;
        disk.remove_file(&path).map_err(Error::io(&path, "cannot remove the file"))?;
        Ok(target)
    }

    fn wait<T, F>(&self, work: impl FnOnce(Objects) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        wait_on(&self.handle, work(self.objects.clone()))?
    }
}

/// The file that an object is of, by its name.
pub(crate) fn file_of_object(object: &Listed) -> Option<alula_catalog::FileId> {
    file_of(&object.name)
}

/// Whether the store answers at all: if not, nothing can be said of any object.
async fn probe(objects: &Objects) -> Result<()> {
    let unavailable = |failure: Failure| failure.unavailable("read the data files");
    match timeout(PROBE_LIMIT, objects.size(owner::OBJECT)).await {
        Ok(answered) => answered.map(drop).map_err(unavailable),
        Err(_) => Err(unavailable(Failure::TimedOut(PROBE_LIMIT))),
    }
}

async fn footer_of(objects: &Objects, object: &Listed) -> Result<Footer, ObjectFault> {
    let tail = Tail::read(objects, object).await?;
    let parsed = blocking(move || Ok(read_footer(&tail))).await;
    Ok(parsed.unwrap_or(Err(FooterError::Panicked))?)
}

fn fault_of(failure: Failure) -> ObjectFault {
    if failure.is_not_found() { ObjectFault::Gone } else { ObjectFault::Unreadable(failure) }
}

fn pieces_of(size_bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let starts = (0..size_bytes).step_by(DOWNLOADED_BYTES as usize);
    starts.map(move |start| start..(start + DOWNLOADED_BYTES).min(size_bytes))
}

/// The end of an object, with all of its footer if it has one.
#[derive(Debug)]
struct Tail {
    size_bytes: u64,
    bytes: Bytes,
}

impl Tail {
    async fn read(objects: &Objects, object: &Listed) -> Result<Self, ObjectFault> {
        let size_bytes = object.size_bytes;
        let read = async |length: u64| {
            let range = size_bytes - length..size_bytes;
            objects.get(&object.name, range).await.map_err(fault_of)
        };
        // A range without bytes is an error to object stores, and no Parquet file to us.
        let mut bytes = Bytes::new();
        if size_bytes > 0 {
            bytes = read(size_bytes.min(TAIL_BYTES)).await?;
        }
        if let Some(last) = bytes.last_chunk::<{ END_BYTES as usize }>() {
            let length = last.first_chunk().map_or(0, |length| u64::from(u32::from_le_bytes(*length)));
            let needed = length + END_BYTES;
            if needed > bytes.len() as u64 && needed <= size_bytes.min(MAX_FOOTER_BYTES) {
                bytes = read(needed).await?;
            }
        }
        Ok(Self { size_bytes, bytes })
    }
}

impl Length for Tail {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

impl ChunkReader for Tail {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, offset: u64) -> Result<Self::T, ParquetError> {
        let length = self.size_bytes.saturating_sub(offset);
        Ok(self.get_bytes(offset, length as usize)?.reader())
    }

    fn get_bytes(&self, offset: u64, length: usize) -> Result<Bytes, ParquetError> {
        let first = self.size_bytes - self.bytes.len() as u64;
        let outside = || ParquetError::EOF("its footer is larger than it may be".to_owned());
        let start = offset.checked_sub(first).ok_or_else(outside)? as usize;
        let end = start.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or_else(outside)?;
        Ok(self.bytes.slice(start..end))
    }
}
