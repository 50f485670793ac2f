//! `DELETE` and `VACUUM`: who may, what goes, and that nothing of anybody else does.

use std::path::Path;

use alula_auth::{Role, Roles};
use arrow_flight::FlightData;
use arrow_flight::sql::{CommandGetSqlInfo, CommandStatementUpdate, DoPutUpdateResult};
use futures::TryStreamExt as _;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use tonic::{Code, Status};

use crate::fixture::otlp::{
    BASE_NS, SECOND_NS, attributes, gauge, int_point, log, logs, metrics, span, text, traces,
};
use crate::fixture::{Client, TestServer, alula, descriptor, eventually, run};

const DELETE: &str = "DELETE FROM logs WHERE attributes->>'user.id' = 'u1'";
/// In the bodies of the records that are deleted.
const ERASED: &str = "to-be-erased-7c1e";

/// Six records, of the users `u0` to `u2` twice each.
async fn send(client: &Client, tenant: &str) {
    let record = |number: u64| {
        let user = format!("u{}", number % 3);
        let body = if user == "u1" { format!("{ERASED} {tenant}") } else { format!("kept {tenant}") };
        let attributes = attributes([("user.id", text(&user)), ("n", text(&number.to_string()))]);
        LogRecord { attributes, ..log(BASE_NS + number * 3600 * SECOND_NS, &body) }
    };
    client.send(logs("shop", (0..6).map(record).collect())).await;
    client.send(traces("shop", vec![span(1, 1, "GET /", BASE_NS, 5)])).await;
    client.send(metrics("shop", vec![gauge("cpu", vec![int_point(BASE_NS, 7)])])).await;
}

async fn admin(server: &TestServer, tenant: &str) -> Client {
    server.client_with(&server.token(tenant, "ops", Role::Admin)).await
}

/// `CommandStatementUpdate`, as drivers send it.
async fn update(client: &Client, sql: &str) -> Result<i64, Status> {
    let command = CommandStatementUpdate { query: sql.to_owned(), transaction_id: None };
    let message = FlightData { flight_descriptor: Some(descriptor(&command)), ..FlightData::default() };
    let request = client.request(futures::stream::iter([message]));
    let results: Vec<_> = client.flight().do_put(request).await?.into_inner().try_collect().await?;
    assert_eq!(results.len(), 1);
    Ok(DoPutUpdateResult::decode(results[0].app_metadata.as_ref()).unwrap().record_count)
}

#[tokio::test]
async fn an_administrator_deletes_rows_of_the_own_tenant_and_of_no_other() {
    let server = TestServer::start().await;
    let (acme, other) = (server.client("acme").await, server.client("other").await);
    send(&acme, "acme").await;
    send(&other, "other").await;
    assert_eq!(update(&admin(&server, "acme").await, DELETE).await.unwrap(), 2);
    let count = "SELECT count(*) FROM logs";
    let of_user = "SELECT count(*) FROM logs WHERE attributes->>'user.id' = 'u1'";
    for (client, all, deleted) in [(&acme, 4, 0), (&other, 6, 2)] {
        assert_eq!(client.count(count).await, all);
        assert_eq!(client.count(of_user).await, deleted);
        assert_eq!(client.count("SELECT count(*) FROM (SELECT body FROM logs LIMIT 100)").await, all);
        assert_eq!(client.count("SELECT count(*) FROM traces").await, 1);
        assert_eq!(client.count("SELECT count(*) FROM metrics").await, 1);
    }
    acme.assert_rows(
        "SELECT id, tenant_id, signal, predicate, num_rows, requested_by, completed FROM system.deletions",
        "id | tenant_id | signal | predicate | num_rows | requested_by | completed
         1 | acme | logs | attributes ->> 'user.id' = 'u1' | 2 | ops | NULL",
    )
    .await;
    assert_eq!(other.count("SELECT count(*) FROM system.deletions").await, 0);

    let all = "DELETE FROM logs WHERE tenant_id = 'other' OR tenant_id <> 'other' OR true";
    assert_eq!(update(&admin(&server, "acme").await, all).await.unwrap(), 4);
    assert_eq!((acme.count(count).await, other.count(count).await), (0, 6));
    let server = server.restart().await;
    let (acme, other) = (server.client("acme").await, server.client("other").await);
    assert_eq!((acme.count(count).await, other.count(count).await), (0, 6));
}

/// Whatever the condition does, its answer is the same whether another tenant has rows or not.
#[tokio::test]
async fn no_count_and_no_error_depends_on_rows_of_another_tenant() {
    let answers = async |with_other: bool| {
        let server = TestServer::start().await;
        send(&server.client("acme").await, "acme").await;
        if with_other {
            let other = server.client("other").await;
            send(&other, "other").await;
            let records = ["100", "not a number"].map(|body| log(BASE_NS, body)).to_vec();
            other.send(logs("shop", records)).await;
        }
        let admin = admin(&server, "acme").await;
        let mut answers = Vec::new();
        for condition in [
            "1 / (octet_length(body) - octet_length('not a number')) > 5",
            "CAST(CASE WHEN body = 'not a number' THEN 'x' ELSE '1' END AS BIGINT) = 0",
            "body = '100' OR tenant_id = 'other'",
            "CAST(attributes->>'n' AS BIGINT) >= 4",
            "ingest_seq < 1000",
        ] {
            let answer = update(&admin, &format!("DELETE FROM logs WHERE {condition}")).await;
            answers.push(answer.map_err(|status| (status.code(), status.message().to_owned())));
        }
        answers
    };
    let alone = answers(false).await;
    assert_eq!(alone, answers(true).await);
    assert_eq!(alone, [Ok(0), Ok(0), Ok(0), Ok(2), Ok(4)]);
}

