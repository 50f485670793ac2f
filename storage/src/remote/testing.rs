//! An object store in memory that fails as real ones do.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use alula_catalog::DataFile;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::objects::Patience;
use super::{Backend, RemoteUrl, object_name};
use crate::config::RemoteConfig;

/// What a tier uses in the place of what its URL names.
#[derive(Clone, Debug)]
pub(crate) struct TestBackend {
    pub backend: Backend,
    pub patience: Patience,
    pub multipart_above: u64,
}

/// An object store that can fail, lose its answers, be down, or fall silent.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: InMemory,
    dice: AtomicU64,
    /// Of 100 requests, how many fail before they have an effect.
    pub failing: AtomicUsize,
    /// Of 100 requests, how many have their effect, and an error for an answer.
    pub unanswered: AtomicUsize,
    pub is_down: AtomicBool,
    /// Completing an upload in parts has its effect, and an error for an answer.
    pub completions_unanswered: AtomicBool,
    /// Requests until none is answered any more.
    pub answered: AtomicUsize,
    /// Requests until every one fails.
    pub down_after: AtomicUsize,
    /// Uploads in parts that were neither completed nor aborted.
    pub open_uploads: AtomicUsize,
    pub num_gets: AtomicUsize,
}

impl FaultyStore {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            dice: AtomicU64::new(seed),
            failing: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            completions_unanswered: AtomicBool::new(false),
            answered: AtomicUsize::new(usize::MAX),
            down_after: AtomicUsize::new(usize::MAX),
            open_uploads: AtomicUsize::new(0),
            num_gets: AtomicUsize::new(0),
        })
    }

    /// A directory of this store.
    pub(crate) fn backend(self: &Arc<Self>, prefix: &str) -> Backend {
        Backend {
            store: Arc::clone(self) as _,
            multipart: Some(Arc::clone(self) as _),
            prefix: Path::from(prefix),
            local_root: None,
        }
    }

    /// Settings of a tier in this store that moves every file at once.
    pub(crate) fn config(self: &Arc<Self>) -> RemoteConfig {
        let backend = self.backend("tier");
        let patience = Patience { attempts: 3, pause: Duration::from_millis(1), ..Patience::default() };
        let url: RemoteUrl = "s3://unused/tier".parse().unwrap();
        RemoteConfig {
            after: Duration::ZERO,
            cache_bytes: 0,
            orphan_age: Duration::ZERO,
            backend: Some(TestBackend { backend, patience, multipart_above: super::upload::MULTIPART_ABOVE }),
            ..RemoteConfig::new(url)
        }
    }

    /// Names of all objects that are data files, below the store's own directory.
    pub(crate) async fn data_files(&self) -> Vec<String> {
        let objects: Vec<_> = self.inner.list(None).try_collect().await.unwrap();
        let names = objects.into_iter().map(|object| object.location.to_string());
        let mut names: Vec<_> = names
            .filter(|name| name.ends_with(".parquet"))
            .map(|name| name.splitn(3, '/').last().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Replaces the object of a file by what `change` makes of its bytes.
    pub(crate) async fn change(&self, file: &DataFile, change: impl FnOnce(&mut Vec<u8>)) {
        let location = self.location_of(file).await;
        let mut bytes = self.inner.get(&location).await.unwrap().bytes().await.unwrap().to_vec();
        change(&mut bytes);
        self.inner.put(&location, bytes.into()).await.unwrap();
    }

    pub(crate) async fn remove(&self, file: &DataFile) {
        self.inner.delete(&self.location_of(file).await).await.unwrap();
    }

    pub(crate) async fn bytes_of(&self, file: &DataFile) -> Vec<u8> {
        let location = self.location_of(file).await;
        self.inner.get(&location).await.unwrap().bytes().await.unwrap().to_vec()
    }

    /// Puts an object of any name into the directory of the store that has `file`.
    pub(crate) async fn put_beside(&self, file: &DataFile, name: &str, bytes: Vec<u8>) {
        let location = self.location_of(file).await;
        let dir = location.as_ref().strip_suffix(&object_name(file)).unwrap().to_owned();
        self.inner.put(&Path::from(dir + name), bytes.into()).await.unwrap();
    }

    /// Removes the object of this name, of whichever store.
    pub(crate) async fn remove_named(&self, name: &str) {
        let objects: Vec<_> = self.inner.list(None).try_collect().await.unwrap();
        let found = objects.into_iter().find(|object| object.location.as_ref().ends_with(name)).unwrap();
        self.inner.delete(&found.location).await.unwrap();
    }

    async fn location_of(&self, file: &DataFile) -> Path {
        let objects: Vec<_> = self.inner.list(None).try_collect().await.unwrap();
        let name = object_name(file);
        objects.into_iter().map(|object| object.location).find(|at| at.as_ref().ends_with(&name)).unwrap()
    }

    fn roll(&self) -> usize {
        // splitmix64
        let mut x = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % 100) as usize
    }

    /// Takes one of the requests that are answered.
    fn is_silent(&self) -> bool {
        is_used_up(&self.answered)
    }

    async fn before(&self) -> Result<()> {
        if self.is_silent() {
            std::future::pending::<()>().await;
        }
        self.may_fail()
    }

    fn may_fail(&self) -> Result<()> {
        if is_used_up(&self.down_after)
            || self.is_down.load(Ordering::Relaxed)
            || self.roll() < self.failing.load(Ordering::Relaxed)
        {
            return Err(broken());
        }
        Ok(())
    }

    fn after<T>(&self, answer: T) -> Result<T> {
        if self.roll() < self.unanswered.load(Ordering::Relaxed) { Err(broken()) } else { Ok(answer) }
    }
}

