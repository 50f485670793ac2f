use proptest::prelude::*;

use super::super::exponential::{Buckets, Dense, MAX_BUCKETS, Merged, Side};
use super::*;

const ROOT_OF_2: &str = "1.4142135623730951";

#[tokio::test]
async fn a_quantile_is_interpolated_by_logarithm_inside_its_bucket() {
    // (1, 2] at scale 0, (1, 4] at scale -1, (1, sqrt 2] at scale 1.
    check("exp_histogram_quantile(0.5, 0, 0, 0, 0, [4], NULL, NULL)", ROOT_OF_2).await;
    check("exp_histogram_quantile(0.5, -1, 0, 0, 0, [4], NULL, NULL)", "2.0").await;
    check("exp_histogram_quantile(1, 1, 0, 0, 0, [4], NULL, NULL)", ROOT_OF_2).await;
    check("exp_histogram_quantile(0, 0, 0, 0, 3, [4], NULL, NULL)", "8.0").await;
    check("exp_histogram_quantile(1, 0, 0, 0, 3, [4], NULL, NULL)", "16.0").await;
    check("exp_histogram_quantile(0.5, 0, 0, 0, -3, [4], NULL, NULL)", "0.1767766952966369").await;
    // An empty bucket between the two: half of the observations are at most 2, the others more than 4.
    check("exp_histogram_quantile(0.5, 0, 0, 0, 0, [1, 0, 1], NULL, NULL)", "2.0").await;
    check("exp_histogram_quantile(0.75, 0, 0, 0, 0, [1, 0, 1], NULL, NULL)", "5.656854249492381").await;
}

#[tokio::test]
async fn every_scale_has_its_edges() {
    for scale in -10_i32..=20 {
        // The bucket that ends at 2: index 2^scale - 1, or the one from 1 on.
        let (index, upper) =
            if scale >= 0 { ((1_i64 << scale) - 1, 2.0) } else { (0, 2_f64.powi(1 << -scale)) };
        let sql = format!("exp_histogram_quantile(1, {scale}, 0, 0, {index}, [1], NULL, NULL)");
        let found: f64 = value(&sql).await.parse().unwrap();
        let upper = upper.min(f64::MAX);
        assert!((found / upper - 1.0).abs() < 1e-12, "{sql}: {found} {upper}");
    }
}

#[tokio::test]
async fn negative_buckets_are_mirrored() {
    check("exp_histogram_quantile(0, 0, 0, 0, NULL, NULL, 0, [1, 1])", "-4.0").await;
    check("exp_histogram_quantile(0.5, 0, 0, 0, NULL, NULL, 0, [1, 1])", "-2.0").await;
    check("exp_histogram_quantile(0.75, 0, 0, 0, NULL, NULL, 0, [1, 1])", &format!("-{ROOT_OF_2}")).await;
    check("exp_histogram_quantile(1, 0, 0, 0, NULL, NULL, 0, [1, 1])", "-1.0").await;
    check("exp_histogram_quantile(0.25, 0, 0, 0, 0, [1], 0, [1])", &format!("-{ROOT_OF_2}")).await;
    check("exp_histogram_quantile(0.75, 0, 0, 0, 0, [1], 0, [1])", ROOT_OF_2).await;
}

#[tokio::test]
async fn the_zero_bucket_is_interpolated_evenly_and_ends_at_0_if_all_else_has_one_sign() {
    check("exp_histogram_quantile(0.25, 0, 4, 0.5, NULL, NULL, NULL, NULL)", "-0.25").await;
    check("exp_histogram_quantile(0.25, 0, 4, 0.5, 3, [4], NULL, NULL)", "0.25").await;
    check("exp_histogram_quantile(0.75, 0, 4, 0.5, NULL, NULL, 3, [4])", "-0.25").await;
    check("exp_histogram_quantile(0.5, 0, 2, 0.5, 3, [1], 3, [1])", "0.0").await;
    check("exp_histogram_quantile(0.5, 0, 4, 0, 3, [1], NULL, NULL)", "0.0").await;
    check("exp_histogram_quantile(0.5, 0, 4, NULL, 3, [1], NULL, NULL)", "0.0").await;
    // The zero bucket reaches to 2 into the bucket (1, 4].
    check("exp_histogram_quantile(0.5, -1, 0, 2, 0, [1], NULL, NULL)", "2.8284271247461903").await;
}