#[tokio::test]
async fn only_an_administrator_may_delete_however_the_statement_is_sent() {
    let server = TestServer::start().await;
    let acme = server.client("acme").await;
    send(&acme, "acme").await;
    let roles = |roles: &[Role]| roles.iter().copied().collect::<Roles>();
    for roles in [roles(&[Role::Read]), roles(&[Role::Read, Role::Write])] {
        let client = server.client_with(&server.token("acme", "reader", roles)).await;
        for (sql, part) in [
            (DELETE, "DELETE needs the role admin"),
            ("DELETE FROM logs", "DELETE needs the role admin"),
            ("DELETE FROM nosuch WHERE nosuch()", "DELETE needs the role admin"),
            ("VACUUM", "VACUUM needs the role admin"),
        ] {
            for status in [
                update(&client, sql).await.unwrap_err(),
                client.error(sql).await,
                client.prepare(sql).await.map(|_| ()).unwrap_err(),
            ] {
                assert_eq!(status.code(), Code::PermissionDenied, "{sql}: {status}");
                assert!(status.message().contains(part), "{sql}: {status}");
            }
        }
    }
    let writer = server.client_with(&server.token("acme", "writer", Role::Write)).await;
    assert_eq!(update(&writer, DELETE).await.unwrap_err().code(), Code::PermissionDenied);
    let handle = admin(&server, "acme").await.prepare(DELETE).await.unwrap().handle;
    let status = acme.run(crate::fixture::prepared(&handle)).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "the handle of an administrator is good for nobody else");
    assert_eq!(acme.count("SELECT count(*) FROM logs").await, 6);
}

#[tokio::test]
async fn what_the_server_says_of_itself_depends_on_what_the_caller_may() {
    let server = TestServer::start().await;
    for (role, expected) in [(Role::Read, "true"), (Role::Admin, "false")] {
        let client = server.client_with(&server.token("acme", "x", role)).await;
        let answer = client.run(CommandGetSqlInfo { info: vec![3] }).await.unwrap().table();
        assert!(answer.contains(expected), "{answer}");
    }
}

/// Every file below a directory that has the text.
fn files_with(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(text.len()).any(|window| window == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn after_a_vacuum_no_byte_of_deleted_rows_is_left_in_the_data_directory() {
    let server = TestServer::start().await;
    let acme = server.client("acme").await;
    send(&acme, "acme").await;
    let server = server.restart().await;
    let (acme, admin) = (server.client("acme").await, admin(&server, "acme").await);
    send(&acme, "acme too").await;
    assert!(
        !files_with(&server.data_dir(), ERASED).is_empty(),
        "the second half is in the log, not compressed"
    );

    assert_eq!(update(&admin, DELETE).await.unwrap(), 4);
    // The requests are told apart by their bytes, so a repetition is not stored again.
    send(&acme, "acme too").await;
    assert_eq!(acme.count("SELECT count(*) FROM logs").await, 8);
    assert_eq!(update(&admin, "VACUUM logs").await.unwrap(), 4);
    assert_eq!(acme.count("SELECT count(*) FROM logs").await, 8);
    assert_eq!(acme.count("SELECT count(*) FROM system.deletions WHERE completed IS NOT NULL").await, 1);
    assert_eq!(update(&admin, "VACUUM").await.unwrap(), 0);

    let data_dir = server.data_dir();
    let plain = async || {
        // Files that were replaced go when nothing reads them any more.
        let rows: usize = parquet_bodies(&data_dir).iter().filter(|body| body.contains(ERASED)).count();
        (rows == 0).then_some(())
    };
    eventually("the replaced files to be removed", plain).await;
    assert_eq!(files_with(&server.data_dir(), ERASED), Vec::<String>::new());
    let kept = parquet_bodies(&server.data_dir());
    assert_eq!(kept.len(), 8);
}

/// The bodies in all Parquet files of log records.
fn parquet_bodies(data_dir: &Path) -> Vec<String> {
    use arrow::array::AsArray as _;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let mut bodies = Vec::new();
    let mut directories = vec![data_dir.join("data/logs")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if let Ok(file) = std::fs::File::open(&path) {
                let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
                for batch in reader.map(Result::unwrap) {
                    let column = batch.column_by_name("body").unwrap();
                    bodies.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
                }
            }
        }
    }
    bodies
}

#[tokio::test]
async fn the_command_line_prints_how_many_rows_were_deleted() {
    let server = TestServer::start().await;
    send(&server.client("acme").await, "acme").await;
    let sql = |role: Role, arguments: &[&str]| {
        let token = server.token("acme", "cli", role);
        let mut command = alula(["sql", "--url", &server.url(), "--token", &token]);
        command.args(arguments);
        run(command)
    };
    let denied = sql(Role::Read, &[DELETE]).await;
    denied.assert_failure(4, &["DELETE needs the role admin"]);
    let output = sql(Role::Admin, &[DELETE]).await;
    assert_eq!((output.expect_success(), output.stderr.as_str()), ("num_rows\n2\n", ""));
    let output = sql(Role::Admin, &["--format", "jsonl", DELETE]).await;
    assert_eq!(output.expect_success(), "{\"num_rows\":0}\n");
    assert_eq!(sql(Role::Admin, &["VACUUM"]).await.expect_success(), "num_rows\n2\n");
    assert_eq!(sql(Role::Read, &["SELECT count(*) AS n FROM logs"]).await.expect_success(), "n\n4\n");
}
