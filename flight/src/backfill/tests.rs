//! Rows for telemetry on their way to what the server brings for them, in a transaction and outside of one.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow_flight::sql::{
    CommandStatementIngest, EndTransaction, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use tonic::{Code, Status};

use super::*;
use crate::tests::fixture::{TestServer, as_status};
use crate::tests::ledger::{Ledger, MALFORMED, UNFIT, UNLUCKY};
use crate::tests::tables::{begin, end};

fn numbers(numbers: &[i64]) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn command(table: &str, if_there: TableExistsOption) -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create.into(),
            if_exists: if_there.into(),
        }),
        table: table.to_owned(),
        ..CommandStatementIngest::default()
    }
}

async fn send(
    server: &TestServer,
    command: CommandStatementIngest,
    batches: &[&[i64]],
) -> Result<i64, Status> {
    let batches: Vec<_> = batches.iter().map(|batch| Ok(numbers(batch))).collect();
    let sent = server.client().execute_ingest(command, futures::stream::iter(batches)).await;
    sent.map_err(as_status)
}

async fn append(server: &TestServer, transaction: Option<&Bytes>, batches: &[&[i64]]) -> Result<i64, Status> {
    let command = CommandStatementIngest {
        transaction_id: transaction.cloned(),
        ..command("logs", TableExistsOption::Append)
    };
    send(server, command, batches).await
}

fn assert_refused<T: fmt::Debug>(outcome: Result<T, Status>, code: Code, message: &str) {
    let status = outcome.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, message));
}

#[tokio::test]
async fn rows_go_to_the_table_of_their_tenant_and_are_counted() {
    let server = TestServer::start().await;
    for signal in Signal::ALL {
        let command = command(signal.table_name(), TableExistsOption::Append);
        assert_eq!(send(&server, command, &[&[1, 2], &[3]]).await.unwrap(), 3);
    }
    let stored = server.ledger.stored();
    assert!(stored.iter().all(|(tenant, _, _)| tenant.as_str() == "default"), "{stored:?}");
    let signals: Vec<_> = stored.iter().map(|(_, signal, _)| *signal).collect();
    assert_eq!(signals, Signal::ALL.map(|signal| [signal; 2]).concat());
    assert_eq!(server.ledger.numbers()[..2], [(0, vec![1, 2]), (2, vec![3])]);
}

#[tokio::test]
async fn telemetry_is_appended_to_and_nothing_else() {
    let server = TestServer::start().await;
    let create = send(&server, command("traces", TableExistsOption::Fail), &[&[1]]).await;
    assert_eq!(create.unwrap_err().code(), Code::AlreadyExists);
    let replace = send(&server, command("traces", TableExistsOption::Replace), &[&[1]]).await;
    assert_refused(
        replace,
        Code::Unimplemented,
        "traces cannot be replaced: append to it, and delete what is to go with DELETE FROM traces WHERE ... (an \
         administrator may)",
    );
    let other_case = send(&server, command("Traces", TableExistsOption::Append), &[&[1]]).await;
    assert_eq!(other_case.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(server.ledger.stored(), []);
}

#[tokio::test]
async fn a_stream_that_fails_says_how_many_rows_came_before() {
    let server = TestServer::start().await;
    let malformed = append(&server, None, &[&[1, MALFORMED]]).await;
    assert_refused(malformed, Code::InvalidArgument, "a row is malformed");
    let unfit = append(&server, None, &[&[1, 2], &[3], &[UNFIT]]).await;
    let message = "the first 3 rows are stored, and the others are not: a row is unfit";
    assert_refused(unfit, Code::InvalidArgument, message);
    let unlucky = append(&server, None, &[&[4], &[UNLUCKY]]).await;
    let message = "the first 1 rows are stored, and the others are not: there is no room";
    assert_refused(unlucky, Code::Unavailable, message);
    assert_eq!(server.ledger.numbers(), [(0, vec![1, 2]), (2, vec![3]), (0, vec![4])]);
}

#[tokio::test]
async fn rows_of_a_transaction_are_stored_when_it_is_committed_and_not_before() {
    let server = TestServer::start().await;
    let transaction = begin(&server).await;
    assert_eq!(append(&server, Some(&transaction), &[&[1, 2], &[3]]).await.unwrap(), 3);
    let unfit = append(&server, Some(&transaction), &[&[4], &[UNFIT]]).await;
    assert_refused(unfit, Code::InvalidArgument, "a row is unfit");
    assert_eq!(append(&server, Some(&transaction), &[&[1, 2]]).await.unwrap(), 2);
    assert_eq!(server.ledger.stored(), []);
    end(&server, &transaction, EndTransaction::Commit).await.unwrap();
    // The second statement is not a repetition of the first.
    assert_eq!(server.ledger.numbers(), [(0, vec![1, 2]), (2, vec![3]), (3, vec![1, 2])]);
}

#[tokio::test]
async fn rows_of_a_transaction_that_is_rolled_back_are_gone() {
    let server = TestServer::start().await;
    let transaction = begin(&server).await;
    append(&server, Some(&transaction), &[&[1]]).await.unwrap();
    end(&server, &transaction, EndTransaction::Rollback).await.unwrap();
    assert_eq!(server.ledger.stored(), []);
    assert_eq!(append(&server, Some(&transaction), &[&[1]]).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_commit_that_fails_says_how_many_rows_are_stored() {
    let server = TestServer::start().await;
    let transaction = begin(&server).await;
    append(&server, Some(&transaction), &[&[1], &[UNLUCKY], &[2]]).await.unwrap();
    let failed = end(&server, &transaction, EndTransaction::Commit).await;
    let message = "the first 1 rows are stored, and the others are not: there is no room";
    assert_refused(failed, Code::Unavailable, message);
    assert_eq!(server.ledger.numbers(), [(0, vec![1])]);
}

#[tokio::test]
async fn what_a_transaction_keeps_is_bounded_and_given_back() {
    const MIB: i64 = 1 << 20;
    let backfiller = Backfiller::new(Arc::new(Ledger::default()));
    let tenant = TenantId::unauthenticated();
    let mut transactions: Vec<KeptRows> = Vec::new();
    transactions.resize_with(5, KeptRows::default);
    let keep = async |kept: &mut KeptRows, mib: &[i64]| {
        let batches: Vec<_> = mib.iter().map(|mib| Ok(numbers(&[mib * MIB]))).collect();
        let schema = numbers(&[]).schema();
        let rows = Box::pin(futures::stream::iter(batches));
        backfiller.keep(&tenant, Signal::Logs, schema, rows, kept).await
    };
    for kept in &mut transactions[..4] {
        assert_eq!(keep(kept, &[40, 20]).await.unwrap(), 2);
        let refused = keep(kept, &[4, 1]).await.unwrap_err();
        assert!(matches!(refused, Error::TooManyKeptRows { limit: MAX_KEPT_BYTES }), "{refused}");
        assert_eq!(keep(kept, &[4]).await.unwrap(), 1, "the statement that was refused left nothing");
    }
    let refused = keep(&mut transactions[4], &[1]).await.unwrap_err();
    assert!(matches!(refused, Error::TooManyKeptRows { limit: MAX_KEPT_BYTES_IN_ALL }), "{refused}");
    transactions.swap_remove(0);
    assert_eq!(keep(&mut transactions[0], &[64]).await.unwrap(), 1);
}
