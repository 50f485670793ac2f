//! [`Bucket`]: backups in an object store.
//!
//! An object appears whole or not at all, and is durable when the store says that it is there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::runtime::Handle;

use super::{CHUNK_BYTES, Claim, Existing, Listed, Source, Target};
use crate::backup::manifest::{Checksum, FILE_LIST, in_snapshot};
use crate::backup::{Error, Result};

/// Attempts at what failed in a way that may pass, beyond what the client of the store does by itself.
const ATTEMPTS: u32 = 4;
/// Before the second attempt; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What was being done when a put failed.
const STORE: &str = "cannot store";

pub(in crate::backup) struct Bucket {
    store: Arc<dyn ObjectStore>,
    root: ObjectPath,
    location: String,
    /// Where the store's client does its work, while a thread of the backup waits for it.
    runtime: Handle,
    first_pause: Duration,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Bucket {
    pub(in crate::backup) fn new(
        store: Arc<dyn ObjectStore>,
        root: ObjectPath,
        location: String,
        runtime: Handle,
    ) -> Self {
        Self { store, root, location, runtime, first_pause: FIRST_PAUSE }
    }

    /// Hardly pauses between attempts.
    #[cfg(test)]
    pub(in crate::backup) fn impatient(self) -> Self {
        Self { first_pause: Duration::from_millis(1), ..self }
    }

    fn path(&self, name: &str) -> ObjectPath {
        self.root.parts().chain(ObjectPath::from(name).parts()).collect()
    }

    fn error(&self, doing: &'static str, name: &str) -> impl FnOnce(StoreError) -> Error {
        let (location, name) = (self.location.clone(), name.to_owned());
        move |source| Error::ObjectStore { location, doing, name, source: Box::new(source) }
    }

    /// Makes an attempt, and makes it again while its failure may pass.
    fn repeat<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let mut pause = self.first_pause;
        for _ in 1..ATTEMPTS {
            match attempt() {
                Err(Error::ObjectStore { source, .. }) if may_pass(&source) => {
                    tracing::warn!(
                        error = source.as_ref() as &dyn std::error::Error,
                        "trying again in {pause:?}"
                    );
                }
                ended => return ended,
            }
            self.runtime.block_on(async { tokio::time::sleep(pause).await });
            pause *= 2;
        }
        attempt()
    }

    /// Stores an object under a name that is free.
    fn create(&self, name: &str, payload: &PutPayload) -> Result<Claim> {
        let path = self.path(name);
        self.repeat(|| {
            let put = self.store.put_opts(&path, payload.clone(), PutMode::Create.into());
            match self.runtime.block_on(put) {
                Ok(_) => Ok(Claim::Made),
                Err(StoreError::AlreadyExists { .. }) => Ok(Claim::Taken),
                // A store without conditional puts.
                Err(StoreError::NotImplemented { .. }) => {
                    self.replace(name, payload)?;
                    Ok(Claim::Made)
                }
                Err(error) => Err(self.error(STORE, name)(error)),
            }
        })
    }

    fn replace(&self, name: &str, payload: &PutPayload) -> Result<()> {
        let path = self.path(name);
        self.repeat(|| {
            let put = self.store.put_opts(&path, payload.clone(), PutMode::Overwrite.into());
            self.runtime.block_on(put).map_err(self.error(STORE, name))?;
            Ok(())
        })
    }

    fn size(&self, name: &str) -> Result<u64> {
        let path = self.path(name);
        self.repeat(|| {
            let found = self.runtime.block_on(self.store.head(&path));
            Ok(found.map_err(self.error("cannot look up", name))?.size)
        })
    }

    /// Sends a file in parts, one after the other. What was sent of one that does not end well is dropped.
    fn put_parts(&self, name: &str, source: &Source<'_>) -> Result<Checksum> {
        let path = self.path(name);
        let begun = self.runtime.block_on(self.store.put_multipart(&path));
        let mut upload = begun.map_err(self.error(STORE, name))?;
        let sent = source.read(|bytes, _| {
            let part = upload.put_part(bytes.into());
            self.runtime.block_on(part).map_err(self.error(STORE, name))
        });
        let completed = sent.and_then(|checksum| {
            self.runtime.block_on(upload.complete()).map_err(self.error(STORE, name))?;
            Ok(checksum)
        });
        completed.inspect_err(|_| {
            let _ = self.runtime.block_on(upload.abort());
        })
    }
}

impl Target for Bucket {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn list(&self, dir: &str) -> Result<Vec<Listed>> {
        let prefix = self.path(dir);
        let listed = self.repeat(|| {
            let listed = self.runtime.block_on(self.store.list(Some(&prefix)).try_collect::<Vec<_>>());
            listed.map_err(self.error("cannot list", dir))
        })?;
        let root = self.root.parts().count();
        let relative = |path: &ObjectPath| {
            let parts: Vec<_> = path.parts().skip(root).map(|part| part.as_ref().to_owned()).collect();
            parts.join("/")
        };
        let listed = listed.iter();
        Ok(listed.map(|meta| Listed { name: relative(&meta.location), size_bytes: meta.size }).collect())
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let path = self.path(name);
        let damaged = |reason| Error::Damaged { file: format!("{}/{name}", self.location), reason };
        // Before the range, which not every store refuses if there is nothing in it.
        if self.size(name)? < offset + length as u64 {
            return Err(damaged("it is too short"));
        }
        self.repeat(|| {
            let range = offset..offset + length as u64;
            match self.runtime.block_on(self.store.get_range(&path, range)) {
                Ok(bytes) => Ok(bytes.into()),
                Err(error) => Err(self.error("cannot read", name)(error)),
            }
        })
    }

    fn claim(&self, snapshot: &str, file_list: &[u8]) -> Result<Claim> {
        // Taken also if an attempt of this call made it and its answer was lost. Then the next name is as good.
        self.create(&in_snapshot(snapshot, FILE_LIST), &PutPayload::from(file_list.to_vec()))
    }

    fn put(&self, name: &str, _snapshot: &str, source: &Source<'_>, existing: Existing) -> Result<Checksum> {
        if source.size_bytes > CHUNK_BYTES as u64 {
            return self.repeat(|| self.put_parts(name, source));
        }
        let mut content = Vec::new();
        let checksum = source.read(|bytes, _| {
            content = bytes;
            Ok(())
        })?;
        let payload = PutPayload::from(content);
        let claim = match existing {
            Existing::Keep => self.create(name, &payload)?,
            Existing::Replace => Claim::Taken,
        };
        // One of the same size is what an attempt left whose answer was lost.
        if claim == Claim::Taken && (existing == Existing::Replace || self.size(name)? != source.size_bytes) {
            self.replace(name, &payload)?;
        }
        Ok(checksum)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        // Taken by an attempt whose answer was lost.
        if self.create(name, &PutPayload::from(bytes.to_vec()))? == Claim::Taken
            && self.read(name, 0, bytes.len())? != bytes
        {
            return Err(Error::Damaged {
                file: format!("{}/{name}", self.location),
                reason: "it is another's",
            });
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        self.repeat(|| match self.runtime.block_on(self.store.delete(&path)) {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error("cannot remove", name)(error)),
        })
    }

    fn remove_snapshot(&self, _snapshot: &str) -> Result<()> {
        // Object stores have no directories.
        Ok(())
    }
}

/// Whether the same request may succeed later: the store did not answer, or said that it is too busy.
fn may_pass(error: &StoreError) -> bool {
    matches!(error, StoreError::Generic { .. } | StoreError::JoinError { .. })
}
