use super::*;

#[test]
fn looks_at_wide_rows_are_for_fewer_and_never_for_none() {
    assert_eq!(next_limit(ROWS_PER_LOOK, 0), ROWS_PER_LOOK);
    assert_eq!(next_limit(ROWS_PER_LOOK, BYTES_PER_LOOK + 1), ROWS_PER_LOOK / 2);
    assert_eq!(next_limit(1, BYTES_PER_LOOK + 1), 1);
    assert_eq!(next_limit(1, 100), 2);
    assert_eq!(next_limit(100, BYTES_PER_LOOK / 2), 100);
}

#[test]
fn rows_that_may_not_be_all_of_their_entry_wait_for_the_next_look() {
    assert_eq!(complete_part(&[], 9, 3), (0, 9));
    assert_eq!(complete_part(&[1, 2], 9, 3), (2, 9));
    assert_eq!(complete_part(&[1, 2, 4], 9, 3), (2, 3));
    assert_eq!(complete_part(&[1, 4, 4], 9, 3), (1, 3));
    assert_eq!(complete_part(&[4, 4, 4], 9, 3), (0, 3));
}

#[test]
fn pieces_are_cut_between_entries_and_end_with_the_entry_that_is_covered() {
    assert_eq!(pieces(&[], 9, 2), []);
    assert_eq!(pieces(&[1, 2, 3, 4, 5], 9, 2), [(0..2, 2), (2..4, 4), (4..5, 9)]);
    assert_eq!(pieces(&[1, 2, 2, 3], 3, 2), [(0..1, 1), (1..3, 2), (3..4, 3)]);
    assert_eq!(pieces(&[1, 1, 1, 2], 2, 2), [(0..3, 1), (3..4, 2)]);
    assert_eq!(pieces(&[1, 1, 1], 7, 2), [(0..3, 7)]);
}

/// Guarantees: whatever the entries are, the pieces are all rows once, and a cursor covers what came before it and nothing more.
#[test]
fn no_cut_loses_a_row_or_promises_one_that_has_not_come() {
    for size in 1..5 {
        for pattern in 0..(1_u32 << 9) {
            let mut entry = 1;
            let entries: Vec<u64> = (0..10)
                .map(|bit| {
                    entry += u64::from(bit > 0 && pattern >> (bit - 1) & 1 == 1);
                    entry
                })
                .collect();
            let mut next = 0;
            for (rows, cursor) in pieces(&entries, 20, size) {
                assert_eq!(rows.start, next);
                assert!(entries[..rows.end].iter().all(|entry| *entry <= cursor));
                assert!(entries[rows.end..].iter().all(|entry| *entry > cursor));
                next = rows.end;
            }
            assert_eq!(next, entries.len(), "{entries:?}");
        }
    }
}
