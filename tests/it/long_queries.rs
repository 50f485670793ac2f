//! Who sees, cancels and polls the queries of whom.

use std::future::ready;

use alula_auth::Role;
use arrow::array::AsArray as _;
use arrow_flight::{CancelFlightInfoRequest, FlightDescriptor, FlightInfo, PollInfo};
use futures::TryStreamExt as _;
use prost::Message as _;
use tonic::{Code, Status};

use crate::fixture::otlp::{BASE_NS, log, logs};
use crate::fixture::{Client, TestServer, descriptor, eventually, statement, ticket};

/// A join of a thousand million rows, none of which passes.
const ENDLESS: &str = "SELECT count(*) FROM logs a CROSS JOIN logs b CROSS JOIN logs c
    WHERE a.ingest_seq + b.ingest_seq * c.ingest_seq % 7 = 8";

async fn send(client: &Client) {
    let records = (0..1_000).map(|number| log(BASE_NS + number, "a record"));
    client.send(logs("shop", records.collect())).await;
}

async fn client(server: &TestServer, tenant: &str, subject: &str, role: Role) -> Client {
    server.client_with(&server.token(tenant, subject, role)).await
}

async fn cancel(client: &Client, info: &FlightInfo) -> Result<(), Status> {
    let request = CancelFlightInfoRequest { info: Some(info.clone()) };
    client.action("CancelFlightInfo", request.encode_to_vec()).await.map(|_| ())
}

async fn poll(client: &Client, descriptor: FlightDescriptor) -> Result<PollInfo, Status> {
    Ok(client.flight().poll_flight_info(client.request(descriptor)).await?.into_inner())
}

/// The statements that a caller sees, of those that do not end.
async fn endless(client: &Client) -> usize {
    let sql = "SELECT subject FROM system.queries WHERE sql LIKE '%CROSS JOIN logs c%' AND state = 'running'";
    client.rows(sql).await.num_rows()
}

#[tokio::test]
async fn queries_are_seen_and_cancelled_by_their_caller_and_the_tenants_administrators_alone() {
    let server = TestServer::start().await;
    send(&server.client("acme").await).await;
    let ann = client(&server, "acme", "ann", Role::Read).await;
    let bob = client(&server, "acme", "bob", Role::Read).await;
    let ops = client(&server, "acme", "ops", Role::Admin).await;
    let stranger = client(&server, "other", "ann", Role::Admin).await;

    for by_id in [false, true] {
        let info = ann.flight_info(statement(ENDLESS)).await.unwrap();
        let mut rows = ann.flight().do_get(ann.request(ticket(&info))).await.unwrap().into_inner();
        rows.message().await.unwrap().unwrap();
        eventually("it is listed as running", async || (endless(&ann).await == 1).then_some(())).await;
        assert_eq!((endless(&ops).await, endless(&bob).await, endless(&stranger).await), (1, 0, 0));

        let known =
            if by_id { FlightInfo::new().with_app_metadata(info.app_metadata.clone()) } else { info.clone() };
        for foreign in [&bob, &stranger] {
            let refused = cancel(foreign, &known).await.unwrap_err();
            assert_eq!(refused.code(), Code::NotFound, "{refused}");
        }
        assert_eq!(endless(&ann).await, 1);
        cancel(&ops, &known).await.unwrap();
        // Empty batches may have come meanwhile.
        let ended = rows.try_for_each(|_| ready(Ok(()))).await.unwrap_err();
        assert_eq!(ended.code(), Code::Cancelled, "{ended}");
        assert_eq!(ann.do_get(ticket(&info)).await.unwrap_err().code(), Code::NotFound);
    }
    let owners = ops.rows("SELECT DISTINCT tenant_id FROM system.queries").await;
    assert_eq!(owners.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("acme")]);
}

#[tokio::test]
async fn a_polled_statement_is_its_callers_alone() {
    let server = TestServer::start().await;
    send(&server.client("acme").await).await;
    let ann = client(&server, "acme", "ann", Role::Read).await;
    let bob = client(&server, "acme", "bob", Role::Admin).await;
    let stranger = client(&server, "other", "ann", Role::Admin).await;

    let running = poll(&ann, descriptor(&statement(ENDLESS))).await.unwrap();
    let next = running.flight_descriptor.unwrap();
    for foreign in [&bob, &stranger] {
        assert_eq!(poll(foreign, next.clone()).await.unwrap_err().code(), Code::NotFound);
    }
    assert_eq!(cancel(&stranger, &running.info.clone().unwrap()).await.unwrap_err().code(), Code::NotFound);
    cancel(&ann, &running.info.unwrap()).await.unwrap();
    assert_eq!(poll(&ann, next).await.unwrap_err().code(), Code::NotFound);

    let mut finished = poll(&ann, descriptor(&statement("SELECT body FROM logs"))).await.unwrap();
    while let Some(next) = finished.flight_descriptor.take() {
        finished = poll(&ann, next).await.unwrap();
    }
    let info = finished.info.unwrap();
    for foreign in [&bob, &stranger] {
        assert_eq!(foreign.do_get(ticket(&info)).await.unwrap_err().code(), Code::NotFound);
    }
    assert_eq!(ann.fetch(&info).await.unwrap().rows().num_rows(), 1_000);
}
