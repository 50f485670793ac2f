//! [`Location`]: a directory or the URL of an object store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use url::Url;

use super::{Bucket, Directory, Target};
use crate::RemoteUrl;
use crate::backup::{Error, Result};
use crate::disk::Disk;
use crate::remote::{Backend, Objects, Patience};

/// Where backups are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    given: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Directory(PathBuf),
    ObjectStore(RemoteUrl),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl Location {
    /// Takes a path, or a URL: `s3://bucket/path`, `gs://bucket/path`, `az://container/path`, `file:///path`.
    ///
    /// # Errors
    /// `InvalidLocation`; `Storage` for a URL with credentials in it, which belong into the environment.
    pub fn parse(given: &str) -> Result<Self> {
        let invalid =
            |reason: &str| Error::InvalidLocation { given: given.to_owned(), reason: reason.to_owned() };
        if given.is_empty() {
            return Err(invalid("it is empty"));
        }
        let kind = if !given.contains("://") {
            Kind::Directory(PathBuf::from(given))
        } else if given.starts_with("file:") {
            // Not by `object_store`, which never syncs a local file.
            let path = Url::parse(given).ok().and_then(|url| url.to_file_path().ok());
            Kind::Directory(path.ok_or_else(|| invalid("use file:///path, with an absolute path"))?)
        } else {
            Kind::ObjectStore(given.parse()?)
        };
        Ok(Self { given: given.to_owned(), kind })
    }

    pub(in crate::backup) fn open(&self, disk: Arc<dyn Disk>, runtime: &Handle) -> Result<Box<dyn Target>> {
        match &self.kind {
            Kind::Directory(root) => Ok(Box::new(Directory::new(root.clone(), disk))),
            Kind::ObjectStore(url) => {
                let objects = Objects::new(Backend::open(url)?, Patience::default());
                Ok(Box::new(Bucket::new(objects, url.to_string(), runtime.clone())))
            }
        }
    }

    /// # Errors
    /// `InvalidLocation` — backups in the data directory would be backed up, and lost with it.
    pub(in crate::backup) fn ensure_outside(&self, data_dir: &Path) -> Result<()> {
        let Kind::Directory(root) = &self.kind else { return Ok(()) };
        // The backup's own directory need not exist yet.
        let root = std::path::absolute(root).unwrap_or_else(|_| root.clone());
        let existing = root.ancestors().find_map(|dir| dir.canonicalize().ok());
        let data_dir = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned());
        if existing.is_some_and(|existing| existing.starts_with(&data_dir)) {
            let reason = "it is inside the data directory".to_owned();
            return Err(Error::InvalidLocation { given: self.given.clone(), reason });
        }
        Ok(())
    }
}
