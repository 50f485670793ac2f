//! [`FileSet`]: the object store of one scan, which has the scan's own files and no others.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use alula_catalog::{DataFile, Tier, UserFile};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::Error;
use crate::data_files::{DataFiles, StoredFile};

const STORE: &str = "alula";

/// A file of a scan.
#[derive(Clone, Debug)]
pub(super) enum ScanFile {
    Telemetry(Arc<DataFile>),
    User(Arc<UserFile>),
}

impl ScanFile {
    fn as_stored(&self) -> &dyn StoredFile {
        match self {
            Self::Telemetry(file) => file,
            Self::User(file) => file,
        }
    }
}

/// Reads the files of one scan by the names that their `PartitionedFile`s have.
///
/// It keeps them: a file stays on disk as long as a scan that names it.
#[derive(Debug)]
pub(super) struct FileSet {
    data_files: Arc<DataFiles>,
    files: Arc<HashMap<Path, ScannedFile>>,
    /// Why the last read failed; set for an instant, never across an await.
    failure: Mutex<Option<Error>>,
}

#[derive(Debug)]
struct ScannedFile {
    file: ScanFile,
    is_open: AtomicBool,
}

impl FileSet {
    pub(super) fn new(data_files: &Arc<DataFiles>, files: impl Iterator<Item = ScanFile>) -> Self {
        let files = files.map(|file| {
            let name = Path::from(file.as_stored().name());
            (name, ScannedFile { file, is_open: AtomicBool::new(false) })
        });
        let files = Arc::new(files.collect());
        Self { data_files: Arc::clone(data_files), files, failure: Mutex::default() }
    }

    /// The same files, for a reader that wants its own failures back.
    pub(super) fn for_reader(&self) -> Self {
        let (data_files, files) = (Arc::clone(&self.data_files), Arc::clone(&self.files));
        Self { data_files, files, failure: Mutex::default() }
    }

    /// Whether this is the first reader of a file: several may read parts of it.
    pub(super) fn opens_first(&self, location: &Path) -> bool {
        self.files.get(location).is_some_and(|opened| !opened.is_open.swap(true, Ordering::Relaxed))
    }

    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn file(&self, location: &Path) -> Result<ScanFile> {
        let file = self.files.get(location).map(|opened| opened.file.clone());
        file.ok_or_else(|| object_store::Error::NotFound {
            path: location.to_string(),
            source: "it is not one of the scan's files".into(),
        })
    }

    async fn read(&self, file: ScanFile, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        let generic = |source| object_store::Error::Generic { store: STORE, source };
        let read = match file {
            ScanFile::Telemetry(file) if file.tier == Tier::Remote => match self.data_files.remote() {
                Some(remote) => match remote.read_ranges(Arc::clone(&file), ranges).await {
                    Err(error) => {
                        let data_files = Arc::clone(&self.data_files);
                        let report = move || Err(data_files.report_remote(&file, error));
                        tokio::task::spawn_blocking(report).await.map_err(|error| generic(error.into()))?
                    }
                    Ok(read) => Ok(read),
                },
                None => Err(Error::RemoteNotConfigured),
            },
            file => {
                let data_files = Arc::clone(&self.data_files);
                let read = move || data_files.read_ranges(file.as_stored(), &ranges);
                let read = tokio::task::spawn_blocking(read);
                read.await.map_err(|error| generic(error.into()))?
            }
        };
        read.map_err(|error| {
            let text = error.to_string();
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            generic(text.into())
        })
    }
}

impl fmt::Display for FileSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} data files", self.files.len())
    }
}

#[async_trait]
impl ObjectStore for FileSet {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let file = self.file(location)?;
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: UNIX_EPOCH.into(),
            size: file.as_stored().size_bytes(),
            e_tag: None,
            version: None,
        };
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            None => 0..meta.size,
            Some(range) => range
                .as_range(meta.size)
                .map_err(|error| object_store::Error::Generic { store: STORE, source: error.into() })?,
        };
        let parts = if options.head { Vec::new() } else { self.read(file, vec![range.clone()]).await? };
        let payload = GetResultPayload::Stream(stream::iter(parts.into_iter().map(Ok)).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.read(self.file(location)?, ranges.to_vec()).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only("put"))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only("put"))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        locations.map(|_| Err(read_only("delete"))).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::iter([Err(read_only("list"))]).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(read_only("list"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only("copy"))
    }
}

/// A scan only reads.
fn read_only(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented { operation: operation.to_owned(), implementer: STORE.to_owned() }
}
