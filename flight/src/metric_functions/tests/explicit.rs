use proptest::prelude::*;

use super::super::explicit::{Buckets, Merged};
use super::*;

#[tokio::test]
async fn a_quantile_is_interpolated_inside_its_bucket() {
    for (q, expected) in [("0", "1.0"), ("0.25", "1.25"), ("0.5", "1.5"), ("0.75", "2.0"), ("1", "4.0")] {
        // Three of four observations in (1, 2], one in (2, 4].
        let expected = if q == "0.25" {
            "1.3333333333333333"
        } else if q == "0.5" {
            "1.6666666666666665"
        } else {
            expected
        };
        check(&format!("histogram_quantile({q}, [1.0, 2.0, 4.0], [0, 3, 1, 0])"), expected).await;
    }
    check("histogram_quantile(0.9, [1, 2, 3], [10, 10, 10, 10])", "3.0").await;
    check("histogram_quantile(0.5, [1, 2, 3], [10, 0, 0, 10])", "1.0").await;
    check("histogram_quantile(0.5, [1, 2, 3], [0, 0, 10, 0])", "2.5").await;
}

#[tokio::test]
async fn the_first_bucket_begins_at_0_unless_it_ends_there_and_the_last_is_its_lower_bound() {
    check("histogram_quantile(0.5, [10], [4, 0])", "5.0").await;
    check("histogram_quantile(0.5, [-5, 0], [2, 0, 0])", "-5.0").await;
    check("histogram_quantile(0.5, [0, 5], [2, 0, 0])", "0.0").await;
    check("histogram_quantile(0.99, [1, 2], [0, 0, 3])", "2.0").await;
    check("histogram_quantile(0, [1, 2], [0, 0, 3])", "2.0").await;
}

#[tokio::test]
async fn extremes_are_the_edges_of_the_buckets_they_lie_in() {
    check("histogram_quantile(0.5, [10], [4, 0], 2, 6)", "4.0").await;
    check("histogram_quantile(0.5, [1, 2], [0, 0, 4], 3, 11)", "7.0").await;
    check("histogram_quantile(1, [1, 2], [1, 0, 4], 0.5, 11)", "11.0").await;
    check("histogram_quantile(0, [1, 2], [1, 0, 4], -3, 11)", "-3.0").await;
    check("histogram_quantile(0.5, [1, 2], [0, 4, 0], NULL, 1.5)", "1.25").await;
    check("histogram_quantile(0.5, [1, 2], [0, 4, 0], 1.5)", "1.75").await;
    // Extremes of other buckets, contradictions and no numbers say nothing.
    check("histogram_quantile(0.5, [1, 2], [0, 4, 0], 7, 9)", "1.5").await;
    check("histogram_quantile(0.5, [1, 2], [0, 4, 0], 1.9, 1.1)", "1.5").await;
    check("histogram_quantile(0.5, [1, 2], [0, 4, 0], 'NaN'::double, 'inf'::double)", "1.5").await;
}

#[tokio::test]
async fn a_share_outside_of_0_to_1_is_infinite_and_nan_is_nan() {
    check("histogram_quantile(-0.01, [1], [1, 1])", "-inf").await;
    check("histogram_quantile(1.01, [1], [1, 1])", "inf").await;
    check("histogram_quantile('NaN'::double, [1], [1, 1])", "NaN").await;
}

#[tokio::test]
async fn without_observations_buckets_or_arguments_there_is_no_quantile() {
    check("histogram_quantile(0.5, [1, 2], [0, 0, 0])", "NULL").await;
    check("histogram_quantile(0.5, [], [])", "NULL").await;
    check("histogram_quantile(0.5, NULL, NULL)", "NULL").await;
    check("histogram_quantile(NULL, [1], [1, 1])", "NULL").await;
    // One bucket over everything tells nothing, but with extremes it does.
    check("histogram_quantile(0.5, [], [5])", "NULL").await;
    check("histogram_quantile(0.5, [], [5], 1, 3)", "2.0").await;
}

#[tokio::test]
async fn what_is_not_a_histogram_is_refused_with_the_reason() {
    check_refused("histogram_quantile(0.5, [1, 2], [1, 2])", "2 bounds has 3 counts, not 2").await;
    check_refused("histogram_quantile(0.5, [2, 1], [1, 2, 3])", "must rise").await;
    check_refused("histogram_quantile(0.5, [1, 1], [1, 2, 3])", "must rise").await;
    check_refused("histogram_quantile(0.5, ['NaN'::double], [1, 2])", "must rise").await;
    check_refused("histogram_quantile(0.5, [1], [1, NULL])", "must not be null inside").await;
    check_refused("histogram_quantile(0.5, [1], [1, -2])", "-2").await;
    check_refused("histogram_quantile(0.5, [1])", "(q, bounds, counts [, min] [, max])").await;
    check_refused(
        "histogram_quantile(0.5, 'a', [1])",
        "bounds of histogram_quantile must be a list of numbers",
    )
    .await;
    check_refused("histogram_quantile(0.5, {a: 1})", "must have the fields bounds, counts").await;
}

