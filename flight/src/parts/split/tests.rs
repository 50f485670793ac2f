use proptest::prelude::*;

use super::*;

const HOUR_NS: i64 = 3_600_000_000_000;

fn rows(min_ns: i64, max_ns: i64, num_rows: u64) -> TimedRows {
    TimedRows { timestamps: TimeRange { min_ns, max_ns }, num_rows }
}

/// Files of an hour each, with some seconds of it at both ends in which nothing was sent.
fn hours(num_rows: impl IntoIterator<Item = u64>) -> Vec<TimedRows> {
    let file = |(hour, num_rows)| rows(hour * HOUR_NS + 7_000, (hour + 1) * HOUR_NS - 7_000, num_rows);
    (0..).zip(num_rows).map(file).collect()
}

#[test]
fn one_range_is_cut_into_equal_pieces() {
    assert_eq!(split(&[rows(0, 999, 100_000)], 4), [250, 500, 750]);
    assert_eq!(split(&[rows(0, 999, 100_000)], 2), [500]);
    assert!(split(&[rows(0, 999, 100_000)], 1).is_empty());
}

#[test]
fn no_rows_are_one_part_and_few_rows_few() {
    assert!(split(&[], 64).is_empty());
    assert!(split(&[rows(7, 7, 1)], 64).is_empty());
    assert_eq!(split(&[rows(7, 7, 1), rows(9, 9, 1), rows(8, 8, 1)], 64), [8, 9]);
}

#[test]
fn rows_of_one_instant_stay_together() {
    assert!(split(&[rows(7, 7, 1_000_000)], 64).is_empty());
    assert_eq!(split(&[rows(7, 7, 1_000_000), rows(8, 8, 1)], 64), [8]);
}

#[test]
fn it_is_cut_between_files_where_that_is_about_as_even() {
    let starts = |hours: &[i64]| hours.iter().map(|hour| hour * HOUR_NS + 7_000).collect::<Vec<_>>();
    assert_eq!(split(&hours([1_000; 24]), 4), starts(&[6, 12, 18]));
    // A fifth is 4.8 files.
    assert_eq!(split(&hours([1_000; 24]), 5), starts(&[5, 10, 14, 19]));
    assert_eq!(split(&hours([900, 1_100, 1_050, 950]), 4), starts(&[1, 2, 3]));
}

#[test]
fn a_file_that_is_too_large_for_a_part_is_in_several() {
    let large = hours([10, 100_000, 10]);
    let times = split(&large, 4);
    assert_eq!(times.len(), 3);
    assert!(times.iter().all(|time| (HOUR_NS..2 * HOUR_NS).contains(time)), "{times:?}");
}

#[test]
fn a_few_rows_of_long_ago_make_no_part_of_their_own() {
    let late = [rows(0, 0, 1), rows(1_000_000, 1_000_999, 99_999)];
    assert_eq!(split(&late, 2), [1_000_500]);
}

#[test]
fn all_of_time_can_be_cut() {
    let halves = split(&[rows(i64::MIN, i64::MAX, u64::MAX)], 2);
    assert_eq!(halves, [0]);
}

proptest! {
    #[test]
    fn times_rise_and_leave_rows_on_both_sides(
        pieces in prop::collection::vec((-1_000_i64..1_000, 0_i64..500, 0_u64..10_000), 0..40),
        most in 1_usize..=64,
    ) {
        let pieces: Vec<_> =
            pieces.into_iter().map(|(at, length, num_rows)| rows(at, at + length, num_rows)).collect();
        let times = split(&pieces, most);
        prop_assert!(times.len() < most);
        prop_assert!(times.is_sorted_by(|a, b| a < b));
        let with_rows = || pieces.iter().filter(|rows| rows.num_rows > 0).map(|rows| rows.timestamps);
        let first = with_rows().map(|range| range.min_ns).min();
        let last = with_rows().map(|range| range.max_ns).max();
        for time in times {
            prop_assert!(first < Some(time) && Some(time) <= last, "{time}");
        }
    }

    #[test]
    fn parts_of_many_small_pieces_are_of_similar_size(
        pieces in prop::collection::vec((-1_000_000_i64..1_000_000, 50_u64..100), 1_000..2_000),
        most in 2_usize..=8,
    ) {
        let pieces: Vec<_> = pieces.into_iter().map(|(at, num_rows)| rows(at, at, num_rows)).collect();
        let total: u64 = pieces.iter().map(|rows| rows.num_rows).sum();
        let times = split(&pieces, most);
        prop_assert_eq!(times.len(), most - 1);
        let mut sizes = vec![0; most];
        for rows in &pieces {
            sizes[times.partition_point(|time| *time <= rows.timestamps.min_ns)] += rows.num_rows;
        }
        let mean = total / most as u64;
        for size in sizes {
            prop_assert!(size > mean / 3 && size < mean * 2, "{} of {}", size, mean);
        }
    }
}
