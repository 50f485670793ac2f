use std::sync::Arc;

use arrow::array::{DictionaryArray, Float64Array, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema, TimeUnit};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use proptest::prelude::*;

use super::super::series::{Kind, Point, Series};
use super::*;

/// Points of a cumulative series: `(time, start, value)` in seconds.
fn points(given: &[(i64, Option<i64>, f64)]) -> Vec<Point<f64>> {
    given
        .iter()
        .map(|(time, start, value)| Point {
            time: time * SECOND,
            start: start.map(|s| s * SECOND),
            value: *value,
        })
        .collect()
}

const SECOND: i64 = 1_000_000_000;
const CUMULATIVE: Series = Series { is_delta: Some(false), window_start: None };
const DELTA: Series = Series { is_delta: Some(true), window_start: None };

/// Increase, rate and delta of the points.
fn changes(series: Series, given: &[(i64, Option<i64>, f64)]) -> [Option<f64>; 3] {
    [Kind::Increase, Kind::Rate, Kind::Delta].map(|kind| {
        let mut backwards = points(given);
        backwards.reverse();
        let change = series.change::<Float64Type>(kind, &mut points(given));
        assert_eq!(change, series.change::<Float64Type>(kind, &mut backwards), "the order of points matters");
        change
    })
}

fn some(values: [f64; 3]) -> [Option<f64>; 3] {
    values.map(Some)
}

#[test]
fn a_counter_increases_from_its_first_point_to_its_last() {
    assert_eq!(
        changes(CUMULATIVE, &[(10, Some(0), 5.0), (20, Some(0), 7.0), (40, Some(0), 11.0)]),
        some([6.0, 0.2, 6.0])
    );
    assert_eq!(changes(Series::default(), &[(10, None, 5.0), (20, None, 7.0)]), some([2.0, 0.2, 2.0]));
    assert_eq!(changes(CUMULATIVE, &[(10, Some(0), 5.0)]), [None; 3]);
    assert_eq!(changes(CUMULATIVE, &[]), [None; 3]);
}

#[test]
fn a_value_that_falls_or_a_start_after_the_last_point_is_a_restart() {
    // Fell: 5 -> 3 counts 3. For `delta`, without a new start, it is a change of -2.
    assert_eq!(
        changes(CUMULATIVE, &[(10, None, 1.0), (20, None, 5.0), (30, None, 3.0)]),
        some([7.0, 0.35, 2.0])
    );
    // Began again at 25, and has passed the old value since.
    let restarted = [(10, Some(0), 1.0), (20, Some(0), 5.0), (30, Some(25), 6.0), (40, Some(25), 8.0)];
    assert_eq!(changes(CUMULATIVE, &restarted), some([12.0, 0.4, 12.0]));
    // Exactly at the time of the last point.
    let at_once = [(10, Some(0), 1.0), (20, Some(10), 6.0)];
    assert_eq!(changes(CUMULATIVE, &at_once), some([6.0, 0.6, 6.0]));
}

#[test]
fn a_start_that_says_nothing_is_no_restart() {
    // The first point was the first seen, and the second counts from it, as OTLP has it for an unknown start.
    assert_eq!(changes(CUMULATIVE, &[(10, Some(10), 100.0), (20, Some(10), 103.0)]), some([3.0, 0.3, 3.0]));
    // A start of the point's own time.
    assert_eq!(changes(CUMULATIVE, &[(10, Some(0), 100.0), (20, Some(20), 103.0)]), some([3.0, 0.3, 3.0]));
    // A start before the last point: the same counting under another start.
    assert_eq!(changes(CUMULATIVE, &[(10, Some(0), 100.0), (20, Some(5), 103.0)]), some([3.0, 0.3, 3.0]));
}

#[test]
fn a_series_that_began_inside_the_window_counts_from_its_start() {
    let inside = Series { window_start: Some(2 * SECOND), ..CUMULATIVE };
    assert_eq!(changes(inside, &[(10, Some(5), 4.0), (15, Some(5), 6.0)]), some([6.0, 0.6, 6.0]));
    assert_eq!(changes(inside, &[(10, Some(5), 4.0)]), some([4.0, 0.8, 4.0]));
    assert_eq!(changes(inside, &[(10, Some(1), 4.0), (15, Some(1), 6.0)]), some([2.0, 0.4, 2.0]));
    assert_eq!(changes(inside, &[(10, None, 4.0), (15, None, 6.0)]), some([2.0, 0.4, 2.0]));
    assert_eq!(changes(inside, &[(10, Some(10), 4.0)]), [None; 3]);
}

