use std::fs;

use alula_catalog::{DataFile, FileId};
use tempfile::tempdir;

use super::*;
use crate::health::Health;
use crate::testing::{config, entry, open};
use crate::user_tables::testing::create_and_commit;

const NOON_S: i64 = 1_795_262_400;
const DAY: Duration = Duration::from_hours(24);
const WEEK: Duration = Duration::from_hours(24 * 7);

/// Files of these sizes, with the ids 1, 2, 3, ...
async fn files_of(sizes: &[u64]) -> Vec<Arc<DataFile>> {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", NOON_S, 1)).await.unwrap();
    storage.flush().await.unwrap();
    let file = storage.store().catalog.live_files().unwrap().remove(0);
    let numbered =
        (1..).zip(sizes).map(|(id, size)| DataFile { id: FileId(id), size_bytes: *size, ..file.clone() });
    numbered.map(Arc::new).collect()
}

fn at(days: u64) -> i64 {
    1_000 + (DAY * days as u32).as_nanos() as i64
}

#[tokio::test]
async fn a_pass_is_spread_over_its_interval_by_bytes() {
    let files = files_of(&[10, 60, 20, 10]).await;
    let pass = |upto: u128| ScrubPass { started_ns: at(0), upto: (upto > 0).then_some(FileId(upto)) };
    for (upto, day, expected) in [
        (0, 0, Next::Wait),
        (0, 1, Next::Scrub(0)),
        (1, 1, Next::Scrub(1)),
        (2, 1, Next::Wait),
        (2, 4, Next::Wait),
        (2, 5, Next::Scrub(2)),
        (3, 6, Next::Wait),
        (3, 7, Next::Scrub(3)),
        (4, 6, Next::Wait),
        (4, 7, Next::NewPass),
        // The server was off for long.
        (0, 70, Next::Scrub(0)),
        (3, 70, Next::Scrub(3)),
    ] {
        assert_eq!(next_step(&files, &pass(upto), at(day), WEEK), expected, "after {upto}, day {day}");
    }
    let none: [Arc<DataFile>; 0] = [];
    assert_eq!(next_step(&none, &pass(0), at(1), WEEK), Next::Wait);
    assert_eq!(next_step(&none, &pass(9), at(8), WEEK), Next::NewPass);
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_scrub() {
    let pass = ScrubPass { started_ns: at(300), upto: Some(FileId(3)) };
    assert_eq!(begun(pass, at(2)), ScrubPass { started_ns: at(2), upto: Some(FileId(3)) });
    assert_eq!(begun(pass, at(301)), pass);
    assert_eq!(begun(ScrubPass::default(), at(2)).started_ns, at(2));
}

/// Scenario: a server that is started anew every day; on the seventh a bit rots in a file that this process has read.
#[tokio::test]
async fn a_pass_goes_on_over_restarts_and_puts_what_rotted_on_record() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for label in ["a", "b", "c", "d", "e", "f", "g"] {
        storage.append(entry("t", label, NOON_S, 3)).await.unwrap();
        storage.flush().await.unwrap();
    }
    let mut files = storage.store().catalog.live_files().unwrap();
    files.sort_by_key(|file| file.id);
    storage.close().await.unwrap();
    let mut positions = Vec::new();
    for day in 0..8 {
        let storage = open(config(dir.path())).unwrap();
        let store = storage.store();
        let snapshot = storage.snapshot();
        if day == 6 {
            snapshot.data_files().open(&files[5]).unwrap();
            let path = store.layout.data_file(&files[5]);
            let mut bytes = fs::read(&path).unwrap();
            bytes[100] ^= 1;
            fs::write(path, bytes).unwrap();
            snapshot.data_files().open(&files[5]).unwrap();
        }
        let mut scrub = Scrub::new(WEEK);
        let mut pace = Pace::new(1.0);
        while scrub.step_at(store, &mut pace, at(day)).unwrap() == Step::Worked {}
        let upto = store.catalog.scrub_pass().unwrap().upto;
        positions.push(files.iter().filter(|file| Some(file.id) <= upto).count());
        let losses = store.catalog.data_losses().unwrap();
        assert_eq!(losses.len(), usize::from(day >= 6), "day {day}: {losses:?}");
        if day == 6 {
            assert!(losses[0].loss.source.contains(&files[5].id.to_string()), "{losses:?}");
            assert!(matches!(&*storage.watch_health().borrow(), Health::Degraded { .. }));
            assert!(matches!(snapshot.data_files().open(&files[5]), Err(Error::CorruptFile { .. })));
        }
        storage.close().await.unwrap();
    }
    // A part of it every day; the eighth begins the next pass.
    assert_eq!(positions[0], 0);
    assert!(positions[..7].windows(2).all(|days| (1..=2).contains(&(days[1] - days[0]))), "{positions:?}");
    assert_eq!(positions[7], 0, "{positions:?}");
}

#[tokio::test]
async fn a_rotten_file_of_a_user_table_is_found_though_nobody_asks_for_it() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &[1]).unwrap();
    let store = storage.store();
    let file = store.catalog.live_user_files().unwrap().remove(0);
    let path = store.layout.data_file(&file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 4;
    fs::write(&path, bytes).unwrap();
    let mut scrub = Scrub::new(WEEK);
    let mut pace = Pace::new(1.0);
    scrub.step_at(store, &mut pace, 1).unwrap();
    scrub.step_at(store, &mut pace, 1 + WEEK.as_nanos() as i64).unwrap();
    let losses = store.catalog.data_losses().unwrap();
    assert_eq!(losses.len(), 1);
    assert!(losses[0].loss.source.contains(&file.id.to_string()));
}
