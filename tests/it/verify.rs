//! A data directory with damages: what queries say, what the start says, and what `alula verify` makes of it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tonic::Code;

use crate::fixture::otlp::{BASE_NS, SECOND_NS, log, logs};
use crate::fixture::{Output, Process, TestServer, alula, eventually, run};

const HOUR_NS: u64 = 3_600 * SECOND_NS;

/// Data files of a directory, oldest hour first.
pub(crate) fn data_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(data_files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// A stopped server's directory, with logs of two hours in a file each.
pub(crate) async fn stopped() -> TempDir {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    client.send(logs("shop", vec![log(BASE_NS, "early"), log(BASE_NS + SECOND_NS, "early too")])).await;
    client.send(logs("shop", vec![log(BASE_NS + HOUR_NS, "late")])).await;
    server.shutdown().await
}

async fn verify(directory: &TempDir, flags: &[&str]) -> Output {
    let mut command = alula(["verify", "--data-dir"]);
    command.arg(directory.path().join("data")).args(flags);
    run(command).await
}

#[tokio::test]
async fn a_sound_directory_is_verified_line_by_line_or_as_json() {
    let directory = stopped().await;
    let output = verify(&directory, &[]).await;
    let text = output.expect_success();
    for part in ["catalog ", "data files   2 of 2 are sound: all 3 rows read", "log ", "\nsound\n"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let output = verify(&directory, &["--format", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(output.expect_success()).unwrap();
    assert_eq!((&report["sound"], report["problems"].as_array().unwrap().len()), (&true.into(), 0));
    assert!(report["findings"].as_array().unwrap().len() >= 4, "{report}");

    let nowhere = run(alula(["verify", "--data-dir", "/nonexistent/alula"])).await;
    nowhere.assert_failure(2, &["there is no data directory /nonexistent/alula"]);
    verify(&directory, &["--force"]).await.assert_failure(2, &["--repair"]);
}

#[tokio::test]
async fn a_directory_that_a_server_uses_is_refused_with_its_process() {
    let server = Process::start(&[]).await;
    let pid = server.pid().to_string();
    for flags in [&["--repair", "--force"][..], &[]] {
        let mut command = alula(["verify", "--data-dir"]);
        command.arg(server.data_dir()).args(flags);
        run(command).await.assert_failure(1, &["in use by process", &pid]);
    }
}

#[tokio::test]
async fn a_damaged_file_fails_the_queries_that_need_it_by_name_and_no_others() {
    let directory = stopped().await;
    let data_dir = directory.path().join("data");
    let files = data_files(&data_dir.join("data"));
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[20] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    let name = files[0].file_stem().unwrap().to_str().unwrap();

    let server = Process::start_in(directory, &[]).await;
    let client = server.client("acme").await;
    client.assert_error("SELECT body FROM logs", Code::DataLoss, name).await;
    client.assert_rows("SELECT body FROM logs WHERE timestamp >= '2025-01-01T01:00:00Z'", "body\nlate").await;
    client
        .assert_rows(
            "SELECT signal, num_rows, detail FROM system.data_loss",
            "signal | num_rows | detail\nlogs | 2 | its checksum is not the one it was written with",
        )
        .await;
    let other = server.client("other").await;
    assert_eq!(other.count("SELECT count(*) FROM system.data_loss").await, 0);
    assert!(server.log().contains(name), "{}", server.log());
    assert_eq!(server.log().matches("acknowledged rows are lost").count(), 1, "{}", server.log());

    let mut server = server;
    server.terminate();
    server.exited().await;
    let mut command = alula(["verify", "--data-dir"]);
    command.arg(server.data_dir());
    let output = run(command).await;
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let text = output.text();
    assert!(text.contains("PROBLEM      data/logs/1/") && text.contains(name), "{text}");
    assert!(text.contains("restore it from a backup") && text.ends_with("1 problem\n"), "{text}");
}

#[tokio::test]
async fn a_damaged_catalog_is_refused_at_start_and_repaired_with_all_rows() {
    let directory = stopped().await;
    let data_dir = directory.path().join("data");
    let catalog = data_dir.join("catalog.db");
    let mut bytes = fs::read(&catalog).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xff);
    fs::write(&catalog, bytes).unwrap();
    let mut serve =
        alula(["serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data-dir"]);
    serve.arg(&data_dir);
    let refused = run(serve).await;
    refused.assert_failure(1, &["the catalog", "is damaged", "`alula verify --repair`"]);
    assert_eq!(refused.stderr.matches("error: ").count(), 1, "{}", refused.stderr);
    verify(&directory, &[]).await.expect_problem("`alula verify --repair`");

    let repaired = verify(&directory, &["--repair"]).await;
    let text = repaired.expect_success();
    for part in [
        "2 taken in, with 3 rows",
        "1 from the footers",
        "not rebuilt",
        "repeat each DELETE",
        "as catalog.db.damaged-",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    verify(&directory, &[]).await.expect_success();
    let server = Process::start_in(directory, &[]).await;
    let client = server.client("acme").await;
    client.assert_rows("SELECT body FROM logs ORDER BY timestamp", "body\nearly\nearly too\nlate").await;
}

/// Scenario: all files moved to the remote tier, and the catalog is lost.
#[tokio::test]
async fn a_lost_catalog_is_repaired_with_the_files_of_the_remote_tier_or_not_at_all() {
    let directory = stopped().await;
    let data_dir = directory.path().join("data");
    let (archive, away) = (directory.path().join("archive"), directory.path().join("away"));
    fs::create_dir(&archive).unwrap();
    let url = format!("file://{}", archive.display());
    let config = directory.path().join("alula.toml");
    let tier = "remote_after = \"0s\"\nremote_cache_bytes = \"0\"\nmaintenance_interval = \"50ms\"";
    fs::write(&config, format!("[storage]\nremote_url = {url:?}\n{tier}\n")).unwrap();
    let flags = ["--config", config.to_str().unwrap()];
    let mut server = Process::start_in(directory, &flags).await;
    let objects = || data_files(&archive).into_iter().filter(|path| path.extension().is_some()).count();
    let is_moved = || objects() == 2 && data_files(&data_dir.join("data")).is_empty();
    eventually("both files to move", async || is_moved().then_some(())).await;
    server.terminate();
    server.exited().await;
    let verify = |arguments: &[&str]| {
        let mut command = alula(["verify", "--data-dir"]);
        command.arg(&data_dir).args(arguments);
        run(command)
    };
    let checked = verify(&flags).await;
    assert!(checked.expect_success().contains("2 of 2 are there"), "{}", checked.text());

    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db-mark"] {
        let _ = fs::remove_file(data_dir.join(name));
    }
    verify(&["--repair"]).await.assert_failure(2, &["storage.remote_url is not set", "--without-remote"]);
    let repair = ["--repair", flags[0], flags[1]];
    fs::rename(&archive, &away).unwrap();
    verify(&repair).await.assert_failure(3, &["does not answer", "nothing was changed", "--without-remote"]);
    fs::rename(&away, &archive).unwrap();
    assert!(!data_dir.join("catalog.db").exists());
    let repaired = verify(&repair).await;
    let text = repaired.expect_success();
    for part in ["2 taken in, with 3 rows", &format!("2 of these are in {url}/")] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let server = server.start_again(&flags).await;
    let client = server.client("acme").await;
    client.assert_rows("SELECT body FROM logs ORDER BY timestamp", "body\nearly\nearly too\nlate").await;
}

impl Output {
    fn expect_problem(&self, part: &str) {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        assert!(self.text().contains("PROBLEM ") && self.text().contains(part), "{}", self.text());
    }
}