#[test]
fn points_of_the_same_time_are_one_point() {
    let twice =
        [(10, Some(0), 1.0), (20, Some(0), 5.0), (20, Some(0), 5.0), (20, Some(0), 4.0), (30, Some(0), 6.0)];
    assert_eq!(changes(CUMULATIVE, &twice), some([5.0, 0.25, 5.0]));
    let only = [(10, Some(0), 1.0), (10, Some(0), 5.0)];
    assert_eq!(changes(CUMULATIVE, &only), [None; 3]);
}

#[test]
fn delta_points_are_added_up_over_the_time_from_the_first_start() {
    let three = [(10, Some(0), 5.0), (20, Some(10), 7.0), (30, Some(20), 3.0)];
    assert_eq!(changes(DELTA, &three), some([15.0, 0.5, 15.0]));
    assert_eq!(changes(DELTA, &three[..1]), some([5.0, 0.5, 5.0]));
    // A gap is time without an increase.
    assert_eq!(changes(DELTA, &[three[0], three[2]]), some([8.0, 8.0 / 30.0, 8.0]));
    // The same point twice counts once; two points of the same time are two.
    assert_eq!(changes(DELTA, &[three[0], three[0], (10, Some(0), 1.0)]), some([6.0, 0.6, 6.0]));
}

#[test]
fn the_rate_of_delta_points_leaves_out_a_first_point_without_a_start() {
    let without = [(10, None, 5.0), (20, None, 7.0), (30, None, 3.0)];
    assert_eq!(changes(DELTA, &without), some([15.0, 0.5, 15.0]));
    assert_eq!(changes(DELTA, &without[..1]), [Some(5.0), None, Some(5.0)]);
}

#[test]
fn integers_are_exact_beyond_2_to_the_53() {
    let at = |time: i64, value: i64| Point { time: time * SECOND, start: None, value };
    let big = 1_i64 << 53;
    let mut counter = [at(1, big), at(2, big + 1), at(3, big + 3)];
    assert_eq!(CUMULATIVE.change::<Int64Type>(Kind::Increase, &mut counter), Some(3.0));
    let mut ends = [at(1, i64::MIN), at(2, i64::MAX)];
    assert_eq!(CUMULATIVE.change::<Int64Type>(Kind::Delta, &mut ends), Some(2_f64.powi(64)));
    let mut deltas = [at(1, i64::MAX), at(2, i64::MAX), at(3, -i64::MAX), at(4, -i64::MAX), at(5, 7)];
    assert_eq!(DELTA.change::<Int64Type>(Kind::Increase, &mut deltas), Some(7.0));
    let mut times =
        [Point { time: i64::MIN, start: None, value: 0 }, Point { time: i64::MAX, start: None, value: 1 }];
    assert!(CUMULATIVE.change::<Int64Type>(Kind::Rate, &mut times).unwrap() > 0.0);
}

/// 400 points of 7 series in batches of 10, in no order: series `s` has a point each second with the value `(s + 1) *
/// time`, and begins again at half time.
fn many() -> Vec<RecordBatch> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), false),
        Field::new("start_timestamp", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), true),
        Field::new("value", DataType::Float64, true),
        Field::new("count", DataType::UInt64, true),
        Field::new(
            "temporality",
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            true,
        ),
        Field::new("series_id", DataType::UInt64, false),
    ]));
    let row = |i: i64| {
        let (series, time) = (i % 7, i / 7);
        let (start, since) = if time < 30 { (0, time) } else { (30, time - 30) };
        (series, time, start, (series + 1) * since)
    };
    // 389 has no factor in common with 400, so each number comes once.
    let numbers: Vec<i64> = (0..400).map(|i| i * 389 % 400).collect();
    let batch = |numbers: &[i64]| {
        let rows: Vec<_> = numbers.iter().map(|i| row(*i)).collect();
        let times = |of: fn(&(i64, i64, i64, i64)) -> i64| {
            Arc::new(
                TimestampNanosecondArray::from_iter_values(rows.iter().map(|r| of(r) * SECOND))
                    .with_timezone("UTC"),
            )
        };
        let temporality: DictionaryArray<Int32Type> = rows.iter().map(|_| "cumulative").collect();
        RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                times(|r| r.1),
                times(|r| r.2),
                Arc::new(rows.iter().map(|r| Some(r.3 as f64)).collect::<Float64Array>()),
                Arc::new(rows.iter().map(|r| Some(r.3 as u64)).collect::<UInt64Array>()),
                Arc::new(temporality),
                Arc::new(rows.iter().map(|r| Some(r.0 as u64)).collect::<UInt64Array>()),
            ],
        )
        .unwrap()
    };
    numbers.chunks(10).map(batch).collect()
}

