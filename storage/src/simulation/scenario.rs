//! What is done to a store, by a seed, and what came of it.

use std::task::Poll;

use alula_catalog::{DataFile, Signal};
use futures::future::join_all;
use futures::poll;

use super::TENANTS;
use super::machine::Running;
use super::oracle::Fate;
use super::rows::Spec;
use crate::disk::sim::Rng;
use crate::maintenance::{Garbage, Pace, Task};

/// Hours of 2026-11-21, and one long ago, for rows that come late.
const HOURS: [i64; 4] = [498_684, 498_685, 498_686, 0];
/// Hours of the epoch that are long ago.
const OLD_HOURS: i32 = 10;

/// Tables and hours that a scenario writes to. Few: a flush meets each again, and a file costs milliseconds to encode.
const NUM_PLACES: usize = 2;

/// What the steps of a scenario are.
const STEPS: [Step; 16] = {
    use Step::{Append, Compact, Delete, Flush, Retain};
    [
        Append, Append, Append, Flush, Append, Delete, Append, Flush, Compact, Append, Append, Delete, Flush,
        Compact, Retain, Append,
    ]
};
/// Of a short one.
const FEW_STEPS: [Step; 8] = {
    use Step::{Append, Compact, Delete, Flush, Retain};
    [Append, Flush, Append, Delete, Flush, Compact, Retain, Append]
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Append,
    Flush,
    Compact,
    Delete,
    Retain,
}

/// One step and what it is about.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Entries that are all written and synced at once, after the first one.
    Append(Vec<Spec>),
    Flush,
    /// Compacts all files, and removes the replaced ones.
    Compact,
    /// Deletes the rows of one entry: of those that are there, the one with this number, counted round and round.
    Delete(usize),
    /// Flushes, and drops the files of long ago.
    Retain,
}

/// Steps and what they do, the same for the same seed.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub actions: Vec<Action>,
}

impl Scenario {
    pub(super) fn new(seed: u64) -> Self {
        Self::of(seed, &STEPS)
    }

    pub(super) fn short(seed: u64) -> Self {
        Self::of(seed, &FEW_STEPS)
    }

    fn of(seed: u64, steps: &[Step]) -> Self {
        let mut rng = Rng::of(&[seed, 1]);
        let places: Vec<_> = (0..NUM_PLACES)
            .map(|_| (*rng.pick(&TENANTS), *rng.pick(&Signal::ALL), *rng.pick(&HOURS)))
            .collect();
        let mut num_entries = 0;
        let mut spec = |rng: &mut Rng| {
            let (tenant, signal, hour) = *rng.pick(&places);
            num_entries += 1;
            Spec {
                label: format!("s{seed}e{num_entries}"),
                tenant,
                signal,
                hour,
                spans_hours: rng.below(12) == 0,
                num_rows: 1 + rng.below(4) as usize,
            }
        };
        let action = |step: &Step| match step {
            Step::Append => {
                let count = [1, 1, 3, 6][rng.below(4) as usize];
                Action::Append((0..count).map(|_| spec(&mut rng)).collect())
            }
            Step::Flush => Action::Flush,
            Step::Compact => Action::Compact,
            Step::Delete => Action::Delete(rng.below(100) as usize),
            Step::Retain => Action::Retain,
        };
        Self { actions: steps.iter().map(action).collect() }
    }
}

/// What became of an entry. Moments are numbers of the disk's operations.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub spec: Spec,
    /// No operation before this one was for it.
    pub submitted_at: usize,
    /// What it is between the two moments.
    pub meanwhile: Fate,
    /// No operation from this one on was needed for it.
    pub answered_at: usize,
    pub fate: Fate,
}

/// Does all steps. Errors of the store are in the outcomes alone: the disk may be failing.
pub(super) async fn perform(running: &Running, scenario: &Scenario) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for action in &scenario.actions {
        outcomes.extend(perform_step(running, action, &outcomes).await);
    }
    outcomes
}

/// Does one step, given what came of those before it.
pub(super) async fn perform_step(running: &Running, action: &Action, before: &[Outcome]) -> Vec<Outcome> {
    match action {
        Action::Append(specs) => append_group(running, specs).await,
        Action::Flush => {
            // What cannot be flushed stays in the log.
            let _ = running.storage.flush().await;
            Vec::new()
        }
        Action::Compact => {
            // Files that cannot be compacted stay as they are.
            let _ = running.storage.compact(None, None).await;
            collect_garbage(running).await;
            Vec::new()
        }
        Action::Delete(number) => match acknowledged(before).as_slice() {
            [] => Vec::new(),
            specs => vec![delete(running, &specs[number % specs.len()]).await],
        },
        Action::Retain => retain(running, before).await,
    }
}

