//! One scenario with operations that fail, or on a disk that is full now and then, and a power cut at its end.

use std::thread;
use std::time::{Duration, Instant};

use super::crash::{Work, check, go_on, later};
use super::machine::{Machine, Running};
use super::oracle::{Fate, Oracle};
use super::scenario::{Scenario, append, perform, perform_step};
use crate::disk::sim::{Fault, Rng, TearMode};

/// At most this is left on a nearly full disk: room for an entry or two, or for a file or two.
const ROOM_BYTES: [u64; 2] = [300, 20_000];
/// How long a test waits for storage to find that the disk has room.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Carries the scenario out while an operation fails, and cuts the power afterwards.
///
/// # Errors
/// A report of what is wrong. Otherwise whether the fault struck.
pub(super) fn survive(scenario: &Scenario, fault: Fault, seed: u64, work: &Work<'_>) -> Result<bool, String> {
    // Each fault meets another disk and another power cut.
    let rng = &mut Rng::of(&[seed, fault.after as u64, 2]);
    let machine = Machine::new(rng.next());
    let disk = machine.disk().clone();
    disk.fail(fault);
    let report = |violation: String| {
        let log = disk.log();
        let failed = log.iter().position(|line| line.contains("error")).unwrap_or(log.len());
        let around = failed.saturating_sub(8)..log.len().min(failed + 24);
        let log = log[around].iter().fold(String::new(), |text, line| text + "\n    " + line);
        format!("{violation}\n  seed {seed}, {fault:?}{log}")
    };
    run(machine, scenario, rng, work).map_err(report)?;
    Ok(disk.num_failed() > 0)
}

fn run(machine: Machine, scenario: &Scenario, rng: &mut Rng, work: &Work<'_>) -> Result<(), String> {
    let running = match machine.start() {
        Ok(running) => running,
        Err((machine, _)) => {
            // Somebody repairs the disk and starts again; what the kernel has in memory stays.
            machine.disk().mend();
            machine.start().map_err(|(_, error)| format!("storage does not start any more: {error:?}"))?
        }
    };
    let mut oracle = Oracle::default();
    for outcome in work.runtime.block_on(perform(&running, scenario)) {
        oracle.note(outcome.spec, outcome.fate);
    }
    let disk = running.disk().clone();
    disk.mend();
    check(&running, &oracle, work.files).map_err(|error| format!("before the power cut: {error}"))?;
    if let Some(sync) = disk.syncs().iter().find(|sync| sync.after_failure > 0) {
        return Err(format!("a file was synced again after its sync had failed: {sync:?}"));
    }

    cut_power_and_go_on(running, oracle, rng, work)
}

/// Carries the scenario out on a disk that has a little room at each step, which may be too little for it.
///
/// # Errors
/// A report of what is wrong. Otherwise how many entries were refused.
pub(super) fn survive_full_disk(scenario: &Scenario, seed: u64, work: &Work<'_>) -> Result<usize, String> {
    let rng = &mut Rng::of(&[seed, 3]);
    let running = Machine::new(seed).start().map_err(|(_, error)| error.to_string())?;
    let disk = running.disk().clone();
    let mut outcomes = Vec::new();
    for action in &scenario.actions {
        let most = *rng.pick(&ROOM_BYTES);
        disk.set_capacity(Some(disk.used_bytes() + rng.below(most)));
        outcomes.extend(work.runtime.block_on(perform_step(&running, action, &outcomes)));
    }
    disk.set_capacity(None);
    let mut oracle = Oracle::default();
    let refused = outcomes.iter().filter(|outcome| outcome.fate == Fate::Refused).count();
    for outcome in outcomes {
        oracle.note(outcome.spec, outcome.fate);
    }
    check(&running, &oracle, work.files)
        .map_err(|error| format!("seed {seed}, on the full disk: {error}"))?;
    // Without a restart. Storage looks for room about once a second.
    let resumed = later("resumed");
    let deadline = Instant::now() + LONGEST_WAIT;
    while work.runtime.block_on(append(&running, &resumed)).fate != Fate::Acknowledged {
        if Instant::now() > deadline {
            return Err(format!("seed {seed}: the disk has room, and storage does not go on"));
        }
        thread::yield_now();
    }
    oracle.note(resumed, Fate::Acknowledged);
    cut_power_and_go_on(running, oracle, rng, work).map_err(|error| format!("seed {seed}: {error}"))?;
    Ok(refused)
}

fn cut_power_and_go_on(
    running: Running,
    mut oracle: Oracle,
    rng: &mut Rng,
    work: &Work<'_>,
) -> Result<(), String> {
    oracle.forget_refusals();
    let machine = running.power_cut(*rng.pick(&TearMode::ALL), rng.next());
    let running = machine.start().map_err(|(_, error)| format!("storage does not start: {error:?}"))?;
    check(&running, &oracle, work.files).map_err(|error| format!("after the power cut: {error}"))?;
    go_on(&running, &mut oracle, work.runtime)?;
    check(&running, &oracle, work.files).map_err(|error| format!("after going on: {error}"))?;
    Ok(())
}
