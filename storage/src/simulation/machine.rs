//! A machine with a simulated disk and a catalog beside it, which is started, loses power and is started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alula_catalog::Catalog;
use tempfile::TempDir;

use super::rows::{LabelCompiler, SpecDecoder};
use crate::disk::sim::{Image, SimDisk, TearMode};
use crate::{Config, Storage, testing};

/// Segments are small, so that the log goes on in the next one every few entries.
const SEGMENT_BYTES: u64 = 1_500;

/// What a machine has while it is off: the disk, and the catalog's files.
#[derive(Debug)]
pub(super) struct Machine {
    disk: SimDisk,
    /// Holds the catalog's files and the lock file, which are on no simulated disk.
    dir: TempDir,
}

/// A machine that runs. Its storage must be dropped before it goes off.
#[derive(Debug)]
pub(super) struct Running {
    pub machine: Machine,
    pub storage: Storage,
    catalog: Arc<Catalog>,
}

impl Machine {
    /// A machine with an empty disk and a new catalog.
    pub(super) fn new(seed: u64) -> Self {
        let dir = temporary_dir();
        drop(Catalog::open(&catalog_path(dir.path())).unwrap());
        Self { disk: SimDisk::new(dir.path(), Image::default(), seed), dir }
    }

    /// A machine with a disk like `image` and copies of the catalog's files in `catalog`.
    pub(super) fn with(image: Image, catalog: &Path, seed: u64) -> Self {
        let dir = temporary_dir();
        copy_catalog(catalog, dir.path());
        Self { disk: SimDisk::new(dir.path(), image, seed), dir }
    }

    pub(super) fn disk(&self) -> &SimDisk {
        &self.disk
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts storage.
    ///
    /// # Errors
    /// The machine again, and why storage did not start.
    #[expect(clippy::result_large_err, reason = "once a crash, in a test")]
    pub(super) fn start(self) -> Result<Running, (Self, crate::Error)> {
        let catalog = Arc::new(Catalog::open(&catalog_path(self.dir())).unwrap());
        let disk = self.disk.clone();
        catalog.set_commit_gate(move || disk.commit()).unwrap();
        let config = Config { wal_segment_bytes: SEGMENT_BYTES, ..testing::config(self.dir()) };
        match Storage::open_on(Arc::new(self.disk.clone()), &config, Arc::clone(&catalog), &SpecDecoder) {
            Ok(storage) => {
                storage.compile_predicates_with(Arc::new(LabelCompiler));
                Ok(Running { machine: self, storage, catalog })
            }
            Err(error) => Err((self, error)),
        }
    }

    /// Takes the power away and gives it back.
    pub(super) fn power_cut(self, mode: TearMode, seed: u64) -> Self {
        self.disk.cut_power();
        let image = self.disk.image().after_power_cut(mode, seed);
        Self::with(image, self.dir(), seed)
    }
}

impl Running {
    pub(super) fn disk(&self) -> &SimDisk {
        &self.machine.disk
    }

    /// How many losses are on record.
    pub(super) fn num_losses(&self) -> usize {
        self.catalog.data_losses().unwrap().len()
    }

    /// Takes the power away and gives it back.
    pub(super) fn power_cut(self, mode: TearMode, seed: u64) -> Machine {
        let Self { machine, storage, catalog } = self;
        // The copy comes first: whatever the dying engine does to its catalog comes too late.
        machine.disk.cut_power();
        let dead = (storage, catalog);
        let next = Machine::with(machine.disk.image().after_power_cut(mode, seed), machine.dir(), seed);
        drop(dead);
        next
    }
}

/// Copies the catalog's files as they are, whoever has them open. The mark is first: it may be behind the others, never ahead.
pub(super) fn copy_catalog(from: &Path, to: &Path) {
    for file in ["catalog.db-mark", "catalog.db", "catalog.db-wal"] {
        if from.join(file).exists() {
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}

fn catalog_path(dir: &Path) -> PathBuf {
    dir.join("catalog.db")
}

/// In memory where the machine has such a place: SQLite syncs at every `COMMIT`.
pub(crate) fn temporary_dir() -> TempDir {
    tempfile::Builder::new().tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
