//! A disk that fails or fills up under a running engine, and mends: what is refused, and that it goes on by itself.

use std::path::PathBuf;

use alula_catalog::DataFile;
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::OnSyncError;
use crate::disk::sim::{ENOSPC, Fault, Image, Operation, SimDisk, TearMode};
use crate::testing::TextDecoder;

/// A simulated disk, and a real directory for the catalog, which is on no simulated one.
struct Machine {
    dir: TempDir,
    disk: SimDisk,
}

impl Machine {
    fn new() -> Self {
        let dir = tempdir().unwrap();
        let disk = SimDisk::new(dir.path(), Image::default(), 1);
        Self { dir, disk }
    }

    fn config(&self) -> Config {
        config(self.dir.path())
    }

    fn open(&self, config: &Config) -> Result<Storage> {
        let catalog = Arc::new(Catalog::open(&self.dir.path().join("catalog.db")).unwrap());
        Storage::open_on(Arc::new(self.disk.clone()), config, catalog, &TextDecoder)
    }

    /// The power goes, and comes back: of what was not synced nothing is left.
    fn power_cut(self, storage: Storage) -> Self {
        self.disk.cut_power();
        drop(storage);
        let image = self.disk.image().after_power_cut(TearMode::LoseAll, 1);
        Self { disk: SimDisk::new(self.dir.path(), image, 2), ..self }
    }

    fn is_full(&self, is_full: bool) {
        self.disk.set_capacity(is_full.then(|| self.disk.used_bytes()));
    }

    fn segments(&self) -> Vec<PathBuf> {
        let wal = self.dir.path().join("wal");
        let entries = self.disk.list(&wal).unwrap().into_iter().map(|entry| wal.join(entry.name));
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).collect()
    }
}

async fn until_sound(health: &mut watch::Receiver<Health>) {
    health.wait_for(|health| *health == Health::Sound).await.unwrap();
}

fn health(storage: &Storage) -> Health {
    storage.watch_health().borrow().clone()
}

/// Scenario: a sync of the log fails; the server is not restarted; later the power goes.
/// Guarantees: the group is refused; ingest goes on by itself; no file is synced again after its sync failed; nothing that
/// was acknowledged is lost.
#[tokio::test]
async fn after_a_failed_sync_ingest_goes_on_without_a_restart() {
    let machine = Machine::new();
    let storage = machine.open(&machine.config()).unwrap();
    storage.append(entry("a", "one", NOON_S, 2)).await.unwrap();
    machine.disk.fail(Fault::once(Some(Operation::SyncData), 0));
    let refused = storage.append(entry("a", "two", NOON_S, 2)).await.unwrap_err();
    assert!(matches!(refused, Error::WalWrite(_)), "{refused}");
    until_sound(&mut storage.watch_health()).await;
    storage.append(entry("a", "two", NOON_S, 2)).await.unwrap();
    let rows = expected(&[("one", 2), ("two", 2)]);
    assert_eq!(bodies_on(&storage), 4);
    assert!(machine.disk.syncs().iter().all(|syncs| syncs.after_failure == 0), "{:?}", machine.disk.syncs());

    let machine = machine.power_cut(storage);
    let storage = machine.open(&machine.config()).unwrap();
    assert_eq!(bodies_on(&storage), rows.len());
}

/// Rows in buffer and files.
fn bodies_on(storage: &Storage) -> usize {
    let table = storage.snapshot().table(&"a".parse().unwrap(), Signal::Logs);
    let buffered = table.hot.iter().chain(&table.frozen).map(|chunk| chunk.num_rows()).sum::<usize>();
    let in_file = |file: &Arc<DataFile>| file.num_rows as usize;
    buffered + table.files.iter().map(in_file).sum::<usize>()
}

#[tokio::test]
async fn while_the_rows_of_a_failed_sync_cannot_be_saved_storage_is_read_only_and_keeps_trying() {
    let machine = Machine::new();
    let storage = machine.open(&machine.config()).unwrap();
    storage.append(entry("a", "one", NOON_S, 2)).await.unwrap();
    let mut changes = storage.watch_health();
    machine.disk.fail(Fault { lasts: true, ..Fault::once(Some(Operation::SyncData), 0) });
    storage.append(entry("a", "two", NOON_S, 2)).await.unwrap_err();
    assert!(matches!(health(&storage), Health::ReadOnly { .. }));
    assert!(matches!(storage.flush().await, Err(Error::FlushTable { .. })));
    let refused = storage.append(entry("a", "two", NOON_S, 2)).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert_eq!(bodies_on(&storage), 2, "what was acknowledged can be read");
    machine.disk.mend();
    until_sound(&mut changes).await;
    storage.append(entry("a", "two", NOON_S, 2)).await.unwrap();
    assert_eq!(bodies_on(&storage), 4);
}

