//! Each limit, at it and past it.

use super::super::quota::MAX_WRITERS_PER_TENANT;
use super::*;

fn limited(dir: &std::path::Path, max_tables: usize, max_bytes: u64) -> Storage {
    let user_tables = UserTablesConfig { max_tables, max_bytes };
    open(Config { user_tables, ..config(dir) }).unwrap()
}

#[tokio::test]
async fn a_tenant_has_so_many_tables_and_no_more() {
    let dir = tempdir().unwrap();
    let storage = limited(dir.path(), 2, 1 << 30);
    create_and_commit(&storage, "a", "one", &[1]).unwrap();
    let mut transaction = begin(&storage, "a");
    create(&mut transaction, "two").unwrap();
    let error = create(&mut transaction, "three").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(error.to_string().contains("2 tables (storage.user_tables_max)"), "{error}");
    assert!(transaction.create_table("two", &schema(), CreateMode::Replace).unwrap());
    // Two that are made at the same time, each of which would fit.
    let mut other = begin(&storage, "a");
    create(&mut other, "another").unwrap();
    other.commit().await.unwrap();
    assert!(matches!(fault(transaction.commit().await), UserTableError::TooManyTables { limit: 2 }));
    assert_eq!(names(&storage, "a"), ["another", "one"]);
    create_and_commit(&storage, "b", "one", &[1]).unwrap();

    drop(storage);
    // A lower limit takes nothing away.
    let storage = limited(dir.path(), 1, 1 << 30);
    append_and_commit(&storage, "a", "one", &[2]).unwrap();
    let mut transaction = begin(&storage, "a");
    transaction.drop_table("another").unwrap();
    transaction.drop_table("one").unwrap();
    create(&mut transaction, "other").unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(names(&storage, "a"), ["other"]);
}

#[tokio::test]
async fn a_tenant_has_so_many_bytes_with_those_of_open_transactions() {
    let dir = tempdir().unwrap();
    let storage = limited(dir.path(), 9, 400_000);
    create_and_commit(&storage, "a", "hosts", &(0..100).collect::<Vec<_>>()).unwrap();
    let many: Vec<_> = (0..40_000_i64).map(|number| number * 7_919 % 1_000_003).collect();
    let mut first = begin(&storage, "a");
    append(&mut first, "hosts", &rows(&many[..3_000])).unwrap();
    let mut second = begin(&storage, "a");
    let error = append(&mut second, "hosts", &rows(&many)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(
        error.to_string().contains("400000 bytes") && error.to_string().contains("storage.user_tables_bytes")
    );
    // What is given up, or dropped in the same transaction, makes room.
    drop(first);
    append(&mut second, "hosts", &rows(&many[..3_000])).unwrap();
    second.create_table("hosts", &schema(), CreateMode::Replace).unwrap();
    append(&mut second, "hosts", &rows(&many[..5_000])).unwrap();
    second.commit().await.unwrap();
    let size_bytes = storage.user_tables(&"a".parse().unwrap()).size_bytes();
    assert!(size_bytes <= 400_000, "{size_bytes}");
    let mut third = begin(&storage, "a");
    let mut refused = None;
    for part in many.chunks(3_000).cycle().take(1_000) {
        refused = append(&mut third, "hosts", &rows(part)).err();
        if refused.is_some() {
            break;
        }
    }
    assert!(matches!(
        fault::<()>(Err(refused.unwrap())),
        UserTableError::TooManyBytes { limit_bytes: 400_000 }
    ));
    // The tenant's alone.
    create_and_commit(&storage, "b", "hosts", &many[..5_000]).unwrap();
}

#[tokio::test]
async fn nothing_is_written_to_a_disk_that_is_nearly_full_and_dropping_helps() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &[1]).unwrap();
    storage.store().condition.free_space(Some((1, 2)));
    let mut transaction = begin(&storage, "a");
    assert!(matches!(append(&mut transaction, "hosts", &rows(&[2])), Err(Error::DiskFull { .. })));
    let mut made = begin(&storage, "a");
    create(&mut made, "empty").unwrap();
    assert!(matches!(made.commit().await, Err(Error::DiskFull { .. })));
    transaction.drop_table("hosts").unwrap();
    transaction.commit().await.unwrap();
    storage.store().remove_user_garbage();
    assert_eq!(files_on_disk(storage.store()), [""; 0]);
    storage.store().condition.free_space(None);
    create_and_commit(&storage, "a", "hosts", &[1]).unwrap();
}

#[tokio::test]
async fn files_that_are_replaced_and_still_read_count_until_they_are_gone() {
    let dir = tempdir().unwrap();
    let storage = limited(dir.path(), 9, 400_000);
    let many: Vec<_> = (0..4_000_i64).map(|number| number * 7_919 % 1_000_003).collect();
    create_and_commit(&storage, "a", "hosts", &many).unwrap();
    let replace = || {
        let mut transaction = begin(&storage, "a");
        transaction.create_table("hosts", &schema(), CreateMode::Replace)?;
        append(&mut transaction, "hosts", &rows(&many))?;
        transaction.commit_blocking()
    };
    // What nobody reads is removed to make room.
    for _ in 0..40 {
        replace().unwrap();
    }
    let mut readers = Vec::new();
    let refused = (0..40).find_map(|_| {
        readers.push(storage.snapshot());
        replace().err()
    });
    assert!(matches!(fault::<()>(Err(refused.unwrap())), UserTableError::TooManyBytes { .. }));
    drop(readers);
    replace().unwrap();
}

#[tokio::test]
async fn so_many_statements_of_a_tenant_write_at_one_time_and_no_more() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for tenant in ["a", "b"] {
        create_and_commit(&storage, tenant, "hosts", &[1]).unwrap();
    }
    let transaction = begin(&storage, "a");
    let writer = || transaction.writer("hosts", &schema());
    let mut open: Vec<_> = (0..MAX_WRITERS_PER_TENANT).map(|_| writer().unwrap()).collect();
    let error = writer().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(matches!(
        fault::<()>(Err(error)),
        UserTableError::TooManyWriters { limit: MAX_WRITERS_PER_TENANT }
    ));
    append_and_commit(&storage, "b", "hosts", &[2]).unwrap();
    open.pop();
    writer().unwrap();
}
