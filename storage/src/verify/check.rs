//! Everything in a data directory against everything else in it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use alula_catalog::{
    Catalog, DataFile, FileId, RecordedLoss, SequenceNumber, TenantId, TenantNumber, Tier, UserFile,
    error_chain,
};

use super::data_file::{FileFault, check_against};
use super::objects::check_objects;
use super::user_tables::check_user_file;
use super::{Report, take};
use crate::data_files::{DataFileReader, StoredFile};
use crate::layout::Layout;
use crate::reconcile::{Judge, Tree, Verdict};
use crate::remote::Survey;
use crate::wal::recover;
use crate::{Error, RemoteConfig, Result};

const REPAIR: &str = "`alula verify --repair` builds the catalog anew from the data files";
const NEWER: &str = "use the version that wrote it";
const RESTORE: &str = "restore it from a backup";

/// Checks a data directory that no server uses. Changes nothing.
///
/// Of remote files it asks the object store whether they are there, and how long; it reads none of them. A store that does not
/// answer is said so in the report.
///
/// Bounds: reads every local file once; a batch of rows and a log segment are in memory at a time, and the name of each object.
///
/// # Errors
/// `DirectoryInUse` — a server has it. `NoDataDirectory` — there is none. `Io` — the disk failed. What is wrong with the data
/// is no error, but in the report.
pub fn verify(data_dir: &Path, remote: Option<&RemoteConfig>) -> Result<Report> {
    let (layout, _lock) = take(data_dir)?;
    let mut report = Report::default();
    let path = data_dir.join(Catalog::FILE_NAME);
    let catalog = match Catalog::inspect(&path) {
        Ok(catalog) => catalog,
        Err(
            error @ (alula_catalog::Error::DamagedCatalog { .. } | alula_catalog::Error::InvalidRow { .. }),
        ) => {
            report.blame(Catalog::FILE_NAME, error_chain(&error), "without it nothing else can be checked");
            return Ok(report);
        }
        Err(error) => return Err(error.into()),
    };
    let survey = remote.map(|config| Survey::open(config, &layout)).transpose()?;
    let check = Check { layout: &layout, catalog: &catalog, report: &mut report };
    check.run(survey)?;
    Ok(report)
}

/// What makes the catalog of a directory unusable; None if nothing does.
pub(super) fn catalog_fault(layout: &Layout) -> Result<Option<String>> {
    let path = layout.root().join(Catalog::FILE_NAME);
    let catalog = match Catalog::inspect(&path) {
        Ok(catalog) => catalog,
        Err(alula_catalog::Error::DamagedCatalog { damage, .. }) => return Ok(Some(damage.to_string())),
        Err(error) => return Err(error.into()),
    };
    let mut report = Report::default();
    let mut check = Check { layout, catalog: &catalog, report: &mut report };
    let tenants = catalog.tenants()?.into_iter().collect();
    let live = catalog.live_files()?;
    let flushed = catalog.flushed_seq()?;
    let missing = |file: &&DataFile| {
        file.tier == Tier::Local
            && layout.disk().file_len(&layout.data_file(*file)).ok() != Some(file.size_bytes)
    };
    let user_files = catalog.live_user_files()?;
    let is_missing =
        |file: &&UserFile| layout.disk().file_len(&layout.data_file(*file)).ok() != Some(file.size_bytes);
    let unsound = live.iter().filter(missing).map(|file| file.id);
    let unsound = unsound.chain(user_files.iter().filter(is_missing).map(|file| file.id)).collect();
    check.catalog(&tenants, live.len(), flushed)?;
    check.orphans(&live, unsound)?;
    check.log(flushed, &tenants)?;
    check.readable("retry_window", |catalog| Ok(catalog.retryable_batches()?.len()))?;
    check.readable("ingest_rejections", |catalog| Ok(catalog.ingest_rejections()?.len()))?;
    let fault = report.problems.into_iter().find(|problem| problem.advice == REPAIR);
    Ok(fault.map(|problem| format!("{}: {}", problem.path, problem.text)))
}

struct Check<'a> {
    layout: &'a Layout,
    catalog: &'a Catalog,
    report: &'a mut Report,
}