#[tokio::test]
async fn told_to_exit_after_a_failed_sync_storage_says_that_it_failed() {
    let machine = Machine::new();
    let config = Config { on_sync_error: OnSyncError::Exit, ..machine.config() };
    let storage = machine.open(&config).unwrap();
    storage.append(entry("a", "one", NOON_S, 2)).await.unwrap();
    machine.disk.fail(Fault::once(Some(Operation::SyncData), 0));
    storage.append(entry("a", "two", NOON_S, 2)).await.unwrap_err();
    storage.flush().await.unwrap();
    assert!(matches!(health(&storage), Health::Failed { .. }));
    assert!(matches!(storage.append(entry("a", "two", NOON_S, 2)).await, Err(Error::ReadOnly { .. })));
    let machine = machine.power_cut(storage);
    let storage = machine.open(&machine.config()).unwrap();
    assert_eq!(bodies_on(&storage), 2);
}

/// Scenario: the disk fills up under ingest and is freed, again and again, and the power goes in the end.
/// Guarantees: refused while it is full, stored once there is room, without a restart; all that was acknowledged is there.
#[tokio::test]
async fn a_full_disk_refuses_and_ingest_resumes_by_itself() {
    let machine = Machine::new();
    let storage = machine.open(&machine.config()).unwrap();
    let mut stored = 0;
    for cycle in 0..5 {
        storage.append(entry("a", &format!("before{cycle}"), NOON_S, 2)).await.unwrap();
        machine.is_full(true);
        let refused = storage.append(entry("a", &format!("full{cycle}"), NOON_S, 2)).await.unwrap_err();
        assert!(matches!(refused, Error::WalWrite(_)), "{refused}");
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        machine.is_full(false);
        until_sound(&mut storage.watch_health()).await;
        storage.append(entry("a", &format!("full{cycle}"), NOON_S, 2)).await.unwrap();
        stored += 4;
        assert_eq!(bodies_on(&storage), stored);
    }
    let machine = machine.power_cut(storage);
    let storage = machine.open(&machine.config()).unwrap();
    assert_eq!(bodies_on(&storage), stored);
    assert_eq!(health(&storage), Health::Sound, "what was refused is no loss");
}

#[tokio::test]
async fn a_write_that_is_cut_short_is_refused_and_leaves_no_hole() {
    let machine = Machine::new();
    let storage = machine.open(&machine.config()).unwrap();
    for round in 0..4 {
        storage.append(entry("a", &format!("good{round}"), NOON_S, 1)).await.unwrap();
        machine.disk.fail(Fault { is_short: true, errno: ENOSPC, ..Fault::once(Some(Operation::Write), 0) });
        storage.append(entry("a", &format!("bad{round}"), NOON_S, 1)).await.unwrap_err();
    }
    let machine = machine.power_cut(storage);
    let storage = machine.open(&machine.config()).unwrap();
    assert_eq!(bodies_on(&storage), 4);
    assert_eq!(health(&storage), Health::Sound);
}

/// Scenario: the process is killed, and the disk is full when it is started again.
/// Guarantees: it starts, and queries see every row once; ingest is refused until there is room, and then goes on by itself;
/// the log is kept until its rows are in files.
#[tokio::test]
async fn a_start_on_a_full_disk_serves_queries_and_catches_up_by_itself() {
    for flush_bytes in [1, 64 << 20] {
        let machine = Machine::new();
        let storage = machine.open(&machine.config()).unwrap();
        for label in ["one", "two", "three"] {
            storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
        }
        drop(storage);
        machine.is_full(true);
        let config = Config { flush_bytes, ..machine.config() };
        for _ in 0..2 {
            let storage = machine.open(&config).unwrap();
            assert_eq!(bodies_on(&storage), 6);
            assert!(matches!(health(&storage), Health::ReadOnly { .. }));
            let refused = storage.append(entry("a", "four", NOON_S, 2)).await.unwrap_err();
            assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
            assert!(storage.append(entry("a", "two", NOON_S, 2)).await.unwrap().is_duplicate);
            assert!(!machine.segments().is_empty());
        }
        let storage = machine.open(&config).unwrap();
        machine.is_full(false);
        until_sound(&mut storage.watch_health()).await;
        storage.append(entry("a", "four", NOON_S, 2)).await.unwrap();
        storage.flush().await.unwrap();
        assert_eq!(bodies_on(&storage), 8);
        assert_eq!(machine.segments().len(), 0, "the log is no longer needed");
        let machine = machine.power_cut(storage);
        assert_eq!(bodies_on(&machine.open(&machine.config()).unwrap()), 8);
    }
}

