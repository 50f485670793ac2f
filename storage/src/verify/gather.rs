//! What a store holds, without its catalog, and the catalog that can be made of it. Of the catalog that is replaced only the
//! losses are asked for, as no other place has what was lost before and what an operator said of it, and files given up.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::Path;

use alula_catalog::{
    Catalog, CatalogContents, DataFile, DataLoss, FileId, RecordedLoss, SequenceNumber, TenantId,
    TenantNumber, now_ns,
};

use super::Report;
use super::damaged_file::{DamagedFile, Place};
use super::data_file::{FileFault, rows_by_entry};
use super::local_files::{LocalFiles, SoundFile};
use super::plan::{Candidate, LogContents, Plan, plan};
use super::user_tables::{SoundUserFile, rebuild};
use crate::data_files::DataFileReader;
use crate::layout::Layout;
use crate::remote::{Ownership, Survey, give_up, take_back};
use crate::wal::{recover, store_of_log};
use crate::{Error, Result};

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Found {
    layout: Layout,
    tier: Option<TierFound>,
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

/// The remote tier, if it was looked at.
#[derive(Debug)]
struct TierFound {
    survey: Survey,
    ownership: Ownership,
    /// No object has rows that neither the catalog nor the log has.
    is_complete: bool,
}

impl Found {
    /// Reads every file, the log, and the objects of the remote tier if there is a survey of it.
    ///
    /// # Errors
    /// As of [`super::repair()`].
    pub(super) fn gather(layout: &Layout, survey: Option<Survey>, report: &mut Report) -> Result<Self> {
        // A tier that does not answer is found out before hours of reading.
        let stores = survey.as_ref().map(Survey::stores).transpose()?.unwrap_or_default();
        let mut files = LocalFiles::read(layout)?;
        let mut store_uuid = one_store(layout, &files.sound, &files.user_files)?;
        if let (None, Some(survey)) = (store_uuid, &survey) {
            store_uuid = store_of_tier(layout, survey, &stores, report)?;
        }
        let (log, log_tenants) = match store_uuid {
            Some(store_uuid) => read_log(layout, store_uuid)?,
            None => (LogContents::default(), BTreeSet::new()),
        };
        let mut tier = None;
        if let (Some(store_uuid), Some(mut survey)) = (store_uuid, survey) {
            survey.enter(store_uuid);
            let ownership = survey.ownership()?;
            if ownership == Ownership::Anothers {
                return Err(Error::RemoteOwned);
            }
            let objects =
                files.objects(layout, store_uuid, &survey, dead_on_record(layout, store_uuid), report)?;
            files.damaged.extend(objects.damaged);
            files.tenants.extend(objects.tenants);
            files.sound.extend(objects.sound.into_iter().map(|object| SoundFile {
                path: layout.data_root().join(&object.listed.name),
                footer: object.footer.clone(),
                object: Some(object),
            }));
            tier = Some(TierFound { survey, ownership, is_complete: objects.is_complete });
        }
        let known_losses =
            store_uuid.map(|store_uuid| losses_on_record(layout, store_uuid)).unwrap_or_default();
        let last_tenant = files.last_tenant(&known_losses, &log_tenants);
        let LocalFiles { sound, user_files, damaged, .. } = files;
        let layout = layout.clone();
        Ok(Self {
            layout,
            tier,
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

    /// Where the objects are, if they were looked for.
    pub(super) fn tier_url(&self) -> Option<&str> {
        self.tier.as_ref().map(|tier| tier.survey.url())
    }

    /// Whether every object may be removed that the catalog does not have.
    pub(super) fn has_all_objects(&self) -> bool {
        self.tier.as_ref().is_some_and(|tier| tier.is_complete)
    }

    /// Keeps servers from removing objects, unless [`Self::has_all_objects`].
    ///
    /// Without the rows of remote files every object would look like one that belongs to no file, and be removed. A directory
    /// that is not the owner of its objects removes none.
    pub(super) fn protect_objects(&self) -> Result<()> {
        if self.has_all_objects() {
            return Ok(());
        }
        give_up(&self.layout)?;
        match &self.tier {
            Some(tier) if tier.ownership == Ownership::Nobodys => tier.survey.keep_from_all(),
            _ => Ok(()),
        }
    }

    /// Makes the objects ours again that an earlier repair gave up, if [`Self::has_all_objects`]. The catalog must be in its
    /// place.
    pub(super) fn take_back_objects(&self) -> Result<()> {
        match &self.tier {
            Some(TierFound { ownership: Ownership::Ours { number }, is_complete: true, .. }) => {
                take_back(&self.layout, number)
            }
            _ => Ok(()),
        }
    }

    /// Damaged files that are still among the sound ones.
    pub(super) fn to_set_aside(&self) -> impl Iterator<Item = &Path> {
        self.damaged.iter().filter(|file| file.place == Place::DataDir).map(|file| file.path.as_path())
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
        let objects = plan.live.iter().filter_map(|index| self.sound[*index].object.as_ref());
        let block_hashes: Vec<_> =
            objects.filter_map(|object| Some((object.footer.file.id, object.hashes.clone()?))).collect();
        if let Some(url) = self.tier_url() {
            let text = format!("{} of these are in {url}, each read whole", block_hashes.len());
            report.find("remote files", text);
        }
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
            block_hashes,
            user_tables: rebuilt.tables,
            user_files: rebuilt.files,
            known_losses: self.known_losses.clone(),
            losses,
        })
    }

    fn tenants(&self, report: &mut Report) -> Result<Vec<(TenantNumber, TenantId)>> {
        let mut ids: BTreeMap<TenantNumber, (&TenantId, &Path)> = BTreeMap::new();
        let mut numbers: BTreeMap<&TenantId, (TenantNumber, &Path)> = BTreeMap::new();
        let of_files = self
            .sound
            .iter()
            .map(|SoundFile { path, footer, .. }| (path, footer.file.tenant, &footer.tenant_id));
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
                let name = file.name(&self.layout);
                report.find("data files", format!("{name}: {}; {elsewhere}", loss.detail));
                continue;
            }
            report.blame(file.name(&self.layout), loss.detail.clone(), file.advice());
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

    /// Opens a file again that was found sound.
    fn open(&self, file: &SoundFile) -> Result<Result<DataFileReader, FileFault>> {
        let (Some(object), Some(tier)) = (&file.object, &self.tier) else {
            return Ok(DataFileReader::open(self.layout.disk(), &file.path).map_err(FileFault::from));
        };
        let read = tier.survey.download(&object.listed)?;
        Ok(read.map(|(reader, _)| reader).map_err(|fault| FileFault::Object(Box::new(fault))))
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
            let reader = self.open(file)?.map_err(unreadable)?;
            for (seq, rows) in rows_by_entry(&reader).map_err(unreadable)? {
                *counted.entry(seq).or_default() += rows;
            }
        }
        Ok(counted)
    }
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

/// Files that the store gave up, if the catalog that is replaced is sound and of this store: of some the objects may still be
/// there, and no other has their rows, as those are deleted.
fn dead_on_record(layout: &Layout, store_uuid: [u8; 16]) -> HashSet<FileId> {
    let Ok(catalog) = Catalog::inspect(&layout.root().join(Catalog::FILE_NAME)) else {
        return HashSet::new();
    };
    if catalog.store_uuid().ok() != Some(store_uuid) {
        return HashSet::new();
    }
    catalog.dead_files().unwrap_or_default().into_iter().map(|dead| dead.file.id).collect()
}

/// The store of a data directory in which nothing says which one it is: the one of its catalog if that is sound, or the only
/// one in the tier that may be it.
fn store_of_tier(
    layout: &Layout,
    survey: &Survey,
    stores: &[[u8; 16]],
    report: &mut Report,
) -> Result<Option<[u8; 16]>> {
    let catalog = Catalog::inspect(&layout.root().join(Catalog::FILE_NAME));
    if let Ok(uuid) = catalog.and_then(|catalog| catalog.store_uuid())
        && stores.contains(&uuid)
    {
        return Ok(Some(uuid));
    }
    if let [only] = stores {
        return Ok(Some(*only));
    }
    for uuid in stores {
        if matches!(survey.ownership_of(*uuid)?, Ownership::Ours { .. }) {
            return Ok(Some(*uuid));
        }
    }
    if !stores.is_empty() {
        let text = format!(
            "none taken in: {} stores are in {}, and nothing in this directory says which one it was",
            stores.len(),
            survey.url()
        );
        report.find("remote files", text);
    }
    Ok(None)
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
