//! A statement that is given up in the middle: cancelled, out of time, or its client gone.

use alula_storage::CreateMode;
use arrow::datatypes::{DataType, Field, Schema};
use futures::StreamExt;
use tempfile::tempdir;

use super::*;
use crate::tests::fixture::{config, engine};
use crate::tests::ledger::Ledger;
use crate::update::target::fill;

fn schema() -> Schema {
    Schema::new(vec![Field::new("x", DataType::Int64, true)])
}

/// Polls a statement that fills `t` until it waits for rows, and drops it there.
async fn give_up(writes: &Writes, mode: Option<CreateMode>) {
    let statement = async {
        let mut turn = writes.turn().await;
        let transaction = turn.transaction().unwrap();
        if let Some(mode) = mode {
            transaction.create_table("t", &schema(), mode).unwrap();
        }
        let rows = futures::stream::pending().boxed();
        let outcome = fill(transaction, "t", mode, &schema(), rows).await;
        turn.settle(outcome).unwrap();
    };
    assert!(futures::poll!(Box::pin(statement).as_mut()).is_pending());
}

#[tokio::test]
async fn a_statement_that_is_given_up_with_half_of_its_work_done_ends_the_transaction() {
    let directory = tempdir().unwrap();
    let engine = engine(&config(directory.path()));
    let (storage, tenant) = (engine.storage(), "a".parse().unwrap());
    let backfiller = Backfiller::new(Arc::new(Ledger::default()));
    let mut before = storage.begin_user_transaction(&tenant);
    before.create_table("t", &schema(), CreateMode::New).unwrap();
    before.commit().await.unwrap();
    let table = || Arc::clone(storage.user_tables(&tenant).get("t").unwrap());
    let kept = table();

    let writes = Writes::begin(storage, &tenant);
    give_up(&writes, Some(CreateMode::Replace)).await;
    assert!(matches!(writes.turn().await.transaction(), Err(Error::LostWrites)));
    assert!(matches!(writes.commit(&tenant, &backfiller).await, Err(Error::LostWrites)));
    assert!(Arc::ptr_eq(&kept, &table()));

    // One that had changed nothing yet ends nothing.
    let writes = Writes::begin(storage, &tenant);
    give_up(&writes, None).await;
    writes.commit(&tenant, &backfiller).await.unwrap();
}
