//! The ids of flushed batches on disk: with the flush or not at all, and never misread.

use std::path::Path;

use tempfile::tempdir;

use super::super::tests::file;
use super::*;

fn batch(seq: u64, received_ns: i64) -> RetryableBatch {
    RetryableBatch {
        tenant: TenantNumber(7),
        seq: SequenceNumber(seq),
        received_ns,
        id: [seq as u8; 16],
        num_rejected: 3 * seq as u32,
    }
}

fn flush(catalog: &Catalog, last_seq: u64, batches: &[RetryableBatch], forget_before_ns: i64) -> Result<()> {
    let change = RetryWindowChange { batches: batches.to_vec(), forget_before_ns };
    catalog.commit_flush(&[], SequenceNumber(last_seq), &change)
}

fn open(dir: &Path) -> Catalog {
    Catalog::open(&dir.join("catalog.db")).unwrap()
}

#[test]
fn ids_come_back_in_order_until_all_of_their_row_are_too_old() {
    let dir = tempdir().unwrap();
    let catalog = open(dir.path());
    assert_eq!(catalog.retryable_batches().unwrap(), []);
    flush(&catalog, 2, &[batch(1, 100), batch(2, 300)], 0).unwrap();
    flush(&catalog, 3, &[batch(3, i64::MAX)], 200).unwrap();
    drop(catalog);
    let catalog = open(dir.path());
    let all = [batch(1, 100), batch(2, 300), batch(3, i64::MAX)];
    assert_eq!(catalog.retryable_batches().unwrap(), all, "one of the first row is young enough");
    flush(&catalog, 4, &[], 300).unwrap();
    assert_eq!(catalog.retryable_batches().unwrap(), all);
    flush(&catalog, 4, &[], 301).unwrap();
    assert_eq!(catalog.retryable_batches().unwrap(), all[2..]);
}

#[test]
fn a_flush_that_is_refused_changes_no_ids() {
    let dir = tempdir().unwrap();
    let catalog = open(dir.path());
    flush(&catalog, 5, &[batch(5, 100)], 0).unwrap();
    flush(&catalog, 4, &[batch(4, 200)], 200).unwrap_err();
    assert_eq!(catalog.retryable_batches().unwrap(), [batch(5, 100)]);
    let tenant = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    let file = file(1, tenant, 6, 6);
    let change = RetryWindowChange { batches: vec![batch(6, 200)], forget_before_ns: 200 };
    let twice = [file.clone(), file.clone()];
    catalog.commit_flush(&twice, SequenceNumber(6), &change).expect_err("a file is there twice");
    assert_eq!(catalog.retryable_batches().unwrap(), [batch(5, 100)]);
    catalog.commit_flush(&[file], SequenceNumber(6), &change).unwrap();
    assert_eq!(catalog.retryable_batches().unwrap(), [batch(6, 200)]);
}

#[test]
fn the_bytes_of_a_row_are_those_of_the_format() {
    let batch = RetryableBatch {
        tenant: TenantNumber(0x0403_0201),
        seq: SequenceNumber(0x0807_0605),
        received_ns: -2,
        id: *b"0123456789abcdef",
        num_rejected: 0x0c0b_0a09,
    };
    let bytes = [
        &b"\x01\0\0\0\x01\0\0\0"[..],
        b"\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff",
        b"0123456789abcdef\x09\x0a\x0b\x0c",
    ];
    let bytes = bytes.concat();
    assert_eq!(encode(&[batch]), bytes);
    let mut read = Vec::new();
    decode(&bytes, &mut read).unwrap();
    assert_eq!(read, [batch]);
}

#[test]
fn a_row_that_cannot_be_read_is_an_error_and_never_a_short_list() {
    let dir = tempdir().unwrap();
    let catalog = open(dir.path());
    flush(&catalog, 2, &[batch(1, 100), batch(2, 300)], 0).unwrap();
    let whole = encode(&[batch(1, 100), batch(2, 300)]);
    let newer = [&2_u32.to_le_bytes()[..], &whole[4..]].concat();
    let longer = [&whole[..], &[0; BATCH_BYTES]].concat();
    for (bytes, expected) in [
        (&newer[..], "format version 2, not 1"),
        (&whole[..whole.len() - BATCH_BYTES], "no list of 2 batches"),
        (&whole[..whole.len() - 1], "no list of 2 batches"),
        (&longer[..], "no list of 2 batches"),
        (&whole[..7], "7 bytes are no list"),
        (&[], "0 bytes are no list"),
    ] {
        catalog.lock().execute("UPDATE retry_window SET batches = ?1", [bytes]).unwrap();
        let error = catalog.retryable_batches().unwrap_err();
        assert!(matches!(&error, Error::InvalidRow { table: "retry_window", .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}
