//! `alula loss`: a loss that an operator knows of stays on record, and health does not speak of it any more.

use std::fs;
use std::path::Path;

use http::Method;
use serde_json::Value;
use tonic::body::Body;

use crate::fixture::http::Version;
use crate::fixture::{Output, Process, alula, eventually, run};
use crate::verify::{data_files, stopped};

const QUICK: [&str; 2] = ["--maintenance-interval", "50ms"];

async fn loss(data_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = alula(["loss"]);
    command.args(arguments).arg("--data-dir").arg(data_dir);
    run(command).await
}

async fn health(server: &Process) -> Value {
    let mut http = server.http(Version::Http1, "acme").await;
    let answer = http.request(Method::GET, "/health", &[], Body::empty()).await.unwrap();
    assert_eq!(answer.status, 200);
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_loss_degrades_health_until_an_operator_acknowledges_it_and_stays_on_record() {
    let directory = stopped().await;
    let files = data_files(&directory.path().join("data/data"));
    fs::remove_file(&files[0]).unwrap();
    let server = Process::start_in(directory, &QUICK).await;
    let data_dir = server.data_dir();
    let (acme, other) = (server.client("acme").await, server.client("other").await);
    let said = health(&server).await;
    assert_eq!(said["status"], "degraded");
    let reason = said["reason"].as_str().unwrap();
    assert!(reason.contains("1 loss ") && reason.contains("`alula loss acknowledge`"), "{reason}");
    let listed = "SELECT signal, num_rows, acknowledged_at IS NULL AS open FROM system.data_loss";
    acme.assert_rows(listed, "signal | num_rows | open\nlogs | 2 | true").await;

    loss(&data_dir, &["acknowledge", "7"]).await.assert_failure(2, &["no loss 7", "`alula loss list`"]);
    let printed = loss(&data_dir, &["list"]).await;
    let (header, row) = printed.expect_success().trim_end().split_once('\n').unwrap();
    assert!(header.starts_with("id,timestamp,acknowledged_at,note,tenant_id,signal,num_rows,"), "{header}");
    assert!(row.starts_with("1,") && row.contains("Z,,,acme,logs,2,"), "{row}");
    let acknowledged = loss(&data_dir, &["acknowledge", "1", "--note", "ticket 12"]).await;
    assert_eq!(acknowledged.expect_success(), "");
    assert_eq!(acknowledged.stderr, "acknowledged 1 loss; none is left\n");

    let is_ok = async || (health(&server).await["status"] == "ok").then_some(());
    eventually("health to be ok", is_ok).await;
    acme.assert_rows(listed, "signal | num_rows | open\nlogs | 2 | false").await;
    assert_eq!(other.count("SELECT count(*) FROM system.data_loss").await, 0);
    assert!(server.log().contains("losses were acknowledged"), "{}", server.log());

    // The next start finds the file missing again, and that an operator knows of it.
    let mut server = server;
    server.terminate();
    assert!(server.exited().await.success(), "{}", server.log());
    let server = server.start_again(&QUICK).await;
    assert_eq!(health(&server).await["status"], "ok");
    let printed = loss(&server.data_dir(), &["list"]).await;
    assert!(printed.expect_success().contains(",ticket 12,acme,"), "{}", printed.text());
}

/// Scenario: the server is stopped, and losses are acknowledged before its next start.
#[tokio::test]
async fn losses_are_acknowledged_without_a_server_too() {
    let directory = stopped().await;
    let files = data_files(&directory.path().join("data/data"));
    fs::remove_file(&files[1]).unwrap();
    let mut server = Process::start_in(directory, &[]).await;
    server.terminate();
    assert!(server.exited().await.success(), "{}", server.log());
    let all = loss(&server.data_dir(), &["acknowledge", "--all"]).await;
    assert_eq!((all.code, all.stderr.as_str()), (Some(0), "acknowledged 1 loss; none is left\n"));
    let again = loss(&server.data_dir(), &["acknowledge", "--all"]).await;
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), "nothing to acknowledge; none is left\n"));
    let server = server.start_again(&[]).await;
    assert_eq!(health(&server).await["status"], "ok");
}
