//! Objects of the remote tier: against the catalog, or the files of a catalog that is lost.
//!
//! Which of them are read whole: those that no other file replaces and that are not in the data directory too. Later files
//! come first, as they say which earlier ones they replace; so of a replaced one the footer is enough.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use alula_catalog::{BlockHashes, DataFile, FileId, TenantId, TenantNumber, Tier};

use super::Report;
use super::damaged_file::{DamagedFile, Place, tenant_of_dir};
use super::data_file::{FileFault, check_whole};
use crate::Result;
use crate::layout::Layout;
use crate::parquet::{Footer, FooterError};
use crate::remote::{Listed, ObjectFault, Survey, file_of_object, object_name};

/// Names of objects that are no data files, and that a report has.
const MAX_NAMES: usize = 100;
const LEFT: &str = "the object stays where it is, and no row of it is taken in";
const UNREAD: &str = "the object stays where it is, and its rows are in no query; once it can be read, repair again with --force";
const NEWER: &str =
    "the object stays where it is, and its rows are in no query; repair with the version that wrote it";
const RESTORE: &str = "restore the object from a version that the object store keeps, or from a backup";

/// A file in the remote tier that is what its own footer says.
#[derive(Debug)]
pub(super) struct SoundObject {
    pub listed: Listed,
    pub footer: Footer,
    /// None if another file replaces it: then it was not read.
    pub hashes: Option<BlockHashes>,
}

/// What is in the tier.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub sound: Vec<SoundObject>,
    pub damaged: Vec<DamagedFile>,
    /// Numbers of tenants that objects are named after.
    pub tenants: Vec<TenantNumber>,
    /// Every object that may have rows is sound, or another file has its rows.
    pub is_complete: bool,
}

/// What the data directory says of objects.
#[derive(Debug)]
pub(super) struct Local<'a> {
    pub store_uuid: [u8; 16],
    /// Of sound files.
    pub footers: Vec<&'a Footer>,
    /// Tenants of user tables.
    pub tenants: Vec<(TenantNumber, &'a TenantId)>,
    /// Files that the store had given up, by a catalog that is sound.
    pub dead: HashSet<FileId>,
}

/// Finds the files of the store in the tier. What is wrong with an object is in the report, by its name.
///
/// Bounds: a footer for each object, and one object on the disk at a time.
///
/// # Errors
/// `RemoteUnavailable` — the object store does not answer. `Io` — there is no room on the disk for one object.
pub(super) fn gather_objects(
    survey: &Survey,
    layout: &Layout,
    local: &Local<'_>,
    report: &mut Report,
) -> Result<Objects> {
    let mut search = Search {
        survey,
        layout,
        local,
        replaced: local.footers.iter().flat_map(|footer| footer.replaces.iter().copied()).collect(),
        tenants: Tenants::default(),
        found: Objects { is_complete: true, ..Objects::default() },
        report,
    };
    search.run()?;
    Ok(search.found)
}

struct Search<'a> {
    survey: &'a Survey,
    layout: &'a Layout,
    local: &'a Local<'a>,
    replaced: HashSet<FileId>,
    tenants: Tenants,
    found: Objects,
    report: &'a mut Report,
}