/// Counts of `increase` are doubles, and whole. Those of `rate` are not, and cut to whole ones they would be all 0.
#[tokio::test]
async fn counts_that_are_not_whole_are_refused_and_never_cut() {
    check("histogram_quantile(0.5, [1.0, 2.0], [0.0, 4.0, 0.0])", "1.5").await;
    check("histogram_quantile(0.5, [1.0, 2.0], [0::decimal, 4::decimal, 0::decimal])", "1.5").await;
    check("histogram_quantile(0.25, [1], [18446744073709549568.0, 0.0])", "0.25").await;
    check("histogram_quantile(0.5, [1], arrow_cast(NULL, 'List(Float64)'))", "NULL").await;
    for counts in ["[0.2, 0.8]", "[0.5::decimal(9, 1), 1]", "[1.0, -1.0]", "['NaN'::double, 1]", "[1e20, 1]"]
    {
        let expected = "must be a whole number";
        check_refused(&format!("histogram_quantile(0.5, [1.0], {counts})"), expected).await;
        check_refused(&format!("histogram_quantile(0.5, {{bounds: [1.0], counts: {counts}}})"), expected)
            .await;
        check_refused(&format!("histogram_merge([1.0], {counts})"), expected).await;
        let exponential = format!("(0, 0, 0, 0, {counts}, NULL, NULL)");
        check_refused(&format!("exp_histogram_merge{exponential}"), expected).await;
        check_refused(&format!("exp_histogram_quantile(0.5, {}", &exponential[1..]), expected).await;
    }
    let negative = "exp_histogram_quantile(0.5, 0, 0, 0, NULL, NULL, 0, [0.5])";
    check_refused(negative, "must be a whole number").await;
    // What lies under a null is no count.
    let sql = "SELECT histogram_quantile(0.5, [1.0], CASE WHEN v > 1 THEN [v, 0.0] END) \
               FROM (VALUES (0.5), (2.0)) AS t (v)";
    assert_eq!(rows(&context(None), sql).await.unwrap(), ["NULL", "0.5"]);
}

#[tokio::test]
async fn counts_and_bounds_of_any_size_are_taken() {
    check("histogram_quantile(0.25, [1], [18446744073709551615, 18446744073709551615])", "0.5").await;
    check("histogram_quantile(0.5, [-1.7e308, 1.7e308], [0, 2, 0])", "0.0").await;
    check("histogram_quantile(0.5, [1, 'inf'::double], [0, 2, 0])", "1.0").await;
    check("histogram_quantile(0.5, ['-inf'::double, 1], [0, 2, 0])", "0.5").await;
}

#[tokio::test]
async fn a_list_that_is_the_same_in_all_rows_is_no_column() {
    let context = context(None);
    let sql = "SELECT histogram_quantile(value / 4.0, [1.0, 2.0], [0, 4, 0]) FROM generate_series(0, 4)";
    assert_eq!(rows(&context, sql).await.unwrap(), ["1.0", "1.25", "1.5", "1.75", "2.0"]);
}

const HISTOGRAMS: &str = "(VALUES ('a', [1.0, 2.0, 3.0], [1, 2, 3, 4]), ('a', [2.0, 3.0, 5.0], [10, 20, 30, 40]), \
     ('b', [1.0], [7, 8]), ('b', [1.0], [1, 2]), ('c', [1.0], [1, 1]), ('c', [2.0], [1, 1]), ('d', NULL, NULL), \
     ('d', arrow_cast(make_array(), 'List(Float64)'), arrow_cast(make_array(), 'List(Int64)'))) AS h (k, b, c)";

#[tokio::test]
async fn histograms_are_merged_on_the_bounds_that_all_of_them_have() {
    let context = context(None);
    let sql = format!("SELECT k, histogram_merge(b, c) FROM {HISTOGRAMS} GROUP BY k ORDER BY k");
    let expected = [
        "a | {bounds: [2.0, 3.0], counts: [13, 23, 74]}",
        "b | {bounds: [1.0], counts: [8, 10]}",
        "c | {bounds: [], counts: [4]}",
        "d | NULL",
    ];
    assert_eq!(rows(&context, &sql).await.unwrap(), expected);
    let sql = format!("SELECT histogram_merge(b, c) FROM {HISTOGRAMS} WHERE k = 'a'");
    assert_eq!(rows(&context, &sql).await.unwrap(), [&expected[0][4..]]);
    let sql = format!("SELECT histogram_merge(b, c) FILTER (WHERE c[1] > 5) FROM {HISTOGRAMS} WHERE k = 'b'");
    assert_eq!(rows(&context, &sql).await.unwrap(), ["{bounds: [1.0], counts: [7, 8]}"]);
}

