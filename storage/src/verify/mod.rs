//! Whether a data directory is what it should be, and what to do if it is not. Offline: the directory is taken for this.
//!
//! | file | purpose |
//! |---|---|
//! | `report.rs` | what was looked at, and what was found |
//! | `check.rs` | everything in a directory against everything else in it |
//! | `data_file.rs` | all rows of one file, and what its footer says of them |
//! | `damaged_file.rs` | what goes on record of a file that is not what it should be |
//! | `objects.rs` | files in the remote tier |
//! | `user_tables.rs` | the same for files of user tables, and the tables that they make |
//! | `repair.rs` | a new catalog in the place of a damaged one |
//! | `gather.rs` | what there is without a catalog: files, objects and the log |
//! | `local_files.rs` | all files in the data directory |
//! | `plan.rs` | which files and which part of the log are the store, if there is no catalog to say so; pure |
//!
//! A check changes nothing. A repair writes a new catalog beside the old one, and its rename is the one moment at which
//! anything happens: interrupted before, it can be begun again.

mod check;
mod damaged_file;
mod data_file;
mod gather;
mod local_files;
mod objects;
mod plan;
mod repair;
mod report;
mod user_tables;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

pub use check::verify;
pub use repair::{RemoteSource, RepairMode, repair};
pub use report::{Finding, Problem, Report};

use crate::disk::RealDisk;
use crate::layout::Layout;
use crate::{Error, Result};

/// Takes a data directory that exists, until the returned file is dropped.
fn take(data_dir: &Path) -> Result<(Layout, File)> {
    let layout = Layout::new(data_dir.to_owned(), Arc::new(RealDisk));
    if !layout.disk().is_dir(data_dir) {
        return Err(Error::NoDataDirectory { path: data_dir.to_owned() });
    }
    let lock = layout.lock()?;
    Ok((layout, lock))
}

#[cfg(test)]
mod tests;
