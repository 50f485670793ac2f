//! A scenario that was carried out once, with the disk and the catalog as they were before each operation.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::machine::{Machine, copy_catalog, temporary_dir};
use super::oracle::Oracle;
use super::scenario::{Outcome, Scenario, perform};
use crate::disk::sim::{Image, Operation, TearMode};

/// Every moment of a scenario at which the power could have gone.
#[derive(Debug)]
pub(super) struct Recording {
    /// The disk before the operation of this number; the last one after all.
    images: Vec<Image>,
    log: Vec<String>,
    outcomes: Vec<Outcome>,
    /// Where the catalog's files are as they were after a COMMIT, and the number of that.
    catalogs: Vec<(usize, PathBuf)>,
    /// Holds those files.
    _catalogs_dir: TempDir,
}

impl Recording {
    /// Carries the scenario out, on a disk that ignores the operations `ignored` if there are any.
    pub(super) fn of(scenario: &Scenario, seed: u64, ignored: Option<Operation>, runtime: &Runtime) -> Self {
        let machine = Machine::new(seed);
        let disk = machine.disk().clone();
        if let Some(operation) = ignored {
            disk.ignore(operation);
        }
        let dir = temporary_dir();
        let path_of = {
            let base = dir.path().to_owned();
            move |number: usize| base.join(number.to_string())
        };
        let copy = {
            let (path_of, from) = (path_of.clone(), machine.dir().to_owned());
            move |number| {
                std::fs::create_dir(path_of(number)).unwrap();
                copy_catalog(&from, &path_of(number));
            }
        };
        std::fs::create_dir(dir.path().join("first")).unwrap();
        copy_catalog(machine.dir(), &dir.path().join("first"));
        disk.record(Box::new(copy));
        let running = machine.start().map_err(|(_, error)| error).unwrap();
        let outcomes = runtime.block_on(perform(&running, scenario));
        let (images, log) = disk.take_recording();
        drop(running.power_cut(TearMode::LoseAll, seed));
        let mut catalogs = vec![(0, dir.path().join("first"))];
        catalogs.extend((0..images.len()).filter(|n| path_of(*n).exists()).map(|n| (n + 1, path_of(n))));
        Self { images, log, outcomes, catalogs, _catalogs_dir: dir }
    }

    /// How many moments there are.
    pub(super) fn len(&self) -> usize {
        self.images.len()
    }

    /// The machine after a power cut at the operation of this number.
    pub(super) fn machine_at(&self, operation: usize, mode: TearMode, seed: u64) -> Machine {
        let catalog = self.catalogs.iter().rfind(|(from, _)| *from <= operation);
        let (_, catalog) = catalog.unwrap_or(&self.catalogs[0]);
        Machine::with(self.images[operation].after_power_cut(mode, seed), catalog, seed)
    }

    /// What must be there after a power cut at the operation of this number.
    pub(super) fn oracle_at(&self, operation: usize) -> Oracle {
        let mut oracle = Oracle::default();
        for outcome in self.outcomes.iter().filter(|outcome| outcome.submitted_at <= operation) {
            let is_answered = outcome.answered_at <= operation;
            oracle.note(outcome.spec.clone(), if is_answered { outcome.fate } else { outcome.meanwhile });
        }
        oracle
    }

    /// The operations around one, for a report.
    pub(super) fn log_around(&self, operation: usize) -> String {
        let range = operation.saturating_sub(12)..self.log.len().min(operation + 4);
        self.log[range].iter().fold(String::new(), |text, line| text + "\n    " + line)
    }
}
