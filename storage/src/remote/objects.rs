//! Requests to an object store: each within a time limit, and tried again where that may help.
//!
//! Names are relative to the directory of the [`Backend`], which is added here.

use std::error::Error as StdError;
use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectMeta, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::time::{sleep, timeout};

use super::address::Backend;
use crate::blocking::blocking;
use crate::{Error, Result};

/// How long a request may take, and how often it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub attempts: u32,
    /// Before the second attempt; before each further one four times as long.
    pub pause: Duration,
    /// For a request without content.
    pub request: Duration,
    /// Units: bytes per second. A link that is slower than this counts as broken.
    pub slowest_link: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 3,
            pause: Duration::from_millis(250),
            request: Duration::from_secs(20),
            slowest_link: 64 << 10,
        }
    }
}

/// Why the object store did not do as asked. Cheap to clone: several readers may wait for one request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    #[error("a request failed")]
    Store(#[source] Arc<object_store::Error>),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the object does not have the bytes that were put there")]
    Damaged,
    #[error("the cache failed")]
    Cache(#[source] Arc<foyer::Error>),
}

impl Failure {
    /// What that means for who needed `file`.
    pub(super) fn into_error(self, doing: &'static str, file: &str) -> Error {
        match self {
            Self::Damaged => Error::CorruptFile { file: file.to_owned() },
            failure if failure.is_not_found() => Error::MissingObject { file: file.to_owned() },
            failure => Error::RemoteUnavailable { doing, source: Box::new(failure) },
        }
    }

    /// For requests that are about no file.
    pub(super) fn unavailable(self, doing: &'static str) -> Error {
        Error::RemoteUnavailable { doing, source: Box::new(self) }
    }

    pub(super) fn is_not_found(&self) -> bool {
        let Self::Store(error) = self else { return false };
        // A bucket that is not there is a store that is set up wrongly, and no loss of an object.
        matches!(**error, object_store::Error::NotFound { .. }) && !error.to_string().contains("NoSuchBucket")
    }

    fn is_final(&self) -> bool {
        let Self::Store(error) = self else { return matches!(self, Self::Damaged) };
        matches!(
            **error,
            object_store::Error::NotFound { .. }
                | object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
                | object_store::Error::InvalidPath { .. }
                | object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. }
        )
    }

    fn local(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Store(Arc::new(object_store::Error::Generic { store: "file", source: reason.into() }))
    }
}

/// What a put that creates found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Created,
    /// It was there: from an attempt whose answer was lost, or from before a crash.
    Existed,
}

/// An object that is there.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub name: String,
    pub size_bytes: u64,
}

/// An upload in parts that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upload<'a> {
    pub name: &'a str,
    pub id: &'a MultipartId,
}

/// The objects in one directory of an object store.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    backend: Backend,
    patience: Patience,
}

impl Objects {
    pub(crate) fn new(backend: Backend, patience: Patience) -> Self {
        Self { backend, patience }
    }

    /// Those in a directory of this one.
    pub(super) fn below(&self, dir: &str) -> Self {
        Self { backend: self.backend.clone().below(dir), patience: self.patience }
    }

    fn location(&self, name: &str) -> Path {
        name.split('/').fold(self.backend.prefix.clone(), Path::join)
    }

    /// Puts an object that is not there yet.
    ///
    /// Durable: if it was created; one that existed may be there only in part.
    pub(crate) async fn put_new(&self, name: &str, payload: &PutPayload) -> Result<Put, Failure> {
        self.check_root().await?;
        let created = match self.put(name, payload, PutMode::Create).await {
            Ok(()) => Put::Created,
            Err(Failure::Store(error)) if matches!(*error, object_store::Error::AlreadyExists { .. }) => {
                Put::Existed
            }
            // A store without conditional writes. Nobody else writes this name.
            Err(Failure::Store(error)) if is_unsupported(&error) => match self.size(name).await? {
                Some(_) => Put::Existed,
                None => self.replace(name, payload).await.map(|()| Put::Created)?,
            },
            Err(failure) => return Err(failure),
        };
        if created == Put::Created {
            self.sync_local(name).await?;
        }
        Ok(created)
    }