impl Check<'_> {
    fn run(mut self, survey: Option<Survey>) -> Result<()> {
        let tenants: HashMap<TenantNumber, TenantId> = self.catalog.tenants()?.into_iter().collect();
        let live = self.catalog.live_files()?;
        let flushed = self.catalog.flushed_seq()?;
        self.catalog(&tenants, live.len(), flushed)?;
        let mut unsound = self.files(&live, &tenants);
        self.remote_files(&live, survey)?;
        unsound.extend(self.user_tables(&tenants)?);
        self.orphans(&live, unsound)?;
        self.log(flushed, &tenants)?;
        self.kept_aside();
        self.rest()
    }

    fn catalog(
        &mut self,
        tenants: &HashMap<TenantNumber, TenantId>,
        num_live: usize,
        flushed: SequenceNumber,
    ) -> Result<()> {
        for broken in self.catalog.broken_references()? {
            self.report.blame(Catalog::FILE_NAME, broken, REPAIR);
        }
        let (version, num_tenants) = (self.catalog.schema_version()?, tenants.len());
        let num_dead = self.catalog.dead_files()?.len();
        let num_pending = self.catalog.deletions()?.iter().filter(|d| d.completed_ns.is_none()).count();
        self.report.find(
            "catalog",
            format!(
                "pages, rows and references as they were written; version {version}, {num_tenants} tenants, {num_live} \
                 live files, {num_dead} to be removed, {num_pending} deletions pending, entries up to {flushed} in files"
            ),
        );
        Ok(())
    }

    /// Files that are not what the catalog says.
    fn files(&mut self, live: &[DataFile], tenants: &HashMap<TenantNumber, TenantId>) -> HashSet<FileId> {
        let mut unsound = HashSet::new();
        let (mut num_sound, mut num_rows, mut num_bytes, mut num_local) = (0_u64, 0, 0, 0_u64);
        for file in live.iter().filter(|file| file.tier == Tier::Local) {
            num_local += 1;
            match self.file(file, tenants.get(&file.tenant)) {
                Ok(()) => {
                    num_sound += 1;
                    num_rows += file.num_rows;
                    num_bytes += file.size_bytes;
                }
                Err(fault) => {
                    unsound.insert(file.id);
                    let name = format!("data/{}", Layout::data_file_name(file));
                    self.report.blame(name, fault.to_string(), RESTORE);
                }
            }
        }
        self.report.find(
            "data files",
            format!("{num_sound} of {num_local} are sound: all {num_rows} rows read, {num_bytes} bytes"),
        );
        unsound
    }

    /// Remote files of which the objects are not there, or of another size.
    fn remote_files(&mut self, live: &[DataFile], survey: Option<Survey>) -> Result<()> {
        let remote: Vec<_> = live.iter().filter(|file| file.tier == Tier::Remote).collect();
        let not_checked = |why: &str| format!("{}, not checked: {why}", remote.len());
        let Some(mut survey) = survey else {
            if !remote.is_empty() {
                self.report.find("remote files", not_checked("storage.remote_url is not set"));
            }
            return Ok(());
        };
        survey.enter(self.catalog.store_uuid()?);
        match check_objects(&survey, &remote, self.report) {
            Err(error @ Error::RemoteUnavailable { .. }) => {
                self.report.find("remote files", not_checked(&error_chain(&error)));
                Ok(())
            }
            checked => checked,
        }
    }

    /// Files of user tables that are not what the catalog says.
    fn user_tables(&mut self, tenants: &HashMap<TenantNumber, TenantId>) -> Result<HashSet<FileId>> {
        let tables: HashMap<_, _> =
            self.catalog.user_tables()?.into_iter().map(|table| (table.id, table)).collect();
        let mut unsound = HashSet::new();
        let (mut num_files, mut num_rows, mut num_bytes) = (0_u64, 0, 0);
        for file in self.catalog.live_user_files()? {
            let Some(table) = tables.get(&file.table) else {
                let text = format!("it has a file of a user table {} that does not exist", file.table);
                self.report.blame(Catalog::FILE_NAME, text, REPAIR);
                continue;
            };
            let reader = self.open(&file);
            let checked =
                reader.and_then(|reader| check_user_file(&reader, &file, table, tenants.get(&file.tenant)));
            match checked {
                Ok(()) => {
                    num_files += 1;
                    num_rows += file.num_rows;
                    num_bytes += file.size_bytes;
                }
                Err(fault) => {
                    unsound.insert(file.id);
                    let name = format!("data/{}", Layout::data_file_name(&file));
                    self.report.blame(name, fault.to_string(), RESTORE);
                }
            }
        }
        if !tables.is_empty() {
            let text = format!(
                "{} with {num_files} sound files: all {num_rows} rows read, {num_bytes} bytes",
                tables.len()
            );
            self.report.find("user tables", text);
        }
        Ok(unsound)
    }

    fn open(&self, file: &impl StoredFile) -> Result<DataFileReader, FileFault> {
        let reader = DataFileReader::open(self.layout.disk(), &self.layout.data_file(file));
        reader.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FileFault::Missing,
            _ => FileFault::Read(error),
        })
    }

    fn file(&self, file: &DataFile, tenant: Option<&TenantId>) -> Result<(), FileFault> {
        check_against(&self.open(file)?, file, tenant)
    }

    /// Files that the catalog does not know.
    fn orphans(&mut self, live: &[DataFile], unsound: HashSet<FileId>) -> Result<()> {
        let dead = self.catalog.dead_files()?;
        let local = live.iter().filter(|file| file.tier == Tier::Local);
        let known = local.chain(dead.iter().map(|dead| &dead.file));
        let mut known: HashSet<PathBuf> = known.map(|file| self.layout.data_file(file)).collect();
        let of_user_tables =
            self.catalog.live_user_files()?.into_iter().chain(self.catalog.dead_user_files()?);
        known.extend(of_user_tables.map(|file| self.layout.data_file(&file)));
        let tree = Tree::read(self.layout);
        for (dir, error) in &tree.unreadable {
            let text = format!("it cannot be listed ({error})");
            self.report.blame(self.name(dir), text, "make it readable for the user that runs the server");
        }
        let mut judge = Judge::new(self.layout, self.catalog, unsound)?;
        let mut num_left = 0_u64;
        for path in tree.files.iter().filter(|path| !known.contains(*path)) {
            match judge.of(path) {
                Ok(Verdict::Remove) => num_left += 1,
                Ok(Verdict::SetAside(reason)) => {
                    let advice = "the next start of the server moves it to data/quarantine";
                    self.report.blame(self.name(path), reason, advice);
                }
                Err(Error::ForeignFile { .. }) => {
                    self.report.blame(self.name(path), "it belongs to another catalog", REPAIR);
                }
                Err(Error::OutdatedCatalog { .. }) => {
                    self.report.blame(self.name(path), "the catalog does not know its rows", REPAIR);
                }
                Err(error) => return Err(error),
            }
        }
        let text = format!("{num_left} are of no use and go at the next start of the server");
        self.report.find("other files", text);
        Ok(())
    }

    fn log(&mut self, flushed: SequenceNumber, tenants: &HashMap<TenantNumber, TenantId>) -> Result<()> {
        let advice = "the next start of the server recovers the rest and puts this on record";
        let log = match recover(self.layout, self.catalog.store_uuid()?, flushed) {
            Ok(log) => log,
            Err(error @ (Error::CorruptSegment { .. } | Error::NewerFormat { .. })) => {
                let advice = if matches!(error, Error::NewerFormat { .. }) { NEWER } else { REPAIR };
                self.report.blame("wal", error.to_string(), advice);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut losses: Vec<_> = log.missing_segments().into_iter().collect();
        let (mut num_entries, mut num_torn) = (0_u64, 0_u64);
        let mut unknown: BTreeMap<TenantNumber, u64> = BTreeMap::new();
        for index in 0..log.num_segments() {
            let segment = log.read(index)?;
            losses.extend(segment.losses.iter().cloned());
            num_torn += u64::from(segment.is_torn);
            for frame in segment.frames() {
                match frame {
                    Ok(frame) => {
                        num_entries += 1;
                        if !tenants.contains_key(&frame.tenant) {
                            *unknown.entry(frame.tenant).or_default() += 1;
                        }
                    }
                    Err(error) => {
                        self.report.blame("wal", error.to_string(), NEWER);
                    }
                }
            }
        }
        for loss in losses {
            let text = format!("entries {} to {} cannot be read", loss.first, loss.last);
            self.report.blame(self.name(&loss.segment), text, advice);
        }
        for (tenant, entries) in unknown {
            let text =
                format!("{entries} entries are of tenant number {tenant}, which the catalog does not know");
            self.report.blame("wal", text, REPAIR);
        }
        let torn =
            if num_torn > 0 { "; it ends in a write that was cut off and never acknowledged" } else { "" };
        self.report.find(
            "log",
            format!(
                "{} segments with {num_entries} whole entries that are in no file yet{torn}",
                log.num_segments()
            ),
        );
        Ok(())
    }

    /// What earlier damages left behind.
    fn kept_aside(&mut self) {
        for dir in [self.layout.quarantine_dir(), self.layout.data_quarantine_dir()] {
            let num_kept = self.layout.disk().list(&dir).map_or(0, |entries| entries.len());
            if num_kept > 0 {
                let name = self.name(&dir);
                self.report.find("kept aside", format!("{num_kept} files in {name}, for a look"));
            }
        }
    }

    fn rest(mut self) -> Result<()> {
        let batches = self.readable("retry_window", |catalog| Ok(catalog.retryable_batches()?.len()))?;
        let rejections =
            self.readable("ingest_rejections", |catalog| Ok(catalog.ingest_rejections()?.len()))?;
        self.report.find(
            "retries",
            format!(
                "{batches} batches would be known if they came again; {rejections} reasons of rejections"
            ),
        );
        for RecordedLoss { id, loss, acknowledgement } in self.catalog.data_losses()? {
            let known = if acknowledgement.is_some() { ", acknowledged" } else { "" };
            self.report.find(
                "loss",
                format!(
                    "{id} on record: entries {} to {} of {}, {}{known}",
                    loss.first_seq, loss.last_seq, loss.source, loss.detail
                ),
            );
        }
        Ok(())
    }

    fn readable(
        &mut self,
        table: &str,
        count: impl FnOnce(&Catalog) -> alula_catalog::Result<usize>,
    ) -> Result<usize> {
        match count(self.catalog) {
            Ok(count) => Ok(count),
            Err(error @ alula_catalog::Error::InvalidRow { .. }) => {
                let path = format!("{} ({table})", Catalog::FILE_NAME);
                self.report.blame(path, error_chain(&error), REPAIR);
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.layout.root()).unwrap_or(path).display().to_string()
    }
}
