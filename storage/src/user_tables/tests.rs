use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema};
use futures::stream;
use tempfile::tempdir;

use super::testing::{
    all_contents, append, append_and_commit, contents, contents_of, create, create_and_commit, expected,
    files_on_disk, rows, schema,
};
use super::*;
use crate::testing::{config, crash_image, entry, open};
use crate::{Config, Error, ErrorKind, Result, Storage, UserTablesConfig};

mod backups;
mod damages;
mod quotas;

fn begin(storage: &Storage, tenant: &str) -> UserTransaction {
    storage.begin_user_transaction(&tenant.parse().unwrap())
}

/// Drops a transaction, and removes what it leaves.
fn give_up(storage: &Storage, transaction: UserTransaction) {
    drop(transaction);
    storage.store().remove_user_garbage();
}

fn names(storage: &Storage, tenant: &str) -> Vec<String> {
    let tables = storage.user_tables(&tenant.parse().unwrap());
    tables.iter().map(|table| table.name().to_owned()).collect()
}

/// What went wrong with user tables.
fn fault<T>(result: Result<T>) -> UserTableError {
    match result {
        Err(Error::UserTable(error)) => error,
        Err(error) => panic!("another error: {error:?}"),
        Ok(_) => panic!("no error"),
    }
}

#[tokio::test]
async fn a_transaction_sees_its_own_changes_and_nobody_else_does_before_its_commit() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "old", &[1]).unwrap();
    let mut transaction = begin(&storage, "a");
    create(&mut transaction, "new").unwrap();
    append(&mut transaction, "new", &rows(&[1, 2])).unwrap();
    append(&mut transaction, "new", &rows(&[3])).unwrap();
    append(&mut transaction, "old", &rows(&[2])).unwrap();
    let seen = all_contents(storage.store(), transaction.tables()).unwrap();
    assert_eq!(seen, [("new".to_owned(), expected([1, 2, 3])), ("old".to_owned(), expected([1, 2]))]);
    transaction.drop_table("old").unwrap();
    assert!(transaction.tables().get("old").is_none());

    let before = storage.snapshot();
    assert_eq!(
        (names(&storage, "a"), contents(&storage, "a", "old")),
        (vec!["old".to_owned()], expected([1]))
    );
    transaction.commit().await.unwrap();
    assert_eq!(
        (names(&storage, "a"), contents(&storage, "a", "new")),
        (vec!["new".to_owned()], expected([1, 2, 3]))
    );
    // A snapshot from before keeps what it had.
    let tables = before.user_tables(&"a".parse().unwrap());
    assert_eq!(contents_of(storage.store(), tables.get("old").unwrap()).unwrap(), expected([1]));
    assert!(names(&storage, "b").is_empty());

    let table = storage.user_tables(&"a".parse().unwrap()).get("new").map(Arc::clone).unwrap();
    assert_eq!((table.num_rows(), table.schema()), (3, &schema()));
    assert!(table.size_bytes() > 0);
    drop((before, tables, table, storage));
    let storage = open(config(dir.path())).unwrap();
    assert_eq!(
        (names(&storage, "a"), contents(&storage, "a", "new")),
        (vec!["new".to_owned()], expected([1, 2, 3]))
    );
}

#[tokio::test]
async fn the_first_transaction_that_commits_wins() {
    type Change = fn(&mut UserTransaction) -> Result<()>;
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &[1]).unwrap();
    create_and_commit(&storage, "a", "teams", &[1]).unwrap();
    let losers: [(&str, Change); 4] = [
        ("hosts", |t| append(t, "hosts", &rows(&[9])).map(drop)),
        ("hosts", |t| t.drop_table("hosts")),
        ("hosts", |t| t.create_table("hosts", &schema(), CreateMode::Replace).map(drop)),
        ("fresh", |t| create(t, "fresh")),
    ];
    for (table, change) in losers {
        let mut loser = begin(&storage, "a");
        change(&mut loser).unwrap();
        append(&mut loser, "teams", &rows(&[9])).unwrap();
        let mut reader = begin(&storage, "a");
        let beside = format!("beside {}", names(&storage, "a").len());
        create(&mut reader, &beside).unwrap();
        if table == "fresh" {
            create_and_commit(&storage, "a", "fresh", &[5]).unwrap();
        } else {
            append_and_commit(&storage, "a", table, &[2]).unwrap();
        }
        let before = (names(&storage, "a"), contents(&storage, "a", table));
        let error = loser.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let error = fault::<()>(Err(error));
        assert!(matches!(&error, UserTableError::Conflict { table: named } if named == table), "{error}");
        assert_eq!(before, (names(&storage, "a"), contents(&storage, "a", table)));
        assert_eq!(contents(&storage, "a", "teams"), expected([1]), "no part of it happened");
        // It changed no table that the other one did.
        reader.commit().await.unwrap();
    }
    storage.store().remove_user_garbage();
    let live = storage.store().catalog.live_user_files().unwrap().len();
    assert_eq!(files_on_disk(storage.store()).len(), live);
}