#[tokio::test]
async fn a_merged_histogram_goes_into_the_quantile_as_a_struct_or_by_its_fields() {
    let context = context(None);
    let sql = format!(
        "SELECT histogram_quantile(0.5, m), histogram_quantile(0.5, m['bounds'], m['counts']), histogram_quantile(0, m, 0.5, 9) \
         FROM (SELECT k, histogram_merge(b, c) AS m FROM {HISTOGRAMS} GROUP BY k) ORDER BY k"
    );
    let expected = ["3.0 | 3.0 | 0.5", "1.0 | 1.0 | 0.5", "NULL | NULL | 0.5", "NULL | NULL | NULL"];
    assert_eq!(rows(&context, &sql).await.unwrap(), expected);
}

#[tokio::test]
async fn a_count_past_64_bits_is_an_error_and_never_a_smaller_count() {
    let huge = "(VALUES ([1.0], [18446744073709551615, 0]), ([1.0], [1, 0])) AS h (b, c)";
    let error = rows(&context(None), &format!("SELECT histogram_merge(b, c) FROM {huge}")).await.unwrap_err();
    assert!(error.to_string().contains("pass 2^64 - 1"), "{error}");
    // Each fits, but not in the one bucket that is left.
    let huge = "(VALUES ([1.0], [18446744073709551615, 1]), ([2.0], [0, 0])) AS h (b, c)";
    let error = rows(&context(None), &format!("SELECT histogram_merge(b, c) FROM {huge}")).await.unwrap_err();
    assert!(error.to_string().contains("pass 2^64 - 1"), "{error}");
}

#[tokio::test]
async fn merging_takes_neither_distinct_nor_lists_that_do_not_fit() {
    let context = context(None);
    let sql = format!("SELECT histogram_merge(DISTINCT b, c) FROM {HISTOGRAMS}");
    let error = rows(&context, &sql).await.unwrap_err().to_string();
    assert!(error.contains("DISTINCT"), "{error}");
    let sql = format!("SELECT histogram_merge(c, b) FROM {HISTOGRAMS}");
    assert!(rows(&context, &sql).await.is_err());
}

/// Bounds that rise, and counts that fit them.
fn any_histogram() -> impl Strategy<Value = (Vec<f64>, Vec<u64>)> {
    proptest::collection::btree_set(-20_i32..20, 0..12).prop_flat_map(|bounds| {
        let counts = proptest::collection::vec(0_u64..1000, bounds.len() + 1);
        (Just(bounds.into_iter().map(|bound| f64::from(bound) / 2.0).collect()), counts)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_lists_give_a_rising_quantile_or_an_error(
        bounds in proptest::collection::vec(any::<f64>(), 0..6),
        counts in proptest::collection::vec(any::<u64>(), 0..7),
        (q, step) in (0.0..1.0, 0.0..1.0),
        extremes in (any::<Option<f64>>(), any::<Option<f64>>()),
    ) {
        let mut bounds = bounds;
        bounds.sort_by(f64::total_cmp);
        if let Ok(Some(buckets)) = Buckets::try_new(&bounds, &counts) {
            let (min, max) = extremes;
            let lower = buckets.quantile(q, min, max);
            let upper = buckets.quantile(q + (1.0 - q) * step, min, max);
            prop_assert!(lower.is_some() == upper.is_some() || min.is_some() != max.is_some() || bounds.len() < 2);
            if let (Some(lower), Some(upper)) = (lower, upper) {
                prop_assert!(!lower.is_nan() && lower <= upper, "{lower} {upper}");
            }
        }
    }

    #[test]
    fn the_order_of_merging_changes_nothing_and_no_observation_is_lost(
        histograms in proptest::collection::vec(any_histogram(), 1..6),
        split in any::<prop::sample::Index>(),
    ) {
        let buckets: Vec<_> =
            histograms.iter().map(|(bounds, counts)| Buckets::try_new(bounds, counts).unwrap().unwrap()).collect();
        let merge = |parts: &[Buckets<'_>]| {
            let mut sum = Merged::from(parts[0]);
            parts[1..].iter().for_each(|part| sum.add(*part).unwrap());
            sum
        };
        let sum = merge(&buckets);
        let backwards: Vec<_> = buckets.iter().rev().copied().collect();
        prop_assert_eq!(&sum, &merge(&backwards));
        let (left, right) = buckets.split_at(split.index(buckets.len()));
        if !left.is_empty() {
            let (left, right) = (merge(left), merge(right));
            let mut both = right;
            both.add(Buckets::try_new(&left.bounds, &left.counts).unwrap().unwrap()).unwrap();
            prop_assert_eq!(&sum, &both);
        }
        // What lies at or below a bound of the sum is what the parts have there.
        for (i, bound) in sum.bounds.iter().enumerate() {
            let below: u64 = sum.counts[..=i].iter().sum();
            let expected: u64 = histograms
                .iter()
                .map(|(bounds, counts)| {
                    let place = bounds.iter().position(|own| own.to_bits() == bound.to_bits()).unwrap();
                    counts[..=place].iter().sum::<u64>()
                })
                .sum();
            prop_assert_eq!(below, expected);
        }
        let total: u64 = histograms.iter().flat_map(|(_, counts)| counts).sum();
        prop_assert_eq!(sum.counts.iter().sum::<u64>(), total);
    }
}
