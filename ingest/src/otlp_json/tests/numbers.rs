//! Numbers of every type, as numbers and as strings.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Sum,
    Summary, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::Status;

use super::*;

fn check_double(json: &str, expected: f64) {
    check_value(&format!(r#"{{"doubleValue":{json}}}"#), Some(Value::DoubleValue(expected)));
    let value = Some(number_data_point::Value::AsDouble(expected));
    check_point(&format!(r#""asDouble":{json}"#), NumberDataPoint { value, ..NumberDataPoint::default() });
}

fn check_int64(json: &str, expected: i64) {
    check_value(&format!(r#"{{"intValue":{json}}}"#), Some(Value::IntValue(expected)));
    let value = Some(number_data_point::Value::AsInt(expected));
    check_point(&format!(r#""asInt":{json}"#), NumberDataPoint { value, ..NumberDataPoint::default() });
}

fn check_uint64(json: &str, expected: u64) {
    let record = LogRecord { time_unix_nano: expected, ..LogRecord::default() };
    check_record(&format!(r#""timeUnixNano":{json}"#), record);
}

fn check_uint32(json: &str, expected: u32) {
    let record = LogRecord { dropped_attributes_count: expected, flags: expected, ..LogRecord::default() };
    check_record(&format!(r#""droppedAttributesCount":{json},"flags":{json}"#), record);
}

#[test]
fn integers_of_64_bits_are_exact_as_numbers_and_as_strings() {
    for (digits, expected) in [
        ("0", 0),
        ("-0", 0),
        ("42", 42),
        ("9007199254740993", (1 << 53) + 1),
        ("-9007199254740993", -(1 << 53) - 1),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
        ("1.0", 1),
        ("-1e3", -1000),
        ("1.5E+1", 15),
        ("9007199254740993.000", (1 << 53) + 1),
        ("9.223372036854775807e18", i64::MAX),
        ("92233720368547758070e-1", i64::MAX),
        ("0.0000000000000000000000000000001e31", 1),
        ("0e999999999999999999999", 0),
    ] {
        check_int64(digits, expected);
        check_int64(&format!("\"{digits}\""), expected);
    }
}

/// As the JavaScript exporter writes whole doubles.
#[test]
fn an_attribute_that_is_an_integer_beyond_64_bits_is_a_double() {
    for (json, expected) in [
        ("9223372036854775808", 2_f64.powi(63)),
        ("-9223372036854777856", -(2_f64.powi(63)) - 2048.0),
        ("1e+300", 1e300),
        ("100000000000000000000", 1e20),
    ] {
        check_value(&format!(r#"{{"intValue":{json}}}"#), Some(Value::DoubleValue(expected)));
    }
}

#[test]
fn unsigned_integers_reach_their_maximum() {
    for (digits, expected) in [
        ("0", 0),
        ("-0", 0),
        ("9223372036854775808", 1 << 63),
        ("18446744073709551615", u64::MAX),
        ("1.8446744073709551615e19", u64::MAX),
        ("1544712660300000000", 1_544_712_660_300_000_000),
    ] {
        check_uint64(digits, expected);
        check_uint64(&format!("\"{digits}\""), expected);
    }
}

#[test]
fn integers_of_32_bits_are_numbers_or_strings_too() {
    for (digits, expected) in [("7", 7), ("1e2", 100), ("4294967295", u32::MAX)] {
        check_uint32(digits, expected);
        check_uint32(&format!("\"{digits}\""), expected);
    }
    for (json, expected) in [("-2147483648", i32::MIN), (r#""2147483647""#, i32::MAX), (r#""-3.0""#, -3)] {
        let positive = Some(Buckets { offset: expected, bucket_counts: vec![] });
        let point = ExponentialHistogramDataPoint { scale: expected, positive, ..Default::default() };
        check_metric(
            &format!(
                r#""exponentialHistogram":{{"dataPoints":[{{"scale":{json},"positive":{{"offset":{json}}}}}]}}"#
            ),
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![point],
                ..ExponentialHistogram::default()
            }),
        );
    }
}

#[test]
fn enums_are_numbers_and_unknown_ones_are_kept() {
    for (json, expected) in [("0", 0), ("3", 3), ("24", 24), ("999", 999), ("-1", -1), ("2.0", 2)] {
        check_record(
            &format!(r#""severityNumber":{json}"#),
            LogRecord { severity_number: expected, ..LogRecord::default() },
        );
        let status = Some(Status { code: expected, ..Status::default() });
        check_span(
            &format!(r#""kind":{json},"status":{{"code":{json}}}"#),
            Span { kind: expected, status, ..Span::default() },
        );
        check_metric(
            &format!(r#""sum":{{"aggregationTemporality":{json},"isMonotonic":true}}"#),
            Data::Sum(Sum { data_points: vec![], aggregation_temporality: expected, is_monotonic: true }),
        );
    }
}

#[test]
fn doubles_are_numbers_strings_and_what_has_no_digits() {
    for (digits, expected) in [
        ("0", 0.0),
        ("-0", -0.0),
        ("-0.0", -0.0),
        ("637.704", 637.704),
        ("1e308", 1e308),
        ("5e-324", 5e-324),
        ("1e-999", 0.0),
        ("18446744073709551616", 18_446_744_073_709_551_616.0),
        // What serde_json reads one bit away from.
        ("208658.26113325238", 208_658.261_133_252_38),
        ("446170.59121374035", 446_170.591_213_740_35),
    ] {
        check_double(digits, expected);
        check_double(&format!("\"{digits}\""), expected);
    }
    check_double(r#""NaN""#, f64::NAN);
    check_double(r#""Infinity""#, f64::INFINITY);
    check_double(r#""-Infinity""#, f64::NEG_INFINITY);
}

/// There opentelemetry-proto refuses the strings, and drops the value of an `asDouble` that is one.
#[test]
fn doubles_without_digits_stand_in_every_field() {
    let no_numbers = r#"["NaN","Infinity","-Infinity"]"#;
    let expected = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let members = format!(r#""sum":"NaN","min":"-Infinity","max":"Infinity","explicitBounds":{no_numbers}"#);
    check_metric(
        &format!(r#""histogram":{{"dataPoints":[{{{members}}}]}}"#),
        Data::Histogram(Histogram {
            data_points: vec![HistogramDataPoint {
                sum: Some(f64::NAN),
                min: Some(f64::NEG_INFINITY),
                max: Some(f64::INFINITY),
                explicit_bounds: expected,
                ..HistogramDataPoint::default()
            }],
            ..Histogram::default()
        }),
    );
    check_metric(
        r#""exponentialHistogram":{"dataPoints":[{"zeroThreshold":"Infinity"}]}"#,
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![ExponentialHistogramDataPoint {
                zero_threshold: f64::INFINITY,
                ..ExponentialHistogramDataPoint::default()
            }],
            ..ExponentialHistogram::default()
        }),
    );
    check_metric(
        r#""summary":{"dataPoints":[{"sum":"NaN","quantileValues":[{"quantile":0.5,"value":"NaN"}]}]}"#,
        Data::Summary(Summary {
            data_points: vec![SummaryDataPoint {
                sum: f64::NAN,
                quantile_values: vec![ValueAtQuantile { quantile: 0.5, value: f64::NAN }],
                ..SummaryDataPoint::default()
            }],
        }),
    );
    let value = Some(exemplar::Value::AsDouble(f64::NEG_INFINITY));
    let exemplars = vec![Exemplar { value, ..Exemplar::default() }];
    check_point(
        r#""exemplars":[{"asDouble":"-Infinity"}]"#,
        NumberDataPoint { exemplars, ..NumberDataPoint::default() },
    );
}

#[test]
fn lists_of_numbers_take_numbers_and_strings() {
    let bucket_counts = vec![0, 1, u64::MAX, (1 << 53) | 1];
    let counts = r#"[0,"1",18446744073709551615,"9007199254740993"]"#;
    let histogram = HistogramDataPoint {
        bucket_counts: bucket_counts.clone(),
        explicit_bounds: vec![-1.5, 0.0, 1e10],
        ..HistogramDataPoint::default()
    };
    check_metric(
        &format!(
            r#""histogram":{{"dataPoints":[{{"bucketCounts":{counts},"explicitBounds":[-1.5,"0",1e10]}},
               {{"bucketCounts":[],"explicitBounds":[]}}]}}"#
        ),
        Data::Histogram(Histogram {
            data_points: vec![histogram, HistogramDataPoint::default()],
            ..Histogram::default()
        }),
    );
    let negative = Some(Buckets { offset: -1, bucket_counts });
    let point = ExponentialHistogramDataPoint { negative, ..ExponentialHistogramDataPoint::default() };
    check_metric(
        &format!(
            r#""exponentialHistogram":{{"dataPoints":[{{"negative":{{"bucketCounts":{counts},"offset":-1}}}}]}}"#
        ),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![point],
            ..ExponentialHistogram::default()
        }),
    );
}