#[tokio::test]
async fn shares_and_nulls_are_as_with_explicit_bounds() {
    check("exp_histogram_quantile(-1, 0, 0, 0, 0, [4], NULL, NULL)", "-inf").await;
    check("exp_histogram_quantile(2, 0, 0, 0, 0, [4], NULL, NULL)", "inf").await;
    check("exp_histogram_quantile('NaN'::double, 0, 0, 0, 0, [4], NULL, NULL)", "NaN").await;
    check("exp_histogram_quantile(0.5, 0, 0, 0, 0, [0, 0], 0, [])", "NULL").await;
    check("exp_histogram_quantile(0.5, NULL, 0, 0, 0, [1], NULL, NULL)", "NULL").await;
    check("exp_histogram_quantile(0.5, 0, NULL, 0, 0, [1], NULL, NULL)", "NULL").await;
    check("exp_histogram_quantile(NULL, 0, 0, 0, 0, [1], NULL, NULL)", "NULL").await;
    check_refused(
        "exp_histogram_quantile(0.5, 0, 0, 0, 0, [1, NULL], NULL, NULL)",
        "must not be null inside",
    )
    .await;
    check_refused("exp_histogram_quantile(0.5, 0, 0)", "exp_histogram_quantile takes (q, scale, zero_count")
        .await;
    check_refused("exp_histogram_quantile(0.5, {scale: 1})", "must have the fields scale, zero_count").await;
}

#[tokio::test]
async fn extreme_scales_offsets_and_counts_have_a_finite_quantile() {
    check("exp_histogram_quantile(1, 0, 0, 0, 2147483647, [1], NULL, NULL)", "1.7976931348623157e308").await;
    check("exp_histogram_quantile(1, 0, 0, 0, -2147483648, [1], NULL, NULL)", "5e-324").await;
    check("exp_histogram_quantile(1, -2147483648, 0, 0, 0, [1], NULL, NULL)", "1.7976931348623157e308").await;
    check("exp_histogram_quantile(0, -2147483648, 0, 0, 0, [1], NULL, NULL)", "1.0").await;
    check("exp_histogram_quantile(0.5, 2147483647, 0, 0, -7, [1], NULL, NULL)", "1.0").await;
    check(
        "exp_histogram_quantile(0.5, 0, 0, 0, 0, [18446744073709551615, 18446744073709551615], NULL, NULL)",
        "2.0",
    )
    .await;
    check(
        "exp_histogram_quantile(0.75, 0, 4, 'inf'::double, NULL, NULL, NULL, NULL)",
        "8.988465674311578e307",
    )
    .await;
}

/// Merges the rows of a VALUES list.
async fn merged(values: &str) -> String {
    let sql = format!(
        "SELECT exp_histogram_merge(a, b, c, d, e, f, g) FROM (VALUES {values}) AS t (a, b, c, d, e, f, g)"
    );
    match rows(&context(None), &sql).await {
        Ok(rows) => rows.join("; "),
        Err(error) => error.to_string(),
    }
}

fn shown(scale: i32, zeros: u64, threshold: &str, positive: (i32, &str), negative: (i32, &str)) -> String {
    format!(
        "{{scale: {scale}, zero_count: {zeros}, zero_threshold: {threshold}, \
         positive_offset: {}, positive_bucket_counts: [{}], negative_offset: {}, negative_bucket_counts: [{}]}}",
        positive.0, positive.1, negative.0, negative.1
    )
}

#[tokio::test]
async fn offsets_are_aligned_and_scales_made_equal() {
    let same = "(2, 1, 0.0, 3, [1, 2], 0, [7]), (2, 2, 0.0, 5, [10], -1, [1])";
    assert_eq!(merged(same).await, shown(2, 3, "0.0", (3, "1, 2, 10"), (-1, "1, 7")));
    // At scale 1, indexes 3, 4, 5, 6 are 1, 2, 2, 3 of scale 0, and -3, -2, -1 are -2, -1, -1.
    let different = "(1, 0, 0.0, 3, [1, 2, 4, 8], -3, [1, 2, 4]), (0, 0, 0.0, 1, [16], NULL, NULL)";
    assert_eq!(merged(different).await, shown(0, 0, "0.0", (1, "17, 6, 8"), (-2, "1, 6")));
    let other_way = "(0, 0, 0.0, 1, [16], NULL, NULL), (1, 0, 0.0, 3, [1, 2, 4, 8], -3, [1, 2, 4])";
    assert_eq!(merged(other_way).await, merged(different).await);
    let without_buckets =
        "(5, 2, 0.0, NULL, NULL, 0, arrow_cast(make_array(), 'List(Int64)')), (3, 1, 0.0, 9, [0, 0], 0, [0])";
    assert_eq!(merged(without_buckets).await, shown(3, 3, "0.0", (0, ""), (0, "")));
    assert_eq!(merged("(NULL, 2, 0.0, 0, [1], 0, [1]), (1, NULL, 0.0, 0, [1], 0, [1])").await, "NULL");
}