#[tokio::test]
async fn a_transaction_that_is_given_up_leaves_no_file() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &[1]).unwrap();
    let on_disk = files_on_disk(storage.store());
    let mut transaction = begin(&storage, "a");
    append(&mut transaction, "hosts", &rows(&[2])).unwrap();
    assert!(files_on_disk(storage.store()).iter().any(|name| name.ends_with(".parquet.tmp")));
    let seen = Arc::clone(transaction.tables());
    give_up(&storage, transaction);
    // A scan of it may still be under way.
    assert_eq!(contents_of(storage.store(), seen.get("hosts").unwrap()).unwrap(), expected([1, 2]));
    drop(seen);
    storage.store().remove_user_garbage();
    assert_eq!(files_on_disk(storage.store()), on_disk);

    // Half a statement.
    let transaction = begin(&storage, "a");
    let mut writer = transaction.writer("hosts", &schema()).unwrap();
    writer.write(&rows(&[2])).unwrap();
    drop(writer);
    drop(transaction);
    storage.store().remove_user_garbage();
    assert_eq!(files_on_disk(storage.store()), on_disk);
    assert_eq!(contents(&storage, "a", "hosts"), expected([1]));
}

/// Scenario: the process dies before a COMMIT, and after one.
#[tokio::test]
async fn after_a_crash_a_transaction_is_there_if_it_was_committed_and_nothing_of_it_if_not() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &[1]).unwrap();
    let mut transaction = begin(&storage, "a");
    append(&mut transaction, "hosts", &rows(&[2])).unwrap();
    let (before, after) = (tempdir().unwrap(), tempdir().unwrap());
    crash_image(dir.path(), before.path());
    transaction.commit().await.unwrap();
    crash_image(dir.path(), after.path());
    for (image, numbers) in [(before, vec![1]), (after, vec![1, 2])] {
        let storage = open(config(image.path())).unwrap();
        assert_eq!(contents(&storage, "a", "hosts"), expected(numbers));
        assert!(files_on_disk(storage.store()).iter().all(|name| name.ends_with(".parquet")));
    }
}

/// Rows that fail on their way, and an append that does.
#[derive(Debug)]
enum Failed {
    Stream,
    Storage(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

#[tokio::test]
async fn a_statement_that_fails_changes_nothing_and_the_transaction_goes_on() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let mut transaction = begin(&storage, "a");
    create(&mut transaction, "hosts").unwrap();
    assert!(matches!(fault(create(&mut transaction, "hosts")), UserTableError::TableExists { .. }));
    assert!(!transaction.create_table("hosts", &schema(), CreateMode::IfNotExists).unwrap());
    assert!(matches!(fault(transaction.drop_table("logs")), UserTableError::NoTable { .. }));
    assert!(matches!(fault(append(&mut transaction, "teams", &rows(&[1]))), UserTableError::NoTable { .. }));
    assert!(matches!(fault(create(&mut transaction, "logs")), UserTableError::ReservedName { .. }));

    let given = schema();
    let cut = stream::iter([Ok(rows(&[1])), Ok(rows(&[2])), Err(Failed::Stream)]);
    assert!(matches!(transaction.append("hosts", &given, cut).await, Err(Failed::Stream)));
    let wrong = rows(&[3]).project(&[0]).unwrap();
    let wrong = stream::iter([Ok::<_, Failed>(rows(&[1])), Ok(wrong)]);
    let error = transaction.append("hosts", &given, wrong).await.unwrap_err();
    assert!(matches!(error, Failed::Storage(Error::WrongSchema)), "{error:?}");

    let good = stream::iter((1..20).map(|number| Ok::<_, Failed>(rows(&[number]))));
    assert_eq!(transaction.append("hosts", &given, good).await.unwrap(), 19);
    let none = stream::iter(None::<std::result::Result<_, Failed>>);
    assert_eq!(transaction.append("hosts", &given, none).await.unwrap(), 0);
    transaction.commit().await.unwrap();
    assert_eq!(contents(&storage, "a", "hosts"), expected(1..20));
}

#[tokio::test]
async fn an_append_whose_future_is_dropped_appends_nothing() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let mut transaction = begin(&storage, "a");
    create(&mut transaction, "hosts").unwrap();
    let given = schema();
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    sender.unbounded_send(Ok::<_, Error>(rows(&[1]))).unwrap();
    {
        let mut append = Box::pin(transaction.append("hosts", &given, receiver));
        assert!(futures::poll!(append.as_mut()).is_pending());
    }
    drop(sender);
    transaction.commit().await.unwrap();
    assert_eq!(contents(&storage, "a", "hosts"), expected([]));
}

