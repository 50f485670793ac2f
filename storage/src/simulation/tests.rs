use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Runtime};

use super::crash::{Crash, Work};
use super::oracle::FileRows;
use super::recording::Recording;
use super::scenario::Scenario;
use super::{crash, fault};
use crate::disk::sim::{ENOSPC, Fault, Operation, TearMode};

const THREADS: usize = 2;
const QUICK_CRASHES: usize = 500;
/// Violations after which a sweep gives up.
const ENOUGH: usize = 3;

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "how long a test runs is no setting of the server")]
fn num_crashes() -> usize {
    std::env::var("ALULA_SIM_CRASHES").map_or(QUICK_CRASHES, |count| count.parse().unwrap())
}

/// Cuts the power at so many moments of as many scenarios as that takes, in each mode. Returns the violations.
fn sweep(num_crashes: usize, ignored: Option<Operation>) -> Vec<String> {
    let violations = Mutex::new(Vec::new());
    let mut left = num_crashes;
    let mut seed = 0;
    while left > 0 && violations.lock().unwrap().len() < ENOUGH {
        let recording = Recording::of(&Scenario::new(seed), seed, ignored, &runtime());
        let num_moments = left.min(recording.len());
        let next = AtomicUsize::new(0);
        let files = FileRows::default();
        let work = || {
            let work = Work { runtime: &runtime(), files: &files };
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let (moment, mode) = (number / TearMode::ALL.len(), number % TearMode::ALL.len());
                if moment >= num_moments || violations.lock().unwrap().len() >= ENOUGH {
                    return;
                }
                let crash = Crash { seed, operation: moment, mode: TearMode::ALL[mode] };
                let survived = catch_unwind(AssertUnwindSafe(|| crash::survive(&recording, crash, &work)));
                if let Err(violation) = survived.unwrap_or_else(|_| Err(format!("a panic after {crash:?}"))) {
                    violations.lock().unwrap().push(violation);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(work);
            }
        });
        left -= num_moments;
        seed += 1;
    }
    violations.into_inner().unwrap()
}

/// Guarantees: whenever the power goes and whatever the disk keeps of what was not synced, every acknowledged row is there
/// once, every other entry is there whole or not at all, and no recovery changes what the one before it found.
#[test]
fn a_power_cut_at_any_operation_loses_and_doubles_nothing() {
    let violations = sweep(num_crashes(), None);
    assert!(violations.is_empty(), "{}", violations.join("\n\n"));
}

#[test]
fn a_disk_that_ignores_the_sync_of_directories_is_found_out() {
    assert!(!sweep(100, Some(Operation::SyncDir)).is_empty());
}

#[test]
fn a_disk_that_ignores_the_sync_of_files_is_found_out() {
    assert!(!sweep(100, Some(Operation::SyncData)).is_empty());
}

/// Lets the first operation of a kind fail, then the second, and so on to the last. Returns the violations.
fn sweep_faults(kind: Fault, seed: u64) -> Vec<String> {
    let violations = Mutex::new(Vec::new());
    let scenario = Scenario::short(seed);
    let next = AtomicUsize::new(0);
    let files = FileRows::default();
    let work = || {
        let work = Work { runtime: &runtime(), files: &files };
        while violations.lock().unwrap().len() < ENOUGH {
            let fault = Fault { after: next.fetch_add(1, Ordering::Relaxed), ..kind };
            match fault::survive(&scenario, fault, seed, &work) {
                Ok(true) => {}
                Ok(false) => return,
                Err(violation) => violations.lock().unwrap().push(violation),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    assert!(next.into_inner() > THREADS, "no operation failed");
    violations.into_inner().unwrap()
}

/// A scenario for each kind of fault, and more of them where more crashes are asked for.
fn check_faults(kinds: &[Fault]) {
    let rounds = num_crashes().div_ceil(QUICK_CRASHES);
    for (seed, kind) in kinds.iter().cycle().take(rounds * kinds.len()).enumerate() {
        let violations = sweep_faults(*kind, seed as u64);
        assert!(violations.is_empty(), "{}", violations.join("\n\n"));
    }
}

/// Guarantees: nothing acknowledged is lost if any one operation fails and the power goes later, nothing refused is shown, and
/// no file is synced again after its sync failed.
#[test]
fn any_operation_may_fail_once() {
    check_faults(&[Fault::once(None, 0)]);
}

#[test]
fn operations_of_a_kind_may_fail_from_any_moment_on() {
    let kinds = [Operation::SyncData, Operation::SyncDir, Operation::Rename, Operation::Commit];
    check_faults(&kinds.map(|kind| Fault { lasts: true, ..Fault::once(Some(kind), 0) }));
}

#[test]
fn any_write_may_be_cut_short() {
    let short = Fault { is_short: true, errno: ENOSPC, ..Fault::once(Some(Operation::Write), 0) };
    check_faults(&[short, Fault { lasts: true, ..short }]);
}

/// Guarantees: what does not fit is refused and not shown, and what fits is kept; once there is room, storage goes on by itself.
#[test]
fn a_disk_that_is_full_now_and_then_loses_nothing() {
    let work = Work { runtime: &runtime(), files: &FileRows::default() };
    let refused = (0..5)
        .map(|seed| fault::survive_full_disk(&Scenario::new(seed), seed, &work).unwrap())
        .sum::<usize>();
    assert!(refused > 0, "the disk was never full");
}
