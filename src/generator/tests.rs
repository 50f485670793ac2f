//! Content is the same for the same seed and has every kind of record; templates patch what they should.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::series::SeriesSource;
use super::template::{Stamp, Template};
use super::*;

const START_NS: u64 = 1_700_000_000_000_000_000;
const MINUTE_NS: u64 = 60_000_000_000;

/// Ten minutes of the shop, two transactions a second, the middle six with the fault.
fn played(seed: u64) -> (Topology, Activity, ExportMetricsServiceRequest) {
    let topology = Topology::new(3);
    let incident = Incident { start_ns: START_NS + 2 * MINUTE_NS, end_ns: START_NS + 8 * MINUTE_NS };
    let mut shop = Shop::new(topology.clone(), Random::new(seed), None, Some(incident));
    let mut meter = Meter::new(topology.clone(), Random::new(seed), START_NS);
    let mut all = Activity::default();
    for number in 0..1200 {
        let mut activity = Activity::default();
        shop.transaction(START_NS + number * MINUTE_NS / 120, &mut activity);
        meter.observe(&activity);
        all.spans.extend(activity.spans);
        all.logs.extend(activity.logs);
    }
    let metrics = meter.export(START_NS + 11 * MINUTE_NS);
    (topology, all, metrics)
}

fn encoded(seed: u64) -> [Vec<u8>; 3] {
    let (topology, activity, metrics) = played(seed);
    [
        traces_request(&topology, activity.spans).encode_to_vec(),
        logs_request(&topology, activity.logs).encode_to_vec(),
        metrics.encode_to_vec(),
    ]
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    assert_eq!(encoded(7), encoded(7));
    for (one, other) in encoded(7).iter().zip(encoded(8)) {
        assert_ne!(*one, other);
    }
}

#[test]
fn spans_form_trees_over_the_three_services() {
    let (_, activity, _) = played(1);
    let by_id: HashMap<_, _> = activity.spans.iter().map(|(of, span)| (&span.span_id, (*of, span))).collect();
    assert_eq!(by_id.len(), activity.spans.len());
    let mut crossings = HashSet::new();
    for (instance, span) in &activity.spans {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        if span.parent_span_id.is_empty() {
            continue;
        }
        let (of, parent) = by_id[&span.parent_span_id];
        assert_eq!(parent.trace_id, span.trace_id);
        assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(parent.end_time_unix_nano >= span.end_time_unix_nano);
        if of != *instance {
            crossings.insert((of, *instance));
        }
    }
    assert!(crossings.len() >= 6, "{crossings:?}");
    assert!(activity.spans.iter().any(|(_, span)| !span.links.is_empty()));
    assert!(activity.spans.iter().any(|(_, span)| !span.events.is_empty()));
    let kinds: HashSet<_> = activity.spans.iter().map(|(_, span)| span.kind).collect();
    assert_eq!(kinds.len(), 2);
}

#[test]
fn every_log_names_a_span_and_all_severities_and_body_types_occur() {
    let (_, activity, _) = played(1);
    let spans: HashSet<_> = activity.spans.iter().map(|(_, span)| (&span.trace_id, &span.span_id)).collect();
    let mut severities = BTreeSet::new();
    let (mut structured, mut events) = (0, 0);
    for (_, record) in &activity.logs {
        assert!(spans.contains(&(&record.trace_id, &record.span_id)));
        assert!(record.observed_time_unix_nano >= record.time_unix_nano);
        severities.insert(record.severity_text.as_str());
        let body = record.body.as_ref().and_then(|body| body.value.as_ref());
        structured += usize::from(matches!(body, Some(Any::KvlistValue(_))));
        events += usize::from(!record.event_name.is_empty());
    }
    assert_eq!(severities.into_iter().collect::<Vec<_>>(), ["DEBUG", "ERROR", "INFO", "WARN"]);
    assert!(structured > 0 && events > 0);
}

#[test]
fn the_meters_export_all_five_types_and_agree_with_the_spans() {
    let (_, activity, metrics) = played(1);
    let mut types = HashSet::new();
    let mut requests = 0;
    for metric in all_metrics(&metrics) {
        let data = metric.data.as_ref().unwrap();
        types.insert(std::mem::discriminant(data));
        if metric.name == "http.server.request.duration"
            && let Data::Histogram(histogram) = data
        {
            for point in &histogram.data_points {
                assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>());
                assert!(point.sum.unwrap() >= point.max.unwrap());
                assert!(!point.exemplars.is_empty());
                requests += point.count;
            }
        }
        if let Data::ExponentialHistogram(histogram) = data {
            for point in &histogram.data_points {
                let counted: u64 = point.positive.as_ref().unwrap().bucket_counts.iter().sum();
                assert_eq!(point.count, counted);
            }
        }
    }
    assert_eq!(types.len(), 5);
    let server_spans = activity.spans.iter().filter(|(_, span)| span.kind == 2).count();
    assert_eq!(requests, server_spans as u64);
}

