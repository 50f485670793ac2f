//! The machine's disk, on which something happens before the first hard link.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use crate::disk::{DirEntry, Disk, DiskFile, RealDisk};

type Hook = Box<dyn FnOnce() + Send>;

pub(super) struct HookedDisk {
    before_link: Mutex<Option<Hook>>,
    before_open: Mutex<Option<Hook>>,
    links_fail: bool,
}

impl HookedDisk {
    /// `hook` runs before the first file gets its second name.
    pub(super) fn before_link(hook: impl FnOnce() + Send + 'static) -> Self {
        Self {
            before_link: Mutex::new(Some(Box::new(hook))),
            before_open: Mutex::default(),
            links_fail: false,
        }
    }

    /// No file can get a second name; `hook` runs before the first data file is opened.
    pub(super) fn without_links(hook: impl FnOnce() + Send + 'static) -> Self {
        Self {
            before_link: Mutex::default(),
            before_open: Mutex::new(Some(Box::new(hook))),
            links_fail: true,
        }
    }
}

impl fmt::Debug for HookedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookedDisk").finish_non_exhaustive()
    }
}

fn run(hook: &Mutex<Option<Hook>>) {
    let hook = hook.lock().unwrap().take();
    if let Some(hook) = hook {
        hook();
    }
}

impl Disk for HookedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        RealDisk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if path.extension().is_some_and(|extension| extension == "parquet") {
            run(&self.before_open);
        }
        RealDisk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn hard_link(&self, existing: &Path, new: &Path) -> io::Result<()> {
        run(&self.before_link);
        if self.links_fail {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        RealDisk.hard_link(existing, new)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.list(dir)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        RealDisk.file_len(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        RealDisk.is_dir(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }

    fn total_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.total_bytes(path)
    }
}
