//! [`WalTail`]: a copy of the log that another process is writing to.
//!
//! Segments grow at their end only, and a segment is ended before the next one is created. So one that has a later one can be
//! copied as it is, and of the newest a first part. What makes that a part is this:
//!
//! - *Names.* A listing that is made while segments come may have a segment and lack the one before it. It has its newest
//!   for certain, so a second listing has everything before that.
//! - *Bytes.* Read from front to back, a segment may show zeros at one place, and further on an entry that was written later,
//!   which says that the entry in the place of the zeros was acknowledged: a loss, to recovery. So the last byte that was
//!   written is looked for first, from the back. Everything before it was written before it, and is copied then.
//!
//! The last group in the copy may be there in part, or may never be acknowledged: recovery takes it for what a crash leaves.
//! Only if the server could not sync it, went on in another segment, *and* flushed that, the copy would have entries that were
//! refused, beside others with the same numbers in files. [`WalTail::still_holds`] rules that out.
//!
//! `wal/mark` is not copied: it may know of entries that came after the copy.

use std::io;
use std::path::Path;

use super::manifest::{WAL, is_snapshot_file};
use super::{Progress, Result};
use crate::disk::{Disk, DiskFile, read_exact_at};
use crate::layout::Layout;
use crate::wal::is_sealed;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Zeros kept after the last byte that is not: the end of an entry may be zeros.
const KEPT_ZEROS: u64 = 4096;

/// What was copied.
#[derive(Debug)]
pub(super) struct WalTail {
    /// File names.
    pub segments: Vec<String>,
    newest: Option<Newest>,
}

/// The segment that was written to when the copy was made.
#[derive(Debug)]
struct Newest {
    name: String,
    /// Stays readable when the server removes it. None if it did before it could be opened.
    file: Option<Box<dyn DiskFile>>,
}

impl WalTail {
    /// Copies every segment to the directory `into`, in the place of what is there.
    ///
    /// Has every entry that was acknowledged before the call, unless it is in data files by the end of the call.
    pub(super) fn copy(layout: &Layout, into: &Path, progress: &Progress) -> Result<Self> {
        let disk = layout.disk();
        for name in list(disk, into)? {
            let path = into.join(name);
            disk.remove_file(&path).map_err(crate::Error::io(&path, "cannot remove the file"))?;
        }
        let mut tail = Self { segments: Vec::new(), newest: None };
        let Some(newest) = list(disk, &layout.wal_dir())?.pop() else { return Ok(tail) };
        let listed = list(disk, &layout.wal_dir())?;
        for name in listed.into_iter().filter(|name| *name <= newest) {
            progress.check()?;
            let path = layout.wal_dir().join(&name);
            let file = match disk.open(&path) {
                Ok(file) => file,
                // Its entries are all in data files.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(crate::Error::io(&path, "cannot open the log segment")(error).into());
                }
            };
            let target = into.join(&name);
            let copied = copy_segment(disk, file.as_ref(), &target);
            copied.map_err(crate::Error::io(&path, "cannot copy the log segment"))?;
            if name == newest {
                tail.newest = Some(Newest { name: name.clone(), file: Some(file) });
            }
            tail.segments.push(name);
        }
        tail.newest.get_or_insert(Newest { name: newest, file: None });
        Ok(tail)
    }

    /// Whether nothing in the copy was refused and then written to files under the same numbers, as of this moment.
    ///
    /// That takes a segment that was given up. One that is still the newest, or that was sealed, was not.
    pub(super) fn still_holds(&self, layout: &Layout) -> Result<bool> {
        let Some(newest) = &self.newest else { return Ok(true) };
        if list(layout.disk(), &layout.wal_dir())?.last() == Some(&newest.name) {
            return Ok(true);
        }
        let Some(file) = &newest.file else { return Ok(false) };
        let path = layout.wal_dir().join(&newest.name);
        Ok(is_sealed(file.as_ref()).map_err(crate::Error::io(&path, "cannot read the log segment"))?)
    }
}

/// File names of segments, oldest first.
fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>> {
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(crate::Error::io(dir, "cannot list the log directory")(error).into()),
    };
    let names = entries.into_iter().filter_map(|entry| entry.name.into_string().ok());
    let mut names: Vec<_> = names.filter(|name| is_snapshot_file(&format!("{WAL}/{name}"))).collect();
    names.sort();
    Ok(names)
}

pub(super) fn copy_segment(disk: &dyn Disk, from: &dyn DiskFile, to: &Path) -> io::Result<()> {
    let length = from.len()?;
    let written = written_bytes(from, length)?;
    let to = disk.create(to)?;
    let mut at = 0;
    while at < written {
        let bytes = read_exact_at(from, CHUNK_BYTES.min((written - at) as usize), at)?;
        to.write_all_at(&bytes, at)?;
        at += bytes.len() as u64;
    }
    to.write_all_at(&vec![0; (length - written).min(KEPT_ZEROS) as usize], written)
}

/// Where the last byte that is not zero ends.
fn written_bytes(file: &dyn DiskFile, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES as u64);
        let bytes = read_exact_at(file, (end - start) as usize, start)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