/// Scenario: as many clients that stop in the middle of their rows as there are threads for what blocks.
#[test]
fn an_append_that_waits_for_rows_keeps_no_thread() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut transaction = begin(&storage, "a");
        create(&mut transaction, "hosts").unwrap();
        let (sender, receiver) = futures::channel::mpsc::unbounded();
        sender.unbounded_send(Ok::<_, Error>(rows(&[1]))).unwrap();
        let given = schema();
        let mut append = Box::pin(transaction.append("hosts", &given, receiver));
        assert!(futures::poll!(append.as_mut()).is_pending());
        let other = tokio::time::timeout(Duration::from_mins(1), tokio::task::spawn_blocking(|| ()));
        other.await.expect("the only thread is free").unwrap();
        drop(sender);
        assert_eq!(append.await.unwrap(), 1);
    });
}

#[tokio::test]
async fn the_directory_of_a_dropped_table_goes_with_its_files() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &[1]).unwrap();
    let file = storage.store().catalog.live_user_files().unwrap().remove(0);
    let directory = storage.store().layout.data_file(&file).parent().unwrap().to_owned();
    append_and_commit(&storage, "a", "hosts", &[2]).unwrap();
    storage.store().remove_user_garbage();
    assert!(directory.is_dir());
    let mut transaction = begin(&storage, "a");
    transaction.drop_table("hosts").unwrap();
    transaction.commit().await.unwrap();
    storage.store().remove_user_garbage();
    assert!(!directory.exists());
}

/// Guarantees: the bound on the files of a table, and that merging loses and doubles nothing.
#[test]
fn a_thousand_inserts_of_one_row_leave_few_files_with_all_rows() {
    let dir = crate::simulation::temporary_dir();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &[0]).unwrap();
    let mut number = 0;
    for statements in [1, 9].into_iter().cycle() {
        let mut transaction = begin(&storage, "a");
        for _ in 0..statements {
            number += 1;
            append(&mut transaction, "hosts", &rows(&[number])).unwrap();
        }
        transaction.commit_blocking().unwrap();
        let table = storage.user_tables(&"a".parse().unwrap()).get("hosts").map(Arc::clone).unwrap();
        assert!(table.num_files() <= 15, "{} files after {number} statements", table.num_files());
        assert_eq!(table.num_rows(), number as u64 + 1);
        storage.store().remove_user_garbage();
        if number >= 1_000 {
            break;
        }
    }
    assert_eq!(contents(&storage, "a", "hosts"), expected(0..=number));
    assert!(files_on_disk(storage.store()).len() <= 16);
    drop(storage);
    let storage = open(config(dir.path())).unwrap();
    assert_eq!(contents(&storage, "a", "hosts"), expected(0..=number));
}

#[tokio::test]
async fn tables_of_one_tenant_are_no_tables_of_another() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    // Telemetry has its own numbers of tenants, which are the same.
    storage.append(entry("b", "x", 1_795_262_400, 1)).await.unwrap();
    for (tenant, number) in [("a", 1), ("b", 2)] {
        create_and_commit(&storage, tenant, "hosts", &[number]).unwrap();
    }
    let mut transaction = begin(&storage, "a");
    transaction.drop_table("hosts").unwrap();
    transaction.commit().await.unwrap();
    assert!(names(&storage, "a").is_empty());
    assert_eq!(contents(&storage, "b", "hosts"), expected([2]));
    let numbers: Vec<_> = storage.store().catalog.tenants().unwrap();
    assert_eq!(numbers.len(), 2);
}

#[tokio::test]
async fn closed_storage_takes_no_transaction() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let mut written = begin(&storage, "a");
    create(&mut written, "hosts").unwrap();
    append(&mut written, "hosts", &rows(&[1])).unwrap();
    let mut late = begin(&storage, "a");
    create(&mut late, "hosts").unwrap();
    storage.close().await.unwrap();
    assert!(matches!(append(&mut late, "hosts", &rows(&[1])), Err(Error::Closed)));
    assert!(matches!(written.commit().await, Err(Error::Closed)));
    let storage = open(config(dir.path())).unwrap();
    assert!(names(&storage, "a").is_empty());
    assert_eq!(files_on_disk(storage.store()), [""; 0]);
}

#[tokio::test]
async fn a_transaction_that_changes_nothing_costs_nothing() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let mut transaction = begin(&storage, "never-seen");
    let none = stream::iter(None::<std::result::Result<_, Error>>);
    create(&mut transaction, "hosts").unwrap();
    transaction.append("hosts", &schema(), none).await.unwrap();
    transaction.drop_table("hosts").unwrap();
    transaction.commit().await.unwrap();
    begin(&storage, "never-seen").commit().await.unwrap();
    assert!(!storage.store().layout.user_tables_dir().exists());
    let other = Schema::new(vec![Field::new("x", DataType::Null, true)]);
    let refused = begin(&storage, "a").create_table("t", &other, CreateMode::New);
    assert!(matches!(fault(refused), UserTableError::ColumnType { .. }));
}
