use std::fs;

use tempfile::tempdir;

use super::*;
use crate::testing::layout;

const UUID: [u8; 16] = [7; 16];

#[test]
fn the_mark_is_what_was_set_last() {
    let dir = tempdir().unwrap();
    let layout = layout(dir.path());
    fs::create_dir(layout.wal_dir()).unwrap();
    assert_eq!(read_mark(&layout, UUID), SequenceNumber(0));
    let mut mark = Mark::create(&layout, UUID, SequenceNumber(3)).unwrap();
    assert_eq!(read_mark(&layout, UUID), SequenceNumber(3));
    for seq in 4..9 {
        mark.set(SequenceNumber(seq)).unwrap();
        assert_eq!(read_mark(&layout, UUID), SequenceNumber(seq));
    }
    Mark::create(&layout, UUID, SequenceNumber(20)).unwrap();
    assert_eq!(read_mark(&layout, UUID), SequenceNumber(20));
    assert_eq!(read_mark(&layout, [8; 16]), SequenceNumber(0), "of another store");
}

/// Scenario: one bit of the mark flips, or the file is cut anywhere.
/// Guarantees: the mark is one that was set, or none: never a number that was not durable.
#[test]
fn a_damaged_mark_is_an_older_one_or_none() {
    let dir = tempdir().unwrap();
    let layout = layout(dir.path());
    fs::create_dir(layout.wal_dir()).unwrap();
    let mut mark = Mark::create(&layout, UUID, SequenceNumber(5)).unwrap();
    mark.set(SequenceNumber(6)).unwrap();
    let whole = fs::read(layout.mark()).unwrap();
    let slots = (0..16).chain(4096..whole.len());
    for at in slots.clone() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            fs::write(layout.mark(), damaged).unwrap();
            let found = read_mark(&layout, UUID).0;
            let expected = if at < 12 { 5 } else { 6 };
            assert_eq!(found, expected, "bit {bit} of byte {at}");
        }
    }
    for length in slots {
        fs::write(layout.mark(), &whole[..length]).unwrap();
        assert!([0, 6].contains(&read_mark(&layout, UUID).0), "cut at {length}");
    }
}
