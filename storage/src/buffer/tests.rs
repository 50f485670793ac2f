use std::collections::BTreeMap;
use std::path::Path;

use alula_catalog::{SequenceNumber, Signal};

use super::*;
use crate::data_files::DataFiles;
use crate::testing::{entry, layout};

const KEY: TableKey = TableKey { tenant: TenantNumber(1), signal: Signal::Logs };

fn buffer() -> Buffer {
    let data_files = Arc::new(DataFiles::new(layout(Path::new("unused"))));
    Buffer::new(Snapshot::new(data_files, HashMap::new(), Vec::new()))
}

fn append(buffer: &Buffer, seq: u64, rows: usize) {
    let batch = entry("a", "x", 0, rows).batch;
    let chunk = Chunk::from_entry(Signal::Logs, &batch, SequenceNumber(seq)).unwrap();
    buffer.append(vec![(KEY, chunk)]);
}

/// Rows of each entry in the table, hot and frozen, in order.
fn rows_by_seq(snapshot: &Snapshot) -> BTreeMap<u64, usize> {
    let mut rows = BTreeMap::new();
    for chunk in snapshot.table_by_key(KEY).iter().flat_map(|table| table.frozen.iter().chain(&table.hot)) {
        let seqs = chunk.batch.column_by_name("ingest_seq").unwrap();
        for seq in arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt64Type>(seqs).values() {
            *rows.entry(*seq).or_default() += 1;
        }
    }
    rows
}

#[test]
fn merging_keeps_every_row_and_the_count_of_bytes() {
    let buffer = buffer();
    let mut expected = BTreeMap::new();
    // Sizes rise and fall, so that runs of all classes come to be merged.
    for seq in 1..=300_u64 {
        let rows = (seq * 7 % 40 + 1) as usize;
        append(&buffer, seq, rows);
        buffer.merge_small_chunks(&HashSet::from([KEY]));
        expected.insert(seq, rows);
    }
    let snapshot = buffer.snapshot();
    assert_eq!(rows_by_seq(&snapshot), expected);
    let chunks = &snapshot.table_by_key(KEY).unwrap().hot;
    assert!(chunks.len() < 20, "{} chunks", chunks.len());
    assert_eq!(buffer.hot_bytes(), chunks.iter().map(|chunk| chunk.bytes).sum::<usize>());
    let mut next = 1;
    for chunk in chunks {
        assert_eq!(chunk.first_seq.0, next, "chunks are in the order of their entries");
        next = chunk.last_seq.0 + 1;
    }
}

#[test]
fn a_snapshot_keeps_its_rows_whatever_happens_to_the_buffer() {
    let buffer = buffer();
    append(&buffer, 1, 3);
    let before = buffer.snapshot();
    buffer.freeze();
    append(&buffer, 2, 4);
    let during = buffer.snapshot();
    assert!(buffer.total_bytes() > buffer.hot_bytes() && buffer.hot_bytes() > 0);
    buffer.commit_frozen(Vec::new());
    assert_eq!(rows_by_seq(&before), BTreeMap::from([(1, 3)]));
    assert_eq!(rows_by_seq(&during), BTreeMap::from([(1, 3), (2, 4)]));
    assert_eq!(rows_by_seq(&buffer.snapshot()), BTreeMap::from([(2, 4)]));
    assert_eq!(buffer.total_bytes(), buffer.hot_bytes());
}