    /// Puts an object in the place of one that may be there.
    pub(crate) async fn replace(&self, name: &str, payload: &PutPayload) -> Result<(), Failure> {
        self.put(name, payload, PutMode::Overwrite).await
    }

    async fn put(&self, name: &str, payload: &PutPayload, mode: PutMode) -> Result<(), Failure> {
        let location = self.location(name);
        let put = || {
            let options = PutOptions { mode: mode.clone(), ..PutOptions::default() };
            self.backend.store.put_opts(&location, payload.clone(), options)
        };
        self.attempt(payload.content_length() as u64, put).await.map(drop)
    }

    /// Units: bytes. None if there is no such object.
    pub(crate) async fn size(&self, name: &str) -> Result<Option<u64>, Failure> {
        let location = self.location(name);
        match self.attempt(0, || self.backend.store.head(&location)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// All bytes of a range.
    pub(crate) async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, Failure> {
        let location = self.location(name);
        let length = range.end - range.start;
        let got = self.attempt(length, || self.backend.store.get_range(&location, range.clone())).await;
        match got {
            Ok(bytes) if bytes.len() as u64 == length => Ok(bytes),
            Ok(_) => Err(Failure::Damaged),
            Err(failure) => {
                // A directory that is not mounted has lost nothing.
                self.check_root().await?;
                Err(failure)
            }
        }
    }

    /// Whether the object is gone; it is if it never was there.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Failure> {
        self.check_root().await?;
        let location = self.location(name);
        match self.attempt(0, || self.backend.store.delete(&location)).await {
            Err(failure) if !failure.is_not_found() => Err(failure),
            _ => Ok(()),
        }
    }

    /// Every object below a directory, at any depth, in no order.
    pub(crate) async fn list(&self, dir: &str) -> Result<Vec<Listed>, Failure> {
        self.list_below(&self.location(dir)).await
    }

    /// Every object, at any depth, in no order.
    ///
    /// # Errors
    /// Also where the objects are files and their directory is not there: nothing is not what it holds.
    pub(super) async fn list_all(&self) -> Result<Vec<Listed>, Failure> {
        self.check_root().await?;
        self.list_below(&self.backend.prefix).await
    }

    /// Names of the directories right below, in no order.
    ///
    /// # Errors
    /// As of [`Self::list_all`].
    pub(super) async fn dirs(&self) -> Result<Vec<String>, Failure> {
        self.check_root().await?;
        let listing = || self.backend.store.list_with_delimiter(Some(&self.backend.prefix));
        let listed = self.attempt(0, listing).await?;
        Ok(listed.common_prefixes.iter().filter_map(|dir| dir.filename().map(str::to_owned)).collect())
    }

    async fn list_below(&self, dir: &Path) -> Result<Vec<Listed>, Failure> {
        self.repeat(|| async move {
            let mut listed = Vec::new();
            self.list_each(dir, |name, object| {
                listed.push(Listed { name, size_bytes: object.size });
                ControlFlow::Continue(())
            })
            .await?;
            Ok(listed)
        })
        .await
    }

    /// Names of objects older than `age` of which `is_orphan` says so, at most `limit`.
    pub(super) async fn list_orphans(
        &self,
        age: Duration,
        limit: usize,
        is_orphan: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, Failure> {
        let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut names = Vec::new();
        self.list_each(&self.backend.prefix, |name, object| {
            if SystemTime::from(object.last_modified) < before && is_orphan(&name) {
                names.push(name);
            }
            if names.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .await?;
        Ok(names)
    }

    /// Calls `each` with every object below `dir` until it wants no more. Each page has the time of a request.
    async fn list_each(
        &self,
        dir: &Path,
        mut each: impl FnMut(String, ObjectMeta) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let mut objects = self.backend.store.list(Some(dir));
        while let Some(object) = within(self.patience.request, objects.try_next()).await? {
            let Some(parts) = object.location.prefix_match(&self.backend.prefix) else { continue };
            let name = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            if each(name, object).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Whether a large object can be put in parts.
    pub(super) fn takes_parts(&self) -> bool {
        self.backend.multipart.is_some()
    }

    fn multipart(&self) -> Result<&dyn MultipartStore, Failure> {
        let none = || Failure::local("a directory takes no uploads in parts");
        self.backend.multipart.as_deref().ok_or_else(none)
    }

    pub(crate) async fn begin_upload(&self, name: &str) -> Result<MultipartId, Failure> {
        let (store, location) = (self.multipart()?, self.location(name));
        self.attempt(0, || store.create_multipart(&location)).await
    }

    /// Puts the part of this number, from 0 on. Stores take parts from 5 MiB on, and at most 10,000 of them.
    pub(crate) async fn put_part(
        &self,
        upload: Upload<'_>,
        part: usize,
        payload: &PutPayload,
    ) -> Result<PartId, Failure> {
        let (store, location) = (self.multipart()?, self.location(upload.name));
        let bytes = payload.content_length() as u64;
        self.attempt(bytes, || store.put_part(&location, upload.id, part, payload.clone())).await
    }

    /// Makes one object of the parts. Where the answer to an attempt was lost, it may be there in spite of a failure.
    pub(crate) async fn complete_upload(
        &self,
        upload: Upload<'_>,
        parts: Vec<PartId>,
    ) -> Result<(), Failure> {
        let (store, location) = (self.multipart()?, self.location(upload.name));
        self.attempt(0, || store.complete_multipart(&location, upload.id, parts.clone())).await.map(drop)
    }

    /// Whether the upload is gone; it is if it never was there.
    pub(crate) async fn abort_upload(&self, upload: Upload<'_>) -> Result<(), Failure> {
        let (store, location) = (self.multipart()?, self.location(upload.name));
        match self.attempt(0, || store.abort_multipart(&location, upload.id)).await {
            Err(failure) if !failure.is_not_found() => Err(failure),
            _ => Ok(()),
        }
    }

    /// Makes a request until it succeeds, fails for good, or was made often enough, each time within the limit for `bytes`.
    async fn attempt<T, F>(&self, bytes: u64, request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let limit = self.patience.request + Duration::from_secs(bytes / self.patience.slowest_link);
        self.repeat(|| within(limit, request())).await
    }

    async fn repeat<T, F>(&self, request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let Patience { attempts, mut pause, .. } = self.patience;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match request().await {
                Err(failure) if !failure.is_final() && attempt < attempts => {
                    tracing::debug!(error = &failure as &dyn StdError, "trying again in {pause:?}");
                }
                ended => return ended,
            }
            sleep(pause).await;
            pause *= 4;
        }
    }

    /// Fails where the objects are files and their directory is not there: not mounted, most likely.
    async fn check_root(&self) -> Result<(), Failure> {
        let Some(root) = self.backend.local_root.clone() else { return Ok(()) };
        match blocking(move || Ok(root.is_dir())).await {
            Ok(true) => Ok(()),
            _ => Err(Failure::local("the directory of the remote tier is not there")),
        }
    }

    /// Where the objects are files: makes one durable and private, which the client does not.
    async fn sync_local(&self, name: &str) -> Result<(), Failure> {
        let Some(root) = self.backend.local_root.clone() else { return Ok(()) };
        let path = PathBuf::from("/").join(self.location(name).as_ref());
        blocking(move || sync_file(&path, &root).map_err(Error::io(&path, "cannot sync the object")))
            .await
            .map_err(Failure::local)
    }
}

async fn within<T>(
    limit: Duration,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Failure> {
    match timeout(limit, request).await {
        Ok(answer) => answer.map_err(|error| Failure::Store(Arc::new(error))),
        Err(_) => Err(Failure::TimedOut(limit)),
    }
}

fn is_unsupported(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. })
}

/// Syncs a file and every directory from it up to `root`, and removes what interrupted puts of it left beside it.
fn sync_file(path: &FilePath, root: &FilePath) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    File::open(path)?.sync_all()?;
    let Some(parent) = path.parent() else { return Ok(()) };
    let staged = format!("{}#", path.file_name().unwrap_or_default().to_string_lossy());
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&staged) {
            fs::remove_file(entry.path())?;
        }
    }
    for dir in parent.ancestors().take_while(|dir| dir.starts_with(root)) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}
