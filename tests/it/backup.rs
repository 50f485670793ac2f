//! Backup and restore by the command line, of a server in a process of its own.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::otlp::{BASE_NS, SECOND_NS, log, logs};
use crate::fixture::{Client, Output, Process, alula, run, signal};

const BODIES: &str = "SELECT body FROM logs ORDER BY timestamp";

async fn backup(server: &Process, to: &str, more: &[&str]) -> Output {
    let mut command = alula(["backup", "--to", to, "--data-dir"]);
    command.arg(server.data_dir()).args(more);
    run(command).await
}

async fn restore(from: &str, data_dir: &Path, more: &[&str]) -> Output {
    let mut command = alula(["restore", "--from", from, "--data-dir"]);
    command.arg(data_dir).args(more);
    run(command).await
}

fn report(output: &Output) -> Value {
    let text = output.expect_success();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(text).unwrap()
}

async fn send(client: &Client, number: u64) {
    client.send(logs("api", vec![log(BASE_NS + number * SECOND_NS, &format!("record {number}"))])).await;
}

/// A server over a directory that was restored as `data` in `directory`.
async fn serve_restored(directory: TempDir) -> Process {
    Process::start_in(directory, &["--flush-interval", "1h"]).await
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .flat_map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

#[tokio::test]
async fn a_backup_of_a_running_server_becomes_a_server_with_the_same_rows_and_tokens() {
    let server = Process::start(&["--flush-interval", "1h"]).await;
    let authorization = server.authorization("acme");
    let client = Client::connect(server.addr(), Some(authorization.clone())).await;
    send(&client, 0).await;
    // The first server ends in order, which moves its rows into files.
    server.terminate();
    let mut server = server;
    assert!(server.exited().await.success());
    let server = server.start_again(&["--flush-interval", "1h"]).await;
    let client = Client::connect(server.addr(), Some(authorization.clone())).await;
    send(&client, 1).await;

    let place = TempDir::new().unwrap();
    let url = format!("file://{}", place.path().join("backups").display());
    let first = report(&backup(&server, &url, &["--format", "json"]).await);
    assert_eq!((&first["data_files"], &first["new_data_files"]), (&1.into(), &1.into()));
    send(&client, 2).await;
    let second = backup(&server, place.path().join("backups").to_str().unwrap(), &[]).await;
    assert!(second.expect_success().contains(": 1 data files (0 new), "), "{}", second.text());
    assert_eq!(second.text().lines().count(), 1);

    for (snapshot, expected) in [(first["snapshot"].as_str(), 2), (None, 3)] {
        let directory = TempDir::new().unwrap();
        let data_dir = directory.path().join("data");
        let mut more = vec!["--format", "json"];
        more.extend(snapshot.iter().flat_map(|name| ["--snapshot", name]));
        let restored = restore(&url, &data_dir, &more).await;
        assert_eq!(report(&restored)["rows_in_files"], 1);
        assert!(restored.stderr.contains("tokens made for that one"), "{}", restored.stderr);
        let other = serve_restored(directory).await;
        let client = Client::connect(other.addr(), Some(authorization.clone())).await;
        assert_eq!(client.rows(BODIES).await.num_rows(), expected);
    }
    // It was not disturbed.
    assert_eq!(client.rows(BODIES).await.num_rows(), 3);
}

#[tokio::test]
async fn mistakes_are_told_with_what_to_do_and_change_nothing() {
    let place = TempDir::new().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    run(alula(["backup", "--to", &path("backups"), "--data-dir", &path("nothing")]))
        .await
        .assert_failure(2, &["holds no store", "hint: --data-dir"]);
    run(alula(["backup", "--to", "ftp://host/path"])).await.assert_failure(2, &["s3://bucket/path"]);
    run(alula(["backup", "--keep", "0", "--to", "x"])).await.assert_failure(2, &["--keep"]);
    run(alula(["restore", "--from", &path("backups")])).await.assert_failure(2, &["--data-dir"]);
    restore(&path("backups"), &place.path().join("restored"), &[])
        .await
        .assert_failure(1, &["holds no backup"]);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);

    let server = Process::start(&[]).await;
    send(&server.client("acme").await, 0).await;
    backup(&server, &path("backups"), &[]).await.expect_success();
    restore(&path("backups"), &server.data_dir(), &[]).await.assert_failure(2, &["is not empty", "hint: "]);
    restore(&path("backups"), &place.path().join("restored"), &["--snapshot", "20250101T000000.000Z"])
        .await
        .assert_failure(2, &["has no snapshot"]);
    let inside = server.data_dir().join("backups");
    backup(&server, inside.to_str().unwrap(), &[]).await.assert_failure(2, &["inside the data directory"]);

    // A damaged file is named, and what was restored by then is no store.
    let files = files_below(&place.path().join("backups"));
    let segment =
        files.iter().find(|path| path.extension().is_some_and(|extension| extension == "wal")).unwrap();
    let mut bytes = std::fs::read(segment).unwrap();
    bytes[200] ^= 1;
    std::fs::write(segment, &bytes).unwrap();
    let name = segment.file_name().unwrap().to_str().unwrap();
    let restored = place.path().join("restored");
    restore(&path("backups"), &restored, &[]).await.assert_failure(1, &[name, "is damaged"]);
    let mut serve =
        alula(["serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data-dir"]);
    serve.arg(&restored);
    run(serve).await.assert_failure(1, &["did not end", "repeat the restore"]);
    bytes[200] ^= 1;
    std::fs::write(segment, &bytes).unwrap();
    restore(&path("backups"), &restored, &[]).await.expect_success();
}

#[tokio::test]
async fn an_object_store_that_does_not_answer_is_exit_code_3() {
    let server = Process::start(&[]).await;
    let mut command = alula(["backup", "--to", "s3://bucket/path", "--data-dir"]);
    command.arg(server.data_dir());
    // Port 9 of this machine: nobody listens there.
    command
        .env("AWS_ENDPOINT", "http://127.0.0.1:9")
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "eu-west-1");
    command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "not-to-be-told");
    let output = run(command).await;
    output.assert_failure(3, &["s3://bucket/path", "hint: "]);
    assert!(!output.stderr.contains("not-to-be-told"), "{}", output.stderr);
}

#[tokio::test]
async fn an_interrupted_backup_ends_with_130_and_cleans_up() {
    let server = Process::start(&[]).await;
    let place = TempDir::new().unwrap();
    // A request that is never answered, so that the backup is there to be interrupted.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = alula(["backup", "--to", "s3://bucket/path", "--data-dir"]);
    command.arg(server.data_dir()).env("AWS_ENDPOINT", format!("http://{}", listener.local_addr().unwrap()));
    command.env("AWS_ALLOW_HTTP", "true").env("AWS_REGION", "eu-west-1");
    command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
    let child = command.stderr(std::fs::File::create(place.path().join("stderr")).unwrap()).spawn().unwrap();
    let pid = child.id();
    let waiting = tokio::task::spawn_blocking(move || {
        let (connection, _) = listener.accept().unwrap();
        signal("INT", pid);
        let status = { child }.wait().unwrap();
        drop(connection);
        status
    });
    let status = crate::fixture::within_bound("the backup to end", waiting).await.unwrap();
    let said = std::fs::read_to_string(place.path().join("stderr")).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    assert!(!server.data_dir().join("backup.tmp").exists());
}
