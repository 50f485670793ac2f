//! What a data directory holds, without its catalog, and the catalog that can be made of it. Of the catalog that is replaced
//! only the losses are asked for: no other place has what was lost before, and what an operator said of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use alula_catalog::{
    Catalog, CatalogContents, DataFile, DataLoss, FileId, RecordedLoss, SequenceNumber, Signal, TenantId,
    TenantNumber, now_ns,
};

use super::Report;
use super::data_file::{FileFault, check_rows, rows_by_entry};
use super::plan::{Candidate, LogContents, Plan, plan};
use super::user_tables::{SoundUserFile, read_whole_user_file, rebuild};
use crate::data_files::DataFileReader;
use crate::layout::Layout;
use crate::parquet::{FILE_FORMAT_VERSION, Footer, FooterError, checksums, is_data_file_name, read_footer};
use crate::reconcile::Tree;
use crate::wal::{recover, store_of_log};
use crate::{Error, Result};

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Found {
    layout: Layout,
    sound: Vec<SoundFile>,
    user_files: Vec<SoundUserFile>,
    damaged: Vec<DamagedFile>,
    store_uuid: Option<[u8; 16]>,
    log: LogContents,
    /// On record before.
    known_losses: Vec<RecordedLoss>,
    /// Tenants of log entries.
    log_tenants: BTreeSet<TenantNumber>,
    /// The highest number of a tenant that is seen anywhere.
    last_tenant: TenantNumber,
}

#[derive(Debug)]
struct SoundFile {
    path: PathBuf,
    footer: Footer,
}

#[derive(Debug)]
struct DamagedFile {
    path: PathBuf,
    id: Option<FileId>,
    /// What can be read of it, which need not be true.
    footer: Option<Box<Footer>>,
    fault: FileFault,
    /// In data/quarantine already: an earlier repair, or a start, put it there.
    is_set_aside: bool,
}

