use std::path::Path;

use alula_catalog::{DataLoss, SequenceNumber};
use clap::Parser;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::cli::Failure;

#[derive(Debug, Parser)]
struct Parsed {
    #[command(flatten)]
    args: Args,
}

fn parse(words: &[&str]) -> Result<Args, clap::Error> {
    Parsed::try_parse_from([&["loss"], words].concat()).map(|parsed| parsed.args)
}

fn run_in(data_dir: &Path, words: &[&str]) -> Result<ExitCode, CliError> {
    run_blocking(parse(&[words, &["--data-dir", data_dir.to_str().unwrap()]].concat()).unwrap())
}

fn loss(seq: u64, tenant: Option<TenantNumber>) -> DataLoss {
    DataLoss {
        first_seq: SequenceNumber(seq),
        last_seq: SequenceNumber(seq + 1),
        source: format!("data/{seq}"),
        detail: "it is missing, \"all\" of it".to_owned(),
        found_ns: 1_795_262_400_000_000_000,
        tenant,
        signal: tenant.map(|_| Signal::Logs),
        num_rows: None,
        timestamps: None,
    }
}

fn with_losses() -> (TempDir, Catalog) {
    let dir = tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join(Catalog::FILE_NAME)).unwrap();
    let tenant = catalog.register_tenant(&"acme".parse().unwrap()).unwrap();
    catalog.record_data_losses(&[loss(1, Some(tenant)), loss(3, None)]).unwrap();
    (dir, catalog)
}

#[test]
fn losses_are_chosen_by_id_or_all_of_them() {
    for words in [&["acknowledge", "3"][..], &["acknowledge", "3", "4", "--note", "x"], &["list"]] {
        assert!(parse(words).is_ok(), "{words:?}");
    }
    let long = "x".repeat(MAX_NOTE_CHARS + 1);
    for (words, expected) in [
        (&["acknowledge"][..], "<ID>"),
        (&["acknowledge", "3", "--all"], "'--all'"),
        (&["acknowledge", "three"], "'three'"),
        (&["acknowledge", "--all", "--note", " "], "leave the note out"),
        (&["acknowledge", "--all", "--note", &long], "1001 characters"),
    ] {
        let error = parse(words).unwrap_err().to_string();
        assert!(error.contains(expected), "{words:?}: {error}");
    }
}

#[test]
fn losses_are_listed_with_what_was_said_of_them_and_quoted() {
    let (dir, catalog) = with_losses();
    run_in(dir.path(), &["acknowledge", "1", "--note", "disk 4, replaced\non Monday"]).unwrap();
    run_in(dir.path(), &["acknowledge", "1", "--note", "again"]).unwrap();
    let mut text = Vec::new();
    list(&catalog, Format::Csv, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let at = catalog.data_losses().unwrap()[0].acknowledgement.as_ref().unwrap().at_ns;
    let at = jiff::Timestamp::from_nanosecond(at.into()).unwrap();
    let expected = format!(
        "id,timestamp,acknowledged_at,note,tenant_id,signal,num_rows,min_timestamp,max_timestamp,first_seq,last_seq,source,detail\n\
         1,2026-11-21T12:00:00.000000000Z,{at:.9},\"disk 4, replaced\non Monday\",acme,logs,,,,1,2,data/1,\
         \"it is missing, \"\"all\"\" of it\"\n\
         2,2026-11-21T12:00:00.000000000Z,,,,,,,,3,4,data/3,\"it is missing, \"\"all\"\" of it\"\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_loss_that_is_not_on_record_is_a_usage_error_and_nothing_is_acknowledged() {
    let (dir, catalog) = with_losses();
    let error = run_in(dir.path(), &["acknowledge", "2", "3"]).unwrap_err();
    assert_eq!((error.failure(), catalog.num_unacknowledged_losses().unwrap()), (Failure::Usage, 2));
    assert!(error.to_string().contains("no loss 3 is on record"), "{error}");
    run_in(dir.path(), &["acknowledge", "--all"]).unwrap();
    assert_eq!(catalog.num_unacknowledged_losses().unwrap(), 0);
}

#[test]
fn where_there_is_no_store_none_is_made() {
    let dir = tempdir().unwrap();
    for words in [&["list"][..], &["acknowledge", "--all"]] {
        let error = run_in(dir.path(), words).unwrap_err();
        assert_eq!(error.failure(), Failure::Usage, "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_summary_says_what_is_left() {
    for (acknowledged, left, expected) in [
        (0, 0, "nothing to acknowledge; none is left"),
        (1, 2, "acknowledged 1 loss; 2 losses left"),
        (3, 0, "acknowledged 3 losses; none is left"),
        (0, 1, "nothing to acknowledge; 1 loss left"),
    ] {
        assert_eq!(summary(acknowledged, left), expected);
    }
}
