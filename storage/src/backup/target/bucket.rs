//! [`Bucket`]: backups in an object store.
//!
//! An object appears whole or not at all, and is durable when the store says that it is there.

use std::fmt;
use std::future::Future;

use object_store::PutPayload;
use tokio::runtime::Handle;

use super::{CHUNK_BYTES, Claim, Existing, Listed, Source, Target};
use crate::backup::manifest::{Checksum, FILE_LIST, in_snapshot};
use crate::backup::{Error, Result};
use crate::remote::{Failure, Objects, Put, Upload};

/// What was being done when a put failed.
const STORE: &str = "cannot store";

pub(in crate::backup) struct Bucket {
    objects: Objects,
    location: String,
    /// Where the store's client does its work, while a thread of the backup waits for it.
    runtime: Handle,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Bucket {
    pub(in crate::backup) fn new(objects: Objects, location: String, runtime: Handle) -> Self {
        Self { objects, location, runtime }
    }

    /// Waits for a request. Each has its time limit, so this ends also where the store never answers.
    fn wait<T>(
        &self,
        doing: &'static str,
        name: &str,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T> {
        self.runtime.block_on(request).map_err(|source| Error::ObjectStore {
            location: self.location.clone(),
            doing,
            name: name.to_owned(),
            source: Box::new(source),
        })
    }

    fn damaged(&self, name: &str, reason: &'static str) -> Error {
        Error::Damaged { file: format!("{}/{name}", self.location), reason }
    }

    /// Stores an object under a name that is free.
    fn create(&self, name: &str, payload: &PutPayload) -> Result<Claim> {
        Ok(match self.wait(STORE, name, self.objects.put_new(name, payload))? {
            Put::Created => Claim::Made,
            Put::Existed => Claim::Taken,
        })
    }

    /// None if there is no such object.
    fn size(&self, name: &str) -> Result<Option<u64>> {
        self.wait("cannot look up", name, self.objects.size(name))
    }

    /// Sends a file in parts, one after the other. What was sent of one that does not end well is dropped.
    fn put_parts(&self, name: &str, source: &Source<'_>, existing: Existing) -> Result<Checksum> {
        let id = self.wait(STORE, name, self.objects.begin_upload(name))?;
        let upload = Upload { name, id: &id };
        let mut parts = Vec::new();
        let sent = source.read(|bytes, _| {
            let payload = PutPayload::from(bytes);
            parts.push(self.wait(STORE, name, self.objects.put_part(upload, parts.len(), &payload))?);
            Ok(())
        });
        let completed = sent.and_then(|checksum| {
            let completed = self.wait(STORE, name, self.objects.complete_upload(upload, parts));
            // One of the same size is this one, and the answer was lost, unless there was a damaged one before.
            let is_there = || {
                existing == Existing::Keep
                    && self.size(name).is_ok_and(|size| size == Some(source.size_bytes))
            };
            completed.or_else(|error| if is_there() { Ok(()) } else { Err(error) })?;
            Ok(checksum)
        });
        completed.inspect_err(|_| {
            let _ = self.runtime.block_on(self.objects.abort_upload(upload));
        })
    }
}

impl Target for Bucket {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn list(&self, dir: &str) -> Result<Vec<Listed>> {
        self.wait("cannot list", dir, self.objects.list(dir))
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let range = offset..offset + length as u64;
        // Before the range, which not every store refuses if there is nothing in it.
        match self.size(name)? {
            None => Err(self.damaged(name, "it is missing")),
            Some(size) if size < range.end => Err(self.damaged(name, "it is too short")),
            Some(_) => Ok(self.wait("cannot read", name, self.objects.get(name, range))?.into()),
        }
    }

    fn claim(&self, snapshot: &str, file_list: &[u8]) -> Result<Claim> {
        // Taken also if an attempt of this call made it and its answer was lost. Then the next name is as good.
        self.create(&in_snapshot(snapshot, FILE_LIST), &PutPayload::from(file_list.to_vec()))
    }

    fn put(&self, name: &str, _snapshot: &str, source: &Source<'_>, existing: Existing) -> Result<Checksum> {
        if source.size_bytes > CHUNK_BYTES as u64 {
            return self.put_parts(name, source, existing);
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
        if claim == Claim::Taken
            && (existing == Existing::Replace || self.size(name)? != Some(source.size_bytes))
        {
            self.wait(STORE, name, self.objects.replace(name, &payload))?;
        }
        Ok(checksum)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        // Taken by an attempt whose answer was lost.
        if self.create(name, &PutPayload::from(bytes.to_vec()))? == Claim::Taken
            && self.read(name, 0, bytes.len())? != bytes
        {
            return Err(self.damaged(name, "it is another's"));
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.wait("cannot remove", name, self.objects.delete(name))
    }

    fn remove_snapshot(&self, _snapshot: &str) -> Result<()> {
        // Object stores have no directories.
        Ok(())
    }
}
