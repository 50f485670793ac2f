//! The arithmetic of the buckets, and quantiles against sorted values.

use super::*;

#[test]
fn every_number_lies_in_its_bucket_and_buckets_follow_without_a_gap() {
    for bucket in 1..BUCKETS {
        let first = last_of(bucket - 1) + 1;
        assert_eq!(bucket_of(first), bucket);
        assert_eq!(bucket_of(last_of(bucket)), bucket);
        if bucket + 1 == BUCKETS {
            assert_eq!(last_of(bucket), u64::MAX);
        }
    }
}

#[test]
fn a_bucket_is_at_most_a_sixty_fourth_of_its_values_wide() {
    for bucket in SUB_BUCKETS as usize..BUCKETS {
        let first = last_of(bucket - 1) + 1;
        assert!((last_of(bucket) - first) <= first / SUB_BUCKETS, "bucket {bucket}");
    }
}

#[test]
fn quantiles_are_those_of_the_sorted_values_up_to_the_resolution() {
    let mut histogram = LatencyHistogram::new();
    let mut values: Vec<u64> = (0..5_000_u64).map(|n| (n * 7_919) % 1_000_003).collect();
    for value in &values {
        histogram.record(Duration::from_micros(*value));
    }
    values.sort_unstable();
    for quantile in [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
        let rank = ((quantile * values.len() as f64).ceil() as usize).max(1);
        let exact = values[rank - 1] as f64;
        let given = histogram.quantile(quantile).unwrap().as_micros() as f64;
        assert!(
            given >= exact && given <= exact * (1.0 + 1.0 / 64.0) + 1.0,
            "{quantile}: {given} for {exact}"
        );
    }
    assert_eq!(histogram.max(), Some(Duration::from_micros(*values.last().unwrap())));
}

#[test]
fn merging_is_the_same_as_recording_together() {
    let (mut left, mut right, mut both) =
        (LatencyHistogram::new(), LatencyHistogram::new(), LatencyHistogram::new());
    for n in 0..100_u64 {
        let value = Duration::from_micros(n * n);
        both.record(value);
        let half = if n % 3 == 0 { &mut left } else { &mut right };
        half.record(value);
    }
    left.merge(&right);
    assert_eq!(left.counts, both.counts);
    assert_eq!((left.quantile(0.5), left.max()), (both.quantile(0.5), both.max()));
}

#[test]
fn without_times_there_are_no_quantiles() {
    let histogram = LatencyHistogram::new();
    assert_eq!((histogram.quantile(0.5), histogram.max()), (None, None));
}
