//! Retention: what is past its policy goes from queries and from the disk, and the command line sets it beside the server.

use alula::config::Period;

use crate::fixture::otlp::{BASE_NS, log, logs};
use crate::fixture::{TestServer, alula, eventually, run};

async fn retention(server: &TestServer, arguments: &[&str]) -> crate::fixture::Output {
    let mut command = alula(["retention"]);
    command.args(arguments).arg("--data-dir").arg(server.data_dir());
    run(command).await
}

#[tokio::test]
async fn rows_past_the_policy_of_their_tenant_go_and_those_of_another_stay() {
    let server =
        TestServer::start_with(|config| config.storage.maintenance_interval = Period::milliseconds(50)).await;
    for tenant in ["acme", "other"] {
        server.client(tenant).await.send(logs("api", vec![log(BASE_NS, "old")])).await;
    }
    let set = ["set", "--tenant", "acme", "--signal", "logs", "--keep", "30d"];
    retention(&server, &set).await.expect_success();
    let shown = retention(&server, &["show"]).await;
    assert!(shown.expect_success().ends_with("acme,logs,30d\n"), "{}", shown.text());

    // The rows move into files; the first look after a start is at once.
    let server = server.restart().await;
    let acme = server.client("acme").await;
    let count = "SELECT count(*) FROM logs";
    eventually("the rows to go", async || (acme.count(count).await == 0).then_some(())).await;
    assert_eq!(server.client("other").await.count(count).await, 1);
    let files = || walk(&server.data_dir().join("data"));
    eventually("the file to go", async || (files() == 1).then_some(())).await;

    retention(&server, &["unset", "--tenant", "acme", "--signal", "logs"]).await.expect_success();
    retention(&server, &["confirm"]).await.expect_success();
    assert_eq!(retention(&server, &["show"]).await.expect_success().lines().count(), 4);
}

#[tokio::test]
async fn a_mistake_in_a_policy_is_a_usage_error() {
    let server = TestServer::start().await;
    let refused = retention(&server, &["set", "--tenant", "a", "--signal", "log", "--keep", "30d"]).await;
    refused.assert_failure(2, &["metrics, logs or traces"]);
    let refused = retention(&server, &["set", "--tenant", "../a", "--signal", "logs", "--keep", "30d"]).await;
    refused.assert_failure(2, &["invalid tenant id"]);
    let refused = retention(&server, &["set", "--tenant", "a", "--signal", "logs", "--keep", "soon"]).await;
    refused.assert_failure(2, &["a length of time"]);
}

/// Files below a directory.
fn walk(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { 1 }).sum()
}
