//! Data directories of all kinds: what a check says of them, and what a repair makes of them.

mod damages;
mod objects;
mod rebuild;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use alula_catalog::{Catalog, DataFile};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::Storage;
use crate::testing::{bodies, config, crash_image, entry, expected, open};

const NOON_S: i64 = 1_600_000_000;
const CATALOG: [&str; 4] = ["catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db-mark"];
const TENANTS: [&str; 3] = ["a", "b", "c"];

/// Of a directory without a remote tier.
fn verify(dir: &Path) -> Result<Report> {
    super::verify(dir, None)
}

/// Of a directory without a remote tier.
fn repair(dir: &Path, mode: RepairMode) -> Result<Report> {
    super::repair(dir, mode, &RemoteSource::Unknown)
}

/// A copy of a directory as it is at this moment.
fn image(dir: &Path) -> TempDir {
    let image = tempdir().unwrap();
    crash_image(dir, image.path());
    image
}

fn remove_catalog(dir: &Path) {
    for name in CATALOG {
        let _ = fs::remove_file(dir.join(name));
    }
}

/// Rows of all tenants, by body.
async fn all_rows(storage: &Storage) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for tenant in TENANTS {
        for (body, count) in bodies(storage, tenant).await {
            *all.entry(format!("{tenant}: {body}")).or_default() += count;
        }
    }
    all
}

async fn rows_of(dir: &Path) -> BTreeMap<String, usize> {
    let storage = open(config(dir)).unwrap();
    let rows = all_rows(&storage).await;
    storage.close().await.unwrap();
    rows
}

/// A closed directory with three files of two tenants.
async fn closed() -> TempDir {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for (tenant, label) in [("a", "x"), ("a", "y"), ("b", "z")] {
        storage.append(entry(tenant, label, NOON_S, 3)).await.unwrap();
        storage.flush().await.unwrap();
    }
    storage.close().await.unwrap();
    dir
}

fn live(dir: &Path) -> Vec<DataFile> {
    Catalog::inspect(&dir.join("catalog.db")).unwrap().live_files().unwrap()
}

fn files_below(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}