impl Search<'_> {
    fn run(&mut self) -> Result<()> {
        let of_files = self.local.footers.iter().map(|footer| (footer.file.tenant, &footer.tenant_id));
        for (number, id) in of_files.chain(self.local.tenants.iter().copied()) {
            self.tenants.admit(number, id);
        }
        let here: HashSet<FileId> = self.local.footers.iter().map(|footer| footer.file.id).collect();
        let (mut others, mut candidates) = (Vec::new(), Vec::new());
        let (mut num_here, mut num_dead) = (0_u64, 0_u64);
        for object in self.survey.list()? {
            let path = self.layout.data_root().join(&object.name);
            if let Some(tenant) = tenant_of_dir(self.layout, &path)
                && self.found.tenants.last() != Some(&tenant)
            {
                self.found.tenants.push(tenant);
            }
            match file_of_object(&object) {
                None => others.push(object.name),
                Some(id) if here.contains(&id) => num_here += 1,
                Some(id) if self.local.dead.contains(&id) => num_dead += 1,
                Some(_) => candidates.push(object),
            }
        }
        let (mut known, mut faulty) = (Vec::new(), Vec::new());
        for (object, footer) in self.survey.footers(candidates)? {
            match footer.map_err(fault_of).and_then(|footer| self.check_identity(&object, footer)) {
                Ok(footer) => known.push((object, footer)),
                Err(fault) => faulty.push((object, fault)),
            }
        }
        known.sort_by_key(|(_, footer)| Reverse(footer.file.id));
        for (object, footer) in known {
            self.take_in(object, footer)?;
        }
        // After those that may replace them.
        faulty.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        for (object, fault) in faulty {
            self.leave_out(object, None, fault);
        }
        for (num_left, why) in
            [(num_here, "also in the data directory, and taken from there"), (num_dead, "given up before")]
        {
            if num_left > 0 {
                self.report.find("remote files", format!("{num_left} left out: {why}"));
            }
        }
        name_others(&others, self.report);
        Ok(())
    }

    /// Whether an object is the file that it says.
    fn check_identity(&self, object: &Listed, mut footer: Footer) -> Result<Footer, FileFault> {
        if footer.store_uuid != self.local.store_uuid {
            return Err(FileFault::Foreign);
        }
        footer.file.tier = Tier::Remote;
        let expected = object_name(&footer.file);
        if expected != object.name {
            return Err(FileFault::Differs { what: "places", found: object.name.clone(), expected });
        }
        Ok(footer)
    }

    fn take_in(&mut self, object: Listed, mut footer: Footer) -> Result<()> {
        footer.file.size_bytes = object.size_bytes;
        if !self.tenants.admit(footer.file.tenant, &footer.tenant_id) {
            self.leave_out(object, Some(footer), FileFault::SeveralTenants);
            return Ok(());
        }
        if self.replaced.contains(&footer.file.id) {
            self.replaced.extend(&footer.replaces);
            self.found.sound.push(SoundObject { listed: object, footer, hashes: None });
            return Ok(());
        }
        let (reader, hashes) = match self.survey.download(&object)? {
            Ok(read) => read,
            Err(fault) => {
                self.leave_out(object, Some(footer), fault_of(fault));
                return Ok(());
            }
        };
        match check_whole(&reader).and_then(|footer| self.check_identity(&object, footer)) {
            Ok(footer) => {
                self.replaced.extend(&footer.replaces);
                self.found.sound.push(SoundObject { listed: object, footer, hashes: Some(hashes) });
            }
            Err(fault) => self.leave_out(object, Some(footer), fault),
        }
        Ok(())
    }

    /// Says what is wrong with an object. One that is damaged is a loss, if no other has its rows.
    fn leave_out(&mut self, object: Listed, footer: Option<Footer>, fault: FileFault) {
        if file_of_object(&object).is_some_and(|id| self.replaced.contains(&id)) {
            return;
        }
        self.found.is_complete = false;
        let advice = match &fault {
            FileFault::Foreign | FileFault::SeveralTenants | FileFault::Differs { what: "places", .. } => {
                LEFT
            }
            FileFault::Missing | FileFault::Object(_) => UNREAD,
            FileFault::Footer(FooterError::Newer { .. }) => NEWER,
            _ => {
                let place = Place::Object { url: self.survey.url_of(&object.name) };
                let path = self.layout.data_root().join(&object.name);
                self.found.damaged.push(DamagedFile::new(path, footer.map(Box::new), fault, place));
                return;
            }
        };
        self.report.blame(self.survey.url_of(&object.name), fault.to_string(), advice);
    }
}

fn fault_of(fault: ObjectFault) -> FileFault {
    match fault {
        ObjectFault::Gone => FileFault::Missing,
        ObjectFault::Footer(fault) => FileFault::Footer(fault),
        fault @ ObjectFault::Unreadable(_) => FileFault::Object(Box::new(fault)),
    }
}

fn name_others(others: &[String], report: &mut Report) {
    if others.is_empty() {
        return;
    }
    let names = others.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = match others.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    report.find("remote files", format!("{} objects are none, and stay: {names}{more}", others.len()));
}

/// Which number goes with which name.
#[derive(Debug, Default)]
struct Tenants {
    ids: BTreeMap<TenantNumber, TenantId>,
    numbers: BTreeMap<TenantId, TenantNumber>,
}

impl Tenants {
    /// False if either goes with another one.
    fn admit(&mut self, number: TenantNumber, id: &TenantId) -> bool {
        let known_id = self.ids.get(&number);
        let known_number = self.numbers.get(id);
        match (known_id, known_number) {
            (None, None) => {
                self.ids.insert(number, id.clone());
                self.numbers.insert(id.clone(), number);
                true
            }
            (known_id, known_number) => known_id == Some(id) && known_number == Some(&number),
        }
    }
}

/// Compares remote files of the catalog with the objects that are there: names and sizes. Reads none of them.
///
/// # Errors
/// `RemoteUnavailable`.
pub(super) fn check_objects(survey: &Survey, remote: &[&DataFile], report: &mut Report) -> Result<()> {
    let mut objects: HashMap<String, u64> =
        survey.list()?.into_iter().map(|object| (object.name, object.size_bytes)).collect();
    let (mut num_there, mut num_bytes) = (0_u64, 0);
    for file in remote {
        let name = object_name(file);
        let fault = match objects.remove(&name) {
            Some(size) if size == file.size_bytes => {
                num_there += 1;
                num_bytes += size;
                continue;
            }
            Some(found) => FileFault::Size { found, expected: file.size_bytes },
            None => FileFault::Missing,
        };
        report.blame(survey.url_of(&name), fault.to_string(), RESTORE);
    }
    let text = format!(
        "{num_there} of {} are there, {num_bytes} bytes; their contents were not read, as every query that reads \
         them checks them",
        remote.len()
    );
    report.find("remote files", text);
    if !objects.is_empty() {
        let text = format!(
            "{} more objects are in {}, and not in the catalog: they were replaced, or the catalog was built anew \
             without them (then `alula verify --repair --force` takes them in)",
            objects.len(),
            survey.url()
        );
        report.find("remote files", text);
    }
    Ok(())
}
