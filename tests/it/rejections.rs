//! `system.ingest_rejections`: what was refused, told to whoever sent it and to nobody else.

use alula::config::Size;
use alula_auth::Role;
use tonic::Code;

use crate::fixture::otlp::{BASE_NS, attributes, log, logs, span, text, traces};
use crate::fixture::{TestServer, frame};

const EXPORT_LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

#[tokio::test]
async fn rejected_records_are_listed_at_once_for_their_tenant_and_after_a_restart() {
    let server = TestServer::start().await;
    let (acme, other) = (server.client("acme").await, server.client("other").await);
    let spans = (1..=10).map(|number| {
        let mut span = span(1, number, &format!("span {number}"), BASE_NS, 5);
        span.attributes = attributes([("http.route", text("/cart"))]);
        if number % 3 == 0 {
            span.span_id = vec![number; 3];
        }
        span
    });
    let rejected = acme.export(traces("shop", spans.collect())).await.unwrap();
    assert_eq!(rejected.count, 3);
    assert_eq!(acme.count("SELECT count(*) FROM traces").await, 7);

    let listed = "SELECT tenant_id, signal, reason, count, requests, sample FROM system.ingest_rejections";
    let expected = "\
        tenant_id | signal | reason | count | requests | sample
        acme | traces | span_id must be 8 bytes and not all zero | 3 | 1 | \
        {\"service_name\":\"shop\",\"name\":\"span 3\",\"trace_id\":\"01010101010101010101010101010101\",\
        \"span_id\":\"030303\",\"start_time_unix_nano\":1735689600000000000,\
        \"end_time_unix_nano\":1735689600000000005,\"attributes\":{\"http.route\":\"/cart\"}}";
    acme.assert_rows(listed, expected).await;
    let recent = "SELECT count(*) FROM system.ingest_rejections \
                  WHERE timestamp > now() - INTERVAL '10 minutes' AND last_timestamp >= timestamp";
    assert_eq!(acme.count(recent).await, 1);
    let count = "SELECT count(*) FROM system.ingest_rejections";
    assert_eq!(other.count(count).await, 0);
    assert_eq!(
        other.count("SELECT count(*) FROM system.ingest_rejections WHERE tenant_id = 'acme'").await,
        0
    );
    assert_eq!(
        other.count("SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM system.ingest_rejections").await,
        0
    );

    let server = server.restart().await;
    server.client("acme").await.assert_rows(listed, expected).await;
    assert_eq!(server.client("other").await.count(count).await, 0);
}

#[tokio::test]
async fn requests_that_are_refused_as_a_whole_are_listed_without_a_count() {
    let server = TestServer::start_with(|config| config.ingest.max_message_bytes = Size::mebibytes(1)).await;
    let client = server.client("acme").await;
    let answer = client.post_raw(EXPORT_LOGS, &[], frame(false, b"garbage")).await;
    assert_eq!(answer.status.code(), Code::InvalidArgument, "{}", answer.status);
    let large = client.export(logs("api", vec![log(BASE_NS, &"x".repeat(2 << 20))])).await.unwrap_err();
    assert_eq!(large.code(), Code::ResourceExhausted, "{large}");
    client
        .assert_rows(
            "SELECT signal, count, requests, sample IS NULL AS bare FROM system.ingest_rejections \
             WHERE reason LIKE 'the request is not a valid ExportLogsServiceRequest%' \
             OR reason LIKE 'the request is larger than 1048576 bytes%ingest.max_message_bytes' ORDER BY bare",
            "signal | count | requests | bare
             logs | 0 | 1 | false
             logs | 0 | 1 | true",
        )
        .await;
}

#[tokio::test]
async fn without_authentication_they_are_those_of_the_default_tenant() {
    let server = TestServer::start_with(|config| config.server.no_auth = true).await;
    let client = server.anonymous().await;
    assert_eq!(client.export(logs("api", vec![log(u64::MAX, "late")])).await.unwrap().count, 1);
    client
        .assert_rows(
            "SELECT DISTINCT tenant_id FROM system.ingest_rejections WHERE sample LIKE '%\"late\"%'",
            "tenant_id
             default",
        )
        .await;
}

#[tokio::test]
async fn the_table_is_read_only() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    client.assert_error("DROP TABLE system.ingest_rejections", Code::InvalidArgument, "read-only").await;
    let admin = server.client_with(&server.token("acme", "ops", Role::Admin)).await;
    let delete = "DELETE FROM system.ingest_rejections WHERE true";
    admin.assert_error(delete, Code::InvalidArgument, "not from system.ingest_rejections").await;
    let unknown = "the tables are: system.ingest_rejections, ";
    client.assert_error("SELECT * FROM system.ingest_rejection", Code::NotFound, unknown).await;
}