#[test]
fn the_incident_shows_in_its_minutes_on_one_version_and_route_only() {
    let (topology, activity, _) = played(1);
    let payments: Vec<(&topology::Instance, &Span)> = activity
        .spans
        .iter()
        .filter(|(_, span)| span.name == "POST /charge")
        .map(|(of, span)| (&topology.instances()[*of], span))
        .collect();
    let millis = |span: &Span| (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000;
    let during = |span: &Span| {
        (START_NS + 2 * MINUTE_NS..START_NS + 8 * MINUTE_NS).contains(&span.start_time_unix_nano)
    };
    let (hit, spared): (Vec<_>, Vec<_>) = payments
        .into_iter()
        .partition(|(instance, span)| instance.version == incident::VERSION && during(span));
    assert!(hit.len() > 20, "{}", hit.len());
    assert!(hit.iter().all(|(_, span)| millis(span) > 400));
    assert!(hit.iter().filter(|(_, span)| span.status.as_ref().unwrap().code == 2).count() > 5);
    assert!(spared.iter().all(|(_, span)| millis(span) < 400));
}

#[test]
fn a_template_moves_times_and_ids_together_and_nothing_else() {
    let (topology, activity, _) = played(1);
    let original = traces_request(&topology, activity.spans[..500].to_vec());
    let template = Template::new(&original, &wire::TRACES, 500);
    let written = |number, at_ns| {
        let mut bytes = Vec::new();
        template.write(Stamp { at_ns, number }, &mut bytes);
        ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap()
    };
    let (first, second) = (written(0, START_NS), written(1, START_NS + 5));
    assert_eq!(latest(&first), START_NS);
    assert_eq!(latest(&second), START_NS + 5);

    let ids = |request: &ExportTraceServiceRequest| -> HashSet<Vec<u8>> {
        all_spans(request).map(|span| span.span_id.clone()).collect()
    };
    assert_eq!(ids(&first).len(), 500);
    assert!(ids(&first).is_disjoint(&ids(&second)));
    for request in [&first, &second] {
        let parents = |request: &ExportTraceServiceRequest| -> Vec<bool> {
            let known = ids(request);
            all_spans(request).map(|span| known.contains(&span.parent_span_id)).collect()
        };
        assert_eq!(parents(request), parents(&original));
        for (span, before) in all_spans(request).zip(all_spans(&original)) {
            let duration = |span: &Span| span.end_time_unix_nano - span.start_time_unix_nano;
            assert_eq!(duration(span), duration(before));
            assert_eq!((&span.name, &span.attributes), (&before.name, &before.attributes));
            assert_eq!(span.parent_span_id.is_empty(), before.parent_span_id.is_empty());
        }
    }
}

#[test]
fn log_templates_keep_the_distance_between_their_two_times() {
    let (topology, activity, _) = played(1);
    let original = logs_request(&topology, activity.logs[..100].to_vec());
    let mut bytes = Vec::new();
    Template::new(&original, &wire::LOGS, 100).write(Stamp { at_ns: START_NS, number: 3 }, &mut bytes);
    let written = ExportLogsServiceRequest::decode(bytes.as_slice()).unwrap();
    let records = |request: &ExportLogsServiceRequest| -> Vec<_> {
        let scopes = request.resource_logs.iter().flat_map(|resource| resource.scope_logs.clone());
        scopes.flat_map(|scope| scope.log_records).collect()
    };
    assert_eq!(records(&written).len(), 100);
    for (after, before) in records(&written).iter().zip(records(&original)) {
        assert_eq!(
            after.observed_time_unix_nano - after.time_unix_nano,
            before.observed_time_unix_nano - before.time_unix_nano
        );
        assert_eq!((&after.body, &after.attributes), (&before.body, &before.attributes));
        assert_ne!(after.trace_id, before.trace_id);
    }
}

fn series_source(types: &[MetricType], attributes: Option<usize>) -> SeriesSource {
    SeriesSource { topology: Topology::new(3), types: types.to_vec(), attributes, start_ns: START_NS }
}

#[test]
fn metric_templates_move_values_but_not_the_start_time() {
    let source = series_source(&[MetricType::Gauge, MetricType::Sum, MetricType::Histogram], None);
    let request = source.request((0..300).map(|number| (number, START_NS + 9)), &mut Random::new(1));
    let template = Template::new(&request, &wire::METRICS, 300);
    let written = |number| {
        let mut bytes = Vec::new();
        template.write(Stamp { at_ns: START_NS + 100, number }, &mut bytes);
        ExportMetricsServiceRequest::decode(bytes.as_slice()).unwrap()
    };
    let (first, second) = (written(1), written(2));
    let mut moved = 0;
    for (one, two) in all_metrics(&first).zip(all_metrics(&second)) {
        match (one.data.as_ref().unwrap(), two.data.as_ref().unwrap()) {
            (Data::Gauge(one), Data::Gauge(two)) => {
                for (one, two) in one.data_points.iter().zip(&two.data_points) {
                    assert_eq!((one.start_time_unix_nano, one.time_unix_nano), (START_NS, START_NS + 100));
                    let (Some(Value::AsDouble(one)), Some(Value::AsDouble(two))) = (one.value, two.value)
                    else {
                        panic!("gauges hold doubles")
                    };
                    assert!((0.0..1.0).contains(&one));
                    moved += usize::from(one.to_bits() != two.to_bits());
                }
            }
            (Data::Sum(one), Data::Sum(two)) => {
                for (one, two) in one.data_points.iter().zip(&two.data_points) {
                    let (Some(Value::AsInt(one)), Some(Value::AsInt(two))) = (one.value, two.value) else {
                        panic!("counters hold integers")
                    };
                    assert_eq!(two, one + 1);
                }
            }
            (one, two) => assert_eq!(one, two),
        }
    }
    assert!(moved > 90, "{moved}");
}

#[test]
fn series_are_as_many_as_asked_for_with_the_attributes_asked_for() {
    for (attributes, expected) in [(None, 5), (Some(1), 1), (Some(9), 9)] {
        let source = series_source(
            &[
                MetricType::Gauge,
                MetricType::Sum,
                MetricType::Histogram,
                MetricType::ExponentialHistogram,
                MetricType::Summary,
            ],
            attributes,
        );
        let request = source.request((0..2000).map(|number| (number, START_NS)), &mut Random::new(1));
        let mut series = HashSet::new();
        for resource in &request.resource_metrics {
            let id = format!("{:?}", resource.resource);
            for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                for attributes in attributes_of(metric.data.as_ref().unwrap()) {
                    assert_eq!(attributes.len(), expected);
                    series.insert((id.clone(), metric.name.clone(), format!("{attributes:?}")));
                }
            }
        }
        assert_eq!(series.len(), 2000);
    }
}