#[tokio::test]
async fn groups_are_put_together_from_all_partitions() {
    let context = context(Some(many()));
    for value in ["value", "count"] {
        let sql = format!(
            "SELECT series_id, increase(timestamp, {value}, start_timestamp, temporality), \
                    rate(timestamp, {value}, start_timestamp, temporality), delta(timestamp, {value}) \
             FROM t GROUP BY series_id ORDER BY series_id"
        );
        let rows = rows(&context, &sql).await.unwrap();
        let expected: Vec<_> = (0..7)
            .map(|series| {
                // 57 full rounds, and one point more of the first series.
                let last = if series == 0 { 57 } else { 56 };
                let step = f64::from(series + 1);
                let increase = step * f64::from(29 + last - 30);
                let net = step * f64::from(last - 30);
                format!("{series} | {increase:?} | {:?} | {net:?}", increase / f64::from(last))
            })
            .collect();
        assert_eq!(rows, expected, "{value}");
    }
}

/// Rows go to disk as partial states, and come back as such.
#[tokio::test]
async fn groups_that_do_not_fit_into_memory_are_spilled_and_put_together_again() {
    let runtime =
        RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(2 << 20))).build_arc().unwrap();
    let config = SessionConfig::new().with_target_partitions(4).with_batch_size(1024);
    let context = with_functions(SessionContext::new_with_config_rt(config, runtime));
    // Point i is of group i % 2000 at second i / 2000: each group has 10 points, with the values 0 to 9 times 3.
    let points = "(SELECT value % 2000 AS k, value / 2000 AS s FROM generate_series(0, 19999))";
    let aggregates = "increase(to_timestamp(s), s * 3), histogram_merge([1.0, 2.0], [s, 1, 0]), \
                      exp_histogram_merge(0, 0, 0.0, s % 3, [s], NULL, NULL)";
    let sql = format!("SELECT k, {aggregates} FROM {points} GROUP BY k");
    let analysed = rows(&context, &format!("EXPLAIN ANALYZE {sql}")).await.unwrap().concat();
    let spills = analysed.split("spill_count=").skip(1).map(|rest| !rest.starts_with("0,"));
    assert!(spills.clone().any(|spilled| spilled), "nothing was spilled: {analysed}");
    let distinct = format!(
        "SELECT count(*), min(a), max(a), min(b), max(b), min(c), max(c) FROM (SELECT k, \
        increase(to_timestamp(s), s * 3) AS a, histogram_merge([1.0, 2.0], [s, 1, 0])['counts'][1] AS b, \
        exp_histogram_merge(0, 0, 0.0, s % 3, [s], NULL, NULL)['positive_bucket_counts'][2] AS c \
        FROM {points} GROUP BY k)"
    );
    // 0 + 1 + ... + 9 = 45; of these 1 + 4 + 7 = 12 are in the middle.
    assert_eq!(rows(&context, &distinct).await.unwrap(), ["2000 | 27.0 | 27.0 | 45 | 45 | 12 | 12"]);
}