#[tokio::test]
async fn a_start_on_a_full_disk_with_more_rows_than_fit_into_memory_says_what_to_do() {
    let machine = Machine::new();
    let storage = machine.open(&machine.config()).unwrap();
    for round in 0..50 {
        storage.append(entry("a", &format!("entry{round}"), NOON_S, 100)).await.unwrap();
    }
    drop(storage);
    machine.is_full(true);
    let small = Config { flush_bytes: 1, max_buffer_bytes: 2, wal_queue_bytes: 64 << 10, ..machine.config() };
    let error = machine.open(&small).unwrap_err();
    assert!(matches!(error, Error::ReplayBlocked { limit_bytes: 2, .. }), "{error}");
    assert!(error.to_string().contains("storage.max_buffer_bytes"), "{error}");
    assert_eq!(bodies_on(&machine.open(&machine.config()).unwrap()), 5_000);
}

/// Scenario: part of the log rotted, and the disk is full at the start.
/// Guarantees: the loss is put on record, and the segment kept, before the log that shows it goes.
#[tokio::test]
async fn a_loss_that_is_found_on_a_full_disk_is_on_record_before_the_log_goes() {
    let machine = Machine::new();
    let storage = machine.open(&machine.config()).unwrap();
    for label in ["one", "two", "three"] {
        storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
    }
    drop(storage);
    let segment = &machine.segments()[0];
    let file = machine.disk.open(segment).unwrap();
    let bytes = crate::disk::read_exact_at(file.as_ref(), file.len().unwrap() as usize, 0).unwrap();
    let at = bytes.windows(3).position(|window| window == b"two").unwrap();
    machine
        .disk
        .create(segment)
        .unwrap()
        .write_all_at(&[&bytes[..at], b"TWO", &bytes[at + 3..]].concat(), 0)
        .unwrap();
    // Names fit, bytes of files do not.
    machine.is_full(true);
    let storage = machine.open(&machine.config()).unwrap();
    assert_eq!(bodies_on(&storage), 4);
    machine.is_full(false);
    storage.watch_health().wait_for(|health| matches!(health, Health::Degraded { .. })).await.unwrap();
    let losses = storage.inner.store.catalog.data_losses().unwrap();
    let known = losses.iter().map(|known| &known.loss);
    let known: Vec<_> = known.map(|loss| (loss.first_seq.0, loss.signal, loss.num_rows)).collect();
    assert_eq!(known, [(2, Some(Signal::Logs), Some(2))]);
    let kept = machine.dir.path().join("wal/quarantine").join(segment.file_name().unwrap());
    assert!(machine.disk.file_len(&kept).is_ok());
    storage.append(entry("a", "two", NOON_S, 2)).await.unwrap();
    let again = machine.power_cut(storage);
    let storage = again.open(&again.config()).unwrap();
    assert_eq!((bodies_on(&storage), storage.inner.store.catalog.data_losses().unwrap()), (6, losses));
}

#[tokio::test]
async fn below_the_free_space_that_has_to_be_ingest_is_refused_and_a_flush_is_not() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "one", NOON_S, 2)).await.unwrap();
    check_free_space(storage.store(), Some(u64::MAX));
    let refused = storage.append(entry("a", "two", NOON_S, 2)).await.unwrap_err();
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    assert!(refused.to_string().contains("storage.min_free_bytes"), "{refused}");
    storage.flush().await.unwrap();
    assert!(storage.append(entry("a", "one", NOON_S, 2)).await.unwrap().is_duplicate);
    check_free_space(storage.store(), Some(1));
    storage.append(entry("a", "two", NOON_S, 2)).await.unwrap();
}

#[tokio::test]
async fn a_flush_that_fails_says_of_which_table_and_shows_in_the_health() {
    let machine = Machine::new();
    let storage = machine.open(&machine.config()).unwrap();
    storage.append(entry("acme", "one", NOON_S, 2)).await.unwrap();
    machine.disk.fail(Fault { lasts: true, ..Fault::once(Some(Operation::Create), 0) });
    let error = storage.flush().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot write the logs of tenant acme to data files");
    let Health::Degraded { reason } = health(&storage) else { panic!("{:?}", health(&storage)) };
    assert!(!reason.contains("acme"), "{reason}");
    machine.disk.mend();
    storage.flush().await.unwrap();
    assert_eq!(health(&storage), Health::Sound);
}
