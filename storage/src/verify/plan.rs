//! Which data files are the store, and from where on the log is, if there is no catalog to say so.
//!
//! **What is known without a catalog.** A flush writes files of all entries up to a cut, commits them together with the cut,
//! and then removes the log's segments of these entries, oldest first. So an entry that the log does not have any more was
//! committed; and flushes have no entry in common.
//!
//! **The rule.** Let W be the first entry of the log. The cut is W - 1 to begin with: up to there everything was committed.
//! A file that has an entry up to the cut is part of the store. If it has later ones too, then so were those committed, as a
//! flush commits as a whole: the cut moves to its last entry, until there is no such file any more. All other files are left
//! out: every entry in them is after the cut, and in the log, whose replay gives their rows.
//!
//! - *Nothing twice*: a row up to the cut is not replayed, a row after it is in no file that is taken. Of a file and the one
//!   that replaced it only the latter is taken.
//! - *Nothing lost*: an entry up to the cut is in files that have it, all of which are taken; one after it is in the log.
//!
//! That takes some files again from the log that were committed, namely where a crash came between a COMMIT and the removal
//! of the segments; the rows are the same.
//!
//! **A damaged log.** An entry after the cut that the log cannot give, and that is in a file, is better taken from there. The
//! cut moves past that file, by the same rule, if all entries up to there which the log does have are in the files too, row
//! by row: a flush that did not get to write all of its files would lose rows otherwise.

use std::collections::{BTreeMap, HashSet};

use alula_catalog::{DataFile, FileId, SequenceNumber};

/// A sound file.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub file: DataFile,
    pub replaces: Vec<FileId>,
}

/// What the log has.
#[derive(Clone, Debug, Default)]
pub(super) struct LogContents {
    /// None if there are no segments.
    pub first_seq: Option<SequenceNumber>,
    /// The highest number that is known to have been given out.
    pub last_seq: SequenceNumber,
    /// Rows of each entry that can be read.
    pub rows: BTreeMap<SequenceNumber, u64>,
    /// Entries that had been acknowledged and cannot be read, both ends included.
    pub losses: Vec<(SequenceNumber, SequenceNumber)>,
}

/// What becomes of each candidate, and of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Part of the store.
    pub live: Vec<usize>,
    /// Another file has their rows.
    pub superseded: Vec<usize>,
    /// The log has their rows.
    pub in_log: Vec<usize>,
    /// The log is replayed after this entry.
    pub flushed_seq: SequenceNumber,
}

/// Decides. `count_rows` says how many rows of each entry some candidates have together; it reads them.
pub(super) fn plan<E>(
    candidates: &[Candidate],
    log: &LogContents,
    mut count_rows: impl FnMut(&[usize]) -> Result<BTreeMap<SequenceNumber, u64>, E>,
) -> Result<Plan, E> {
    let replaced: HashSet<FileId> = candidates.iter().flat_map(|c| c.replaces.iter().copied()).collect();
    let (superseded, present): (Vec<_>, Vec<_>) =
        (0..candidates.len()).partition(|index| replaced.contains(&candidates[*index].file.id));
    let files = Files { candidates, present: &present };
    let mut cut = match log.first_seq {
        Some(first) => files.closed_cut(SequenceNumber(first.0.saturating_sub(1))),
        None => files.closed_cut(SequenceNumber(u64::MAX)).max(log.last_seq),
    };
    for (first, last) in &log.losses {
        let lost = (*first).max(cut.next());
        let holders = files.after(cut).filter(|file| file.first_seq <= *last && lost <= file.last_seq);
        let Some(upto) = holders.map(|file| file.last_seq).max() else { continue };
        let wider = files.closed_cut(upto);
        let counted = count_rows(&files.upto(wider))?;
        let readable = log.rows.range(cut.next()..=wider);
        if readable.into_iter().all(|(seq, rows)| counted.get(seq).copied().unwrap_or(0) == *rows) {
            cut = wider;
        }
    }
    let (live, in_log) = present.iter().copied().partition(|index| candidates[*index].file.first_seq <= cut);
    Ok(Plan { live, superseded, in_log, flushed_seq: cut })
}

struct Files<'a> {
    candidates: &'a [Candidate],
    present: &'a [usize],
}

impl Files<'_> {
    /// The cut moved on until no file has entries on both sides of it. Without a bound: the last entry of all files.
    fn closed_cut(&self, cut: SequenceNumber) -> SequenceNumber {
        let last_of = |cut: SequenceNumber| {
            let upto = self.upto(cut);
            upto.into_iter().map(|index| self.candidates[index].file.last_seq).max().unwrap_or_default()
        };
        if cut == SequenceNumber(u64::MAX) {
            return last_of(cut);
        }
        let mut cut = cut;
        loop {
            let last = last_of(cut);
            if last <= cut {
                return cut;
            }
            cut = last;
        }
    }

    /// Those with an entry up to `cut`.
    fn upto(&self, cut: SequenceNumber) -> Vec<usize> {
        let is_before = |index: &usize| self.candidates[*index].file.first_seq <= cut;
        self.present.iter().copied().filter(is_before).collect()
    }

    fn after(&self, cut: SequenceNumber) -> impl Iterator<Item = &DataFile> {
        let files = self.present.iter().map(|index| &self.candidates[*index].file);
        files.filter(move |file| file.first_seq > cut)
    }
}

#[cfg(test)]
mod tests;
