//! The conversion as a whole: nothing is lost, replay equals live, and what each table shows.

pub(crate) mod draw;
mod json;
mod printed;
mod rejections;
mod samples;
mod times;

use std::collections::HashSet;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use proptest::prelude::*;
use prost::Message;

use alula_catalog::{Signal, TenantId, schema};

use self::draw::Draw;
use super::*;

/// 2026-11-21T08:00:00Z.
const RECEIVED_NS: i64 = 1_795_248_000_000_000_000;

fn context(policy: Policy<'_>) -> Context<'_> {
    Context { tenant: TenantId::unauthenticated(), received_ns: RECEIVED_NS, policy }
}

fn live(signal: Signal, request: &impl Message) -> Converted {
    let policy = Policy::Check(Limits { max_future_ns: 900_000_000_000 });
    convert(signal, &request.encode_to_vec(), &context(policy)).unwrap()
}

fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(text: &str) -> AnyValue {
    value(Value::StringValue(text.to_owned()))
}

fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), key_strindex: 0 }
}

/// Converts live and by replay, and compares what is restored with the records that were kept.
fn check_round_trip<M: Message + Default + std::fmt::Debug>(
    signal: Signal,
    request: &M,
    split: impl Fn(M, &HashSet<u32>, i64) -> M,
) {
    let payload = request.encode_to_vec();
    let unbounded = Policy::Check(Limits { max_future_ns: i64::MAX });
    let live = convert(signal, &payload, &context(unbounded)).unwrap();
    assert_eq!(live.batch.schema(), schema::entry_schema(signal));

    let ordinals: Vec<u32> = live.rejected.iter().map(|rejection| rejection.ordinal).collect();
    let replayed = convert(signal, &payload, &context(Policy::Replay(&ordinals))).unwrap();
    assert_eq!(replayed.batch, live.batch);
    assert_eq!(replayed.rejected, []);

    // What the wire makes of the request is the original; bytes compare NaN as equal to itself.
    let decoded = |payload: &[u8]| M::decode(payload).unwrap();
    let original = split(decoded(&payload), &ordinals.into_iter().collect(), RECEIVED_NS);
    let restored = split(decoded(&restored(signal, &live.batch)), &HashSet::new(), RECEIVED_NS);
    assert!(restored.encode_to_vec() == original.encode_to_vec(), "{restored:#?}\nis not\n{original:#?}");
}

/// The request that a batch is restored to: several, one after the other, are one.
fn restored(signal: Signal, batch: &RecordBatch) -> Vec<u8> {
    let mut restorer = restorer(signal, usize::MAX);
    restorer.begin(batch).unwrap();
    let full: Vec<_> = std::iter::from_fn(|| restorer.next().unwrap()).collect();
    let requests = full.into_iter().chain(restorer.finish());
    requests.flat_map(|request| request.payload).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logs_survive_the_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        check_round_trip(Signal::Logs, &Draw(&bytes).logs(), restore::split_logs);
    }

    #[test]
    fn traces_survive_the_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        check_round_trip(Signal::Traces, &Draw(&bytes).traces(), restore::split_traces);
    }

    #[test]
    fn metrics_survive_the_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        check_round_trip(Signal::Metrics, &Draw(&bytes).metrics(), restore::split_metrics);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for signal in Signal::ALL {
            let policy = Policy::Replay(&[]);
            if let Ok(converted) = convert(signal, &bytes, &context(policy)) {
                prop_assert_eq!(converted.batch.schema(), schema::entry_schema(signal));
            }
        }
    }
}

#[test]
fn every_truncation_of_a_request_is_a_batch_or_malformed() {
    let bytes: Vec<u8> = (0..=255).cycle().take(2000).map(|byte: u8| byte.wrapping_mul(37)).collect();
    let payload = Draw(&bytes).metrics().encode_to_vec();
    for end in 0..payload.len() {
        match convert(Signal::Metrics, &payload[..end], &context(Policy::Replay(&[]))) {
            Ok(_) => {}
            Err(Error::Malformed { message, .. }) => assert_eq!(message, "ExportMetricsServiceRequest"),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Protobuf bounds nesting at 100 messages, which maps reach at some 30 levels.
#[test]
fn a_request_that_nests_past_the_bound_of_protobuf_is_malformed() {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::KeyValueList;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

    let convert_nested = |levels| {
        let nested = (0..levels).fold(text("x"), |inner, _| {
            value(Value::KvlistValue(KeyValueList { values: vec![attribute("k", inner)] }))
        });
        let record = LogRecord { attributes: vec![attribute("deep", nested)], ..Default::default() };
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
        let payload = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        convert(Signal::Logs, &payload, &context(Policy::Replay(&[])))
    };
    assert_eq!(convert_nested(30).unwrap().batch.num_rows(), 1);
    assert!(matches!(convert_nested(40), Err(Error::Malformed { .. })));
}

#[test]
fn an_empty_request_is_an_empty_batch() {
    for signal in Signal::ALL {
        let converted = convert(signal, &[], &context(Policy::Replay(&[]))).unwrap();
        assert_eq!(converted.batch.num_rows(), 0);
        assert_eq!(converted.batch.schema(), schema::entry_schema(signal));
    }
}

/// Rows stay in memory until they are flushed, so a batch may not hold more than its values need.
#[test]
fn a_batch_reserves_no_memory_that_it_does_not_use() {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::metrics::v1::{
        Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    };

    let bytes_of = |points: usize| {
        let data = Some(Data::Gauge(Gauge { data_points: vec![NumberDataPoint::default(); points] }));
        let scope_metrics =
            vec![ScopeMetrics { metrics: vec![Metric { data, ..Default::default() }], ..Default::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
        let batch = live(Signal::Metrics, &ExportMetricsServiceRequest { resource_metrics }).batch;
        batch.get_array_memory_size()
    };
    assert!(bytes_of(1) < 16_000, "{}", bytes_of(1));
    let per_row = (bytes_of(11_000) - bytes_of(1_000)) / 10_000;
    assert!(per_row <= 256, "{per_row}");
}