#[tokio::test]
async fn the_widest_zero_bucket_takes_in_what_it_covers() {
    // (0.5, 1] and (1, 2] are covered by a threshold of 2, on both sides.
    let covered = "(0, 1, 2.0, 4, [1], NULL, NULL), (0, 1, 0.0, -1, [3, 5, 7], -1, [1, 2, 4])";
    assert_eq!(merged(covered).await, shown(0, 13, "2.0", (1, "7, 0, 0, 1"), (1, "4")));
    // 1.5 is inside of (1, 2], so the zero bucket grows to 2.
    let inside = "(0, 1, 1.5, 4, [1], NULL, NULL), (0, 1, 0.0, -1, [3, 5, 7], -1, [1, 0, 4])";
    assert_eq!(merged(inside).await, shown(0, 11, "2.0", (1, "7, 0, 0, 1"), (1, "4")));
    // Nothing is in the bucket that 1.5 is inside of.
    let empty = "(0, 1, 1.5, 4, [1], NULL, NULL), (0, 1, 0.0, -1, [3, 0, 7], NULL, NULL)";
    assert_eq!(merged(empty).await, shown(0, 5, "1.5", (1, "7, 0, 0, 1"), (0, "")));
    assert_eq!(merged("(0, 1, 'inf'::double, 4, [1], 0, [2])").await, shown(0, 4, "inf", (0, ""), (0, "")));
    assert_eq!(merged("(0, 1, 'NaN'::double, 4, [1], 0, [2])").await, shown(0, 1, "0.0", (4, "1"), (0, "2")));
    assert_eq!(merged("(0, 1, -7.0, 4, [1], 0, [2])").await, shown(0, 1, "0.0", (4, "1"), (0, "2")));
}

#[tokio::test]
async fn offsets_at_both_ends_of_32_bits_reduce_the_scale_and_not_the_memory() {
    let ends = "(20, 0, 0.0, -2147483648, [1], NULL, NULL), (20, 0, 0.0, 2147483647, [2], NULL, NULL)";
    let zeros = vec!["0"; 1022].join(", ");
    assert_eq!(merged(ends).await, shown(-2, 0, "0.0", (-512, &format!("1, {zeros}, 2")), (0, "")));
    let deep = "(-2147483648, 0, 0.0, -2147483648, [1], NULL, NULL), (2147483647, 0, 0.0, 2147483647, [2, 3], NULL, NULL)";
    let found = merged(deep).await;
    assert!(found.contains("positive_offset: -"), "{found}");
    assert!(found.len() < 10_000, "{}", found.len());
    // The last index is past 32 bits, so neighbours are joined once.
    let past = "(5, 0, 0.0, 2147483647, [0, 2, 3], NULL, NULL)";
    assert_eq!(merged(past).await, shown(4, 0, "0.0", (1_073_741_824, "5"), (0, "")));
}

#[tokio::test]
async fn a_count_past_64_bits_is_an_error_in_every_bucket() {
    let huge = "18446744073709551615";
    for values in [
        format!("(0, {huge}, 0.0, 0, [1], 0, [1]), (0, 1, 0.0, 0, [1], 0, [1])"),
        format!("(0, 0, 0.0, 0, [{huge}], 0, [1]), (0, 0, 0.0, 0, [1], 0, [1])"),
        format!("(1, 0, 0.0, 0, [{huge}, 1], 0, [1]), (0, 0, 0.0, 5, [1], 0, [1])"),
        format!("(0, {huge}, 4.0, 0, [1], 0, [1])"),
    ] {
        let found = merged(&values).await;
        assert!(found.contains("pass 2^64 - 1"), "{values}: {found}");
    }
}

#[tokio::test]
async fn a_merged_histogram_goes_into_the_quantile() {
    let sql = "SELECT k, exp_histogram_quantile(0.5, exp_histogram_merge(a, b, c, d, e, f, g)) \
         FROM (VALUES (1, 1, 0, 0.0, 0, [1, 1], NULL, NULL), (1, 0, 0, 0.0, 1, [2], NULL, NULL), \
                      (2, 0, 0, 0.0, 3, [1], 3, [1]), (3, NULL, 0, 0.0, 3, [1], 3, [1])) AS t (k, a, b, c, d, e, f, g) \
         GROUP BY k ORDER BY k";
    assert_eq!(rows(&context(None), sql).await.unwrap(), ["1 | 2.0", "2 | -8.0", "3 | NULL"]);
}

#[derive(Clone, Debug)]
struct Drawn {
    scale: i32,
    zero_count: u64,
    zero_threshold: f64,
    sides: [(i32, Vec<u64>); 2],
}