#[tokio::test]
async fn a_window_of_two_rows_gives_the_step_to_each_point() {
    let context = context(Some(many()));
    let sql = "SELECT sum(step), count(step) FROM (SELECT increase(timestamp, value, start_timestamp, temporality) OVER \
               (PARTITION BY series_id ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS step FROM t)";
    let total: i32 = (0..7).map(|series| (series + 1) * (29 + if series == 0 { 57 } else { 56 } - 30)).sum();
    assert_eq!(rows(&context, sql).await.unwrap(), [format!("{total}.0 | {}", 400 - 7)]);
    // A window by time: five seconds are six points.
    let sql = "SELECT max(r), min(n) FROM (SELECT timestamp, rate(timestamp, value, start_timestamp) OVER w AS r, count(*) OVER w AS n \
               FROM t WHERE series_id = 2 WINDOW w AS (ORDER BY timestamp RANGE BETWEEN INTERVAL '5 seconds' PRECEDING AND CURRENT ROW)) \
               WHERE timestamp >= TIMESTAMP '1970-01-01T00:00:05Z'";
    assert_eq!(rows(&context, sql).await.unwrap(), ["3.0 | 6"]);
}

#[tokio::test]
async fn points_without_a_value_and_rows_that_the_filter_leaves_out_do_not_count() {
    let context = context(None);
    let values = "(VALUES (1, 2.0, 'cumulative'), (2, NULL, 'cumulative'), (3, 6.0, NULL), (4, 9.0, 'unspecified'), (5, 1.0, '7')) \
                  AS t (s, v, p)";
    let sql = format!(
        "SELECT increase(to_timestamp(s), v, NULL, p), increase(to_timestamp(s), v, NULL, p) FILTER (WHERE s < 4), \
                increase(to_timestamp(s), v) FILTER (WHERE s > 7) FROM {values}"
    );
    assert_eq!(rows(&context, &sql).await.unwrap(), ["8.0 | 4.0 | NULL"]);
}

#[tokio::test]
async fn mistakes_are_named() {
    let context = context(None);
    let values = "(VALUES (1, 2.0, 'cumulative'), (2, 3.0, 'delta')) AS t (s, v, p)";
    for (call, shown) in [
        ("rate(to_timestamp(s), v, NULL, p)", "group by series_id"),
        ("rate(to_timestamp(s), v, NULL, 'Delta')", "'cumulative' or 'delta', not 'Delta'"),
        ("rate(s, v)", "timestamp of rate must be a timestamp"),
        ("rate(to_timestamp(s), p)", "value of rate must be a number"),
        (
            "rate(to_timestamp(s))",
            "rate takes (timestamp, value [, start_timestamp] [, temporality] [, window_start])",
        ),
        ("rate(DISTINCT to_timestamp(s), v)", "does not take DISTINCT"),
    ] {
        let error = rows(&context, &format!("SELECT {call} FROM {values}")).await.unwrap_err().to_string();
        assert!(error.contains(shown), "{call}: {error}");
    }
}

fn any_point() -> impl Strategy<Value = Point<f64>> {
    let time = prop_oneof![any::<i64>(), -5_i64..5];
    let value = prop_oneof![any::<f64>(), (0_i32..4).prop_map(f64::from)];
    (time.clone(), proptest::option::of(time), value).prop_map(|(time, start, value)| Point {
        time,
        start,
        value,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_points_give_the_same_in_any_order(
        given in proptest::collection::vec(any_point(), 0..12),
        is_delta in any::<Option<bool>>(),
        window_start in any::<Option<i64>>(),
    ) {
        let series = Series { is_delta, window_start };
        for kind in [Kind::Increase, Kind::Rate, Kind::Delta] {
            let (mut forwards, mut backwards) = (given.clone(), given.clone());
            backwards.reverse();
            let forwards = series.change::<Float64Type>(kind, &mut forwards);
            let backwards = series.change::<Float64Type>(kind, &mut backwards);
            prop_assert_eq!(forwards.map(f64::to_bits), backwards.map(f64::to_bits));
        }
    }

    #[test]
    fn any_integers_give_the_difference_of_the_ends(first in any::<u64>(), rises in proptest::collection::vec(0_u64..1 << 40, 1..9)) {
        let mut value = first;
        let mut points = vec![Point { time: 0, start: None, value }];
        for (i, rise) in rises.iter().enumerate() {
            value = value.saturating_add(*rise);
            points.push(Point { time: i as i64 + 1, start: None, value });
        }
        let increase = CUMULATIVE.change::<arrow::datatypes::UInt64Type>(Kind::Increase, &mut points);
        prop_assert_eq!(increase, Some((value - first) as f64));
    }
}
