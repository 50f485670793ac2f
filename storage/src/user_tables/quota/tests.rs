use tempfile::tempdir;

use super::*;
use crate::testing::{config, open, store};
use crate::user_tables::testing::{append, create_and_commit, rows};

#[test]
fn bytes_that_are_left_behind_stay_taken_until_they_are_given_back() {
    let dir = tempdir().unwrap();
    let store = Arc::new(store(dir.path(), [1; 16]));
    let tenant: TenantId = "a".parse().unwrap();
    let reservation = Reservation::new(&store, &tenant, 100);
    reservation.grow(60, 0).unwrap();
    reservation.leave(50);
    drop(reservation);
    let other = Reservation::new(&store, &tenant, 100);
    assert!(matches!(other.grow(51, 0), Err(UserTableError::TooManyBytes { limit_bytes: 100 })));
    store.user_tables.uncommitted.give_back(&tenant, 50);
    other.grow(100, 0).unwrap();
}

/// Scenario: a commit is on disk, and queries do not see it yet.
#[test]
fn bytes_are_taken_from_a_tenant_until_its_tables_have_them() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &[1]).unwrap();
    let store = storage.store();
    let taken = || lock(&store.user_tables.uncommitted.bytes).values().sum::<u64>();
    let mut transaction = storage.begin_user_transaction(&"a".parse().unwrap());
    append(&mut transaction, "hosts", &rows(&[2, 3])).unwrap();
    let before = taken();
    let held = store.buffer.hold();
    let while_it_is_not_seen = std::thread::scope(|scope| {
        let committing = scope.spawn(|| transaction.commit_blocking());
        while store.catalog.live_user_files().unwrap().iter().all(|file| file.num_rows < 2) {
            std::thread::yield_now();
        }
        let taken = taken();
        drop(held);
        committing.join().unwrap().unwrap();
        taken
    });
    assert_eq!((while_it_is_not_seen, taken()), (before, 0));
}
