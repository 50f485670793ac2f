//! A new catalog in the place of a damaged one.
//!
//! What is neither in the footers of data files nor in the log cannot be built anew, and the report says so: pending
//! deletions, retention policies, the ids of stored batches, and what ingest refused. Losses on record are taken from the old
//! catalog if that can be trusted, and files that moved to the remote tier from there.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use alula_catalog::Catalog;

use super::check::catalog_fault;
use super::gather::Found;
use super::{Report, take};
use crate::disk::sync_dir;
use crate::layout::Layout;
use crate::reconcile::set_aside;
use crate::remote::{Survey, had_remote_tier};
use crate::{Error, RemoteConfig, Result};

/// The new catalog until it takes its place.
const NEW_NAME: &str = "catalog.db.repair";
/// What SQLite and we keep beside a database.
const BESIDE: [&str; 4] = ["-wal", "-shm", "-mark", ".lock"];

/// When a repair takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairMode {
    /// Only if the catalog is damaged, missing or not the latest.
    IfNeeded,
    Always,
}

/// Where a repair looks for files that moved to the remote tier.
#[derive(Clone, Debug)]
pub enum RemoteSource {
    Tier(Box<RemoteConfig>),
    /// No tier is known: a directory that had one is not repaired without it.
    Unknown,
    /// Files that moved there stay out of the new catalog; a later repair can take them in.
    LeftOut,
}

/// Builds the catalog of a data directory anew. The old one stays beside it, as `catalog.db.damaged-<time>`.
///
/// Bounds: reads every local file once, the log, and each remote file that is part of the store once, through a temporary file;
/// in memory are a batch of rows, a log segment, 24 MiB of a remote file, and a few words for each file, MiB of a remote file,
/// and log entry.
/// Durable: when this returns. Interrupted before, it has changed nothing that a start or another repair looks at.
///
/// # Errors
/// `DirectoryInUse`, `NoDataDirectory`, `Io` — as of a check. `SeveralStores`, `SeveralTenants`, `NewerFormat` — files are there
/// that cannot all belong here. `RemoteUnavailable`, `RemoteNotConfigured`, `RemoteOwned` — files of the remote tier cannot be
/// taken in. Nothing was changed.
pub fn repair(data_dir: &Path, mode: RepairMode, remote: &RemoteSource) -> Result<Report> {
    let (layout, _lock) = take(data_dir)?;
    let mut report = Report::default();
    match catalog_fault(&layout)? {
        Some(fault) => report.find("catalog", format!("before: {fault}")),
        None if mode == RepairMode::Always => {
            report.find("catalog", "before: sound, and built anew all the same");
        }
        None => {
            report.find("catalog", "sound: nothing to repair (--force builds it anew all the same)");
            return Ok(report);
        }
    }
    let survey = match remote {
        RemoteSource::Tier(config) => Some(Survey::open(config, &layout)?),
        RemoteSource::Unknown if had_remote_tier(&layout) => return Err(Error::RemoteNotConfigured),
        RemoteSource::Unknown | RemoteSource::LeftOut => None,
    };
    let found = Found::gather(&layout, survey, &mut report)?;
    let contents = found.contents(&mut report)?;
    let path = data_dir.join(Catalog::FILE_NAME);
    let new = data_dir.join(NEW_NAME);
    remove_with_companions(&layout, &new)?;
    Catalog::build(&new, &path, &contents)?;
    // Before the catalog that has their losses: a start would remove what it does not know.
    for path in found.to_set_aside() {
        set_aside(&layout, path)?;
    }
    found.protect_objects()?;
    sync_dir(layout.disk(), layout.root())?;
    let kept = replace_catalog(&layout, &new, &path)?;
    if let Some(kept) = kept {
        report.find("kept aside", format!("the old catalog, as {kept}"));
    }
    found.take_back_objects()?;
    tell_what_is_gone(&found, &mut report);
    Ok(report)
}

fn tell_what_is_gone(found: &Found, report: &mut Report) {
    for text in [
        "deletions that were not applied to all files yet: their rows are there again; repeat each DELETE",
        "retention policies of tenants: the server's defaults apply until `alula retention set` is repeated",
        "ids of batches that are in files: one that is sent again within the next ten minutes is stored again",
        "what ingest refused (system.ingest_rejections)",
        "losses on record before, if the old catalog is damaged or of another store",
        "when user tables were made; one that was dropped in the seconds before the server ended may be there again",
        "uploads in parts to the remote tier that were under way; a lifecycle rule of the bucket removes them",
    ] {
        report.find("not rebuilt", text);
    }
    if found.has_all_objects() {
        return;
    }
    let what = match found.tier_url() {
        Some(_) => "objects of the remote tier that are among the problems",
        None => "files of the remote tier, which was not looked at",
    };
    let text = format!(
        "{what}: they are untouched, and in no query; this directory moves nothing there and removes nothing from \
         there, until `alula verify --repair --force` finds all of them sound"
    );
    report.find("not rebuilt", text);
}

/// Puts the new catalog in the place of the old one. Returns the name that the old one has.
///
/// The rename is the moment at which it happens. Before it the old catalog is without its log, so it is refused if it needed
/// that; and it is whole under its other name.
fn replace_catalog(layout: &Layout, new: &Path, path: &Path) -> Result<Option<String>> {
    let (disk, root) = (layout.disk(), layout.root());
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let names = (0..).map(|attempt| match attempt {
        0 => format!("{}.damaged-{now}", Catalog::FILE_NAME),
        _ => format!("{}.damaged-{now}-{attempt}", Catalog::FILE_NAME),
    });
    let is_free = |name: &String| !root.join(name).exists();
    let kept_name = names.into_iter().find(is_free).expect("there are more numbers than files");
    let mut is_kept = false;
    for suffix in ["", "-wal"] {
        is_kept |= keep(layout, &with_suffix(path, suffix), &with_suffix(&root.join(&kept_name), suffix))?;
    }
    sync_dir(disk, root)?;
    // A log of the old database would be taken for one of the new.
    for suffix in ["-wal", "-shm", "-journal"] {
        remove(layout, &with_suffix(path, suffix))?;
    }
    sync_dir(disk, root)?;
    disk.rename(new, path).map_err(Error::io(path, "cannot put the new catalog in its place"))?;
    sync_dir(disk, root)?;
    remove_with_companions(layout, new)?;
    Ok(is_kept.then_some(kept_name))
}

/// Gives a file a second name. False if there is no such file.
fn keep(layout: &Layout, path: &Path, kept: &Path) -> Result<bool> {
    let linked = layout.disk().hard_link(path, kept);
    // Not every file system can.
    let kept_anyhow = linked.or_else(|_| std::fs::copy(path, kept).map(|_| ()));
    match kept_anyhow {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(kept, "cannot keep the old catalog; nothing was changed")(error)),
    }
}

fn remove_with_companions(layout: &Layout, database: &Path) -> Result<()> {
    remove(layout, database)?;
    BESIDE.iter().try_for_each(|suffix| remove(layout, &with_suffix(database, suffix)))
}

fn remove(layout: &Layout, path: &Path) -> Result<()> {
    match layout.disk().remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(path, "cannot remove the file")(error))
        }
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