/// Takes one of `left`.
fn is_used_up(left: &AtomicUsize) -> bool {
    let less = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err()
}

fn broken() -> Error {
    Error::Generic { store: "faulty", source: "503 slow down".into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty store")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        assert!(matches!(options.mode, PutMode::Create), "an object is never overwritten");
        self.before().await?;
        self.after(self.inner.put_opts(at, payload, options).await?)
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("uploads in parts are named")
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.num_gets.fetch_add(1, Ordering::Relaxed);
        self.before().await?;
        self.after(self.inner.get_opts(at, options).await?)
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.before().await?;
        self.after(self.inner.get_ranges(at, ranges).await?)
    }

    fn delete_stream(&self, at: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.is_silent() {
            return stream::pending().boxed();
        }
        match self.may_fail() {
            Ok(()) => self.inner.delete_stream(at),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.is_silent() {
            return stream::pending().boxed();
        }
        match self.may_fail() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.before().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("nothing is copied")
    }
}

#[async_trait]
impl MultipartStore for FaultyStore {
    async fn create_multipart(&self, at: &Path) -> Result<MultipartId> {
        self.before().await?;
        let id = self.inner.create_multipart(at).await?;
        self.open_uploads.fetch_add(1, Ordering::Relaxed);
        Ok(id)
    }

    async fn put_part(&self, at: &Path, id: &MultipartId, part: usize, data: PutPayload) -> Result<PartId> {
        self.before().await?;
        self.after(self.inner.put_part(at, id, part, data).await?)
    }

    async fn complete_multipart(&self, at: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.before().await?;
        let completed = self.inner.complete_multipart(at, id, parts).await?;
        self.open_uploads.fetch_sub(1, Ordering::Relaxed);
        if self.completions_unanswered.load(Ordering::Relaxed) {
            return Err(broken());
        }
        self.after(completed)
    }

    async fn abort_multipart(&self, at: &Path, id: &MultipartId) -> Result<()> {
        self.before().await?;
        // As S3 does. In memory it is an error of no kind.
        let not_found = |_| Error::NotFound { path: at.to_string(), source: "NoSuchUpload".into() };
        self.inner.abort_multipart(at, id).await.map_err(not_found)?;
        self.open_uploads.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}