impl Found {
    /// Reads every file, and the log.
    ///
    /// # Errors
    /// As of [`super::repair()`].
    pub(super) fn gather(layout: &Layout) -> Result<Self> {
        let tree = Tree::read(layout);
        if let Some((dir, error)) = tree.unreadable.into_iter().next() {
            return Err(Error::io(&dir, "cannot list the directory; nothing was changed")(error));
        }
        let (mut sound, mut user_files, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
        for path in tree.files {
            if path.extension().is_some_and(|extension| extension == "tmp") {
                continue;
            }
            let (footer, fault) = if path.starts_with(layout.user_tables_dir()) {
                match read_whole_user_file(layout, &path) {
                    Ok(file) => {
                        user_files.push(file);
                        continue;
                    }
                    Err(fault) => (None, fault),
                }
            } else {
                match read_whole(layout, &path) {
                    Ok(footer) => {
                        sound.push(SoundFile { path, footer });
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
                fault => damaged.push(DamagedFile::new(path, footer, fault, false)),
            }
        }
        damaged.extend(set_aside_before(layout));
        let store_uuid = one_store(layout, &sound, &user_files)?;
        let (log, log_tenants) = match store_uuid {
            Some(store_uuid) => read_log(layout, store_uuid)?,
            None => (LogContents::default(), BTreeSet::new()),
        };
        let of_user_files = user_files.iter().map(|file: &SoundUserFile| file.footer.identity.tenant);
        let of_files = sound.iter().map(|file: &SoundFile| file.footer.file.tenant).chain(of_user_files);
        let of_damaged =
            damaged.iter().filter_map(|file: &DamagedFile| Some(file.footer.as_ref()?.file.tenant));
        let of_dirs = tree.dirs.iter().filter_map(|dir| tenant_of_dir(layout, dir));
        let known_losses =
            store_uuid.map(|store_uuid| losses_on_record(layout, store_uuid)).unwrap_or_default();
        let of_losses = known_losses.iter().filter_map(|known| known.loss.tenant);
        let all =
            of_files.chain(of_damaged).chain(of_dirs).chain(of_losses).chain(log_tenants.iter().copied());
        let last_tenant = all.max().unwrap_or(TenantNumber(0));
        let layout = layout.clone();
        Ok(Self {
            layout,
            sound,
            user_files,
            damaged,
            store_uuid,
            log,
            known_losses,
            log_tenants,
            last_tenant,
        })
    }

    /// Damaged files that are still among the sound ones.
    pub(super) fn to_set_aside(&self) -> impl Iterator<Item = &Path> {
        self.damaged.iter().filter(|file| !file.is_set_aside).map(|file| file.path.as_path())
    }

    /// The catalog that this makes.
    pub(super) fn contents(&self, report: &mut Report) -> Result<CatalogContents> {
        let candidates: Vec<_> = self
            .sound
            .iter()
            .map(|file| Candidate { file: file.footer.file.clone(), replaces: file.footer.replaces.clone() })
            .collect();
        let plan = plan(&candidates, &self.log, |files| self.count_rows(files))?;
        let files: Vec<DataFile> = plan.live.iter().map(|index| candidates[*index].file.clone()).collect();
        let num_rows: u64 = files.iter().map(|file| file.num_rows).sum();
        report.find("data files", format!("{} taken in, with {num_rows} rows", files.len()));
        for (num_left, why) in [
            (plan.superseded.len(), "others have their rows"),
            (plan.in_log.len(), "the log has their rows, which the next start puts into files"),
        ] {
            if num_left > 0 {
                report.find("data files", format!("{num_left} left out: {why}"));
            }
        }
        let rebuilt = rebuild(&self.user_files, report)?;
        let tenants = self.tenants(report)?;
        let losses = self.losses(&plan, &files, report)?;
        let applied = candidates.iter().map(|candidate| candidate.file.deletions_applied);
        Ok(CatalogContents {
            store_uuid: self.store_uuid,
            flushed_seq: plan.flushed_seq,
            tenants,
            last_tenant: self.last_tenant,
            last_deletion: applied.max().unwrap_or(0),
            files,
            user_tables: rebuilt.tables,
            user_files: rebuilt.files,
            known_losses: self.known_losses.clone(),
            losses,
        })
    }

    fn tenants(&self, report: &mut Report) -> Result<Vec<(TenantNumber, TenantId)>> {
        let mut ids: BTreeMap<TenantNumber, (&TenantId, &Path)> = BTreeMap::new();
        let mut numbers: BTreeMap<&TenantId, (TenantNumber, &Path)> = BTreeMap::new();
        let of_files =
            self.sound.iter().map(|SoundFile { path, footer }| (path, footer.file.tenant, &footer.tenant_id));
        let of_user_files = self.user_files.iter().map(|SoundUserFile { path, footer, .. }| {
            (path, footer.identity.tenant, &footer.identity.tenant_id)
        });
        for (path, number, id) in of_files.chain(of_user_files) {
            let (known_id, with_number) = *ids.entry(number).or_insert((id, path));
            let (known_number, with_id) = *numbers.entry(id).or_insert((number, path));
            if known_id != id || known_number != number {
                let other = if known_id == id { with_id } else { with_number };
                return Err(Error::SeveralTenants { path: path.clone(), other: other.to_owned() });
            }
        }
        let mut tenants: Vec<_> = ids.into_iter().map(|(number, (id, _))| (number, id.clone())).collect();
        report.find("tenants", format!("{} from the footers of data files", tenants.len()));
        let of_damaged = self.damaged.iter().filter_map(|file| file.loss(&self.layout).tenant);
        let of_losses = of_damaged.chain(self.known_losses.iter().filter_map(|known| known.loss.tenant));
        for number in self.log_tenants.iter().copied().chain(of_losses).collect::<BTreeSet<_>>() {
            if tenants.iter().any(|(known, _)| *known == number) {
                continue;
            }
            let id = recovered_id(number, &tenants);
            let text = format!(
                "number {number} is in no sound file, so it has no name: what there is of it goes to the tenant {id}"
            );
            report.find("tenants", text);
            tenants.push((number, id));
        }
        tenants.sort();
        Ok(tenants)
    }

    /// Rows that are in no file that is taken in, and that the log does not give.
    fn losses(&self, plan: &Plan, live: &[DataFile], report: &mut Report) -> Result<Vec<DataLoss>> {
        let mut losses = Vec::new();
        if !self.known_losses.is_empty() {
            report.find("losses", format!("{} stay on record", self.known_losses.len()));
        }
        let sources = self.known_losses.iter().map(|known| Path::new(&known.loss.source));
        let known_files: HashSet<_> = sources.filter_map(Path::file_name).collect();
        for file in &self.damaged {
            let loss = file.loss(&self.layout);
            if let Some(elsewhere) = self.is_elsewhere(file, plan, live) {
                report.find("data files", format!("{}: {}; {elsewhere}", loss.source, loss.detail));
                continue;
            }
            let advice =
                "it is kept in data/quarantine and its rows are on record as lost; restore it from a backup";
            report.blame(loss.source.clone(), loss.detail.clone(), advice);
            // Perhaps by a name that it had in another directory.
            if !file.path.file_name().is_some_and(|name| known_files.contains(name)) {
                losses.push(loss);
            }
        }
        for gap in self.gaps(plan)? {
            let text = format!("entry {}: {}", gap.first_seq, gap.detail);
            report.blame(gap.source.clone(), text, "they are on record as lost");
            losses.push(gap);
        }
        Ok(losses)
    }

    /// Why a damaged file is no loss.
    fn is_elsewhere(&self, file: &DamagedFile, plan: &Plan, live: &[DataFile]) -> Option<&'static str> {
        let is = |other: &FileId| Some(*other) == file.id;
        let ids = self.sound.iter().map(|sound| sound.footer.file.id);
        if ids.chain(self.user_files.iter().map(|sound| sound.footer.file.id)).any(|id| is(&id)) {
            return Some("another copy of it is sound");
        }
        let replaced = self.sound.iter().flat_map(|sound| &sound.footer.replaces);
        if replaced.chain(self.user_files.iter().flat_map(|sound| &sound.footer.replaces)).any(is) {
            return Some("others have its rows");
        }
        let footer = file.footer.as_ref()?;
        if footer.file.first_seq > plan.flushed_seq {
            return Some("the log has its rows");
        }
        let replaced: HashSet<_> = footer.replaces.iter().collect();
        let still_there = live.iter().filter(|file| replaced.contains(&file.id));
        let num_rows: u64 = still_there.map(|file| file.num_rows).sum();
        (num_rows >= footer.file.num_rows).then_some("the files that it was made of have its rows")
    }

    /// Entries that are not replayed, and whose rows the files do not all have.
    fn gaps(&self, plan: &Plan) -> Result<Vec<DataLoss>> {
        let passed: Vec<_> = self.log.rows.range(..=plan.flushed_seq).collect();
        if passed.is_empty() {
            return Ok(Vec::new());
        }
        let counted = self.count_rows(&plan.live)?;
        let is_gap = |(seq, rows): &(&SequenceNumber, &u64)| counted.get(*seq).copied().unwrap_or(0) < **rows;
        let gaps = passed.into_iter().filter(is_gap).map(|(seq, _)| DataLoss {
            first_seq: *seq,
            last_seq: *seq,
            source: "wal".to_owned(),
            detail: "not all of its rows are in data files, and the log before it is gone".to_owned(),
            found_ns: now_ns(),
            tenant: None,
            signal: None,
            num_rows: None,
            timestamps: None,
        });
        Ok(gaps.collect())
    }

    fn count_rows(&self, files: &[usize]) -> Result<BTreeMap<SequenceNumber, u64>> {
        let mut counted = BTreeMap::new();
        // Entries before the log have no frames to be compared with.
        let first = self.log.first_seq.unwrap_or_default();
        for file in files.iter().map(|index| &self.sound[*index]) {
            if file.footer.file.last_seq < first {
                continue;
            }
            let unreadable = |fault: FileFault| {
                let source = io::Error::new(io::ErrorKind::InvalidData, fault.to_string());
                Error::io(&file.path, "cannot read the data file")(source)
            };
            let reader = DataFileReader::open(self.layout.disk(), &file.path);
            let reader = reader.map_err(|error| unreadable(error.into()))?;
            for (seq, rows) in rows_by_entry(&reader).map_err(unreadable)? {
                *counted.entry(seq).or_default() += rows;
            }
        }
        Ok(counted)
    }
}

impl DamagedFile {
    fn new(path: PathBuf, footer: Option<Box<Footer>>, fault: FileFault, is_set_aside: bool) -> Self {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let id = u128::from_str_radix(stem, 16).ok().map(FileId);
        Self { path, id, footer, fault, is_set_aside }
    }

    fn loss(&self, layout: &Layout) -> DataLoss {
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

/// Reads all of a file: its footer, complete, if everything in the file agrees with it.
fn read_whole(layout: &Layout, path: &Path) -> Result<Footer, (Option<Box<Footer>>, FileFault)> {
    let reader = DataFileReader::open(layout.disk(), path).map_err(|error| (None, error.into()))?;
    let checksums = checksums(&reader).map_err(|error| (None, error.into()))?;
    if checksums.is_own == Some(false) {
        return Err((read_footer(&reader).ok().map(Box::new), FileFault::Checksum));
    }
    let mut footer = read_footer(&reader).map_err(|error| (None, error.into()))?;
    footer.file.size_bytes = reader.size_bytes();
    footer.file.checksum = checksums.whole;
    let expected = layout.data_file(&footer.file);
    let checked = if checksums.is_own.is_none() && footer.has_checksum {
        Err(FileFault::Checksum)
    } else if expected == path {
        check_rows(&reader, &footer)
    } else {
        let (found, expected) = (path.display().to_string(), expected.display().to_string());
        Err(FileFault::Differs { what: "places", found, expected })
    };
    match checked {
        Ok(()) => Ok(footer),
        Err(fault) => Err((Some(Box::new(footer)), fault)),
    }
}

fn set_aside_before(layout: &Layout) -> Vec<DamagedFile> {
    let dir = layout.data_quarantine_dir();
    let names = layout.disk().list(&dir).unwrap_or_default().into_iter().map(|entry| entry.name);
    let ours = names.filter(|name| name.to_str().is_some_and(is_data_file_name));
    ours.map(|name| {
        let path = dir.join(name);
        let reader = DataFileReader::open(layout.disk(), &path).ok();
        let footer = reader.and_then(|reader| read_footer(&reader).ok());
        DamagedFile::new(path, footer.map(Box::new), FileFault::SetAside, true)
    })
    .collect()
}

/// The losses of the catalog that is replaced, if that is sound and of this store.
fn losses_on_record(layout: &Layout, store_uuid: [u8; 16]) -> Vec<RecordedLoss> {
    let Ok(catalog) = Catalog::inspect(&layout.root().join(Catalog::FILE_NAME)) else { return Vec::new() };
    if catalog.store_uuid().ok() == Some(store_uuid) {
        catalog.data_losses().unwrap_or_default()
    } else {
        Vec::new()
    }
}

/// The store that all files and the log belong to.
fn one_store(layout: &Layout, sound: &[SoundFile], user_files: &[SoundUserFile]) -> Result<Option<[u8; 16]>> {
    let of_files = sound.iter().map(|file| (&file.path, file.footer.store_uuid));
    let of_files =
        of_files.chain(user_files.iter().map(|file| (&file.path, file.footer.identity.store_uuid)));
    let of_log = store_of_log(layout)?;
    let mut all = of_files.chain(of_log.as_ref().map(|(path, uuid)| (path, *uuid)));
    let Some((path, uuid)) = all.next() else { return Ok(None) };
    match all.find(|(_, other)| *other != uuid) {
        Some((other, _)) => Err(Error::SeveralStores { path: path.clone(), other: other.clone() }),
        None => Ok(Some(uuid)),
    }
}

fn read_log(layout: &Layout, store_uuid: [u8; 16]) -> Result<(LogContents, BTreeSet<TenantNumber>)> {
    let (mut contents, mut tenants) = (LogContents::default(), BTreeSet::new());
    if !layout.disk().is_dir(&layout.wal_dir()) {
        return Ok((contents, tenants));
    }
    // As if nothing were flushed: then what is missing before the first segment says where that begins.
    let log = recover(layout, store_uuid, SequenceNumber(0))?;
    let last_before = log.missing_segments().map(|loss| loss.last).unwrap_or_default();
    contents.last_seq = last_before;
    contents.first_seq = (log.num_segments() > 0).then_some(last_before.next());
    for index in 0..log.num_segments() {
        let segment = log.read(index)?;
        contents.losses.extend(segment.losses.iter().map(|loss| (loss.first, loss.last)));
        contents.last_seq = contents.last_seq.max(segment.last_seq);
        for frame in segment.frames() {
            let frame = frame?;
            tenants.insert(frame.tenant);
            contents.rows.insert(frame.seq, u64::from(frame.num_rows));
        }
    }
    Ok((contents, tenants))
}

/// A name for a tenant whose own is lost.
fn recovered_id(number: TenantNumber, taken: &[(TenantNumber, TenantId)]) -> TenantId {
    let id = |attempt: usize| {
        let again = if attempt == 0 { String::new() } else { format!("-{attempt}") };
        format!("recovered-{number}{again}").parse().expect("letters, digits and dashes, and short")
    };
    let is_free = |id: &TenantId| !taken.iter().any(|(_, other)| other == id);
    (0..=taken.len()).map(id).find(is_free).expect("there is one more of them than of taken ones")
}

/// Parts of a path below the directory of data files: signal, tenant number, ...
fn parts<'a>(layout: &Layout, path: &'a Path) -> Vec<&'a str> {
    let below = path.strip_prefix(layout.data_root()).unwrap_or(Path::new(""));
    below.iter().filter_map(|part| part.to_str()).collect()
}

fn tenant_of_dir(layout: &Layout, path: &Path) -> Option<TenantNumber> {
    parts(layout, path).get(1)?.parse().ok().map(TenantNumber)
}

fn signal_of_dir(layout: &Layout, path: &Path) -> Option<Signal> {
    let parts = parts(layout, path);
    Signal::ALL.into_iter().find(|signal| parts.first() == Some(&signal.table_name()))
}
