//! All files in a data directory, without its catalog.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use alula_catalog::{FileId, RecordedLoss, TenantNumber};

use super::Report;
use super::damaged_file::{DamagedFile, Place, tenant_of_dir};
use super::data_file::{FileFault, check_whole};
use super::objects::{Local, Objects, SoundObject, gather_objects};
use super::user_tables::{SoundUserFile, read_whole_user_file};
use crate::data_files::DataFileReader;
use crate::layout::Layout;
use crate::parquet::{FILE_FORMAT_VERSION, Footer, FooterError, is_data_file_name, read_footer};
use crate::reconcile::Tree;
use crate::remote::Survey;
use crate::{Error, Result};

/// A file that is what its own footer says.
#[derive(Debug)]
pub(super) struct SoundFile {
    /// Of one in the remote tier, that which it has in a data directory.
    pub path: PathBuf,
    pub footer: Footer,
    /// Of one in the remote tier.
    pub object: Option<SoundObject>,
}

/// Files in the data directory.
#[derive(Debug, Default)]
pub(super) struct LocalFiles {
    pub sound: Vec<SoundFile>,
    pub user_files: Vec<SoundUserFile>,
    pub damaged: Vec<DamagedFile>,
    /// Numbers of tenants that have directories.
    pub tenants: Vec<TenantNumber>,
}

impl LocalFiles {
    /// Reads all of them.
    pub(super) fn read(layout: &Layout) -> Result<Self> {
        let tree = Tree::read(layout);
        if let Some((dir, error)) = tree.unreadable.into_iter().next() {
            return Err(Error::io(&dir, "cannot list the directory; nothing was changed")(error));
        }
        let tenants = tree.dirs.iter().filter_map(|dir| tenant_of_dir(layout, dir)).collect();
        let mut files = Self { tenants, ..Self::default() };
        for path in tree.files {
            if path.extension().is_some_and(|extension| extension == "tmp") {
                continue;
            }
            let (footer, fault) = if path.starts_with(layout.user_tables_dir()) {
                match read_whole_user_file(layout, &path) {
                    Ok(file) => {
                        files.user_files.push(file);
                        continue;
                    }
                    Err(fault) => (None, fault),
                }
            } else {
                match read_whole(layout, &path) {
                    Ok(footer) => {
                        files.sound.push(SoundFile { path, footer, object: None });
                        continue;
                    }
                    Err(damage) => damage,
                }
            };
            match fault {
                FileFault::Footer(FooterError::Newer { found }) => {
                    return Err(Error::NewerFormat { path, found, known: FILE_FORMAT_VERSION });
                }
                FileFault::Read(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(Error::io(&path, "cannot read the data file; nothing was changed")(error));
                }
                fault => files.damaged.push(DamagedFile::new(path, footer, fault, Place::DataDir)),
            }
        }
        files.damaged.extend(set_aside_before(layout));
        Ok(files)
    }

    /// The objects of the store, beside these files. `dead` are files that the store had given up.
    pub(super) fn objects(
        &self,
        layout: &Layout,
        store_uuid: [u8; 16],
        survey: &Survey,
        dead: HashSet<FileId>,
        report: &mut Report,
    ) -> Result<Objects> {
        let identities = self.user_files.iter().map(|file| &file.footer.identity);
        let local = Local {
            store_uuid,
            footers: self.sound.iter().map(|file| &file.footer).collect(),
            tenants: identities.map(|identity| (identity.tenant, &identity.tenant_id)).collect(),
            dead,
        };
        gather_objects(survey, layout, &local, report)
    }
}

impl LocalFiles {
    /// The highest number of a tenant.
    pub(super) fn last_tenant(
        &self,
        known_losses: &[RecordedLoss],
        log_tenants: &BTreeSet<TenantNumber>,
    ) -> TenantNumber {
        let of_files = self.sound.iter().map(|file| file.footer.file.tenant);
        let of_user_files = self.user_files.iter().map(|file| file.footer.identity.tenant);
        let of_damaged = self.damaged.iter().filter_map(|file| Some(file.footer.as_ref()?.file.tenant));
        let of_losses = known_losses.iter().filter_map(|known| known.loss.tenant);
        let all = of_files.chain(of_user_files).chain(of_damaged).chain(of_losses);
        let all = all.chain(self.tenants.iter().copied()).chain(log_tenants.iter().copied());
        all.max().unwrap_or(TenantNumber(0))
    }
}

/// Reads all of a file, which has the name that its footer gives it.
fn read_whole(layout: &Layout, path: &Path) -> Result<Footer, (Option<Box<Footer>>, FileFault)> {
    let reader = DataFileReader::open(layout.disk(), path).map_err(|error| (None, error.into()))?;
    let footer = match check_whole(&reader) {
        Ok(footer) => footer,
        Err(fault) => return Err((read_footer(&reader).ok().map(Box::new), fault)),
    };
    let expected = layout.data_file(&footer.file);
    if expected == path {
        return Ok(footer);
    }
    let (found, expected) = (path.display().to_string(), expected.display().to_string());
    Err((Some(Box::new(footer)), FileFault::Differs { what: "places", found, expected }))
}

fn set_aside_before(layout: &Layout) -> Vec<DamagedFile> {
    let dir = layout.data_quarantine_dir();
    let names = layout.disk().list(&dir).unwrap_or_default().into_iter().map(|entry| entry.name);
    let ours = names.filter(|name| name.to_str().is_some_and(is_data_file_name));
    ours.map(|name| {
        let path = dir.join(name);
        let reader = DataFileReader::open(layout.disk(), &path).ok();
        let footer = reader.and_then(|reader| read_footer(&reader).ok());
        DamagedFile::new(path, footer.map(Box::new), FileFault::SetAside, Place::Quarantine)
    })
    .collect()
}
