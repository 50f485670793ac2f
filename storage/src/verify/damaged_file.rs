//! A file that is not what it should be, and what goes on record of it.

use std::path::{Path, PathBuf};

use alula_catalog::{DataLoss, FileId, Signal, TenantNumber, now_ns};

use super::data_file::FileFault;
use crate::layout::Layout;
use crate::parquet::Footer;

#[derive(Debug)]
pub(super) struct DamagedFile {
    /// For an object, the path that the file has in a data directory.
    pub path: PathBuf,
    pub id: Option<FileId>,
    /// What can be read of it, which need not be true.
    pub footer: Option<Box<Footer>>,
    pub fault: FileFault,
    pub place: Place,
}

/// Where a damaged file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Among the sound ones.
    DataDir,
    /// In data/quarantine already: an earlier repair, or a start, put it there.
    Quarantine,
    /// In the remote tier, where it stays.
    Object { url: String },
}

impl DamagedFile {
    pub(super) fn new(path: PathBuf, footer: Option<Box<Footer>>, fault: FileFault, place: Place) -> Self {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let id = u128::from_str_radix(stem, 16).ok().map(FileId);
        Self { path, id, footer, fault, place }
    }

    /// As a person finds it.
    pub(super) fn name(&self, layout: &Layout) -> String {
        match &self.place {
            Place::Object { url } => url.clone(),
            Place::DataDir | Place::Quarantine => self.loss(layout).source,
        }
    }

    /// What becomes of it if no other file has its rows.
    pub(super) fn advice(&self) -> &'static str {
        match self.place {
            Place::Object { .. } => {
                "the object stays where it is and its rows are on record as lost; restore it, and repair again with --force"
            }
            Place::DataDir | Place::Quarantine => {
                "it is kept in data/quarantine and its rows are on record as lost; restore it from a backup"
            }
        }
    }

    pub(super) fn loss(&self, layout: &Layout) -> DataLoss {
        let name = self.path.strip_prefix(layout.root()).unwrap_or(&self.path);
        let file = self.footer.as_ref().map(|footer| &footer.file);
        DataLoss {
            first_seq: file.map(|file| file.first_seq).unwrap_or_default(),
            last_seq: file.map(|file| file.last_seq).unwrap_or_default(),
            source: name.display().to_string(),
            detail: self.fault.to_string(),
            found_ns: now_ns(),
            tenant: file.map(|file| file.tenant).or_else(|| tenant_of_dir(layout, &self.path)),
            signal: file.map(|file| file.signal).or_else(|| signal_of_dir(layout, &self.path)),
            num_rows: file.map(|file| file.num_rows),
            timestamps: file.map(|file| file.timestamps),
        }
    }
}

/// Parts of a path below the directory of data files: signal, tenant number, ...
fn parts<'a>(layout: &Layout, path: &'a Path) -> Vec<&'a str> {
    let below = path.strip_prefix(layout.data_root()).unwrap_or(Path::new(""));
    below.iter().filter_map(|part| part.to_str()).collect()
}

pub(super) fn tenant_of_dir(layout: &Layout, path: &Path) -> Option<TenantNumber> {
    parts(layout, path).get(1)?.parse().ok().map(TenantNumber)
}

fn signal_of_dir(layout: &Layout, path: &Path) -> Option<Signal> {
    let parts = parts(layout, path);
    Signal::ALL.into_iter().find(|signal| parts.first() == Some(&signal.table_name()))
}
