//! Data directories of earlier versions, as they were written: every later version reads exactly the rows that were in them.
//!
//! `tests/compat/<version>/data` is a directory whose server was killed, `expected.txt` what was in it. They are made by
//! [`write_directory`] and never changed afterwards; `tests/compat/README.md` says how.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use alula_catalog::Catalog;
use tempfile::TempDir;

use crate::fixture::otlp::{
    BASE_NS, Export, SECOND_NS, attributes, double, double_point, gauge, int, int_point, log, logs, metrics,
    span, text, traces,
};
use crate::fixture::{Client, Process, alula, eventually, run, signal};

const HOUR_NS: u64 = 3_600 * SECOND_NS;
const DAY_NS: u64 = 24 * HOUR_NS;
const TENANTS: [&str; 2] = ["acme", "umbrella"];
const TABLES: [&str; 3] = ["metrics", "logs", "traces"];

/// All that the wire takes before the log has to go on in another segment.
const SMALL_SEGMENTS: [&str; 6] =
    ["--max-message-bytes", "1KiB", "--max-http-message-bytes", "1KiB", "--wal-segment-bytes", "2KiB"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/v0.1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Every row of every table of every tenant, printed.
async fn contents(server: &Process) -> String {
    let mut all = String::new();
    for tenant in TENANTS {
        let client = server.client(tenant).await;
        for table in TABLES {
            let order =
                if table == "metrics" { "ingest_seq, name, timestamp" } else { "ingest_seq, timestamp" };
            let answer = client.query(&format!("SELECT * FROM {table} ORDER BY {order}")).await.unwrap();
            let lines = answer.table();
            let rows = lines.lines().filter(|line| line.starts_with('|'));
            // Without the padding, which is most of it.
            let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>().join("|"));
            let cells = cells.collect::<Vec<_>>().join("\n");
            let _ = write!(all, "{tenant}: {table}\n{cells}\n\n");
        }
    }
    all
}

/// Some of everything: each signal, each kind of value, two tenants.
async fn send_all(client: &Client, label: &str, at_ns: u64) {
    let mut record = log(at_ns, &format!("{label}: plain"));
    record.attributes =
        attributes([("n", int(9_007_199_254_740_993)), ("x", double(0.1)), ("é", text("ü\n\""))]);
    client.send(logs("shop", vec![record, log(at_ns + SECOND_NS, &format!("{label}: second"))])).await;
    let points =
        vec![int_point(at_ns, i64::MIN), double_point(at_ns + 1, -0.0), double_point(at_ns + 2, f64::NAN)];
    client.send(metrics("shop", vec![gauge(&format!("{label}.gauge"), points)])).await;
    let mut root = span(7, 1, &format!("{label}: GET /cart"), at_ns, 5_000);
    root.attributes = attributes([("http.route", text("/cart"))]);
    client.send(traces("shop", vec![root])).await;
}

/// Writes a directory of this version: a compacted day, files of hours, and a log of several segments with a torn end.
async fn write_directory() -> (TempDir, String) {
    // Hours that become a day as soon as they are there.
    let server = Process::start(&[
        "--flush-interval",
        "100ms",
        "--maintenance-interval",
        "50ms",
        "--compaction-cold-after",
        "0s",
        "--compaction-day-after",
        "0s",
    ])
    .await;
    let client = server.client("acme").await;
    for hour in 0..3 {
        client.send(logs("shop", vec![log(BASE_NS + hour * HOUR_NS, &format!("day, hour {hour}"))])).await;
    }
    let day = server.data_dir().join("data/logs/1/2025/01/01");
    let is_compacted = async || {
        let files = files_below(&day);
        (files.len() == 1 && files[0].parent() == Some(day.as_path())).then_some(())
    };
    eventually("the file of the day", is_compacted).await;
    let server = stop(server).await;

    // Files of hours.
    let server = server.start_again(&["--flush-interval", "1h", "--maintenance-interval", "1h"]).await;
    send_all(&server.client("acme").await, "hour", BASE_NS + DAY_NS).await;
    let client = server.client("umbrella").await;
    client.send(logs("shop", vec![log(BASE_NS + DAY_NS, "hour, of another tenant")])).await;
    let server = stop(server).await;

    // A log.
    let mut arguments = vec!["--flush-interval", "1h", "--maintenance-interval", "1h"];
    arguments.extend(SMALL_SEGMENTS);
    let mut server = server.start_again(&arguments).await;
    for tenant in TENANTS {
        send_all(&server.client(tenant).await, "log", BASE_NS + 2 * DAY_NS).await;
    }
    let client = server.client("acme").await;
    let refused: Export =
        logs("shop", vec![log(u64::MAX / 4, "of the future"), log(BASE_NS + 3 * DAY_NS, "beside it")]).into();
    assert_eq!(client.export(refused).await.unwrap().count, 1);
    for i in 0..30 {
        client.send(logs("shop", vec![log(BASE_NS + 2 * DAY_NS + i, &format!("log, {i}"))])).await;
    }
    let expected = contents(&server).await;
    signal("KILL", server.pid());
    server.exited().await;
    let wal = server.data_dir().join("wal");
    let mut segments = files_below(&wal);
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    assert!(segments.len() >= 3, "{segments:?}");
    tear(segments.last().unwrap());
    (tidy(&server.data_dir()), expected)
}

