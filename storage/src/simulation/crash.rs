//! One crash and all that must hold after it.

use std::collections::BTreeSet;

use alula_catalog::Signal;
use tokio::runtime::Runtime;

use super::machine::{Machine, Running};
use super::oracle::{Fate, FileRows, Oracle};
use super::recording::Recording;
use super::rows::Spec;
use super::scenario::append;
use crate::disk::sim::{Rng, TearMode};

/// Operations of a recovery among which the power goes again. Most have fewer; then it goes after the recovery.
const RECOVERY_OPERATIONS: u64 = 40;

/// A moment at which the power goes, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crash {
    pub seed: u64,
    pub operation: usize,
    pub mode: TearMode,
}

/// What a thread needs to look after crashes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work<'a> {
    pub runtime: &'a Runtime,
    pub files: &'a FileRows,
}

/// Cuts the power and checks that all is there after it.
///
/// # Errors
/// A report of what is wrong.
pub(super) fn survive(recording: &Recording, crash: Crash, work: &Work<'_>) -> Result<(), String> {
    let Crash { seed, operation, mode } = crash;
    let mut rng = Rng::of(&[seed, operation as u64, mode as u64]);
    let machine = recording.machine_at(operation, mode, rng.next());
    recover(machine, recording.oracle_at(operation), crash, work).map_err(|violation| {
        format!(
            "{violation}\n  seed {seed}, power cut at operation {operation}, {mode:?}{}",
            recording.log_around(operation)
        )
    })
}

/// Recovers a machine twice. In turn, from moment to moment and mode to mode, there was a recovery before, which was cut off,
/// or the machine works between the two.
fn recover(mut machine: Machine, mut oracle: Oracle, crash: Crash, work: &Work<'_>) -> Result<(), String> {
    let Crash { operation, mode, .. } = crash;
    let rng = &mut Rng::of(&[crash.seed, operation as u64, mode as u64, 1]);
    let goes_on = (operation + mode as usize).is_multiple_of(2);
    let mut before = None;
    if !goes_on {
        (machine, before) = cut_off(machine, &oracle, mode, rng, work)?;
    }

    let running = start(machine, "at the recovery")?;
    let recovered =
        check(&running, &oracle, work.files).map_err(|error| format!("after the recovery: {error}"))?;
    if let Some(before) = before.filter(|before| *before != recovered) {
        return Err(format!("two recoveries differ: {before:?} and then {recovered:?}"));
    }

    if goes_on {
        go_on(&running, &mut oracle, work.runtime)?;
        check(&running, &oracle, work.files).map_err(|error| format!("after going on: {error}"))?;
        let running = start(running.power_cut(TearMode::LoseAll, rng.next()), "at the last recovery")?;
        check(&running, &oracle, work.files).map_err(|error| format!("after the last recovery: {error}"))?;
        return Ok(());
    }
    let running = start(running.power_cut(mode, rng.next()), "at the second recovery")?;
    let again = check(&running, &oracle, work.files)
        .map_err(|error| format!("after the second recovery: {error}"))?;
    if again != recovered {
        return Err(format!("two recoveries differ: {recovered:?} and then {again:?}"));
    }
    Ok(())
}

/// Cuts the power in the middle of a recovery, or after it. Returns what was there if it came to its end.
fn cut_off(
    machine: Machine,
    oracle: &Oracle,
    mode: TearMode,
    rng: &mut Rng,
    work: &Work<'_>,
) -> Result<(Machine, Option<BTreeSet<String>>), String> {
    let at = rng.below(RECOVERY_OPERATIONS) as usize;
    machine.disk().cut_power_at(at);
    match machine.start() {
        Err((machine, _)) if machine.disk().is_off() => Ok((machine.power_cut(mode, rng.next()), None)),
        Err((_, error)) => Err(format!("in a recovery that was to lose power at operation {at}: {error:?}")),
        Ok(running) if running.disk().is_off() => Ok((running.power_cut(mode, rng.next()), None)),
        Ok(running) => {
            let present = check(&running, oracle, work.files).map_err(|error| {
                format!("in a recovery that was to lose power at operation {at}: {error}")
            })?;
            Ok((running.power_cut(mode, rng.next()), Some(present)))
        }
    }
}

/// An entry that is no part of a scenario.
pub(super) fn later(label: &str) -> Spec {
    Spec {
        label: label.to_owned(),
        tenant: super::TENANTS[0],
        signal: Signal::Logs,
        hour: 498_684,
        spans_hours: false,
        num_rows: 2,
    }
}

/// Sends what nobody was told of once more, and something else, and flushes in between.
pub(super) fn go_on(running: &Running, oracle: &mut Oracle, runtime: &Runtime) -> Result<(), String> {
    let specs = oracle.unknown().into_iter().chain([later("later")]);
    runtime.block_on(async {
        for spec in specs {
            let outcome = append(running, &spec).await;
            if outcome.fate != Fate::Acknowledged {
                return Err(format!("{} was refused on a sound disk", spec.label));
            }
            oracle.note(spec, outcome.fate);
        }
        running
            .storage
            .flush()
            .await
            .map_err(|error| format!("the flush failed on a sound disk: {error:?}"))?;
        let last = append(running, &later("last")).await;
        oracle.note(last.spec, last.fate);
        Ok(())
    })
}

fn start(machine: Machine, when: &str) -> Result<Running, String> {
    machine.start().map_err(|(_, error)| format!("{when}: storage does not start: {error:?}"))
}

/// The entries that are there, if all is as it must be and no loss is on record.
pub(super) fn check(
    running: &Running,
    oracle: &Oracle,
    files: &FileRows,
) -> Result<BTreeSet<String>, String> {
    match running.num_losses() {
        0 => oracle.check(&running.storage, files),
        losses => Err(format!("{losses} losses are on record, and nothing was damaged")),
    }
}