impl Drawn {
    fn buckets(&self) -> Buckets<'_> {
        let [positive, negative] =
            self.sides.each_ref().map(|(offset, counts)| Side { offset: *offset, counts });
        Buckets {
            scale: self.scale,
            zero_count: self.zero_count,
            zero_threshold: self.zero_threshold,
            positive,
            negative,
        }
    }

    fn total(&self) -> u128 {
        let counts = self.sides.iter().flat_map(|(_, counts)| counts);
        u128::from(self.zero_count) + counts.map(|count| u128::from(*count)).sum::<u128>()
    }
}

fn drawn(
    scale: impl Strategy<Value = i32>,
    offset: impl Strategy<Value = i32> + Clone,
    count: impl Strategy<Value = u64> + Clone,
    zero_threshold: impl Strategy<Value = f64>,
) -> impl Strategy<Value = Drawn> {
    let side = (offset, proptest::collection::vec(count.clone(), 0..20));
    (scale, count, zero_threshold, [side.clone(), side]).prop_map(
        |(scale, zero_count, zero_threshold, sides)| Drawn { scale, zero_count, zero_threshold, sides },
    )
}

fn anything() -> impl Strategy<Value = Drawn> {
    drawn(any::<i32>(), any::<i32>(), any::<u64>(), any::<f64>())
}

/// As clients send them.
fn usual() -> impl Strategy<Value = Drawn> {
    let threshold = prop_oneof![Just(0.0), 0.0..4.0, 1e-9..1e-3];
    drawn(-4_i32..8, -200_i32..200, prop_oneof![Just(0), 0_u64..50], threshold)
}

fn merge(parts: &[Drawn]) -> Result<Merged> {
    let mut sum = Merged::try_new(&parts[0].buckets())?;
    for part in &parts[1..] {
        sum.add(&part.buckets())?;
    }
    Ok(sum)
}

fn as_buckets(merged: &Merged) -> Buckets<'_> {
    fn side(side: &Dense) -> Side<'_> {
        Side { offset: i32::try_from(side.first).unwrap(), counts: &side.counts }
    }
    Buckets {
        scale: merged.scale,
        zero_count: merged.zero_count,
        zero_threshold: merged.zero_threshold,
        positive: side(&merged.positive),
        negative: side(&merged.negative),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_columns_give_a_rising_quantile(histogram in anything(), q in 0.0..1.0, step in 0.0..1.0) {
        let buckets = histogram.buckets();
        let lower = buckets.quantile(q);
        let upper = buckets.quantile(q + (1.0 - q) * step);
        prop_assert_eq!(lower.is_some(), histogram.total() > 0);
        prop_assert_eq!(lower.is_some(), upper.is_some());
        if let (Some(lower), Some(upper)) = (lower, upper) {
            prop_assert!(lower.is_finite() && upper.is_finite());
            // The edges of neighbours are computed apart, and logarithms round.
            prop_assert!(lower <= upper + upper.abs() * 1e-9, "{lower} {upper}");
        }
    }

    #[test]
    fn any_columns_are_merged_in_bounded_memory_or_refused(parts in proptest::collection::vec(anything(), 1..5)) {
        if let Ok(sum) = merge(&parts).and_then(Merged::finished) {
            for side in [&sum.positive, &sum.negative] {
                prop_assert!(side.counts.len() as i64 <= MAX_BUCKETS);
                prop_assert!(side.counts.first() != Some(&0) && side.counts.last() != Some(&0));
            }
            let buckets = as_buckets(&sum);
            let kept = u128::from(sum.zero_count)
                + [buckets.positive, buckets.negative].iter().flat_map(|side| side.counts).map(|c| u128::from(*c)).sum::<u128>();
            prop_assert_eq!(kept, parts.iter().map(Drawn::total).sum::<u128>());
        }
    }

    #[test]
    fn the_order_of_merging_changes_nothing(
        parts in proptest::collection::vec(usual(), 1..6),
        split in any::<prop::sample::Index>(),
    ) {
        let sum = merge(&parts).unwrap();
        let backwards: Vec<_> = parts.iter().rev().cloned().collect();
        prop_assert_eq!(&sum, &merge(&backwards).unwrap());
        let (left, right) = parts.split_at(split.index(parts.len()));
        if !left.is_empty() {
            let mut both = merge(right).unwrap();
            both.add(&as_buckets(&merge(left).unwrap())).unwrap();
            prop_assert_eq!(&sum, &both);
        }
        // What is finished stays as it is.
        let finished = sum.finished().unwrap();
        prop_assert_eq!(&finished, &Merged::try_new(&as_buckets(&finished)).unwrap().finished().unwrap());
    }
}