#[test]
fn services_beyond_three_repeat_the_shop_and_fewer_leave_it_incomplete() {
    for (services, names) in [
        (1, vec!["frontend"]),
        (2, vec!["checkout", "frontend"]),
        (5, vec!["checkout", "checkout-2", "frontend", "frontend-2", "payments"]),
    ] {
        let topology = Topology::new(services);
        let mut shop = Shop::new(topology.clone(), Random::new(1), None, None);
        let mut activity = Activity::default();
        for number in 0..300 {
            shop.transaction(START_NS + number, &mut activity);
        }
        let seen: BTreeSet<_> =
            activity.spans.iter().map(|(of, _)| topology.instances()[*of].service.as_str()).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), names);
    }
}

#[test]
fn a_payload_is_written_as_its_template_says() {
    let source = series_source(&[MetricType::Gauge], None);
    let request = source.request([(0, START_NS)].into_iter(), &mut Random::new(1));
    let template = Arc::new(Template::new(&request, &wire::METRICS, 1));
    let payload = Payload::template(Arc::clone(&template), Stamp { at_ns: START_NS, number: 0 });
    assert_eq!(payload.len_bytes(), request.encoded_len());
    assert_eq!(Payload::message(&request).len_bytes(), request.encoded_len());
}

fn all_spans(request: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans)
}

fn all_metrics(
    request: &ExportMetricsServiceRequest,
) -> impl Iterator<Item = &opentelemetry_proto::tonic::metrics::v1::Metric> {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics)
}

fn attributes_of(data: &Data) -> Vec<&Vec<opentelemetry_proto::tonic::common::v1::KeyValue>> {
    match data {
        Data::Gauge(data) => data.data_points.iter().map(|point| &point.attributes).collect(),
        Data::Sum(data) => data.data_points.iter().map(|point| &point.attributes).collect(),
        Data::Histogram(data) => data.data_points.iter().map(|point| &point.attributes).collect(),
        Data::ExponentialHistogram(data) => data.data_points.iter().map(|point| &point.attributes).collect(),
        Data::Summary(data) => data.data_points.iter().map(|point| &point.attributes).collect(),
    }
}

/// The latest time anywhere in a request, as a template counts it.
fn latest(request: &ExportTraceServiceRequest) -> u64 {
    all_spans(request)
        .flat_map(|span| {
            span.events.iter().map(|event| event.time_unix_nano).chain([span.end_time_unix_nano])
        })
        .max()
        .unwrap()
}