/// Entries that are there for certain.
fn acknowledged(outcomes: &[Outcome]) -> Vec<Spec> {
    let is_last = |number: usize, outcome: &Outcome| {
        !outcomes[number + 1..].iter().any(|later| later.spec.label == outcome.spec.label)
    };
    let known = outcomes.iter().enumerate().filter(|(number, outcome)| is_last(*number, outcome));
    known
        .filter(|(_, outcome)| outcome.fate == Fate::Acknowledged)
        .map(|(_, outcome)| outcome.spec.clone())
        .collect()
}

/// Deletes the rows of an entry.
async fn delete(running: &Running, spec: &Spec) -> Outcome {
    let submitted_at = running.disk().num_operations();
    let (snapshot, tenant) = (running.storage.snapshot(), spec.tenant_id());
    let last_seq = snapshot.last_seq(&tenant, spec.signal);
    let proposed = snapshot.propose_deletion(&tenant, spec.signal, &spec.label, last_seq, "simulation");
    let deleted = match proposed.unwrap() {
        Some(proposed) => running.storage.delete(proposed, spec.num_rows as u64).await.is_ok(),
        None => unreachable!("the table has the rows of an acknowledged entry"),
    };
    outcome_of_deletion(running, spec.clone(), submitted_at, deleted)
}

/// Does to the store what retention does that keeps nothing from long ago.
async fn retain(running: &Running, outcomes: &[Outcome]) -> Vec<Outcome> {
    if running.storage.flush().await.is_err() {
        return Vec::new();
    }
    let submitted_at = running.disk().num_operations();
    let storage = running.storage.clone();
    let dropped = tokio::task::spawn_blocking(move || {
        let store = storage.store();
        let is_old = |file: &DataFile| file.hour.0 < i64::from(OLD_HOURS);
        let old = store.catalog.live_files()?.into_iter().filter(is_old);
        store.replace_files(old.map(|file| file.id).collect(), Vec::new())
    });
    let dropped = dropped.await.unwrap().is_ok();
    collect_garbage(running).await;
    let old = acknowledged(outcomes).into_iter().filter(|spec| spec.hour < OLD_HOURS.into());
    old.map(|spec| outcome_of_deletion(running, spec, submitted_at, dropped)).collect()
}

fn outcome_of_deletion(running: &Running, spec: Spec, submitted_at: usize, succeeded: bool) -> Outcome {
    let fate = if succeeded { Fate::Deleted } else { Fate::MaybeDeleted };
    let answered_at = running.disk().num_operations();
    Outcome { spec, submitted_at, meanwhile: Fate::MaybeDeleted, answered_at, fate }
}

async fn collect_garbage(running: &Running) {
    let storage = running.storage.clone();
    let collect = move || Garbage::default().step(storage.store(), &mut Pace::new(1.0));
    // Files that cannot be removed are for the next start.
    let _ = tokio::task::spawn_blocking(collect).await.unwrap();
}

/// Appends the first entry and, while the log's writer is busy with it, all others, which are so one group.
async fn append_group(running: &Running, specs: &[Spec]) -> Vec<Outcome> {
    let snapshot = running.storage.snapshot();
    if specs.iter().any(|spec| snapshot.tenant_number(&spec.tenant_id()).is_none()) {
        // To give a tenant its number takes a COMMIT, which cannot be in a group.
        let mut outcomes = Vec::new();
        for spec in specs {
            outcomes.push(append(running, spec).await);
        }
        return outcomes;
    }
    let disk = running.disk();
    let mut appends: Vec<_> = specs.iter().map(|spec| Box::pin(append(running, spec))).collect();
    disk.pause();
    let mut answered = Vec::new();
    // A log that is read-only answers without an operation.
    while answered.is_empty() && !disk.is_reached() {
        if let Poll::Ready(outcome) = poll!(&mut appends[0]) {
            answered.push(outcome);
            drop(appends.remove(0));
        }
        tokio::task::yield_now().await;
    }
    // The first poll hands an entry over; an answer that is there already is kept by `join_all`.
    let mut appends = join_all(appends);
    let others = poll!(&mut appends);
    disk.resume();
    answered.extend(match others {
        Poll::Ready(outcomes) => outcomes,
        Poll::Pending => appends.await,
    });
    answered
}

pub(super) async fn append(running: &Running, spec: &Spec) -> Outcome {
    let submitted_at = running.disk().num_operations();
    let fate = match running.storage.append(spec.entry()).await {
        Ok(_) => Fate::Acknowledged,
        Err(_) => Fate::Refused,
    };
    let answered_at = running.disk().num_operations();
    Outcome { spec: spec.clone(), submitted_at, meanwhile: Fate::Unknown, answered_at, fate }
}