async fn stop(mut server: Process) -> Process {
    server.terminate();
    assert!(server.exited().await.success(), "{}", server.log());
    server
}

/// Adds the first half of a frame after the last one, as a process that dies while it writes does.
fn tear(segment: &Path) {
    let mut bytes = fs::read(segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let torn_at = end.next_multiple_of(8);
    bytes.truncate(torn_at);
    bytes.resize(torn_at, 0);
    let first_frame = bytes[96..96 + 80].to_vec();
    bytes.extend(first_frame);
    fs::write(segment, bytes).unwrap();
}

/// What of a directory belongs to its data, and the catalog in one file.
fn tidy(data_dir: &Path) -> TempDir {
    drop(Catalog::open(&data_dir.join(Catalog::FILE_NAME)).unwrap());
    let directory = TempDir::new().unwrap();
    let target = directory.path().join("data");
    copy(data_dir, &target);
    for entry in fs::read_dir(&target).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match name {
            "data" | "wal" | "catalog.db" | "catalog.db-mark" => {}
            _ if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
    }
    directory
}

/// Opens a directory of any version: it is sound, has exactly these rows, and has them again after a restart and a rebuild.
async fn check(directory: TempDir, expected: &str) {
    let verify = |flag: Option<&'static str>, data_dir: PathBuf| async move {
        let mut command = alula(["verify", "--data-dir"]);
        command.arg(data_dir).args(flag.into_iter().flat_map(|flag| ["--repair", flag]));
        let output = run(command).await;
        assert_eq!(output.code, Some(0), "{}{}", output.stderr, output.text());
    };
    verify(None, directory.path().join("data")).await;
    let server = Process::start_in(directory, &["--maintenance-interval", "1h"]).await;
    assert_eq!(contents(&server).await, expected);
    let acme = server.client("acme").await;
    assert_eq!(acme.count("SELECT count(*) FROM system.data_loss").await, 0);
    let server = stop(server).await;
    verify(Some("--force"), server.data_dir()).await;
    let server = server.start_again(&["--maintenance-interval", "1h"]).await;
    assert_eq!(contents(&server).await, expected, "with a catalog of the footers");
}

#[tokio::test]
async fn a_directory_of_version_0_1_is_read_exactly() {
    let directory = TempDir::new().unwrap();
    copy(&golden().join("data"), &directory.path().join("data"));
    let expected = fs::read_to_string(golden().join("expected.txt")).unwrap();
    for part in ["day, hour 2", "log, 29", "beside it", "-9223372036854775808", "umbrella: traces"] {
        assert!(expected.contains(part), "{part:?} is not in the expected rows");
    }
    assert!(!expected.contains("of the future"), "it was refused");
    check(directory, &expected).await;
}

/// With `ALULA_COMPAT_OUT=<directory>` what is written stays there, for the next version that is kept.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, and no setting of the server")]
async fn a_directory_of_this_version_is_read_exactly() {
    let (directory, expected) = write_directory().await;
    if let Some(out) = std::env::var_os("ALULA_COMPAT_OUT").map(PathBuf::from) {
        copy(&directory.path().join("data"), &out.join("data"));
        fs::write(out.join("expected.txt"), &expected).unwrap();
    }
    check(directory, &expected).await;
}
