//! The footer of a file as `docs/formats.md` has it.

use std::fs;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::testing::{config, entry, layout, open};

const NOON_S: i64 = 1_795_262_400;

async fn written() -> (TempDir, DataFile, [u8; 16]) {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("team-a", "x", NOON_S, 20)).await.unwrap();
    storage.flush().await.unwrap();
    let file = storage.store().catalog.live_files().unwrap().remove(0);
    let uuid = storage.store().store_uuid;
    storage.close().await.unwrap();
    (dir, file, uuid)
}

#[tokio::test]
async fn the_footer_says_what_the_catalog_does_under_the_documented_keys() {
    let (dir, file, store_uuid) = written().await;
    let here = layout(dir.path());
    let reader = DataFileReader::open(here.disk(), &here.data_file(&file)).unwrap();
    let expected = Footer {
        file: DataFile { size_bytes: 0, checksum: [0; 16], ..file.clone() },
        tenant_id: "team-a".parse().unwrap(),
        store_uuid,
        replaces: Vec::new(),
        has_checksum: true,
    };
    assert_eq!(read_footer(&reader).unwrap(), expected);

    let metadata = ParquetMetaDataReader::new().parse_and_finish(&reader).unwrap();
    let pairs = metadata.file_metadata().key_value_metadata().unwrap();
    let ours = pairs.iter().filter(|pair| pair.key.starts_with("alula."));
    let ours: Vec<_> = ours.map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap())).collect();
    let (id, uuid) = (file.id.to_string(), uuid::Uuid::from_bytes(store_uuid).to_string());
    let (min, max) = (file.timestamps.min_ns.to_string(), file.timestamps.max_ns.to_string());
    let digits = ours.last().unwrap().1;
    assert_eq!(
        ours,
        [
            ("alula.format_version", "1"),
            ("alula.schema_version", "1"),
            ("alula.store_uuid", uuid.as_str()),
            ("alula.file_id", id.as_str()),
            ("alula.signal", "logs"),
            ("alula.tenant_number", "1"),
            ("alula.tenant_id", "team-a"),
            ("alula.hour", "498684"),
            ("alula.num_hours", "1"),
            ("alula.num_rows", "20"),
            ("alula.min_timestamp_ns", min.as_str()),
            ("alula.max_timestamp_ns", max.as_str()),
            ("alula.first_seq", "1"),
            ("alula.last_seq", "1"),
            ("alula.deletions_applied", "0"),
            ("alula.checksum", digits),
        ]
    );
}

/// Computed here as the page says: zeros in the place of the digits, which are in the file once.
#[tokio::test]
async fn the_two_checksums_of_a_file_are_those_of_its_bytes() {
    let (dir, file, _) = written().await;
    let here = layout(dir.path());
    let path = here.data_file(&file);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(blake3::hash(&bytes).as_bytes()[..16], file.checksum);
    let key = b"alula.checksum\x18\x20";
    let places: Vec<_> = (0..bytes.len() - key.len()).filter(|at| bytes[*at..].starts_with(key)).collect();
    let [place] = places[..] else { panic!("{places:?}") };
    let digits = place + key.len()..place + key.len() + 32;
    let mut zeroed = bytes.clone();
    zeroed[digits.clone()].fill(b'0');
    assert_eq!(bytes[digits], blake3::hash(&zeroed).to_hex().as_bytes()[..32]);

    let whole = Checksums { whole: file.checksum, is_own: Some(true) };
    let read = || checksums(&DataFileReader::open(here.disk(), &path).unwrap()).unwrap();
    assert_eq!(read(), whole);
    for at in [0, bytes.len() / 2, place + key.len() + 3, bytes.len() - 9] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&path, flipped).unwrap();
        let found = read();
        assert!(found.whole != whole.whole && found.is_own != Some(true), "byte {at}");
    }
    for length in [0, 3, 8, 20, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let found = read();
        assert!(found.whole != whole.whole && found.is_own != Some(true), "{length} bytes");
        let reader = DataFileReader::open(here.disk(), &path).unwrap();
        assert!(read_footer(&reader).is_err(), "{length} bytes");
    }
}

#[test]
fn keys_that_are_missing_or_make_no_sense_are_named_and_newer_formats_are_refused() {
    let sound = [
        ("alula.format_version", "1"),
        ("alula.schema_version", "1"),
        ("alula.store_uuid", "00000000-0000-0000-0000-000000000001"),
        ("alula.file_id", "0123456789abcdef0123456789abcdef"),
        ("alula.signal", "traces"),
        ("alula.tenant_number", "3"),
        ("alula.tenant_id", "a"),
        ("alula.hour", "-1"),
        ("alula.num_rows", "1"),
        ("alula.min_timestamp_ns", "-5"),
        ("alula.max_timestamp_ns", "-5"),
        ("alula.first_seq", "1"),
        ("alula.last_seq", "1"),
    ];
    let with = |change: &[(&str, &str)], without: &str| {
        let pairs =
            sound.iter().filter(|(key, _)| *key != without && !change.iter().any(|(other, _)| other == key));
        let pairs =
            pairs.chain(change).map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned()));
        decode(&Keys { pairs: &pairs.collect::<Vec<_>>() })
    };
    // The first version had no more keys than these.
    let first = with(&[], "").unwrap();
    assert_eq!((first.file.num_hours, first.file.deletions_applied, first.has_checksum), (1, 0, false));
    for (key, _) in sound {
        let error = with(&[], key).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    for (key, value) in [
        ("alula.file_id", "12"),
        ("alula.signal", "LOGS"),
        ("alula.tenant_id", "../x"),
        ("alula.num_rows", "-1"),
        ("alula.num_hours", "2"),
        ("alula.replaces", "1,2"),
    ] {
        let error = with(&[("alula.checksum", &"0".repeat(32)), (key, value)], "").unwrap_err();
        assert!(matches!(&error, FooterError::Invalid { key: named, .. } if *named == key), "{key}: {error}");
    }
    assert!(matches!(with(&[("alula.format_version", "2")], ""), Err(FooterError::Newer { found: 2 })));
    let error = with(&[("alula.num_hours", "1")], "").unwrap_err();
    assert!(matches!(error, FooterError::Missing { key: "alula.checksum" }), "{error}");
}
