//! Transactions: what statements in one see, and who may use it.

use alula_auth::AuthLayer;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest,
    ActionBeginTransactionResult, ActionEndSavepointRequest, ActionEndTransactionRequest, Any,
    EndTransaction, ProstMessageExt,
};
use bytes::Bytes;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::fixture::{Client, TestServer, act, as_status, fetch};

const TENANT: &str = "default";
const COUNT: &str = "SELECT count(*) AS n FROM logs";

async fn ask<M: ProstMessageExt>(
    client: Client,
    name: &str,
    request: impl ProstMessageExt,
) -> Result<M, Status> {
    let (body, _) = act(client, name, request.as_any().encode_to_vec(), &MetadataMap::new()).await?;
    Ok(Any::decode(body).unwrap().unpack().unwrap().unwrap())
}

pub(super) async fn begin(client: Client) -> Bytes {
    let begun: ActionBeginTransactionResult =
        ask(client, "BeginTransaction", ActionBeginTransactionRequest {}).await.unwrap();
    begun.transaction_id
}

async fn end(client: Client, id: &Bytes, action: EndTransaction) -> Result<(), Status> {
    let request = ActionEndTransactionRequest { transaction_id: id.clone(), action: action.into() };
    act(client, "EndTransaction", request.as_any().encode_to_vec(), &MetadataMap::new()).await.map(|_| ())
}

async fn count(mut client: Client, sql: &str, id: Option<&Bytes>) -> Result<i64, Status> {
    let info = client.execute(sql.to_owned(), id.cloned()).await.map_err(as_status)?;
    let (_, rows) = fetch(&mut client, info).await;
    Ok(rows[0].column(0).as_primitive::<Int64Type>().value(0))
}

#[tokio::test]
async fn reads_in_a_transaction_see_the_same_rows_while_ingest_flush_and_compaction_go_on() {
    let server = TestServer::start().await;
    server.append_logs(TENANT, &[(1, "a", "{}"), (2, "a", "{}")]).await;
    server.storage.flush().await.unwrap();
    server.append_logs(TENANT, &[(3, "a", "{}")]).await;
    let id = begin(server.client()).await;
    let other = server.other_server(AuthLayer::disabled()).await;
    let mut prepared = server.client().prepare(COUNT.to_owned(), Some(id.clone())).await.unwrap();
    for round in 0..4 {
        for client in [server.client(), other.clone()] {
            for sql in [
                COUNT,
                "SELECT (SELECT count(*) FROM logs) AS n",
                "WITH l AS (SELECT * FROM logs) SELECT count(*) AS n FROM l",
            ] {
                assert_eq!(count(client.clone(), sql, Some(&id)).await.unwrap(), 3, "{sql}, round {round}");
            }
        }
        let info = prepared.execute().await.unwrap();
        let (_, rows) = fetch(&mut server.client(), info).await;
        assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 3, "prepared, round {round}");
        assert_eq!(count(server.client(), COUNT, None).await.unwrap(), 3 + round, "outside of it");
        server.append_logs(TENANT, &[(4, "a", "{}")]).await;
        match round {
            1 => server.storage.flush().await.unwrap(),
            2 => drop(server.storage.compact(None, None).await.unwrap()),
            _ => {}
        }
    }
    end(server.client(), &id, EndTransaction::Commit).await.unwrap();
    assert_eq!(count(server.client(), COUNT, Some(&id)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn deletions_happen_in_transactions_of_others_too() {
    let server = TestServer::start().await;
    server.append_logs(TENANT, &[(1, "a", "{}"), (2, "b", "{}")]).await;
    let id = begin(server.client()).await;
    server
        .client()
        .execute_update("DELETE FROM logs WHERE service_name = 'a'".to_owned(), None)
        .await
        .unwrap();
    assert_eq!(count(server.client(), COUNT, Some(&id)).await.unwrap(), 1);
}

#[tokio::test]
async fn ids_that_are_forged_or_were_ended_are_not_found() {
    let server = TestServer::start().await;
    let id = begin(server.client()).await;
    let forged = Bytes::from_static(b"transaction");
    for ending in [EndTransaction::Commit, EndTransaction::Rollback] {
        assert_eq!(end(server.client(), &forged, ending).await.unwrap_err().code(), Code::NotFound);
    }
    assert_eq!(count(server.client(), COUNT, Some(&forged)).await.unwrap_err().code(), Code::NotFound);
    let unspecified = end(server.client(), &id, EndTransaction::Unspecified).await.unwrap_err();
    assert_eq!(unspecified.code(), Code::InvalidArgument);
    end(server.client(), &id, EndTransaction::Rollback).await.unwrap();
    for ending in [EndTransaction::Commit, EndTransaction::Rollback] {
        assert_eq!(end(server.client(), &id, ending).await.unwrap_err().code(), Code::NotFound);
    }
    let late = server.client().prepare(COUNT.to_owned(), Some(id)).await.map(|_| ()).unwrap_err();
    assert!(late.to_string().contains("has ended"), "{late}");
}

#[tokio::test]
async fn a_statement_of_a_transaction_that_has_ended_is_not_run() {
    let server = TestServer::start().await;
    let id = begin(server.client()).await;
    let mut client = server.client();
    let info = client.execute(COUNT.to_owned(), Some(id.clone())).await.unwrap();
    end(server.client(), &id, EndTransaction::Commit).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    assert_eq!(as_status(client.do_get(ticket).await.unwrap_err()).code(), Code::NotFound);
}

#[tokio::test]
async fn savepoints_are_begun_released_and_rolled_back_to() {
    let server = TestServer::start().await;
    let transaction_id = begin(server.client()).await;
    for action in [1, 2, 0] {
        let request =
            ActionBeginSavepointRequest { transaction_id: transaction_id.clone(), name: "s".to_owned() };
        let begun: ActionBeginSavepointResult =
            ask(server.client(), "BeginSavepoint", request).await.unwrap();
        let request = ActionEndSavepointRequest { savepoint_id: begun.savepoint_id, action };
        let ended =
            act(server.client(), "EndSavepoint", request.as_any().encode_to_vec(), &MetadataMap::new()).await;
        let expected = if action == 0 { Code::InvalidArgument } else { Code::Ok };
        assert_eq!(ended.map_or_else(|status| status.code(), |_| Code::Ok), expected);
    }
    let request = ActionEndSavepointRequest { savepoint_id: transaction_id, action: 1 };
    let ended =
        act(server.client(), "EndSavepoint", request.as_any().encode_to_vec(), &MetadataMap::new()).await;
    assert_eq!(ended.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn what_cannot_be_part_of_a_transaction_says_so() {
    let server = TestServer::start().await;
    let id = begin(server.client()).await;
    let delete = "DELETE FROM logs WHERE true".to_owned();
    let refused = as_status(server.client().execute_update(delete, Some(id)).await.unwrap_err());
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("autocommit"), "{refused}");
    let refused = server.error("BEGIN").await;
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("the transaction calls of the driver"), "{refused}");
}
