//! The bytes of one simulated file: what reads show, what is on the platter, and which sectors differ.

use std::collections::BTreeMap;

use super::power_cut::PowerCut;
use super::rng::Rng;

/// What a disk writes whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct FileBytes {
    /// What reads show: the page cache.
    cached: Vec<u8>,
    /// What is there after a power cut, whatever else is.
    durable: Vec<u8>,
    /// The contents that a sector had since the last sync, oldest first. Any of them may be on the platter.
    pending: BTreeMap<usize, Vec<Version>>,
    /// When the file was emptied, if that is not synced.
    truncated_at: Option<u64>,
}

#[derive(Clone, Debug)]
struct Version {
    at: u64,
    bytes: Box<[u8]>,
}

impl FileBytes {
    pub(super) fn len(&self) -> usize {
        self.cached.len()
    }

    pub(super) fn read(&self, into: &mut [u8], offset: u64) -> usize {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.cached.len());
        let bytes = &self.cached[start..];
        let length = bytes.len().min(into.len());
        into[..length].copy_from_slice(&bytes[..length]);
        length
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize, at: u64) {
        let end = offset + bytes.len();
        if bytes.is_empty() {
            return;
        }
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let bytes = self.cached_sector(sector).into();
            self.pending.entry(sector).or_default().push(Version { at, bytes });
        }
    }

    pub(super) fn truncate(&mut self, at: u64) {
        if !self.cached.is_empty() || !self.durable.is_empty() {
            self.truncated_at = Some(at);
        }
        self.cached.clear();
        self.pending.clear();
    }

    /// Everything that waits to be written reaches the platter.
    ///
    /// That is not everything that reads show: what a failed sync dropped is not written again.
    pub(super) fn sync(&mut self) {
        if self.truncated_at.take().is_some() {
            self.durable.clear();
        }
        let length = self.cached.len();
        for (sector, versions) in std::mem::take(&mut self.pending) {
            if let Some(version) = versions.last() {
                put_sector(&mut self.durable, sector, &version.bytes, length);
            }
        }
        self.durable.resize(length, 0);
    }

    /// All pages count as written from here on, and only some of them are.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        let length = self.cached.len();
        let share = rng.below(3);
        for (sector, versions) in std::mem::take(&mut self.pending) {
            let reaches_platter = share == 2 || (share == 1 && rng.coin());
            if let Some(version) = versions.last().filter(|_| reaches_platter) {
                if self.truncated_at.take().is_some() {
                    self.durable.clear();
                }
                put_sector(&mut self.durable, sector, &version.bytes, length);
            }
        }
    }

    /// Pages that do not wait to be written are read from the platter from here on.
    pub(super) fn drop_clean_pages(&mut self) {
        let length = self.cached.len();
        let mut bytes = if self.truncated_at.is_some() { Vec::new() } else { self.durable.clone() };
        bytes.resize(length, 0);
        for (sector, versions) in &self.pending {
            if let Some(version) = versions.last() {
                put_sector(&mut bytes, *sector, &version.bytes, length);
            }
        }
        self.cached = bytes;
    }

    /// When something happened that is not synced.
    pub(super) fn pending_times(&self) -> impl Iterator<Item = u64> {
        self.pending.values().flatten().map(|version| version.at).chain(self.truncated_at)
    }

    /// What a power cut leaves.
    pub(super) fn after(&self, cut: &mut PowerCut) -> Self {
        let kept: Vec<_> = self
            .pending
            .iter()
            .filter_map(|(sector, versions)| {
                let times: Vec<_> = versions.iter().map(|version| version.at).collect();
                Some((*sector, &versions[cut.version(&times)?].bytes))
            })
            .collect();
        // Blocks of the emptied file are given to nobody, this file included, until its emptying is on disk.
        let is_truncated = self.truncated_at.is_some_and(|at| !kept.is_empty() || cut.keeps(at));
        let mut bytes = if is_truncated { Vec::new() } else { self.durable.clone() };
        for (sector, sector_bytes) in kept {
            put_sector(&mut bytes, sector, sector_bytes, self.cached.len());
        }
        if !self.pending.is_empty() {
            let length = cut.length(bytes.len(), self.cached.len());
            bytes.resize(length, 0);
        }
        Self { cached: bytes.clone(), durable: bytes, ..Self::default() }
    }

    /// The bytes of a sector as reads show them; the last one may be short.
    fn cached_sector(&self, sector: usize) -> &[u8] {
        let start = sector * SECTOR_BYTES;
        &self.cached[start..self.cached.len().min(start + SECTOR_BYTES)]
    }
}

/// Puts a sector in its place, in a file that is `length` long in the end.
fn put_sector(bytes: &mut Vec<u8>, sector: usize, sector_bytes: &[u8], length: usize) {
    let start = sector * SECTOR_BYTES;
    let end = (start + sector_bytes.len()).min(length.max(start));
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(&sector_bytes[..end - start]);
}
